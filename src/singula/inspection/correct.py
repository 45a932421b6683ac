"""Correct one label image within bounds: pieces, holes, tiny objects, classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.arguments import label_image
from singula.evaluate import overlap
from singula.postprocess.holes import fill_holes
from singula.postprocess.labels import index_labels, look_up
from singula.survey.objects import survey_objects
from singula.words import counted

Array = npt.NDArray[Any]
_LARGEST_ID = 2**32 - 1
# Bounds of automatic corrections. Beyond them, a person must decide what the labels mean.
_FEW_PIECES = 3  # or as many as there are ids
_TINY_SHARE = 0.1  # of all labeled pixels
_REGION_SHARE = 0.5  # of the image, of the largest region of a mask
_HOLE_SHARE = 0.25  # of an object with its holes
_CLEAR_CLASS = 0.6  # of an object's pixels with a class
_CLASSED = 0.5  # of an object's pixels, and of all pixels with a class


@dataclass(frozen=True)
class Corrected:
    """A corrected label image.

    Parameters
    ----------
    labels : ndarray of unsigned int
        The shape of what was given; the smallest type that holds the ids.
    pieces : int
        Ids that were given to pieces.
    tiny : int
        Pieces and objects that were dropped.
    filled : int
        Pixels of holes that were filled.
    changed : frozenset of str
        Kinds of findings for which something was corrected.
    left : dict of str to str
        Reason by kind of finding, where something was not corrected.
    """

    labels: Array
    pieces: int
    tiny: int
    filled: int
    changed: frozenset[str] = frozenset()
    left: dict[str, str] = field(default_factory=dict)


def correct_labels(
    labels: Array, smallest: int, *, semantic: bool = False, each_piece: bool = False
) -> Corrected:
    """Correct what can be corrected without looking at the image.

    Parameters
    ----------
    labels : ndarray of unsigned int, (y, x, c) or (z, y, x, c)
        c is 1 (ids) or 2 (ids, class).
    smallest : int
        Pieces of fewer pixels are dropped.
    semantic : bool
        It is a mask: every connected region becomes an object.
    each_piece : bool
        Every piece is an object, without the bound on their number.

    Notes
    -----
    The largest piece of an id keeps it, the others get new ones above the highest. Pieces touch at
    corners too, regions of a mask only at sides; these are numbered from 1. Then tiny ones are
    dropped, and after that holes filled: background that one object alone encloses. All pixels of
    an object get the class of most of those that have one, all others class 0. Doing it twice
    changes nothing more.

    Each step has a bound, beyond which labels stay as they are: more pieces than ids; tiny pieces
    with more than a tenth of the labeled pixels; a region of a mask that covers half of the image.
    Holes stay if they have more than a quarter of their object's pixels, or if the object spans the
    image; classes stay if fewer than six tenths of an object's pixels have the same one.
    """
    ids = label_image(labels[..., 0])
    left: dict[str, str] = {}
    new, fresh, tiny = _one_id_a_piece(
        ids, smallest, left, semantic=semantic, each_piece=each_piece or semantic
    )
    before = int(np.count_nonzero(new))
    if "semantic" not in left:
        new = _without_holes(new, left)
    filled = int(np.count_nonzero(new)) - before
    channels, classes = [new], False
    if labels.shape[-1] > 1:
        index, rows = index_labels(new)
        channels.append(_one_class(index, len(rows), labels[..., 1], left))
        classes = bool((channels[1] != labels[..., 1]).any())
    whole = np.stack(channels, axis=-1)
    kept = whole.astype(np.min_scalar_type(int(whole.max(initial=0))))
    done = {"pieces": fresh, "tiny": tiny, "holes": filled, "classes": classes}
    done["semantic"] = semantic and "semantic" not in left
    changed = frozenset(kind for kind, count in done.items() if count)
    return Corrected(kept, fresh, tiny, filled, changed, left)


def _one_id_a_piece(
    ids: Array, smallest: int, left: dict[str, str], *, semantic: bool, each_piece: bool
) -> tuple[Array, int, int]:
    """Return new ids, how many are new, and how many pieces were dropped."""
    import cc3d

    if ids.ndim == 2:
        parts, count = cc3d.connected_components(
            ids, connectivity=4 if semantic else 8, return_N=True
        )
    else:
        parts, count = cc3d.connected_components(
            ids, connectivity=6 if semantic else 26, return_N=True
        )
    size = np.bincount(parts.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, np.int64)
    owner[parts.ravel()] = ids.ravel()
    owner[0] = 0
    order = np.lexsort((np.arange(count + 1), -size, owner))
    first = np.zeros(count + 1, bool)
    first[order[np.diff(owner[order], prepend=-1) != 0]] = True  # the largest of each id
    kept = size >= smallest
    kept[0] = True
    tiny = ~kept
    labeled = int(size[1:].sum())
    if size[tiny].sum() > _TINY_SHARE * labeled:
        left["tiny"] = f"they are {100 * size[tiny].sum() / labeled:.0f} % of the labeled pixels"
        kept[:] = True
    extra = ~first & ~tiny
    if semantic:
        largest = int(size[1:].max(initial=0))
        if largest > _REGION_SHARE * ids.size:
            left["semantic"] = f"one region covers {100 * largest / ids.size:.0f} % of the image"
        elif "tiny" in left:
            left["semantic"] = f"regions of fewer than {smallest} pixels have most of the pixels"
        if "semantic" in left:
            return ids, 0, 0
    elif not each_piece and int(extra.sum()) > max(_FEW_PIECES, int(first[1:].sum())):
        left["pieces"] = f"{counted(int(extra.sum()), 'piece')} more than ids: are ids classes?"
        extra[:] = False
    elif "tiny" in left and (tiny & ~first).any():
        left["pieces"] = "most of them are tiny"
    number = np.where(kept, owner, 0)
    number[extra] = int(owner.max()) + 1 + np.arange(int(extra.sum()))
    if semantic or int(number.max()) > _LARGEST_ID:
        number[number > 0] = 1 + np.arange(int((number > 0).sum()))
    return look_up(number, parts), int(extra.sum()), int((~kept).sum())


def _without_holes(ids: Array, left: dict[str, str]) -> Array:
    """Fill the holes of objects, but for large ones and those of objects that span the image."""
    objects = survey_objects(ids)
    holed = objects.holes > 0
    spans = (objects.box == np.array(ids.shape)).all(axis=1)
    large = objects.hole_pixels > _HOLE_SHARE * (objects.npixels + objects.hole_pixels)
    spared = holed & (spans | large)
    if spared.any():
        which = "holes of more than a quarter of the object, or of one that spans the image"
        left["holes"] = f"{counted(int(spared.sum()), 'object')} with {which}"
    chosen = objects.ids[holed & ~spared]
    return fill_holes(ids, chosen) if len(chosen) else ids


def _one_class(index: Array, rows: int, classes: Array, left: dict[str, str]) -> Array:
    """Return the class channel with one class for each row of `index`: the most frequent but 0."""
    table = overlap(index, classes)
    inside = table.true > 0
    npixels = np.bincount(table.true[inside].astype(np.int64), table.pixels[inside], rows)
    real = inside & (table.pred > 0)
    row, kind = table.true[real].astype(np.int64), table.pred[real].astype(np.int64)
    pixels = table.pixels[real]
    classed = np.bincount(row, pixels, rows)
    order = np.lexsort((-kind, pixels, row))  # the last of a row wins
    chosen, most = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    chosen[row[order]], most[row[order]] = kind[order], pixels[order]
    unclear = (most < _CLEAR_CLASS * classed) | ((classed < _CLASSED * npixels) & (classed > 0))
    beside = ~inside & (table.pred > 0)
    spared = look_up(unclear, index)
    reasons = []
    if unclear.any():
        reasons.append(f"{counted(int(unclear.sum()), 'object')} without a clear majority")
    if table.pixels[beside].sum() > _CLASSED * table.pixels[table.pred > 0].sum():
        reasons.append("most pixels with a class are in no object")
        spared |= index == 0
    if reasons:
        left["classes"] = ", ".join(reasons)
    new = look_up(chosen, index)
    return np.where(spared, classes, new) if reasons else new
