"""Sizes, shapes, classes, splits and merges of all objects of the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.labels import count_instances
from singula.measure import measure
from singula.metrics import overlap, splits
from singula.runs.run_files import RunFiles, Stage
from singula.runs.sources import Sources

Array = npt.NDArray[Any]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImageFacts:
    """Counts of the objects of an image.

    Parameters
    ----------
    n_pred : int
        Number of predicted objects.
    n_true : int, optional
        Number of true objects; None without ground truth.
    split : int, optional
        Number of true objects that are split.
    merging : int, optional
        Number of predicted objects that merge true objects.
    """

    n_pred: int
    n_true: int | None = None
    split: int | None = None
    merging: int | None = None


@dataclass
class Objects:
    """Objects of a stage.

    Parameters
    ----------
    images : dict of str to ImageFacts
        Counts of each image.
    truth, pred : dict of str to list of ndarray
        For each measurement, an array of values for each image; empty unless the stage is measured.
    true_classes, pred_classes : dict of int to int
        Number of objects of each class.
    """

    images: dict[str, ImageFacts] = field(default_factory=dict)
    truth: dict[str, list[Values]] = field(default_factory=dict)
    pred: dict[str, list[Values]] = field(default_factory=dict)
    true_classes: dict[int, int] = field(default_factory=dict)
    pred_classes: dict[int, int] = field(default_factory=dict)

    def total(self, name: str) -> int | None:
        """Return the sum of a count over all images; None if no image has it."""
        values = [getattr(facts, name) for facts in self.images.values()]
        counts = [value for value in values if value is not None]
        return sum(counts) if counts else None

    def values(self, side: str, column: str) -> Values:
        """Return the finite values of a measurement over all images."""
        parts: list[Values] = getattr(self, side).get(column, [])
        joined = np.concatenate(parts) if parts else np.zeros(0)
        return joined[np.isfinite(joined)]


def shape_columns(ndim: int) -> tuple[str, ...]:
    """Return the names of the measurements of objects."""
    return ("npixels", "diameter", "circularity" if ndim == 2 else "sphericity")


def survey_objects(
    files: RunFiles, sources: Sources, stages: Sequence[Stage], measured: Stage
) -> dict[str, Objects]:
    """Count and measure the objects of all images; each ground truth is read once.

    Parameters
    ----------
    files : RunFiles
        Files of the run.
    sources : Sources
        Images, ground truth and instances.
    stages : sequence of Stage
        Stages whose objects are counted.
    measured : Stage
        Stage whose objects are measured, together with the ground truth.

    Returns
    -------
    dict of str to Objects
        Objects of each stage, by its key.
    """
    objects = {stage.key: Objects() for stage in stages}
    for view in dict.fromkeys(stage.view for stage in stages):
        of_view = [stage for stage in stages if stage.view == view]
        names = dict.fromkeys(name for stage in of_view for name in files.instance_files(stage))
        for name in names:
            truth = sources.truth(name, of_view[0])
            for stage in of_view:
                image = sources.instances(name, stage)
                if image is None:
                    continue
                pred = image.array
                if truth is not None and truth.shape[:-1] != pred.shape[:-1]:
                    sources.note(
                        f"{name}: the ground truth has shape {truth.shape[:-1]} and the instances "
                        f"have shape {pred.shape[:-1]}; they are not compared"
                    )
                fits = truth is not None and truth.shape[:-1] == pred.shape[:-1]
                if sources.window(name) is None:
                    _count(objects[stage.key], name, truth if fits else None, pred)
                else:
                    objects[stage.key].images[name] = _facts_from_tables(files, stage, name)
                if stage == measured:
                    _measure(objects[stage.key], truth if fits else None, pred, image.spacing)
    return objects


def _facts_from_tables(files: RunFiles, stage: Stage, name: str) -> ImageFacts:
    """Return the counts in the tables of the run, for an image too large to read."""
    thresholds = files.scores.thresholds(stage.key)
    row = files.scores.row(stage.key, name, thresholds[0]) if thresholds else {}
    scores = {key: int(value) for key, value in row.items() if value is not None}
    test = files.summary.test
    counted = test.instances if test is not None else {}
    if not {"tp", "fp", "fn"} <= scores.keys():
        return ImageFacts(int(counted.get(name, 0)))
    return ImageFacts(scores["tp"] + scores["fp"], scores["tp"] + scores["fn"])


def _count(objects: Objects, name: str, truth: Array | None, pred: Array) -> None:
    ids = pred[..., 0]
    if truth is None:
        objects.images[name] = ImageFacts(count_instances(ids))
        return
    table = overlap(truth[..., 0], ids)
    cut = splits(table)
    objects.images[name] = ImageFacts(
        n_pred=len(np.unique(table.pred[table.pred > 0])),
        n_true=len(np.unique(table.true[table.true > 0])),
        split=len(cut.split),
        merging=len(cut.merging),
    )


def _measure(
    objects: Objects, truth: Array | None, pred: Array, spacing: tuple[float, ...] | None
) -> None:
    sides = [(objects.pred, objects.pred_classes, pred)]
    if truth is not None:
        sides.append((objects.truth, objects.true_classes, truth))
    for columns, classes, labels in sides:
        ids = np.ascontiguousarray(labels[..., 0])
        table = measure(ids, spacing=spacing)
        for column in shape_columns(ids.ndim):
            columns.setdefault(column, []).append(table[column].to_numpy(np.float64))
        if labels.shape[-1] > 1:
            for number in _classes(ids, labels[..., 1]):
                classes[number] = classes.get(number, 0) + 1


def _classes(ids: Array, classes: Array) -> list[int]:
    """Return the class of each object: the most frequent nonzero class of its pixels."""
    table = overlap(ids, classes)
    best: dict[int, tuple[int, int]] = {}
    rows = zip(table.true.tolist(), table.pred.tolist(), table.pixels.tolist(), strict=True)
    for number, kind, pixels in rows:
        if number:
            best[number] = max(best.get(number, (0, 0)), (pixels if kind else 0, -kind))
    return [-kind for _, kind in best.values()]
