"""Sizes, shapes, classes, splits and merges of all objects of the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.labels import count_instances
from singula.labels.overlap import annotated_part
from singula.measure import measure_instances
from singula.metrics import overlap, splits
from singula.runs.images import RunImages
from singula.runs.instances import Instances
from singula.runs.run import Run, Stage

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
    images: RunImages, stages: Sequence[Stage], measured: Stage
) -> dict[str, Objects]:
    """Count and measure the objects of all images; each ground truth is read once.

    Parameters
    ----------
    images : RunImages
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
        names = dict.fromkeys(n for stage in of_view for n in images.run.instance_files(stage))
        for name in names:
            truth, is_read = None, False
            for stage in of_view:
                pred = images.instances(name, stage)
                if pred is None:
                    continue
                if not is_read:
                    truth, is_read = images.truth(name, stage, pred.labels.shape), True
                if images.window(name) is None:
                    objects[stage.key].images[name] = _count(truth, pred)
                else:
                    objects[stage.key].images[name] = _facts_from_tables(images.run, stage, name)
                if stage == measured:
                    _measure(objects[stage.key], truth, pred)
    return objects


def _facts_from_tables(run: Run, stage: Stage, name: str) -> ImageFacts:
    """Return the counts in the tables of the run, for an image too large to read."""
    thresholds = run.scores.thresholds(stage.key)
    row = run.scores.row(stage.key, name, thresholds[0]) if thresholds else {}
    scores = {key: int(value) for key, value in row.items() if value is not None}
    if not {"tp", "fp", "fn"} <= scores.keys():
        return ImageFacts(run.test.instances.get(name, 0))
    return ImageFacts(scores["tp"] + scores["fp"], scores["tp"] + scores["fn"])


def _count(truth: Instances | None, pred: Instances) -> ImageFacts:
    if truth is None:
        return ImageFacts(count_instances(pred.labels))
    whole = overlap(truth.sparse_labels, pred.labels)
    if not whole.is_annotated:
        return ImageFacts(count_instances(pred.labels))
    table = annotated_part(whole)
    cut = splits(table)
    return ImageFacts(
        n_pred=len(np.unique(table.pred[table.pred > 0])),
        n_true=len(np.unique(table.true[table.true > 0])),
        split=len(cut.split),
        merging=len(cut.merging),
    )


def _measure(objects: Objects, truth: Instances | None, pred: Instances) -> None:
    sides = [(objects.pred, objects.pred_classes, pred)]
    if truth is not None:
        sides.append((objects.truth, objects.true_classes, truth))
    for columns, classes, item in sides:
        table = measure_instances(np.ascontiguousarray(item.labels), spacing=pred.spacing)
        for column in shape_columns(item.ndim):
            columns.setdefault(column, []).append(table[column].to_numpy(np.float64))
        for kind in (item.classes or {}).values():
            classes[kind] = classes.get(kind, 0) + 1
