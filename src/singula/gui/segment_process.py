"""Run `singula predict` in a separate process: start, wait, stop, and progress."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.job_queue import JobKind, Queue
from singula.gui.processes import alive, error_message, interrupt, write_output
from singula.gui.run_search import PREDICTION_QUEUE, PREDICTION_RECORD, RunSearch
from singula.gui.runs import IMAGE, read_start, tail
from singula.gui.segment_models import checked_model
from singula.inference import gather_images
from singula.io.atomic import delete_file, make_folder
from singula.io.formats.table import stem_of
from singula.io.record_files import write_record
from singula.io.records.results import QueuedPrediction, StartedPrediction
from singula.io.run_lock import check_free, output_locks
from singula.util.format import GROUPED, ungrouped
from singula.util.free_names import free_name

RECORD, OUTPUT, QUEUE = PREDICTION_RECORD, "gui_predict.log", PREDICTION_QUEUE
State = Literal["waiting", "running", "finished", "incomplete", "stopped", "failed"]
_RESULT = re.compile(rf"^(\d+) of ({GROUPED}) images?: ", re.MULTILINE)
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
    return free_name(guard.home, name)


def propose_images(guard: Guard, images: Path) -> str:
    """Return a folder in which the user may choose other images, as text for the form.

    It is the folder of a segmented image, or the parent of a segmented folder, which often contains
    folders of similar images; empty if this is not a folder inside of a root.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    images : Path
        Image or folder of images that was segmented.
    """
    folder = images.parent
    is_inside = folder not in guard.roots and guard.allows(folder) and folder.is_dir()
    return guard.short(folder) if is_inside else ""


def start_segmentation(
    guard: Guard, queue: Queue, *, images: str, output: str, model: str, channel: str = ""
) -> Path:
    """Start ``singula predict`` and return the folder of the results.

    If another job is in progress, the prediction waits for it.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    queue : Queue
        Queue of the interface.
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
    return _submit(queue, folder, record, resume=False)


def resume_segmentation(guard: Guard, queue: Queue, folder: Path) -> Path:
    """Continue a prediction: images with results are skipped.

    Parameters
    ----------
    guard, queue
        As for `start_segmentation`.
    folder : Path
        Folder of the results.

    Raises
    ------
    UserError
        As for `start_segmentation` and `read_prediction`.
    """
    return _submit(queue, folder, _checked(guard, folder), resume=True)


def _checked(guard: Guard, folder: Path) -> StartedPrediction:
    """Return the record of a prediction, if its model and images may be read."""
    record = read_prediction(guard, folder)
    checked_model(guard, record.model)  # others may have written the record
    guard.check_below([*gather_images([guard.check(record.images)]), folder])
    return record


def _submit(queue: Queue, folder: Path, record: StartedPrediction, *, resume: bool) -> Path:
    with queue.processes.starting:
        _check_free(folder)
        make_folder(folder)
        queued = QueuedPrediction(queued=time.time(), resume=resume)
        start = partial(_start, queue, folder, record, resume=resume)
        queue.submit(PREDICTION, folder, queued, start)
        if PREDICTION.queued(folder) is not None and not resume:
            write_record(folder / RECORD, record)  # its page exists while it waits
    return folder


def _check_free(folder: Path) -> None:
    if PREDICTION.is_running(folder):
        raise UserError(
            f"{folder.name}: a prediction is already running", "wait for it", "run.locked"
        )
    check_free(output_locks(folder))


def _start(queue: Queue, folder: Path, record: StartedPrediction, *, resume: bool) -> None:
    arguments = ["predict", "--output", str(folder), record.images]
    arguments += ["--resume"] if resume else []
    # With =, values that begin with - are not options.
    arguments += [f"--model={record.model}"] if record.model else []
    arguments += [f"--channel={record.channel}"] if record.channel else []
    started = queue.processes.start(arguments, folder / OUTPUT)
    write_record(folder / RECORD, record.model_copy(update=dict(started)))


class PredictionJobs(JobKind):
    """Predictions with a built-in model or the model of a run."""

    noun, page = "segmentation", "segment"
    queue_file, queued_record = QUEUE, QueuedPrediction
    written_files = (RECORD,)

    def folders(self, search: RunSearch) -> Iterable[Path]:
        """Return the folders of predictions."""
        return search.predictions

    def is_running(self, folder: Path) -> bool:
        """Return True if a prediction of the interface is in progress."""
        return alive(read_start(folder / RECORD, StartedPrediction), folder / OUTPUT) is not None

    def start(self, queue: Queue, folder: Path, queued: QueuedPrediction) -> None:
        """Check a waiting prediction again, and start it."""
        record = _checked(queue.guard, folder)
        _check_free(folder)
        _start(queue, folder, record, resume=queued.resume)

    def record_failure(self, folder: Path, queued: QueuedPrediction, log: str) -> None:
        """Write log and record of a prediction that could not start."""
        write_output(folder / OUTPUT, log)
        record = read_start(folder / RECORD, StartedPrediction)
        if record is not None:  # it may have been stopped before
            write_record(folder / RECORD, record.model_copy(update={"stopped": False}))

    def on_remove(self, folder: Path, queued: QueuedPrediction) -> None:
        """Delete the record of a prediction that has not started before."""
        if not queued.resume:
            delete_file(folder / RECORD)


PREDICTION = PredictionJobs()


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
    if PREDICTION.queued(folder) is not None:
        return SegmentView("waiting", "Starts when the jobs before it have ended", None, log)
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


def watch_segmentation(queue: Queue, folder: Path) -> SegmentView:
    """Read state and progress of a prediction, and its place in the queue.

    Parameters
    ----------
    queue : Queue
        Queue of the interface.
    folder : Path
        Folder of the results.

    Raises
    ------
    UserError
        As for `read_prediction`.
    """
    # When a prediction starts, its record is replaced before it leaves the queue.
    is_waiting = PREDICTION.queued(folder) is not None
    view = view_segmentation(folder, read_prediction(queue.guard, folder))
    if is_waiting or view.state == "waiting":
        return SegmentView("waiting", queue.describe(PREDICTION, folder), None, view.log)
    error = queue.error(PREDICTION, folder)
    return replace(view, state="failed", error=error) if error and not view.error else view
