"""Volumes of which single slices are annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singula.util.sparse_labels import annotated_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNANNOTATED_SLICE = -2
"""Value of the pixels of a slice without annotation in a marked label image; see `mark_slices`."""
_PLANAR = 0.5  # minimum fraction of annotated pixels next to a slice that is not annotated


def is_planar(labels: NDArray[Any]) -> bool:
    """Return True if single slices of a volume are annotated.

    This is the case if at least half of the annotated pixels have a pixel above or below them that
    is not annotated.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids; -1 is not annotated.
    """
    if labels.ndim != 3:
        return False
    annotated = annotated_mask(labels)
    count = int(annotated.sum())
    return is_mostly_planar(int(at_other_slices(annotated).sum()), count)


def is_mostly_planar(at_edge: int, count: int) -> bool:
    """Return the result of `is_planar` from the numbers of pixels at the edge and of all."""
    return count > 0 and at_edge >= _PLANAR * count


def at_other_slices(annotated: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the annotated pixels with a pixel above or below them that is not annotated.

    Parameters
    ----------
    annotated : ndarray of bool, (z, y, x)
        Annotated pixels.
    """
    import numpy as np

    at_edge = np.zeros_like(annotated)
    at_edge[1:] |= ~annotated[:-1]
    at_edge[:-1] |= ~annotated[1:]
    return at_edge & annotated


def annotated_slices(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return True for each slice with annotated pixels.

    Parameters
    ----------
    labels : ndarray of int, (z, y, x)
        Ids; -1 is not annotated.
    """
    import numpy as np

    return np.asarray(annotated_mask(labels).any(axis=(1, 2)))


def mark_slices(labels: NDArray[Any], annotated: NDArray[np.bool_]) -> NDArray[Any]:
    """Return a label image in which slices without annotation are -2.

    Pixels that are not annotated in an annotated slice remain -1.

    Parameters
    ----------
    labels : ndarray of int, (z, y, x)
        Ids of a volume, or of a part of it; -1 is not annotated.
    annotated : ndarray of bool, (z,)
        True for each slice that is annotated in the whole volume.
    """
    if annotated.all():
        return labels
    marked = labels.copy()
    marked[~annotated] = UNANNOTATED_SLICE
    return marked
