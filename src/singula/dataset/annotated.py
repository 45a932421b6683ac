"""Objects of label images that are annotated in part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.util.annotated_slices import is_planar
from singula.util.format import counted
from singula.util.sparse_labels import annotated_mask, without_unannotated

Array = NDArray[Any]
_MUCH_LARGER = 2  # size of the background, relative to that of the largest object


def complete_objects(labels: Array, *, sections: bool = True) -> Array:
    """Return a label image without objects that may continue where pixels are not annotated.

    If no object is complete, return all objects.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids; -1 is not annotated.
    sections : bool
        If single slices of a volume are annotated, keep the cross sections of objects in these
        slices. False: remove them, because they are not whole objects.

    Returns
    -------
    ndarray of unsigned int
    """
    ids = without_unannotated(labels)
    if not sections and is_planar(labels):
        return np.zeros_like(ids)
    near = next_to_unannotated(labels)
    cut = np.unique(ids[near])
    complete = np.where(np.isin(ids, cut), 0, ids).astype(ids.dtype)
    return complete if complete.any() else ids


def next_to_unannotated(labels: Array) -> NDArray[np.bool_]:
    """Return the pixels with a face neighbor that is not annotated; in slices, in the plane."""
    excluded = ~annotated_mask(labels)
    near = np.zeros_like(excluded)
    for axis in range(int(is_planar(labels)), labels.ndim):
        low = (slice(None),) * axis + (slice(None, -1),)
        high = (slice(None),) * axis + (slice(1, None),)
        near[low] |= excluded[high]
        near[high] |= excluded[low]
    return near


def describe_annotation(shares: Sequence[float]) -> str | None:
    """Return a text on the annotated fraction of label images; None if all are complete.

    Parameters
    ----------
    shares : sequence of float
        Fraction of the pixels of each label image that are annotated.

    Examples
    --------
    >>> describe_annotation([0.25, 1.0, 0.0])
    '2 of 3 label images annotated in part, 1 of these not at all: 41.7% of the pixels'
    """
    sparse = [share for share in shares if share < 1]
    if not sparse:
        return None
    count, empty = counted(len(shares), "label image"), sparse.count(0)
    none = f", {empty} of these not at all" if empty else ""
    mean = sum(shares) / len(shares)
    return f"{len(sparse)} of {count} annotated in part{none}: {mean:.1%} of the pixels"


def zero_is_background(labels: Array) -> bool:
    """Return True if 0, and not -1, is the background of a label image that contains both.

    The background is much larger than an object, or has more contact with objects than pixels that
    are not annotated have.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids; -1 and 0 occur.
    """
    _, sizes = np.unique(labels[labels >= 0], return_counts=True)
    if sizes[0] > _MUCH_LARGER * sizes[1:].max(initial=0):
        return True
    counts = {0: 0, -1: 0}
    for axis in range(labels.ndim - 2, labels.ndim):
        low = labels[(slice(None),) * axis + (slice(None, -1),)]
        high = labels[(slice(None),) * axis + (slice(1, None),)]
        for value in counts:
            counts[value] += int(((low == value) & (high > 0)).sum())
            counts[value] += int(((high == value) & (low > 0)).sum())
    return counts[0] >= counts[-1]
