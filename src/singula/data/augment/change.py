"""Base classes and helper functions of augmentations of a normalized patch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Range = tuple[float, float]
Sizes = tuple[int, int]


@dataclass(frozen=True)
class Patch:
    """A normalized image patch with its labels.

    Parameters
    ----------
    image : ndarray of float32
        (y, x, c) or (z, y, x, c).
    labels : ndarray of int
        Ids and, with classes, the class in a second channel: of the patch, or of the window around
        it from which the targets are computed.
    before : tuple of int
        Pixels of the window before the patch along each axis; 0 by default.
    """

    image: FloatArray
    labels: npt.NDArray[Any]
    before: tuple[int, ...] = ()

    @property
    def place(self) -> tuple[slice, ...]:
        """Position of the patch in the window of labels."""
        shape = self.image.shape[:-1]
        before = self.before or (0,) * len(shape)
        return tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))


DrawPatch = Callable[[], Patch]
"""Draw a patch of another training sample."""


class Augmentation(ABC):
    """An augmentation with its settings as fields; it returns a new patch."""

    @abstractmethod
    def apply(self, patch: Patch, rng: np.random.Generator, draw_other: DrawPatch) -> Patch:
        """Return the augmented patch; the input does not change."""


class ImageAugmentation(Augmentation):
    """An augmentation of the image that does not change the labels."""

    def apply(self, patch: Patch, rng: np.random.Generator, draw_other: DrawPatch) -> Patch:
        """Return the patch with an augmented image."""
        return replace(patch, image=self.change(patch.image, rng))

    @abstractmethod
    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""


def black(image: FloatArray) -> np.float32:
    """Return the value of black: 0, or the minimum of the patch if it is lower."""
    return np.float32(min(0.0, float(image.min())))


def white(image: FloatArray) -> np.float32:
    """Return the value of white: 1, or the maximum of the patch if it is higher."""
    return np.float32(max(1.0, float(image.max())))


def draw_box(shape: Sequence[int], size: Range, rng: np.random.Generator) -> tuple[slice, ...]:
    """Draw a box within `shape`.

    Each side is a fraction of its axis from the range `size`, and at least one pixel.

    Returns
    -------
    tuple of slice
        One per axis.
    """
    box = []
    for length in shape:
        extent = min(length, max(1, round(float(rng.uniform(*size)) * length)))
        start = int(rng.integers(0, length - extent + 1))
        box.append(slice(start, start + extent))
    return tuple(box)


def draw_count(count: Sizes, rng: np.random.Generator) -> int:
    """Draw an integer from a range that includes both ends."""
    return int(rng.integers(count[0], count[1] + 1))


def as_slices(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view (z, y, x, c); a 2D image has one slice."""
    return image if image.ndim == 4 else image[None]
