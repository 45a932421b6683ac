"""Inspection of the objects of one label image: components, holes, sizes, classes, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.checks.correct import Corrected
from singula.dataset.checks.findings import MAX_PLACES, Finding, Place
from singula.dataset.facts import Objects
from singula.metrics import overlap
from singula.util.format import counted

Array = npt.NDArray[Any]
_MAX_MASK_IDS, _MIN_MASK_PIECES = 4, 4


def looks_semantic(objects: Objects, *, is_mask: bool = False) -> bool:
    """Return True if ids are classes: up to four ids, each with four connected components or more.

    For one id of 255, or in a file of bools, two connected components are enough.
    """
    if not 0 < len(objects) <= _MAX_MASK_IDS:
        return False
    single = len(objects) == 1 and (is_mask or int(objects.ids[0]) == 255)
    return bool((objects.n_components >= (2 if single else _MIN_MASK_PIECES)).all())


def places(objects: Objects) -> tuple[Place, ...]:
    """Return the positions of the first objects."""
    return tuple(
        Place(number, tuple(low), tuple(high))
        for number, low, high in zip(
            objects.ids[:MAX_PLACES].tolist(),
            objects.low[:MAX_PLACES].tolist(),
            (objects.low + objects.box)[:MAX_PLACES].tolist(),
            strict=True,
        )
    )


def find_object_issues(
    objects: Objects, smallest: int, patch: Sequence[int] | None, *, semantic: bool = False
) -> list[Finding]:
    """Find masks, disconnected ids, tiny and large objects, holes, and empty labels.

    Parameters
    ----------
    objects : Objects
        Measurements of the labels.
    smallest : int
        Minimum number of pixels of an object; smaller objects are tiny.
    patch : sequence of int, optional
        Spatial shape of a patch.
    semantic : bool
        The labels are a mask; see `looks_semantic`.
    """
    if not len(objects):
        return [Finding("empty", "no objects")]
    if semantic:
        values = ", ".join(map(str, objects.ids.tolist()))
        pieces = int(objects.n_components.sum())
        text = f"the only value{'s' if len(objects) > 1 else ''} {values} in "
        text += counted(pieces, "place")
        return [Finding("semantic", text, pieces, places(objects), fixable=True)]
    issues = []
    is_split = objects.n_components > 1
    if is_split.any():
        up_to = "up to " if is_split.sum() > 1 else ""
        text = f"{{}} in {up_to}{int(objects.n_components.max())} connected components{{}}"
        issues.append(_finding("pieces", text, objects, is_split, "id", fixable=True))
    is_tiny = objects.npixels < smallest
    if is_tiny.any():
        single = int((objects.npixels[is_tiny] == 1).sum())
        text = f"{{}} of fewer than {counted(smallest, 'pixel')}{{}}"
        text += f", {single} of them a single pixel" if single else ""
        issues.append(_finding("tiny", text, objects, is_tiny, fixable=True))
    has_holes = objects.holes > 0
    if has_holes.any():
        pixels = counted(int(objects.hole_pixels.sum()), "pixel")
        text = f"{{}} with holes of {pixels} in total{{}}"
        issues.append(_finding("holes", text, objects, has_holes, fixable=True))
    if patch is not None:
        is_large = np.asarray((objects.box > np.asarray(patch)).any(axis=1))
        if is_large.any():
            side = tuple(objects.box[is_large].max(axis=0).tolist())
            text = f"{{}} up to {side}, the patch is {tuple(patch)}{{}}"
            issues.append(_finding("large", text, objects, is_large))
    return issues


def explain_uncorrected(issue: Finding, corrected: Corrected) -> Finding:
    """Add the reason to a finding that a corrected copy does not correct.

    Parameters
    ----------
    issue : Finding
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
    ids: Array, classes: Array, objects: Objects, n_classes: int | None
) -> list[Finding]:
    """Find objects with several classes or none, classes outside of objects, and invalid classes.

    Parameters
    ----------
    ids, classes : ndarray of unsigned int
        Id and class of each pixel, in the same shape.
    objects : Objects
        Measurements of `ids`.
    n_classes : int, optional
        Configured number of classes with the background; classes must be lower.
    """
    table = overlap(ids, classes)
    inside, is_classed = table.true > 0, table.pred > 0
    rows = np.searchsorted(objects.ids, table.true[inside].astype(np.int64))
    n_kinds = np.bincount(rows, is_classed[inside], len(objects))
    has_unclassed = np.bincount(rows, ~is_classed[inside], len(objects)) > 0
    majority = "give each object one class; --fix uses the most frequent class of its pixels"
    complete = "give all pixels of the object its class, as --fix does"
    issues = [
        _finding("classes", text, objects, selected, fixable=bool(remedy), suggestion=remedy)
        for selected, text, remedy in (
            (n_kinds > 1, "{} with several classes{}", majority),
            (has_unclassed & (n_kinds == 1), "{} partly without a class{}", complete),
            (n_kinds == 0, "{} without a class{}", ""),
        )
        if selected.any()
    ]
    n_outside = int(table.pixels[~inside & is_classed].sum())
    if n_outside:
        text = f"a class but no object on {counted(n_outside, 'pixel')}"
        remedy = "draw the objects, or set these pixels to class 0, as --fix does"
        issues.append(Finding("classes", text, n_outside, fixable=True, suggestion=remedy))
    highest = int(table.pred.max(initial=0))
    if n_classes is not None and highest >= n_classes:
        text = f"class {highest}, but MODEL.N_CLASSES is {n_classes}, of which 0 is the background"
        remedy = f"set MODEL.N_CLASSES to {highest + 1}, or correct the class channel"
        issues.append(Finding("classes", text, suggestion=remedy))
    return issues


def _finding(
    kind: str,
    text: str,
    objects: Objects,
    is_selected: Array,
    noun: str = "object",
    *,
    fixable: bool = False,
    suggestion: str = "",
    max_ids: int = 5,
) -> Finding:
    """Return a finding on selected objects; `text` has fields for their number and first ids."""
    selected = objects.select(is_selected)
    count, numbers = len(selected), selected.ids[:max_ids].tolist()
    word, more = "id" if count == 1 else "ids", " …" if count > max_ids else ""
    first = f" ({word} {', '.join(map(str, numbers))}{more})"
    text = text.format(counted(count, noun), first)
    return Finding(kind, text, count, places(selected), fixable, suggestion=suggestion)
