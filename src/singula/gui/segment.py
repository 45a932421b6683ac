"""Run `singula predict` in a separate process, and read its results for the Segment page."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from singula.errors import UserError
from singula.exports.sources import find_sources
from singula.exports.tables import calibration
from singula.gui.guard import Guard
from singula.gui.pictures import Scene
from singula.gui.processes import Processes, alive, error_message, interrupt
from singula.gui.runs import IMAGE, read_start, tail
from singula.gui.segment_models import checked_model
from singula.inference import gather_images
from singula.inference.tasks import image_tasks
from singula.io.formats.table import stem_of
from singula.io.image import ArrayPlace
from singula.io.read import read_header, read_image
from singula.io.record_files import write_record
from singula.io.records.results import StartedPrediction
from singula.io.run_lock import check_free, output_locks
from singula.runs.instances import Instances, LabelSource
from singula.util.format import GROUPED, ungrouped
from singula.util.messages import captured_messages

Array = npt.NDArray[Any]
RECORD, OUTPUT = "gui_predict.json", "gui_predict.log"
State = Literal["running", "finished", "incomplete", "stopped", "failed"]
_RESULT = re.compile(rf"^(\d+) of ({GROUPED}) images?: ", re.MULTILINE)
_MAX_PIXELS = 1 << 28  # of an image that the page shows
_MAX_DEPTH, _MAX_FOLDERS = 4, 5_000  # of the search for earlier results
_DEFAULT_NAME = "instances"


@dataclass(frozen=True)
class SegmentView:
    """State and progress of a prediction.

    Parameters
    ----------
    state : str
        One of `State`.
    phase : str
        Description of the progress.
    share : float, optional
        Completed fraction, 0 to 1; None if it is unknown.
    log : str
        Last lines of the output.
    error : str, optional
        Error message, as on the command line.
    """

    state: State
    phase: str
    share: float | None
    log: str
    error: str | None = None


@dataclass
class SegmentedImages:
    """Label images of a prediction, with the images that it predicted.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the label images.
    images : Path
        Image or folder that was predicted.
    channel : str
        Name or number of the predicted channel; empty for all.
    sources : dict of str to LabelSource
        Label images by name.
    notes : list of str
        Reasons why images are not shown.
    """

    guard: Guard
    folder: Path
    images: Path
    channel: str
    sources: dict[str, LabelSource]
    notes: list[str] = field(default_factory=list)

    def read(self, name: str) -> tuple[Scene, Instances]:
        """Return an image with its instances.

        Raises
        ------
        UserError
            ``gui.too_large``: the page does not show images of this size; the label image cannot be
            read.
        """
        source = self.sources[name]
        self.guard.check_below([source.path])
        if source.slide is not None or _count_pixels(source) > _MAX_PIXELS:
            raise UserError(
                f"{source.path}: is too large for this page",
                f"open {name}_overlay.png in the same folder, or export the instances with "
                f"`singula export {self.folder} --to qupath`",
                "gui.too_large",
            )
        with captured_messages():
            instances = source.read()
        instances = replace(instances, confidence=_confidence(self.table_file(name)))
        raw = self._raw(name, instances.labels.shape)
        labels, (spacing, unit) = {"instances": instances.labels}, calibration(instances)
        return Scene(raw, labels, None, spacing=spacing, unit=unit), instances

    def table_file(self, name: str) -> Path:
        """Return the file with the measurements of an image, which may not exist."""
        return self.folder / f"{name}_stats.csv"

    def tables(self) -> dict[str, Path]:
        """Return the files with the measurements of all images inside of the roots."""
        files = {name: self.table_file(name) for name in self.sources}
        return {name: file for name, file in files.items() if self.guard.allows(file)}

    def _raw(self, name: str, shape: tuple[int, ...]) -> Array | None:
        """Read the image of a label image; None, with a note, if it cannot be shown."""
        self.notes.clear()
        place = ArrayPlace(command="predict", channel=self.channel)
        try:
            for path in gather_images([self.images]):
                if not name.startswith(stem_of(path)):
                    continue
                self.guard.check_below([path])
                for pair in image_tasks(path, place, None, None):
                    if pair.name == name:
                        with captured_messages():
                            image = read_image(path, len(shape), arrays=pair.arrays).array
                        if image.shape[:-1] == shape:
                            return image
        except UserError as error:
            self.notes.append(f"The image is not shown: {error.message}")
            return None
        self.notes.append("The image is not shown: it was moved or changed after the prediction.")
        return None


def _confidence(file: Path) -> dict[int, float] | None:
    """Read the confidence from the table of a prediction; None if it has no such column."""
    if not file.is_file():
        return None
    import pandas as pd

    try:
        table = pd.read_csv(file)
    except (ValueError, OSError):
        return None
    if not {"label", "confidence"} <= set(table.columns):
        return None
    rows = table[["label", "confidence"]].dropna().to_numpy().tolist()
    return {int(number): float(value) for number, value in rows}


def _count_pixels(source: LabelSource) -> int:
    return math.prod(read_header(source.path, source.arrays).shape)


def propose_output(guard: Guard, images: str) -> str:
    """Return a new folder for the results, as text relative to the first root.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    images : str
        Image or folder of images; may be empty.
    """
    stem = stem_of(Path(images)) if images.strip("./ ") else ""
    name = f"{stem}_{_DEFAULT_NAME}" if stem else _DEFAULT_NAME
    if not guard.allows(f"{name}_999"):  # too long for a file name
        name = _DEFAULT_NAME
    names = [name, *(f"{name}_{number}" for number in range(2, 1000))]
    return next((n for n in names if not os.path.lexists(guard.home / n)), names[0])


def start_segmentation(
    guard: Guard, processes: Processes, *, images: str, output: str, model: str, channel: str = ""
) -> Path:
    """Start ``singula predict`` and return the folder of the results.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    processes : Processes
        Processes of the interface.
    images : str
        Image or folder of images.
    output : str
        New or empty folder for the results.
    model : str
        Name of a built-in model, or folder of a run, whose tuned thresholds are used; empty to
        choose a built-in model by the kind of each image.
    channel : str
        Name or number of the channel to predict; empty for all.

    Raises
    ------
    UserError
        ``gui.no_images``, ``gui.no_output``: nothing is chosen; ``gui.output_not_empty``: the
        folder contains files; ``gui.unknown_model``; ``gui.outside``: a path or a link leads
        outside of the roots; the errors of `gather_images`.
    """
    if not images.strip():
        raise UserError("no images are chosen", "choose a folder or an image", "gui.no_images")
    if not output.strip():
        raise UserError("no folder for the results is chosen", "choose a folder", "gui.no_output")
    model = checked_model(guard, model)
    source, folder = guard.check(images), guard.check(output)
    files = gather_images([source])
    guard.check_below([*files, folder])
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{output}: is not an empty folder",
            f"choose a new folder, for example {propose_output(guard, images)}",
            "gui.output_not_empty",
        )
    record = StartedPrediction(
        pid=1, created=0, began=0, images=str(source), model=model, channel=channel.strip()
    )
    return _start(processes, folder, record)


def resume_segmentation(guard: Guard, processes: Processes, folder: Path) -> Path:
    """Continue a prediction: images with results are skipped.

    Parameters
    ----------
    guard, processes
        As for `start_segmentation`.
    folder : Path
        Folder of the results.

    Raises
    ------
    UserError
        As for `start_segmentation` and `read_prediction`.
    """
    record = read_prediction(guard, folder)
    checked_model(guard, record.model)  # others may have written the record
    guard.check_below([*gather_images([guard.check(record.images)]), folder])
    return _start(processes, folder, record, "--resume")


def _start(processes: Processes, folder: Path, record: StartedPrediction, *options: str) -> Path:
    arguments = ["predict", "--output", str(folder), record.images, *options]
    # With =, values that begin with - are not options.
    arguments += [f"--model={record.model}"] if record.model else []
    arguments += [f"--channel={record.channel}"] if record.channel else []
    with processes.starting:
        if alive(read_start(folder / RECORD, StartedPrediction), folder / OUTPUT) is not None:
            raise UserError(
                f"{folder.name}: a prediction is already running", "wait for it", "run.locked"
            )
        check_free(output_locks(folder))
        started = processes.start(arguments, folder / OUTPUT)
        write_record(folder / RECORD, record.model_copy(update=dict(started)))
    return folder


def stop_segmentation(folder: Path) -> None:
    """Interrupt a prediction like Ctrl-C; kill it if it was interrupted before.

    Parameters
    ----------
    folder : Path
        Folder of the results.
    """
    record = read_start(folder / RECORD, StartedPrediction)
    process = alive(record, folder / OUTPUT)
    if record is not None and process is not None:
        write_record(folder / RECORD, record.model_copy(update={"stopped": True}))
        interrupt(process, kill=record.stopped)


def read_prediction(guard: Guard, folder: Path | str) -> StartedPrediction:
    """Read the record of a prediction that the interface started.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path or str
        Folder of the results.

    Raises
    ------
    UserError
        ``gui.outside``; ``gui.not_segmented``: the folder has no such record.
    """
    record = read_start(guard.check(guard.check(folder) / RECORD), StartedPrediction)
    if record is None:
        raise UserError(
            f"{guard.short(folder)}: is not a folder of this page ({RECORD} is missing or damaged)",
            "choose the images again",
            "gui.not_segmented",
        )
    return record


def view_segmentation(folder: Path, record: StartedPrediction) -> SegmentView:
    """Read state and progress of a prediction.

    Parameters
    ----------
    folder : Path
        Folder of the results.
    record : StartedPrediction
        Record of `read_prediction`.
    """
    log = tail(folder / OUTPUT)
    result = next(reversed(list(_RESULT.finditer(log))), None)
    if alive(record, folder / OUTPUT) is not None:
        images = list(IMAGE.finditer(log))
        if not images:
            return SegmentView("running", "Loading the model", None, log)
        done, total = int(images[-1][1]), int(images[-1][2])
        return SegmentView("running", f"Image {done} of {total}", done / max(1, total), log)
    if result is not None and int(result[1]) == ungrouped(result[2]):
        return SegmentView("finished", "Finished", 1.0, log)
    if result is not None and int(result[1]):
        return SegmentView("incomplete", "Some images failed", None, log, error_message(log))
    if record.stopped:
        return SegmentView("stopped", "Stopped", None, log)
    return SegmentView("failed", "Ended with an error", None, log, error_message(log))


def open_segmentation(guard: Guard, folder: Path) -> SegmentedImages:
    """Open the label images of a prediction.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the results.

    Raises
    ------
    UserError
        ``gui.outside``; ``data.no_images``: the folder contains no label image.
    """
    record = read_prediction(guard, folder)
    folder = guard.check_entries(folder)
    with captured_messages():
        sources = {source.name: source for source in find_sources(folder)}
    return SegmentedImages(guard, folder, guard.check(record.images), record.channel, sources)


def find_segmentations(guard: Guard) -> list[Path]:
    """Return folders with predictions that the interface started, the most recent first."""
    folders = {path for root in guard.roots for path in _walk(root) if guard.allows(path)}
    return sorted(folders, key=_changed, reverse=True)


def _changed(folder: Path) -> float:
    with suppress(OSError):
        return (folder / RECORD).lstat().st_mtime
    return 0.0


def _walk(root: Path) -> Iterator[Path]:
    for count, (name, folders, files) in enumerate(os.walk(root)):
        if RECORD in files:
            yield Path(name)
        depth = len(Path(name).relative_to(root).parts)
        if depth >= _MAX_DEPTH or count > _MAX_FOLDERS or name.endswith(".zarr"):
            folders.clear()
        folders[:] = sorted(name for name in folders if name[0] != ".")
