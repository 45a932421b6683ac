"""Compare the results of two runs: weights, training log, label images, tables and scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from singula.io.lazy import open_labels
from singula.io.lazy_array import LazyArray, iter_blocks
from singula.metrics import match_dataset
from singula.metrics.matching import match
from singula.metrics.summary import MEAN, POOLED
from singula.runs.run import Run, Stage
from singula.util.messages import captured_messages

_MAX_PIXELS = 64_000_000  # size of a label image up to which differing instances are matched
_IOU = 0.5
Pairs = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Comparison:
    """Comparison of one kind of result of two runs.

    Parameters
    ----------
    result : str
        Name of the result.
    compared : int
        Number of compared files or values.
    differing : tuple of str
        Names of those that differ or exist in one run only.
    difference : str
        Size of the difference; empty if there is none.
    agreement : float, optional
        F1 between the instances of both runs at an IoU of 0.5; None if they are equal or not label
        images.
    """

    result: str
    compared: int
    differing: tuple[str, ...] = ()
    difference: str = ""
    agreement: float | None = None

    @property
    def verdict(self) -> str:
        """Text for the table."""
        if not self.differing:
            return "identical"
        names = ", ".join(self.differing[:3])
        more = f" and {len(self.differing) - 3} more" if len(self.differing) > 3 else ""
        size = f", {self.difference}" if self.difference else ""
        return f"{len(self.differing)} differ{size} ({names}{more})"


def compare_runs(first: Run, second: Run) -> list[Comparison]:
    """Compare the results of two finished runs; kinds of results that neither has are omitted.

    Parameters
    ----------
    first, second : Run
        The runs. Their files are only read.
    """
    return [
        comparison
        for comparison in (
            *_weights(first, second),
            _history(first, second),
            _instances(first, second),
            *_labels(first, second),
            _tables(first, second),
            _scores(first, second),
        )
        if comparison.compared
    ]


def largest_f1_difference(first: Run, second: Run) -> float | None:
    """Return the largest difference of F1 between two runs; None without scores.

    F1 is compared at each IoU threshold for each kind of prediction, as the mean over images and
    pooled over objects. The result is infinite if only one of the runs has a score.

    Parameters
    ----------
    first, second : Run
        The runs.
    """
    old, new = _data_set_f1(first), _data_set_f1(second)
    if old.keys() != new.keys():
        return math.inf
    return max((abs(value - new[key]) for key, value in old.items()), default=None)


def _data_set_f1(run: Run) -> dict[tuple[str, str, float | None], float]:
    """Return F1 by view, kind of average and IoU threshold."""
    return {
        (view, name, threshold): f1
        for view, images in run.scores.rows.items()
        for name in (MEAN, POOLED)
        for threshold, row in images.get(name, {}).items()
        if (f1 := row.get("f1")) is not None
    }


def _weights(first: Run, second: Run) -> Iterator[Comparison]:
    from singula.training.checkpoint import load_checkpoint

    for title, name in (("best", "checkpoint_best"), ("last", "checkpoint_last")):
        if first.summary.training is None and second.summary.training is None:
            return
        states: list[Mapping[str, Any]] = []
        for run in (first, second):
            path = getattr(run.tree, name)
            states.append(load_checkpoint(path).weights if path.is_file() else {})
        pairs = _pairs(*states)
        differing, max_difference = [], 0.0
        for key, (old, new) in pairs.items():
            if old is None or new is None or old.shape != new.shape:
                differing.append(key)
            elif not (old == new).all():
                differing.append(key)
                max_difference = max(
                    max_difference, float((old.double() - new.double()).abs().max())
                )
        yield Comparison(
            f"weights, {title} checkpoint",
            len(pairs),
            tuple(differing),
            f"at most {max_difference:.2g}",
        )


def _history(first: Run, second: Run) -> Comparison:
    rows = [{f"epoch {row['epoch']:g}": row for row in run.history} for run in (first, second)]
    if first.summary.training is None and second.summary.training is None:
        rows = [{}, {}]
    return _values("training log", _pairs(*rows))


def _instances(first: Run, second: Run) -> Comparison:
    """Compare the number of instances, the thresholds and the error of each test image."""

    def values(run: Run) -> dict[str, dict[str, Any]]:
        test = run.test
        names = [*test.instances, *(name for name in test.failed if name not in test.instances)]
        return {
            name: {
                "instances": test.instances.get(name),
                "failed": name in test.failed,
                **test.thresholds.get(name, {}),
            }
            for name in names
        }

    return _values("number of instances, thresholds", _pairs(values(first), values(second)))


def _labels(first: Run, second: Run) -> Iterator[Comparison]:
    stages = {stage.key: stage for run in (first, second) for stage in run.stages}
    for stage in stages.values():
        pairs = _pairs(first.instance_files(stage), second.instance_files(stage))
        unequal = [
            name for name, (old, new) in pairs.items() if not _is_equal(first, stage, old, new)
        ]
        scores = []
        for name in unequal:
            arrays = _arrays(first, second, stage, name)
            if arrays is not None:
                scores.append([match(*arrays, thresholds=_IOU)])
        agreement = match_dataset(scores)[0].f1 if scores else None
        text = "" if agreement is None else f"F1 between both runs {agreement:.4f}"
        title = f"label images, {stage.key.replace('_', ' ')}"
        yield Comparison(title, len(pairs), tuple(unequal), text, agreement)


def _is_equal(run: Run, stage: Stage, old: Path | None, new: Path | None) -> bool:
    """Return True if two label images have equal ids and classes."""
    if old is None or new is None:
        return False
    ndim = run.ndim_of(stage)
    opened = [open_labels(path, ndim, run.has_classes) for path in (old, new)]
    if opened[0].shape != opened[1].shape:
        return False
    arrays = [LazyArray.of(image) for image in opened]
    return all(np.array_equal(block, arrays[1][box]) for box, block in iter_blocks(arrays[0]))


def _arrays(first: Run, second: Run, stage: Stage, name: str) -> tuple[Any, Any] | None:
    """Return the instances of both runs; None if one is missing or too large for memory."""
    read = []
    for run in (first, second):
        source = run.label_image(name, stage)
        if source is None:
            return None
        if prod(open_labels(source.path, source.ndim, source.classes).spatial_shape) > _MAX_PIXELS:
            return None
        with captured_messages():
            read.append(source.read().labels)
    return (read[0], read[1]) if read[0].shape == read[1].shape else None


def _tables(first: Run, second: Run) -> Comparison:
    """Compare the tables of measurements and of associations."""

    def files(run: Run) -> dict[str, Path]:
        tree = run.tree
        folders = [tree.instance_associations]
        folders += [tree.instances(stage.view) for stage in run.stages]
        folders += [tree.post_processed(stage.view) for stage in run.stages]
        paths = {path for folder in dict.fromkeys(folders) for path in folder.glob("*.csv")}
        return {f"{path.parent.name}/{path.name}": path for path in sorted(paths)}

    pairs = _pairs(files(first), files(second))
    differing = [
        name
        for name, (old, new) in pairs.items()
        if old is None or new is None or old.read_bytes() != new.read_bytes()
    ]
    return Comparison("tables of instances", len(pairs), tuple(differing))


def _scores(first: Run, second: Run) -> Comparison:
    def rows(run: Run) -> dict[str, dict[str, float | None]]:
        return {
            f"{view} {image}" + ("" if threshold is None else f" at {threshold:g}"): row
            for view, images in run.scores.rows.items()
            for image, by_threshold in images.items()
            for threshold, row in by_threshold.items()
        }

    return _values("scores, metrics.csv", _pairs(rows(first), rows(second)))


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Pairs:
    """Return the values of both runs by name; None for a value that a run does not have."""
    names = [*first, *(name for name in second if name not in first)]
    return {name: (first.get(name), second.get(name)) for name in names}


def _values(title: str, pairs: Pairs) -> Comparison:
    """Compare rows of numbers, and report the largest difference of a column."""
    differing, max_difference, column = [], 0.0, ""
    for name, (old, new) in pairs.items():
        if old is not None and new is not None and _is_same(old, new):
            continue
        differing.append(name)
        for key, (a, b) in _pairs(old or {}, new or {}).items():
            if a is not None and b is not None and abs(a - b) > max_difference:
                max_difference, column = abs(a - b), key
    text = f"{column} by at most {max_difference:.2g}" if column else ""
    return Comparison(title, len(pairs), tuple(differing), text)


def _is_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return True if two rows have equal values; NaN equals NaN."""
    if old.keys() != new.keys():
        return False
    return all(a == b or (a != a and b != b) for a, b in ((old[k], new[k]) for k in old))
