"""Change of a label image, which can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.util.boxes import Box

Labels = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class Change:
    """Change of a label image by one correction: runs of pixels with the same change.

    Parameters
    ----------
    name : str
        Name of the correction: ``delete``, ``merge``, ``split``, ``draw``, ``extend`` or ``cut``.
    box : tuple of slice
        Box of the image that contains all changed pixels.
    starts, lengths : ndarray of int64, (runs,)
        First pixel of each run, counted in the box in C order, and its number of pixels.
    before, after : ndarray of unsigned int, (runs,)
        Labels of each run.
    """

    name: str
    box: Box
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    before: Labels
    after: Labels

    @classmethod
    def between(cls, name: str, box: Box, before: Labels, after: Labels) -> Change:
        """Return the change between two states of a box.

        Parameters
        ----------
        name, box
            As for the class.
        before, after : ndarray of unsigned int
            Labels of the box.
        """
        pixels = np.flatnonzero(before != after)
        old, new = before.ravel()[pixels], after.ravel()[pixels]
        breaks = (np.diff(pixels) != 1) | (old[1:] != old[:-1]) | (new[1:] != new[:-1])
        first = np.flatnonzero(np.concatenate([[True], breaks])[: len(pixels)])
        lengths = np.diff(first, append=len(pixels))
        return cls(name, box, pixels[first], lengths, old[first], new[first])

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the objects that the change alters, removes or adds."""
        both = np.unique(np.concatenate([self.before, self.after]))
        return tuple(number for number in both.tolist() if number)

    def write(self, labels: Labels, values: Labels) -> None:
        """Set the changed pixels of a label image.

        Parameters
        ----------
        labels : ndarray of unsigned int, (y, x) or (z, y, x)
            Label image, which is changed.
        values : ndarray of unsigned int, (runs,)
            `before` or `after`.
        """
        region = labels[self.box]
        ends = np.cumsum(self.lengths)
        offsets = np.repeat(self.starts - ends + self.lengths, self.lengths)
        pixels = offsets + np.arange(len(offsets))
        region[np.unravel_index(pixels, region.shape)] = np.repeat(values, self.lengths)
