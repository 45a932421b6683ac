"""Detect label images whose background is an object, or whose ids restart in each slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.labels.components import component_sizes
from singula.labels.overlap import Overlap
from singula.metrics import overlap
from singula.util.boxes import evenly_spaced

Array = npt.NDArray[Any]
_MIN_COVER = 0.5  # fraction of the pixels of the image and of its border that a background covers
_MAX_ZEROS = 0.01  # fraction of the pixels up to which labels have no background 0
# Fraction of the outline of all others that borders on a background, without and with zeros
_CONTACT, _CLOSE_CONTACT = 0.5, 0.9
_MIN_GAPS = 5
_SLICES_COMPARED = 32
_SAME_OBJECT = 0.3  # IoU of the cross sections of an object in two adjacent slices
_MIN_CUTS = 5
# Fraction of overlapping cross sections with the same id; volumes exceed it
_CONTINUED = 0.3
# Fraction of slices with ids from 1 without gaps, as if each slice was labeled separately
_COUNTED = 0.9
# Fraction and number of overlapping cross sections with different ids
_CHANGED, _MIN_CHANGED = 0.05, 2


@dataclass(frozen=True)
class Surround:
    """An id that surrounds everything else, like a background.

    Parameters
    ----------
    id : int
        The id.
    share : float
        Fraction of the pixels of the image with the id.
    zeros : float
        Fraction of the pixels that are 0.
    others : int
        Number of other ids, without 0.
    max_pixels : int
        Number of pixels of the largest other id.
    contact : float
        Fraction of the outline of the other ids that borders on the id; 1 if there are none.
    """

    id: int
    share: float
    zeros: float
    others: int
    max_pixels: int
    contact: float

    def describe(self) -> str:
        """Return the evidence that the id is the background."""
        text = (
            f"the id {self.id} covers {100 * self.share:.0f} % of the image, touches every border"
        )
        return text if self.share == 1 else f"{text} and surrounds everything else"


def suspicion(ids: Array, classes: Array | None = None) -> str | None:
    """Return the reason why a label image does not show the objects; None if it is plausible.

    Parameters
    ----------
    ids : ndarray of unsigned int, (y, x) or (z, y, x)
        Label image.
    classes : ndarray of unsigned int, same shape, optional
        Class of each pixel; objects have classes above 0.
    """
    if (
        classes is not None
        and ids.any()
        and classes.any()
        and not ((ids > 0) & (classes > 0)).any()
    ):
        return "no pixel is set in both channels: one-hot masks instead of ids and classes"
    around = find_surround(ids)
    if around is not None:
        return around.describe()
    if restarts_in_slices(ids):
        return "ids change from slice to slice, so that objects are one slice deep"
    return None


def find_surround(ids: Array) -> Surround | None:
    """Find an id that covers most of a label image, touches every border and surrounds the rest.

    Parameters
    ----------
    ids : ndarray of unsigned int, (y, x) or (z, y, x)
        Label image.

    Returns
    -------
    Surround or None
        None if 0 is the background, or if no id looks like a background.

    Notes
    -----
    The candidate is the most frequent value at the border of the image. If there are other ids but
    hardly any zeros, at least half of their outline must border on the candidate: in an image that
    is completely covered by objects, no object borders on most of the others. If there are zeros,
    the candidate must also cover half of the image and of its border. Without other ids (a mask),
    the candidate must cover half of the image and border, or have five gaps.
    """
    if min(ids.shape, default=0) < 2:
        return None
    sides = [np.take(ids, end, axis).ravel() for axis in range(ids.ndim) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(sides), return_counts=True)
    candidate = values[counts.argmax()]
    if candidate == 0 or not all((side == candidate).any() for side in sides):
        return None
    rim = float(counts.max() / counts.sum())
    mask = ids == candidate
    share, zeros = float(mask.mean()), float((ids == 0).mean())
    others, sizes = np.unique(ids[~mask & (ids != 0)], return_counts=True)
    contact = _contact(ids, candidate) if len(others) else 1.0
    surround = Surround(
        int(candidate), share, zeros, len(others), int(sizes.max(initial=0)), contact
    )
    covers = share >= _MIN_COVER and rim >= _MIN_COVER
    if not len(others):
        is_background = covers or (
            rim >= _MIN_COVER and _gaps(ids == 0) >= _MIN_GAPS and _is_whole(mask)
        )
    elif zeros <= _MAX_ZEROS:
        is_background = contact >= _CONTACT
    else:
        is_background = covers and contact >= _CLOSE_CONTACT
    return surround if is_background else None


def restarts_in_slices(ids: Array) -> bool:
    """Return True if each slice of a volume was labeled separately.

    Cross sections in adjacent slices that overlap (IoU of 0.3) belong to one object. In a correct
    volume, nearly all of them have the same id. If ids restart, hardly any have. If each slice was
    labeled in raster order, many have the same id by chance. Then the ids of nearly every slice
    are 1, 2, 3, … without gaps, and several overlapping cross sections have different ids.

    Parameters
    ----------
    ids : ndarray of unsigned int, (z, y, x)
        Label image; the result is False in 2D.
    """
    if ids.ndim != 3 or len(ids) < 2:
        return False
    cuts = matched = same = filled = counted = 0
    for place in evenly_spaced(len(ids) - 1, _SLICES_COMPARED):
        table = overlap(ids[place], ids[place + 1])
        first, second, score, _ = overlap_scores(table)
        present = np.unique(table.true[table.true > 0])
        cuts += len(present)
        filled += bool(len(present))
        counted += bool(len(present)) and int(present[-1]) == len(present)
        good = score >= _SAME_OBJECT
        matched += len(np.unique(first[good]))
        same += len(np.unique(first[good & (first == second)]))
    if matched < max(_MIN_CUTS, cuts / 2):
        return False
    changed = matched - same
    in_order = counted >= _COUNTED * filled
    return same < _CONTINUED * matched or (
        in_order and changed >= max(_MIN_CHANGED, _CHANGED * matched)
    )


def overlap_scores(table: Overlap) -> tuple[Array, Array, Array, Array]:
    """Return overlapping pairs of ids and their overlap.

    Returns
    -------
    first, second : ndarray of int64, shape (n,)
        Ids of each pair.
    score : ndarray of float, shape (n,)
        Intersection over union.
    inside : ndarray of float, shape (n,)
        Intersection over the size of the smaller object.
    """
    true, true_index = np.unique(table.true, return_inverse=True)
    pred, pred_index = np.unique(table.pred, return_inverse=True)
    first = np.bincount(true_index, table.pixels, len(true))[true_index]
    second = np.bincount(pred_index, table.pixels, len(pred))[pred_index]
    is_object = (table.true > 0) & (table.pred > 0)
    shared = table.pixels[is_object]
    score: Array = shared / (first[is_object] + second[is_object] - shared)
    inside: Array = shared / np.minimum(first[is_object], second[is_object])
    return (
        table.true[is_object].astype(np.int64),
        table.pred[is_object].astype(np.int64),
        score,
        inside,
    )


def _contact(ids: Array, candidate: Any) -> float:
    """Return the fraction of the outline of all other ids that borders on the candidate."""
    touching = outline = 0
    for axis in range(ids.ndim):
        planes = [np.moveaxis(ids, axis, 0)[part] for part in (slice(None, -1), slice(1, None))]
        differ = planes[0] != planes[1]
        before, after = planes[0][differ], planes[1][differ]
        first, second = ((end != 0) & (end != candidate) for end in (before, after))
        outline += int(np.count_nonzero(first | second))
        touching += int(np.count_nonzero(first & (after == candidate)))
        touching += int(np.count_nonzero(second & (before == candidate)))
    return touching / outline if outline else 0.0


def _gaps(mask: Array) -> int:
    """Return the number of connected components of a mask, without very small ones."""
    return int((component_sizes(mask) >= 3**mask.ndim).sum())


def _is_whole(mask: Array) -> bool:
    """Return True if nine tenths of a mask are one connected component."""
    sizes = component_sizes(mask)
    return bool(len(sizes)) and bool(sizes.max() >= 0.9 * sizes.sum())
