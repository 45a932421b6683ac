"""Removal of instances from tables of overlaps, in a search of thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.metrics import Overlap
from singula.representations.decoders.morphology import is_large

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Instances:
    """Overlaps of all instances of an image, from which thresholds remove some.

    Parameters
    ----------
    table : Overlap
        Overlaps of the ground truth and the instances.
    at_border : ndarray of int
        Ids of the instances that touch the border of the image.
    values : mapping of str to ndarray of float, shape (n + 1,)
        Values by threshold; see `singula.representations.base.Decoder.filtered_values`.
    """

    table: Overlap
    at_border: Array
    values: Mapping[str, Array]

    def remaining(self, min_size: int, border_size: int, limits: Mapping[str, float]) -> Overlap:
        """Return the overlap table in which removed instances are background.

        Parameters
        ----------
        min_size, border_size : int
            Minimum size of an instance and of an instance at the border, in pixels.
        limits : mapping of str to float
            Largest value of an instance by threshold.
        """
        table = self.table
        ids, row = np.unique(table.pred, return_inverse=True)
        pixels = np.bincount(row, table.pixels, len(ids))
        is_kept = is_large(pixels, np.isin(ids, self.at_border), min_size, border_size)
        for key, limit in limits.items():
            is_kept &= self.values[key][ids] <= limit
        return Overlap(table.true, np.where(is_kept[row], table.pred, 0), table.pixels)


def object_sizes(labels: Array) -> Array:
    """Return the size of each object, in pixels."""
    ids, counts = np.unique(labels, return_counts=True)
    return counts[ids > 0]
