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
from singula.metrics.summary import MEAN
from singula.runs.run_files import RunFiles, Stage, open_run, rank_images, reference_threshold
from singula.runs.sources import Sources, open_sources
from singula.util.format import counted

Array = npt.NDArray[Any]


@dataclass
class Results:
    """Results of a finished run.

    Parameters
    ----------
    files : RunFiles
        Files in the folder of the run.
    sources : Sources
        Raw images, ground truth and instances by image name.
    stages : list of Stage
        Stages of the instances: decoded, post-processed.
    """

    files: RunFiles
    sources: Sources
    stages: list[Stage]

    def names(self, stage: Stage) -> list[str]:
        """Return the names of the images, the worst score first, then images without scores."""
        files = self.files.instance_files(stage)
        scored = [name for name in rank_images(self.files.scores, stage.key) if name in files]
        return [*scored, *(name for name in files if name not in scored)]

    def stage_label(self, stage: Stage) -> str:
        """Return the name of a stage for pages."""
        return self.files.stage_label(stage) or "instances"

    def score(self, stage: Stage, image: str | None = None) -> dict[str, float]:
        """Return the scores at the reference threshold; empty without ground truth.

        Parameters
        ----------
        stage : Stage
            Stage of the instances.
        image : str, optional
            Name of the image; by default, the mean over all images.
        """
        threshold = reference_threshold(self.files.scores.thresholds(stage.key))
        row = self.files.scores.row(stage.key, image or MEAN, threshold)
        scores = {name: value for name, value in row.items() if value is not None}
        if not scores or threshold is None:
            return {}
        return {"threshold": threshold, **scores}

    def scene(self, name: str, stage: Stage) -> Scene:
        """Return an image with its instances and ground truth.

        Parameters
        ----------
        name : str
            Name of the image.
        stage : Stage
            Stage of the instances.

        Raises
        ------
        UserError
            ``gui.unreadable_instances``: the instances cannot be read.
        """
        instances = self.sources.instances(name, stage)
        if instances is None:
            reason = self.sources.notes[-1] if self.sources.notes else "the file is missing"
            raise UserError(
                f"{name}: the instances cannot be read: {reason}",
                "choose another image, or test again",
                "gui.unreadable_instances",
            )
        labels = {"instances": instances.array[..., 0]}
        raw, truth = self.sources.raw(name, stage), self.sources.truth(name, stage)
        shape = labels["instances"].shape
        if truth is not None and truth.shape[:-1] == shape:
            labels["truth"] = truth[..., 0]
        fits = raw is not None and raw.array.shape[:-1] == shape
        if raw is not None and not fits:
            self.sources.note(f"{name}: image and instances differ in shape")
        threshold = reference_threshold(self.files.scores.thresholds(stage.key))
        return Scene(raw.array if raw is not None and fits else None, labels, threshold or 0.5)

    def table(self, name: str, stage: Stage) -> tuple[list[str], list[dict[str, float | None]]]:
        """Return columns and rows of the measurements of an image, as in the exported table.

        Parameters
        ----------
        name : str
            Name of the image.
        stage : Stage
            Stage of the instances.
        """
        from singula.exports.tables import instance_table
        from singula.runs.labels_of import Instances, instance_classes

        stored = self.sources.instances(name, stage)
        if stored is None:
            return [], []
        labels, *classes = np.moveaxis(stored.array, -1, 0)
        kinds = instance_classes(labels, classes[0]) if classes else None
        measured = instance_table(Instances(name, labels, kinds, stored.spacing, stored.unit))
        rows = [{str(k): _plain(v) for k, v in row.items()} for row in measured.to_dict("records")]
        return [str(column) for column in measured.columns], rows


def open_results(folder: Path, guard: Guard) -> Results:
    """Open a finished run.

    Raw images and labels outside of the roots are omitted, with a notice.

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
    notices: list[str] = []
    files = open_run(guard.check(folder), notices.append)
    _check_files(files, guard)
    sources = open_sources(files)
    for line in notices:
        sources.note(line)
    refused = [
        name
        for name, pair in sources.pairs.items()
        if not all(guard.allows(path) for path in (pair.image, pair.label) if path is not None)
    ]
    for name in refused:
        del sources.pairs[name]
    if refused:
        sources.note(
            f"{counted(len(refused), 'image')} not shown: outside the folders that the interface "
            "may open; restart `singula gui` with --root FOLDER for their folders"
        )
    return Results(files, sources, files.stages())


def _check_files(files: RunFiles, guard: Guard) -> None:
    """Raise an error if a folder or link in the results leads outside of the roots."""
    tree = files.tree
    views = {stage.view for stage in files.stages()}
    folders = [folder(view) for view in views for folder in (tree.instances, tree.predictions)]
    folders += [tree.post_processed(view) for view in views]
    for folder in (tree.run, tree.train_logs, *folders):
        guard.check(folder)
        for path in folder.glob("*"):
            guard.check(path)


def _plain(value: Any) -> float | None:
    """Return a number for JSON: int or a rounded float; None if it is not finite."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.4g}") if np.isfinite(value) else None
