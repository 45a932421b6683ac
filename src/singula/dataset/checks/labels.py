"""Inspection of the objects of one label image: components, holes, sizes, classes, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.checks.correct import Corrected
from singula.dataset.checks.findings import MAX_PLACES, Place
from singula.dataset.facts import Objects
from singula.dataset.facts.objects import survey_objects
from singula.labels.index import Survey, survey
from singula.metrics import overlap
from singula.util.format import counted

Array = npt.NDArray[Any]
_MAX_MASK_IDS, _MIN_MASK_PIECES = 4, 4


@dataclass(frozen=True, eq=False)
class LabelMeasurements:
    """Measurements of one label image.

    Parameters
    ----------
    index : Survey
        Positions of the instances by row number.
    objects : Objects
        Measurements of the instances.
    rows : ndarray of int
        Row number of each instance in `objects`.
    semantic : bool
        The labels are a mask: few ids, each with many connected components.
    """

    index: Survey
    objects: Objects
    rows: npt.NDArray[np.int64]
    semantic: bool

    def places(self, selected: Array) -> tuple[Place, ...]:
        """Return the positions of the first objects selected by a mask."""
        rows = self.rows[selected][:MAX_PLACES]
        index = self.index
        return tuple(
            Place(int(number), tuple(low), tuple(high))
            for number, low, high in zip(
                index.ids[rows], index.low[rows].tolist(), index.high[rows].tolist(), strict=True
            )
        )


def measure_labels(ids: Array, *, is_mask: bool = False) -> LabelMeasurements:
    """Measure a label image for its findings, in linear time.

    Parameters
    ----------
    ids : ndarray of unsigned int, (y, x) or (z, y, x)
        Label image.
    is_mask : bool
        The file contains bools, which cannot be ids.
    """
    index = survey(ids)
    objects = survey_objects(ids)
    rows = np.flatnonzero(index.npixels)
    return LabelMeasurements(index, objects, rows, looks_semantic(objects, is_mask=is_mask))


def looks_semantic(objects: Objects, *, is_mask: bool = False) -> bool:
    """Return True if ids are classes: up to four ids, each with four connected components or more.

    For one id of 255, or in a file of bools, two connected components are enough.
    """
    if not 0 < len(objects) <= _MAX_MASK_IDS:
        return False
    single = len(objects) == 1 and (is_mask or int(objects.ids[0]) == 255)
    return bool((objects.pieces >= (2 if single else _MIN_MASK_PIECES)).all())


@dataclass(frozen=True)
class Issue:
    """A finding without its file; see `Finding` for the parameters.

    Parameters
    ----------
    kind, text : str
        Kind and description.
    count : int
        Number of objects.
    where : tuple of Place
        Positions of objects.
    fixable : bool
        A corrected copy does not have the finding.
    severity, suggestion : str, optional
        Severity and remedy if they differ from those of the kind.
    """

    kind: str
    text: str
    count: int = 1
    where: tuple[Place, ...] = ()
    fixable: bool = False
    severity: str | None = None
    suggestion: str | None = None


def find_object_issues(
    measured: LabelMeasurements, smallest: int, patch: Sequence[int] | None
) -> list[Issue]:
    """Find masks, disconnected ids, tiny and large objects, holes, and empty labels.

    Parameters
    ----------
    measured : LabelMeasurements
        Measurements of the labels.
    smallest : int
        Minimum number of pixels of an object; smaller objects are tiny.
    patch : sequence of int, optional
        Spatial shape of a patch.
    """
    objects = measured.objects
    if not len(objects):
        return [Issue("empty", "no objects")]
    if measured.semantic:
        values = ", ".join(str(number) for number in objects.ids.tolist())
        pieces = int(objects.pieces.sum())
        text = (
            f"the only value{'s' if len(objects) > 1 else ''} {values} in "
            f"{counted(pieces, 'place')}"
        )
        is_selected = np.ones(len(objects), bool)
        return [Issue("semantic", text, pieces, measured.places(is_selected), fixable=True)]
    issues = []
    split: Array = objects.pieces > 1
    if split.any():
        max_pieces = int(objects.pieces.max())
        up_to = "up to " if split.sum() > 1 else ""
        text = f"{_many(split, 'id')} in {up_to}{max_pieces} pieces{_ids(objects, split)}"
        issues.append(_issue("pieces", text, measured, split, fixable=True))
    tiny: Array = objects.npixels < smallest
    if tiny.any():
        single = int((objects.npixels[tiny] == 1).sum())
        text = (
            f"{_many(tiny, 'object')} of fewer than "
            f"{counted(smallest, 'pixel')}{_ids(objects, tiny)}"
        )
        text += f", {single} of them a single pixel" if single else ""
        issues.append(_issue("tiny", text, measured, tiny, fixable=True))
    holes: Array = objects.holes > 0
    if holes.any():
        pixels = int(objects.hole_pixels.sum())
        text = f"{_many(holes, 'object')} with holes of {counted(pixels, 'pixel')} in total"
        issues.append(_issue("holes", text + _ids(objects, holes), measured, holes, fixable=True))
    if patch is not None:
        large: Array = np.asarray((objects.box > np.asarray(patch)).any(axis=1))
        if large.any():
            side = tuple(objects.box[large].max(axis=0).tolist())
            text = f"{_many(large, 'object')} up to {side}, the patch is {tuple(patch)}"
            issues.append(_issue("large", text + _ids(objects, large), measured, large))
    return issues


def explain_uncorrected(issue: Issue, corrected: Corrected) -> Issue:
    """Add the reason to a finding that a corrected copy does not correct.

    Parameters
    ----------
    issue : Issue
        Finding on the label image.
    corrected : Corrected
        Result of `correct_labels` for the label image.
    """
    reason = corrected.uncorrected.get(issue.kind)
    if not issue.fixable or reason is None:
        return issue
    text = f"{issue.text}; not corrected by --fix: {reason}"
    return replace(issue, text=text, fixable=issue.kind in corrected.changed)


def find_class_issues(
    ids: Array, classes: Array, measured: LabelMeasurements, n_classes: int | None
) -> list[Issue]:
    """Find objects with several classes or none, classes outside of objects, and invalid classes.

    Parameters
    ----------
    ids, classes : ndarray of unsigned int
        Id and class of each pixel, in the same shape.
    measured : LabelMeasurements
        Measurements of `ids`.
    n_classes : int, optional
        Configured number of classes with the background; classes must be lower.
    """
    table = overlap(ids, classes)
    inside, is_classed = table.true > 0, table.pred > 0
    rows = np.searchsorted(measured.objects.ids, table.true[inside].astype(np.int64))
    n_objects = len(measured.objects)
    n_kinds = np.bincount(rows, is_classed[inside], n_objects)
    has_unclassed = np.bincount(rows, ~is_classed[inside], n_objects) > 0
    issues = []
    has_several: Array = n_kinds > 1
    if has_several.any():
        ids_text = _ids(measured.objects, has_several)
        text = f"{_many(has_several, 'object')} with several classes{ids_text}"
        remedy = "give each object one class; --fix uses the most frequent class of its pixels"
        issues.append(
            _issue("classes", text, measured, has_several, fixable=True, suggestion=remedy)
        )
    is_partial: Array = has_unclassed & (n_kinds == 1)
    if is_partial.any():
        ids_text = _ids(measured.objects, is_partial)
        text = f"{_many(is_partial, 'object')} partly without class{ids_text}"
        remedy = "give all pixels of the object its class, as --fix does"
        issues.append(
            _issue("classes", text, measured, is_partial, fixable=True, suggestion=remedy)
        )
    has_none: Array = n_kinds == 0
    if has_none.any():
        text = f"{_many(has_none, 'object')} without any class{_ids(measured.objects, has_none)}"
        issues.append(_issue("classes", text, measured, has_none))
    n_outside = int(table.pixels[~inside & is_classed].sum())
    if n_outside:
        text = f"a class but no object on {counted(n_outside, 'pixel')}"
        remedy = "draw the objects, or set these pixels to class 0, as --fix does"
        issues.append(Issue("classes", text, n_outside, fixable=True, suggestion=remedy))
    highest = int(table.pred.max(initial=0))
    if n_classes is not None and highest >= n_classes:
        text = f"class {highest}, but MODEL.N_CLASSES is {n_classes}, of which 0 is the background"
        remedy = f"set MODEL.N_CLASSES to {highest + 1}, or correct the class channel"
        issues.append(Issue("classes", text, suggestion=remedy))
    return issues


def _issue(
    kind: str,
    text: str,
    measured: LabelMeasurements,
    selected: Array,
    *,
    fixable: bool = False,
    suggestion: str | None = None,
) -> Issue:
    """Return a finding on the objects selected by a mask."""
    places = measured.places(selected)
    return Issue(kind, text, int(selected.sum()), places, fixable, suggestion=suggestion)


def _many(selected: Array, word: str) -> str:
    """Return the number of selected objects as text."""
    return counted(int(selected.sum()), word)


def _ids(objects: Objects, selected: Array, max_ids: int = 5) -> str:
    """Return the first ids of the selected objects as text."""
    numbers = objects.ids[selected].tolist()
    more = " …" if len(numbers) > max_ids else ""
    word = "id" if len(numbers) == 1 else "ids"
    return f" ({word} {', '.join(map(str, numbers[:max_ids]))}{more})"
