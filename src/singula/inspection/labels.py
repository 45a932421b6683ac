"""What is wrong inside one label image: pieces, holes, tiny and large objects, classes, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.evaluate import overlap
from singula.inspection.correct import Corrected
from singula.inspection.findings import MOST_PLACES, Place
from singula.postprocess.labels import Survey, survey
from singula.survey import Objects
from singula.survey.objects import survey_objects
from singula.words import counted

Array = npt.NDArray[Any]
_MASK_IDS, _MASK_PIECES = 4, 4


@dataclass(frozen=True, eq=False)
class Look:
    """One label image.

    Parameters
    ----------
    index : Survey
        Where the instances are, by row number.
    objects : Objects
        Facts of those that occur.
    rows : ndarray of int
        Row number of each of `objects`.
    semantic : bool
        It is a mask: few ids, each in many places.
    """

    index: Survey
    objects: Objects
    rows: npt.NDArray[np.int64]
    semantic: bool

    def places(self, chosen: Array) -> tuple[Place, ...]:
        """Where the first of the objects are that a mask chooses."""
        rows = self.rows[chosen][:MOST_PLACES]
        found = self.index
        return tuple(
            Place(int(number), tuple(low), tuple(high))
            for number, low, high in zip(
                found.ids[rows], found.low[rows].tolist(), found.high[rows].tolist(), strict=True
            )
        )


def look(ids: Array, *, is_mask: bool = False) -> Look:
    """Measure what the findings need, in a few linear passes.

    Parameters
    ----------
    ids : ndarray of unsigned int
        (y, x) or (z, y, x).
    is_mask : bool
        The file's type says that it holds no ids: bool.
    """
    index = survey(ids)
    objects = survey_objects(ids)
    rows = np.flatnonzero(index.npixels)
    return Look(index, objects, rows, looks_semantic(objects, is_mask=is_mask))


def looks_semantic(objects: Objects, *, is_mask: bool = False) -> bool:
    """Whether ids are classes: all of up to four lie in four places or more.

    A single id of 255, or of a file of bools, is a mask from two places on.
    """
    if not 0 < len(objects) <= _MASK_IDS:
        return False
    single = len(objects) == 1 and (is_mask or int(objects.ids[0]) == 255)
    return bool((objects.pieces >= (2 if single else _MASK_PIECES)).all())


@dataclass(frozen=True)
class Noticed:
    """Something about a label image, before it is known whose file it is.

    Parameters
    ----------
    kind, text : str
    count : int
    where : tuple of Place
    fixable : bool
    severity, suggestion : str, optional
        Where they differ from the kind's.
    """

    kind: str
    text: str
    count: int = 1
    where: tuple[Place, ...] = ()
    fixable: bool = False
    severity: str | None = None
    suggestion: str | None = None


def notice_objects(seen: Look, smallest: int, patch: Sequence[int] | None) -> list[Noticed]:
    """Masks, pieces, tiny and large objects, holes, nothing at all.

    Parameters
    ----------
    seen : Look
    smallest : int
        Objects of fewer pixels are tiny.
    patch : sequence of int, optional
        Spatial shape of a patch.
    """
    objects = seen.objects
    if not len(objects):
        return [Noticed("empty", "no object is drawn")]
    if seen.semantic:
        values = ", ".join(str(number) for number in objects.ids.tolist())
        pieces = int(objects.pieces.sum())
        text = (
            f"the only value{'s' if len(objects) > 1 else ''} {values} in "
            f"{counted(pieces, 'place')}"
        )
        every = np.ones(len(objects), bool)
        return [Noticed("semantic", text, pieces, seen.places(every), fixable=True)]
    found = []
    split: Array = objects.pieces > 1
    if split.any():
        most = int(objects.pieces.max())
        up_to = "up to " if split.sum() > 1 else ""
        text = f"{_many(split, 'id')} in {up_to}{most} pieces{_ids(objects, split)}"
        found.append(_noticed("pieces", text, seen, split, fixable=True))
    tiny: Array = objects.npixels < smallest
    if tiny.any():
        single = int((objects.npixels[tiny] == 1).sum())
        text = (
            f"{_many(tiny, 'object')} of fewer than "
            f"{counted(smallest, 'pixel')}{_ids(objects, tiny)}"
        )
        text += f", {single} of them a single pixel" if single else ""
        found.append(_noticed("tiny", text, seen, tiny, fixable=True))
    holes: Array = objects.holes > 0
    if holes.any():
        pixels = int(objects.hole_pixels.sum())
        text = f"{_many(holes, 'object')} with holes of {counted(pixels, 'pixel')} in all"
        found.append(_noticed("holes", text + _ids(objects, holes), seen, holes, fixable=True))
    if patch is not None:
        large: Array = np.asarray((objects.box > np.asarray(patch)).any(axis=1))
        if large.any():
            side = tuple(objects.box[large].max(axis=0).tolist())
            text = f"{_many(large, 'object')} up to {side}, the patch is {tuple(patch)}"
            found.append(_noticed("large", text + _ids(objects, large), seen, large))
    return found


def within_bounds(noticed: Noticed, done: Corrected) -> Noticed:
    """Add the reason to a finding that a corrected copy leaves as it is.

    Parameters
    ----------
    noticed : Noticed
    done : Corrected
        Result of `correct_labels` for the label image.
    """
    reason = done.left.get(noticed.kind)
    if not noticed.fixable or reason is None:
        return noticed
    text = f"{noticed.text}; left by --fix: {reason}"
    return replace(noticed, text=text, fixable=noticed.kind in done.changed)


def notice_classes(ids: Array, classes: Array, seen: Look, n_classes: int | None) -> list[Noticed]:
    """Objects of several classes or none, classes beside objects, classes out of range.

    Parameters
    ----------
    ids, classes : ndarray of unsigned int
        Same shape.
    seen : Look
        Of `ids`.
    n_classes : int, optional
        As configured, background counted; classes are below it.
    """
    table = overlap(ids, classes)
    inside, real = table.true > 0, table.pred > 0
    rows = np.searchsorted(seen.objects.ids, table.true[inside].astype(np.int64))
    size = len(seen.objects)
    kinds = np.bincount(rows, real[inside], size)
    bare = np.bincount(rows, ~real[inside], size) > 0
    found = []
    several: Array = kinds > 1
    if several.any():
        text = f"{_many(several, 'object')} with several classes{_ids(seen.objects, several)}"
        remedy = "give each object one class; --fix takes that of most of its pixels"
        found.append(_noticed("classes", text, seen, several, fixable=True, suggestion=remedy))
    partly: Array = bare & (kinds == 1)
    if partly.any():
        text = f"{_many(partly, 'object')} in part without class{_ids(seen.objects, partly)}"
        remedy = "give all its pixels its class, as --fix does"
        found.append(_noticed("classes", text, seen, partly, fixable=True, suggestion=remedy))
    without: Array = kinds == 0
    if without.any():
        text = f"{_many(without, 'object')} without any class{_ids(seen.objects, without)}"
        found.append(_noticed("classes", text, seen, without))
    beside = int(table.pixels[~inside & real].sum())
    if beside:
        text = f"a class but no object on {counted(beside, 'pixel')}"
        remedy = "draw the objects, or make these pixels class 0, as --fix does"
        found.append(Noticed("classes", text, beside, fixable=True, suggestion=remedy))
    highest = int(table.pred.max(initial=0))
    if n_classes is not None and highest >= n_classes:
        text = f"class {highest}, but MODEL.N_CLASSES is {n_classes}, of which 0 is the background"
        remedy = f"set MODEL.N_CLASSES to {highest + 1}, or correct the class channel"
        found.append(Noticed("classes", text, suggestion=remedy))
    return found


def _noticed(
    kind: str,
    text: str,
    seen: Look,
    chosen: Array,
    *,
    fixable: bool = False,
    suggestion: str | None = None,
) -> Noticed:
    places = seen.places(chosen)
    return Noticed(kind, text, int(chosen.sum()), places, fixable, suggestion=suggestion)


def _many(chosen: Array, word: str) -> str:
    return counted(int(chosen.sum()), word)


def _ids(objects: Objects, chosen: Array, most: int = 5) -> str:
    numbers = objects.ids[chosen].tolist()
    more = " …" if len(numbers) > most else ""
    word = "id" if len(numbers) == 1 else "ids"
    return f" ({word} {', '.join(map(str, numbers[:most]))}{more})"
