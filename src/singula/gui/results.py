"""Images, instances, ground truth and measurements of a run, for the Results page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.pictures import Scene
from singula.io.pair import Pair
from singula.metrics.summary import MEAN
from singula.report.maps import stored_maps
from singula.runs.corrections import FOLDER, CorrectedFiles, corrected_instances
from singula.runs.images import RunImages, open_images
from singula.runs.instances import Instances
from singula.runs.run import Run, Stage, open_run
from singula.util.format import counted
from singula.util.messages import captured_messages

Array = npt.NDArray[Any]
Calibration = tuple[tuple[float, ...] | None, str]
Table = tuple[list[str], list[dict[str, float | None]]]


@dataclass(frozen=True)
class ShownObjects:
    """Image with its objects and their table.

    Parameters
    ----------
    scene : Scene
        Image and labels.
    table : Table
        Columns and rows of the measurements.
    is_corrected : bool
        True if the corrected objects are shown.
    has_corrections : bool
        True if there are corrections, which may not be shown.
    """

    scene: Scene
    table: Table
    is_corrected: bool
    has_corrections: bool

    def title(self, name: str) -> str:
        """Return the title of the picture of an image."""
        return f"{name} with its {'corrected ' if self.is_corrected else ''}objects"

    @property
    def count(self) -> tuple[str, str]:
        """Title and number of the objects."""
        title = "Objects after correction" if self.is_corrected else "Objects found"
        return title, str(len(self.table[1]))


@dataclass
class Results:
    """Results of a finished run.

    Parameters
    ----------
    run : Run
        The run.
    images : RunImages
        Raw images, ground truth and instances by image name.
    """

    run: Run
    images: RunImages

    def score(self, stage: Stage, image: str | None = None) -> dict[str, float]:
        """Return the scores at the reference threshold; empty without annotated pixels.

        Parameters
        ----------
        stage : Stage
            Stage of the instances.
        image : str, optional
            Name of the image; by default, the mean over all images.
        """
        threshold = self.run.threshold(stage)
        row = self.run.scores.row(stage.key, image or MEAN, threshold)
        scores = {name: value for name, value in row.items() if value is not None}
        if not scores or threshold is None:
            return {}
        return {"threshold": threshold, **scores}

    def instances(self, name: str, stage: Stage) -> Instances:
        """Return the instances of an image.

        Raises
        ------
        UserError
            ``gui.unreadable_instances``: the instances cannot be read.
        """
        instances = self.images.instances(name, stage)
        if instances is None:
            reason = self.images.notes[-1] if self.images.notes else "the file is missing"
            raise UserError(
                f"{name}: the instances cannot be read: {reason}",
                "choose another image, or test again",
                "gui.unreadable_instances",
            )
        return instances

    def corrected(self, name: str, stage: Stage, predicted: Instances) -> Instances | None:
        """Return the corrected instances of an image; None without corrections of them.

        Parameters
        ----------
        name : str
            Name of the image.
        stage : Stage
            Stage of the instances.
        predicted : Instances
            Predicted instances.
        """
        if self.images.window(name) is not None:
            return None
        files = CorrectedFiles(self.run.instance_files(stage)[name], name)
        return corrected_instances(files, predicted, self.images.note)

    def scene(
        self, name: str, stage: Stage, instances: Array, calibration: Calibration = (None, "px")
    ) -> Scene:
        """Return an image with its ground truth, the given instances and the network's maps.

        Parameters
        ----------
        name : str
            Name of the image.
        stage : Stage
            Stage of the instances.
        instances : ndarray of int
            Label image, (y, x) or (z, y, x).
        calibration : tuple
            Pixel size along each axis, or None, and its unit.
        """
        labels = {"instances": instances}
        truth = self.images.truth(name, stage, instances.shape)
        if truth is not None:
            labels["truth"] = truth.labels
        raw = self.images.raw(name, stage, instances.shape)
        maps = stored_maps(self.run, name, stage, instances.shape)
        spacing, unit = calibration
        threshold = self.run.threshold(stage) or 0.5
        scene = Scene(raw, labels, threshold, maps=maps, spacing=spacing, unit=unit)
        scene.middle_slice()  # in this thread
        return scene


def measurements(instances: Instances) -> Table:
    """Return columns and rows of the measurements of an image, as in the exported table."""
    from singula.exports.tables import instance_table

    measured = instance_table(instances)
    rows = [{str(k): _plain(v) for k, v in row.items()} for row in measured.to_dict("records")]
    return [str(column) for column in measured.columns], rows


def open_results(folder: Path, guard: Guard) -> Results:
    """Open a finished run.

    Raw images, labels and masks outside of the roots are omitted, with a notice.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    guard : Guard
        Folders that the interface may open.

    Raises
    ------
    UserError
        ``gui.outside``: the folder, or a link in it, leads outside of the roots.
        The folder does not contain a finished run.
    """
    with captured_messages() as notices:
        run = open_run(guard.check(folder))
    _check_files(run, guard)
    images = open_images(run)
    for line in notices:
        images.note(line)
    refused = [
        name for name, pair in images.pairs.items() if not all(map(guard.allows, _files_of(pair)))
    ]
    for name in refused:
        del images.pairs[name]
    if refused:
        images.note(
            f"{counted(len(refused), 'image')} not shown: outside the folders that the interface "
            "may open; restart `singula gui` with --root FOLDER for their folders"
        )
    return Results(run, images)


def check_instances(results: Results) -> None:
    """Raise an error if a run has no instances of any image.

    Parameters
    ----------
    results : Results
        Results of the run.

    Raises
    ------
    UserError
        ``gui.no_instances``.
    """
    if not results.run.stages:
        raise UserError(
            f"{results.run.tree.run.name}: has no objects; it was not tested, or they were deleted",
            "run it with TEST.ENABLE: True and a folder of test images",
            "gui.no_instances",
        )


def report_file(folder: Path | str, guard: Guard) -> Path:
    """Return the report of a finished run; it is written first if it is missing.

    A run that is stopped before its report is written has none. Image files that refer to other
    files are not read.

    Parameters
    ----------
    folder : Path or str
        Folder of the run.
    guard : Guard
        Folders that the interface may open.

    Raises
    ------
    UserError
        ``gui.outside``: the folder, or an image of the run, is outside of the roots; the codes of
        `singula.report.build.build_report`.
    """
    folder = guard.check(folder)
    path = guard.check(folder / "report.html")
    if path.is_file():
        return path
    from singula.report.build import build_report

    with captured_messages():
        run = open_run(folder)
        _check_files(run, guard)
        for pair in open_images(run).pairs.values():
            for file in _files_of(pair):
                guard.check(file)
        return build_report(folder, external_files=False)


def _files_of(pair: Pair) -> list[Path]:
    """Return the files of an image as they are read: relative to the current folder."""
    return [file.absolute() for file in (pair.image, pair.label, pair.mask) if file is not None]


def _check_files(run: Run, guard: Guard) -> None:
    """Raise an error if a folder or link in the results leads outside of the roots."""
    tree = run.tree
    views = {stage.view for stage in run.stages}
    folders = [folder(view) for view in views for folder in (tree.instances, tree.predictions)]
    folders += [tree.post_processed(view) for view in views]
    for folder in (tree.run, tree.train_logs, *folders):
        guard.check_entries(folder)
    guard.check_below([folder / FOLDER for folder in folders if (folder / FOLDER).exists()])


def _plain(value: Any) -> float | None:
    """Return a number for JSON: int or a rounded float; None if it is not finite."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.4g}") if np.isfinite(value) else None
