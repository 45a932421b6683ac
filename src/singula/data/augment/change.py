"""What a change of a normalised patch is, and what several of them need."""

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
    """A normalised image patch with its labels.

    Parameters
    ----------
    image : ndarray of float32
        (y, x, c) or (z, y, x, c).
    labels : ndarray of int
        Ids and, with classes, the class in a second channel; of the patch, or of a window around it
        from which its targets are computed.
    before : tuple of int
        Pixels of the window before the patch along each axis; none by default.
    """

    image: FloatArray
    labels: npt.NDArray[Any]
    before: tuple[int, ...] = ()

    @property
    def place(self) -> tuple[slice, ...]:
        """Where the patch lies in the window of labels."""
        shape = self.image.shape[:-1]
        before = self.before or (0,) * len(shape)
        return tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))


Another = Callable[[], Patch]
"""Draws a patch of another training sample."""


class Change(ABC):
    """A change with its settings as fields; hands back a new patch and leaves its input alone."""

    @abstractmethod
    def apply(self, patch: Patch, rng: np.random.Generator, another: Another) -> Patch:
        """Change the patch."""


class ImageChange(Change):
    """A change of the image, which leaves the labels as they are."""

    def apply(self, patch: Patch, rng: np.random.Generator, another: Another) -> Patch:
        """Change the image of the patch."""
        return replace(patch, image=self.change(patch.image, rng))

    @abstractmethod
    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Change an image (spatial…, c)."""


def black(image: FloatArray) -> np.float32:
    """The darkest value: 0, or the patch's minimum where the normalisation goes below."""
    return np.float32(min(0.0, float(image.min())))


def white(image: FloatArray) -> np.float32:
    """The brightest value: 1, or the patch's maximum where the normalisation goes beyond."""
    return np.float32(max(1.0, float(image.max())))


def draw_box(shape: Sequence[int], size: Range, rng: np.random.Generator) -> tuple[slice, ...]:
    """Draw a box inside `shape`; each side is a fraction from `size` of its axis, a pixel at least.

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
    """Draw a whole number; both ends are possible."""
    return int(rng.integers(count[0], count[1] + 1))


def as_slices(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view (z, y, x, c), with one slice for a plane."""
    return image if image.ndim == 4 else image[None]
