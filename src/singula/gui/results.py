"""A run's images with instances, truth and measurements, as the Results page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.evaluate.summary import MEAN
from singula.gui.guard import Guard
from singula.gui.pictures import Scene
from singula.report.run_files import RunFiles, Stage, open_run, rank_images, reference_threshold
from singula.report.sources import Sources, open_sources
from singula.words import counted

Array = npt.NDArray[Any]


@dataclass
class Results:
    """What a finished run left, opened.

    Parameters
    ----------
    files : RunFiles
    sources : Sources
    stages : list of Stage
        Kinds of instances: as decoded, post-processed.
    """

    files: RunFiles
    sources: Sources
    stages: list[Stage]

    def names(self, stage: Stage) -> list[str]:
        """Images, the worst first where they were scored."""
        there = self.files.instance_files(stage)
        scored = [name for name in rank_images(self.files.scores, stage.key) if name in there]
        return [*scored, *(name for name in there if name not in scored)]

    def words(self, stage: Stage) -> str:
        """What a stage is called."""
        return self.files.stage_label(stage) or "instances"

    def score(self, stage: Stage, image: str | None = None) -> dict[str, float]:
        """Scores of an image, or means of all, at the reference threshold; empty without truth."""
        threshold = reference_threshold(self.files.scores.thresholds(stage.key))
        row = self.files.scores.row(stage.key, image or MEAN, threshold)
        found = {k: v for k, v in row.items() if v is not None}
        return {"threshold": threshold, **found} if found and threshold is not None else {}

    def scene(self, name: str, stage: Stage) -> Scene:
        """The image with everything that lies on it.

        Raises
        ------
        UserError
            The instances cannot be read.
        """
        found = self.sources.instances(name, stage)
        if found is None:
            reason = self.sources.notes[-1] if self.sources.notes else "there is no such file"
            raise UserError(f"{name}: its instances cannot be shown: {reason}")
        labels = {"instances": found.array[..., 0]}
        raw, truth = self.sources.raw(name, stage), self.sources.truth(name, stage)
        shape = labels["instances"].shape
        if truth is not None and truth.shape[:-1] == shape:
            labels["truth"] = truth[..., 0]
        fits = raw is not None and raw.array.shape[:-1] == shape
        if raw is not None and not fits:
            self.sources.note(f"{name}: the image differs in shape from its instances")
        threshold = reference_threshold(self.files.scores.thresholds(stage.key))
        return Scene(raw.array if raw is not None and fits else None, labels, threshold or 0.5)

    def table(self, name: str, stage: Stage) -> tuple[list[str], list[dict[str, float | None]]]:
        """Columns and rows of the measurements of all instances of an image, as exported."""
        from singula.exports.source import Instances, instance_classes
        from singula.exports.tables import instance_table

        found = self.sources.instances(name, stage)
        if found is None:
            return [], []
        labels, *classes = np.moveaxis(found.array, -1, 0)
        kinds = instance_classes(labels, classes[0]) if classes else None
        measured = instance_table(Instances(name, labels, kinds, found.spacing, found.unit))
        rows = [{str(k): _plain(v) for k, v in row.items()} for row in measured.to_dict("records")]
        return [str(column) for column in measured.columns], rows


def open_results(folder: Path, guard: Guard) -> Results:
    """Open a finished run.

    Images that its configuration takes from outside the roots are not shown.

    Raises
    ------
    UserError
        The folder lies outside, or is no finished run's.
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
            f"{counted(len(refused), 'image')} outside the folders that this interface may "
            "open: not "
            "shown; start it with --root FOLDER for theirs too"
        )
    return Results(files, sources, files.stages())


def _check_files(files: RunFiles, guard: Guard) -> None:
    """See that no folder or link among the results leads outside."""
    tree = files.tree
    views = {stage.view for stage in files.stages()}
    folders = [folder(view) for view in views for folder in (tree.instances, tree.predictions)]
    folders += [tree.post_processed(view) for view in views]
    for folder in (tree.run, tree.train_logs, *folders):
        guard.check(folder)
        for path in folder.glob("*"):
            guard.check(path)


def _plain(value: Any) -> float | None:
    """A number as the browser takes it: whole where it is, None for none."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.4g}") if np.isfinite(value) else None
