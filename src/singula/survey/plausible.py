"""Detect label images whose background is an object, or whose ids restart in each slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.evaluate import overlap
from singula.evaluate.overlap import Overlap

Array = npt.NDArray[Any]
_MOST = 0.5  # of the pixels, and of the pixels at the border: "most of the image"
_NO_ZEROS = 0.01  # of the pixels; labels with fewer zeros have hardly any background
_CONTACT, _CLOSE_CONTACT = 0.5, 0.9  # of the outline of all others, with and without zeros
_MANY_GAPS = 5
_SLICES_COMPARED = 32
_SAME_PLACE = 0.3  # IoU of the cuts of an object through two adjacent slices
_LEAST_CUTS = 5
_CONTINUED = 0.3  # of the overlapping cuts; in volumes, more of them have the same id
_COUNTED = 0.9  # of the slices have ids from 1 without a gap, as a labeling of one slice gives
_CHANGED, _LEAST_CHANGED = 0.05, 2  # of the overlapping cuts have different ids


@dataclass(frozen=True)
class Surround:
    """An id that surrounds everything else, as a background does.

    Parameters
    ----------
    id : int
    share : float
        Fraction of the image's pixels that have it.
    zeros : float
        Fraction of the pixels that are 0.
    others : int
        Number of other ids, without 0.
    largest : int
        Pixels of the largest of them.
    contact : float
        Fraction of the outline of the others that borders on it; 1 if there are none.
    """

    id: int
    share: float
    zeros: float
    others: int
    largest: int
    contact: float

    def describe(self) -> str:
        """Return the evidence that it is the background."""
        text = (
            f"the id {self.id} covers {100 * self.share:.0f} % of the image, touches every border"
        )
        return text if self.share == 1 else f"{text} and surrounds everything else"


def suspicion(ids: Array, classes: Array | None = None) -> str | None:
    """Return why a label image does not show the objects; None if it is plausible.

    Parameters
    ----------
    ids : ndarray of unsigned int
        (y, x) or (z, y, x).
    classes : ndarray of unsigned int, same shape, optional
        Class of each pixel, above 0 somewhere in the objects.
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
    ids : ndarray of unsigned int
        (y, x) or (z, y, x).

    Returns
    -------
    Surround or None
        None if 0 is the background, or if no id looks like a background.

    Notes
    -----
    The candidate is the most frequent value at the border of the image. With other ids, and hardly
    a zero, at least half of their outline must border on it: in an image that objects cover
    completely, no object borders on most of the others. With zeros it must also cover half of the
    image and of its border. A mask (no other id) needs this, or five gaps.
    """
    if min(ids.shape, default=0) < 2:
        return None
    sides = [np.take(ids, end, axis).ravel() for axis in range(ids.ndim) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(sides), return_counts=True)
    candidate = values[counts.argmax()]
    if candidate == 0 or not all((side == candidate).any() for side in sides):
        return None
    rim = float(counts.max() / counts.sum())
    own = ids == candidate
    share, zeros = float(own.mean()), float((ids == 0).mean())
    others, sizes = np.unique(ids[~own & (ids != 0)], return_counts=True)
    contact = _contact(ids, candidate) if len(others) else 1.0
    found = Surround(int(candidate), share, zeros, len(others), int(sizes.max(initial=0)), contact)
    covers = share >= _MOST and rim >= _MOST
    if not len(others):
        fits = covers or (rim >= _MOST and _gaps(ids == 0) >= _MANY_GAPS and _is_whole(own))
    elif zeros <= _NO_ZEROS:
        fits = contact >= _CONTACT
    else:
        fits = covers and contact >= _CLOSE_CONTACT
    return found if fits else None


def restarts_in_slices(ids: Array) -> bool:
    """Return True if the ids of a volume were given slice by slice.

    Overlapping cuts through adjacent slices (IoU of 0.3) belong to one object. In a volume, nearly
    all of them have the same id. Where ids restart, hardly any have. If each slice was labeled in
    raster order, many have the same id by chance; but the ids of nearly every slice are 1, 2, 3, …
    without a gap, and several overlapping cuts differ.

    Parameters
    ----------
    ids : ndarray of unsigned int
        (z, y, x); False for a 2D image.
    """
    if ids.ndim != 3 or len(ids) < 2:
        return False
    places = np.unique(np.linspace(0, len(ids) - 2, _SLICES_COMPARED).astype(int))
    cuts = matched = same = filled = counted = 0
    for place in places.tolist():
        table = overlap(ids[place], ids[place + 1])
        first, second, score, _ = overlap_scores(table)
        present = np.unique(table.true[table.true > 0])
        cuts += len(present)
        filled += bool(len(present))
        counted += bool(len(present)) and int(present[-1]) == len(present)
        good = score >= _SAME_PLACE
        matched += len(np.unique(first[good]))
        same += len(np.unique(first[good & (first == second)]))
    if matched < max(_LEAST_CUTS, cuts / 2):
        return False
    changed = matched - same
    in_order = counted >= _COUNTED * filled
    return same < _CONTINUED * matched or (
        in_order and changed >= max(_LEAST_CHANGED, _CHANGED * matched)
    )


def overlap_scores(table: Overlap) -> tuple[Array, Array, Array, Array]:
    """Return overlapping pairs of ids, their IoU, and the shared fraction of the smaller one."""
    true, own = np.unique(table.true, return_inverse=True)
    pred, other = np.unique(table.pred, return_inverse=True)
    first = np.bincount(own, table.pixels, len(true))[own]
    second = np.bincount(other, table.pixels, len(pred))[other]
    real = (table.true > 0) & (table.pred > 0)
    shared = table.pixels[real]
    score: Array = shared / (first[real] + second[real] - shared)
    inside: Array = shared / np.minimum(first[real], second[real])
    return table.true[real].astype(np.int64), table.pred[real].astype(np.int64), score, inside


def _contact(ids: Array, candidate: Any) -> float:
    """Return the fraction of the outline of all other ids that borders on the candidate."""
    touching = outline = 0
    for axis in range(ids.ndim):
        ends = [np.moveaxis(ids, axis, 0)[cut] for cut in (slice(None, -1), slice(1, None))]
        differ = ends[0] != ends[1]
        one, two = ends[0][differ], ends[1][differ]
        first, second = ((end != 0) & (end != candidate) for end in (one, two))
        outline += int(np.count_nonzero(first | second))
        touching += int(np.count_nonzero(first & (two == candidate)))
        touching += int(np.count_nonzero(second & (one == candidate)))
    return touching / outline if outline else 0.0


def _gaps(mask: Array) -> int:
    """Return the number of connected components of a mask, without specks."""
    return int((component_sizes(mask) >= 3**mask.ndim).sum())


def _is_whole(mask: Array) -> bool:
    """Return True if nine tenths of a mask are one connected component."""
    sizes = component_sizes(mask)
    return bool(len(sizes)) and bool(sizes.max() >= 0.9 * sizes.sum())


def component_sizes(mask: Array) -> Array:
    """Return the pixels of each connected component of a mask; neighbors share a side."""
    import cc3d

    parts = cc3d.connected_components(
        np.ascontiguousarray(mask), connectivity=4 if mask.ndim == 2 else 6
    )
    sizes: Array = np.bincount(parts.ravel())[1:]
    return sizes
