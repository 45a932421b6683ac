"""Correction of one label image within limits: components, holes, tiny objects, classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.facts.objects import survey_objects
from singula.labels.components import connected_components, label_of_components
from singula.labels.holes import fill_holes
from singula.labels.index import index_labels, look_up
from singula.metrics import overlap, winning_classes
from singula.util.arguments import label_image
from singula.util.format import counted

Array = npt.NDArray[Any]
_LARGEST_ID = 2**32 - 1
# Limits of automatic corrections. Beyond them, a person must decide what the labels mean.
_MAX_PIECES = 3  # additional components; more are allowed if there are more ids
_TINY_SHARE = 0.1  # fraction of all labeled pixels in tiny components
_REGION_SHARE = 0.5  # fraction of the image that the largest region of a mask covers
_HOLE_SHARE = 0.25  # fraction of an object with its holes
_CLEAR_CLASS = 0.6  # fraction of the pixels of an object with a class
_CLASSED = 0.5  # fraction of the pixels of an object, and of all pixels with a class


@dataclass(frozen=True)
class Corrected:
    """A corrected label image.

    Parameters
    ----------
    labels : ndarray of unsigned int
        Corrected labels in the shape of the input and the smallest type that holds the ids.
    pieces : int
        Number of components with a new id.
    tiny : int
        Number of components and objects that were removed.
    filled : int
        Number of pixels of filled holes.
    changed : frozenset of str
        Kinds of findings that were corrected.
    uncorrected : dict of str to str
        Reason by kind of finding, if something was not corrected.
    """

    labels: Array
    pieces: int
    tiny: int
    filled: int
    changed: frozenset[str] = frozenset()
    uncorrected: dict[str, str] = field(default_factory=dict)


def correct_labels(
    labels: Array, smallest: int, *, semantic: bool = False, each_piece: bool = False
) -> Corrected:
    """Correct a label image without the raw image.

    Parameters
    ----------
    labels : ndarray of unsigned int, (y, x, c) or (z, y, x, c)
        Label image; c is 1 (ids) or 2 (ids, class).
    smallest : int
        Minimum number of pixels of a component; smaller components are removed.
    semantic : bool
        The labels are a mask: every connected region becomes an object.
    each_piece : bool
        Make every component an object, without a limit on their number.

    Notes
    -----
    The largest component of an id keeps the id; the others get new ids above the highest one.
    Components also connect at corners. Regions of a mask connect only at sides and are numbered
    from 1. Then tiny components are removed, and holes (background enclosed by one object) are
    filled. All pixels of an object get the most frequent class of its pixels, and the background
    gets class 0. A second correction changes nothing.

    Beyond some limits, labels are not corrected: more additional components than ids; tiny
    components with more than a tenth of the labeled pixels; a region of a mask that covers half of
    the image; holes of more than a quarter of their object, or in an object that spans the image;
    a class that fewer than six tenths of the pixels of an object have.
    """
    ids = label_image(labels[..., 0])
    uncorrected: dict[str, str] = {}
    new, n_new, tiny = _split_components(
        ids, smallest, uncorrected, semantic=semantic, each_piece=each_piece or semantic
    )
    n_before = int(np.count_nonzero(new))
    if "semantic" not in uncorrected:
        new = _fill_holes(new, uncorrected)
    filled = int(np.count_nonzero(new)) - n_before
    channels, classes = [new], False
    if labels.shape[-1] > 1:
        index, rows = index_labels(new)
        channels.append(_unify_classes(index, len(rows), labels[..., 1], uncorrected))
        classes = bool((channels[1] != labels[..., 1]).any())
    array = np.stack(channels, axis=-1)
    result = array.astype(np.min_scalar_type(int(array.max(initial=0))))
    corrections = {"pieces": n_new, "tiny": tiny, "holes": filled, "classes": classes}
    corrections["semantic"] = semantic and "semantic" not in uncorrected
    changed = frozenset(kind for kind, count in corrections.items() if count)
    return Corrected(result, n_new, tiny, filled, changed, uncorrected)


def _split_components(
    ids: Array, smallest: int, uncorrected: dict[str, str], *, semantic: bool, each_piece: bool
) -> tuple[Array, int, int]:
    """Return the labels with an id per component, and the numbers of new and of removed ids."""
    parts, count = connected_components(ids, corners=not semantic)
    size = np.bincount(parts.ravel(), minlength=count + 1)
    owner = label_of_components(parts, count, ids)
    order = np.lexsort((np.arange(count + 1), -size, owner))
    is_first = np.zeros(count + 1, bool)
    is_first[order[np.diff(owner[order], prepend=-1) != 0]] = (
        True  # the largest component of each id
    )
    is_kept = size >= smallest
    is_kept[0] = True
    tiny = ~is_kept
    labeled = int(size[1:].sum())
    if size[tiny].sum() > _TINY_SHARE * labeled:
        uncorrected["tiny"] = (
            f"they are {100 * size[tiny].sum() / labeled:.0f} % of the labeled pixels"
        )
        is_kept[:] = True
    is_additional = ~is_first & ~tiny
    if semantic:
        max_region = int(size[1:].max(initial=0))
        if max_region > _REGION_SHARE * ids.size:
            uncorrected["semantic"] = (
                f"one region covers {100 * max_region / ids.size:.0f} % of the image"
            )
        elif "tiny" in uncorrected:
            uncorrected["semantic"] = (
                f"regions of fewer than {smallest} pixels have most of the pixels"
            )
        if "semantic" in uncorrected:
            return ids, 0, 0
    elif not each_piece and int(is_additional.sum()) > max(_MAX_PIECES, int(is_first[1:].sum())):
        uncorrected["pieces"] = (
            f"{counted(int(is_additional.sum()), 'additional component')}, which is more than the "
            "number of ids; the ids may be classes"
        )
        is_additional[:] = False
    elif "tiny" in uncorrected and (tiny & ~is_first).any():
        uncorrected["pieces"] = "most of them are tiny"
    number = np.where(is_kept, owner, 0)
    number[is_additional] = int(owner.max()) + 1 + np.arange(int(is_additional.sum()))
    if semantic or int(number.max()) > _LARGEST_ID:
        number[number > 0] = 1 + np.arange(int((number > 0).sum()))
    return look_up(number, parts), int(is_additional.sum()), int((~is_kept).sum())


def _fill_holes(ids: Array, uncorrected: dict[str, str]) -> Array:
    """Fill the holes of objects, except large holes and holes of objects that span the image."""
    objects = survey_objects(ids)
    has_holes = objects.holes > 0
    spans = (objects.box == np.array(ids.shape)).all(axis=1)
    large = objects.hole_pixels > _HOLE_SHARE * (objects.npixels + objects.hole_pixels)
    is_excluded = has_holes & (spans | large)
    if is_excluded.any():
        reason = "holes of more than a quarter of the object, or in one that spans the image"
        uncorrected["holes"] = f"{counted(int(is_excluded.sum()), 'object')} with {reason}"
    chosen = objects.ids[has_holes & ~is_excluded]
    return fill_holes(ids, chosen) if len(chosen) else ids


def _unify_classes(index: Array, rows: int, classes: Array, uncorrected: dict[str, str]) -> Array:
    """Return a class channel with the most frequent class above 0 for each row of `index`."""
    table = overlap(index, classes)
    row, chosen = table.true.astype(np.int64), np.zeros(rows, np.int64)
    ids, majority = winning_classes(table)
    chosen[ids.astype(np.int64)] = majority
    inside, is_classed = row > 0, table.pred > 0
    is_inside = inside & is_classed
    npixels, classed, agreeing = (
        np.bincount(row[pairs], table.pixels[pairs], rows)
        for pairs in (inside, is_inside, is_inside & (table.pred == chosen[row]))
    )
    unclear = (agreeing < _CLEAR_CLASS * classed) | ((classed < _CLASSED * npixels) & (classed > 0))
    is_excluded, reasons = look_up(unclear, index), []
    if unclear.any():
        reasons.append(f"{counted(int(unclear.sum()), 'object')} without a clear majority")
    if table.pixels[~inside & is_classed].sum() > _CLASSED * table.pixels[is_classed].sum():
        reasons.append("most pixels with a class are outside of objects")
        is_excluded |= index == 0
    if reasons:
        uncorrected["classes"] = ", ".join(reasons)
    new = look_up(chosen, index)
    return np.where(is_excluded, classes, new) if reasons else new
