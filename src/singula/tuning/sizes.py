"""Sizes of objects in a search of the minimum size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from singula.metrics import Overlap
from singula.representations.decoders.morphology import is_large

Array = npt.NDArray[Any]


def without_small(table: Overlap, at_border: Array, min_size: int, border_size: int) -> Overlap:
    """Return an overlap table in which small instances are background.

    Parameters
    ----------
    table : Overlap
        Overlaps of the ground truth and the instances.
    at_border : ndarray of int
        Ids of the instances that touch the border of the image.
    min_size, border_size : int
        Minimum size of an instance and of an instance at the border, in pixels.
    """
    ids, row = np.unique(table.pred, return_inverse=True)
    pixels = np.bincount(row, table.pixels, len(ids))
    is_kept = is_large(pixels, np.isin(ids, at_border), min_size, border_size)
    return Overlap(table.true, np.where(is_kept[row], table.pred, 0), table.pixels)


def object_sizes(labels: Array) -> Array:
    """Return the size of each object, in pixels."""
    ids, counts = np.unique(labels, return_counts=True)
    return counts[ids > 0]
