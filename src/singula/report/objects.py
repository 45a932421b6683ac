"""Every object of the test set: sizes, shapes, classes, and who was split or merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.evaluate import overlap, splits
from singula.measure import measure
from singula.postprocess import count_instances
from singula.report.run_files import RunFiles, Stage
from singula.report.sources import Sources

Array = npt.NDArray[Any]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImageFacts:
    """Objects of an image; counts of the truth are None where there is none."""

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
    truth, pred : dict of str to list of arrays
        Measured column → values, an array for each image; only of the stage that is measured.
    true_classes, pred_classes : dict of int to int
        Class → number of objects.
    """

    images: dict[str, ImageFacts] = field(default_factory=dict)
    truth: dict[str, list[Values]] = field(default_factory=dict)
    pred: dict[str, list[Values]] = field(default_factory=dict)
    true_classes: dict[int, int] = field(default_factory=dict)
    pred_classes: dict[int, int] = field(default_factory=dict)

    def total(self, name: str) -> int | None:
        """Sum over the images that have the number; None where none has."""
        values = [getattr(facts, name) for facts in self.images.values()]
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    def values(self, side: str, column: str) -> Values:
        """A measured column of all images together, without what has no value."""
        parts: list[Values] = getattr(self, side).get(column, [])
        joined = np.concatenate(parts) if parts else np.zeros(0)
        return joined[np.isfinite(joined)]


def shape_columns(ndim: int) -> tuple[str, ...]:
    """What is measured of each object."""
    return ("npixels", "diameter", "circularity" if ndim == 2 else "sphericity")


def survey_objects(
    files: RunFiles, sources: Sources, stages: Sequence[Stage], measured: Stage
) -> dict[str, Objects]:
    """Go once through the images, all stages of an image together.

    Parameters
    ----------
    files : RunFiles
    sources : Sources
    stages : sequence of Stage
    measured : Stage
        The one whose objects are measured, and the truth with them.

    Returns
    -------
    dict of str to Objects
        By the stage's key.
    """
    found = {stage.key: Objects() for stage in stages}
    for view in dict.fromkeys(stage.view for stage in stages):
        own = [stage for stage in stages if stage.view == view]
        names = dict.fromkeys(name for stage in own for name in files.instance_files(stage))
        for name in names:
            truth = sources.truth(name, own[0])
            for stage in own:
                image = sources.instances(name, stage)
                if image is None:
                    continue
                pred = image.array
                if truth is not None and truth.shape[:-1] != pred.shape[:-1]:
                    sources.note(
                        f"{name}: the truth is of shape {truth.shape[:-1]} and the instances of "
                        f"{pred.shape[:-1]}; they are not compared here"
                    )
                fits = truth is not None and truth.shape[:-1] == pred.shape[:-1]
                if sources.window(name) is None:
                    _add(found[stage.key], name, truth if fits else None, pred)
                else:
                    found[stage.key].images[name] = _counted(files, stage, name)
                if stage == measured:
                    _measure(found[stage.key], truth if fits else None, pred, image.spacing)
    return found


def _counted(files: RunFiles, stage: Stage, name: str) -> ImageFacts:
    """What the tables say of an image of which only a part is looked at."""
    thresholds = files.scores.thresholds(stage.key)
    row = files.scores.row(stage.key, name, thresholds[0]) if thresholds else {}
    known = {key: int(value) for key, value in row.items() if value is not None}
    test = files.summary.test
    counted = test.instances if test is not None else {}
    if not {"tp", "fp", "fn"} <= known.keys():
        return ImageFacts(int(counted.get(name, 0)))
    return ImageFacts(known["tp"] + known["fp"], known["tp"] + known["fn"])


def _add(objects: Objects, name: str, truth: Array | None, pred: Array) -> None:
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
    """The class of each object: the most frequent of its pixels' classes but background."""
    table = overlap(ids, classes)
    best: dict[int, tuple[int, int]] = {}
    rows = zip(table.true.tolist(), table.pred.tolist(), table.pixels.tolist(), strict=True)
    for number, kind, pixels in rows:
        if number:
            best[number] = max(best.get(number, (0, 0)), (pixels if kind else 0, -kind))
    return [-kind for _, kind in best.values()]
