"""Positions of patches and tiles in an image, for training and prediction.

A *patch* has a fixed shape and consists of a *core* and a *padding* on each side, whose pixels are
predicted but not used. Patches may extend beyond the image, where it is mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.lazy_array import Pixels


@dataclass(frozen=True)
class Tile:
    """Patch of an image, and the part of it that is used.

    Parameters
    ----------
    start : tuple of int
        First pixel of the patch in image coordinates; negative if it is outside of the image.
    inner : tuple of slice
        Used part, in coordinates of the patch.
    outer : tuple of slice
        Used part, in coordinates of the image.
    """

    start: tuple[int, ...]
    inner: tuple[slice, ...]
    outer: tuple[slice, ...]


@dataclass(frozen=True)
class TilePlan:
    """A plan that covers an image with patches.

    Parameters
    ----------
    patch : tuple of int
        Spatial shape of a patch, including padding.
    overlap : tuple of float
        Fraction of the core that adjacent patches share along each axis, in [0, 1).
    padding : tuple of int
        Pixels on each side that are predicted but not used.
    multiple : tuple of int
        The starts of all patches are equal modulo this number. With the downsampling factor of the
        network, the pooling grid has the same position in each patch, so that tiles do not change
        the map of an image.
    """

    patch: tuple[int, ...]
    overlap: tuple[float, ...]
    padding: tuple[int, ...]
    multiple: tuple[int, ...]

    @property
    def core(self) -> tuple[int, ...]:
        """Shape of the used part of a patch."""
        return tuple(p - 2 * q for p, q in zip(self.patch, self.padding, strict=True))

    def starts(self, shape: Sequence[int]) -> list[list[int]]:
        """Return the first image pixel of each core, per axis."""
        return [
            axis_starts(size, core, overlap, multiple)
            for size, core, overlap, multiple in zip(
                shape, self.core, self.overlap, self.multiple, strict=True
            )
        ]

    def tiles(self, shape: Sequence[int]) -> Iterator[Tile]:
        """Return all patches of an image with this spatial shape, in row-major order."""
        for starts in product(*self.starts(shape)):
            inner, outer = [], []
            for start, core, padding, size in zip(
                starts, self.core, self.padding, shape, strict=True
            ):
                stop = min(start + core, size)
                inner.append(slice(padding, padding + stop - start))
                outer.append(slice(start, stop))
            begin = tuple(s - q for s, q in zip(starts, self.padding, strict=True))
            yield Tile(begin, tuple(inner), tuple(outer))

    def count(self, shape: Sequence[int]) -> int:
        """Return the number of patches of an image with this spatial shape."""
        return int(np.prod([len(s) for s in self.starts(shape)]))


def axis_starts(size: int, core: int, overlap: float, multiple: int) -> list[int]:
    """Return starts of cores of length `core` that cover ``range(size)``.

    All starts are multiples of `multiple`; adjacent cores share at least the fraction `overlap`.
    """
    if core <= 0:
        raise ValueError(f"nothing is left of a patch after padding (core {core})")
    if size <= core:
        return [0]
    step = int(core * (1.0 - overlap))
    step = max(multiple, step // multiple * multiple)
    if step > core:
        raise ValueError(f"a core of {core} is smaller than the required multiple {multiple}")
    return [step * i for i in range(ceil((size - core) / step) + 1)]


def training_starts(
    shape: Sequence[int],
    patch: Sequence[int],
    overlap: Sequence[float],
    padding: Sequence[int],
) -> list[tuple[int, ...]]:
    """Return starts of patches that cover an image and, if possible, lie within it.

    Patches are spaced evenly along each axis, so that the last one ends at the end of the image.
    With a padding, the cores cover the image, and the outermost patches contain mirrored pixels.
    """
    axes = []
    for size, length, share, pad in zip(shape, patch, overlap, padding, strict=True):
        core = length - 2 * pad
        if size <= core:
            axes.append([-pad - max(0, (core - size) // 2)])
            continue
        count = ceil((size - core) / max(1, int(core * (1.0 - share)))) + 1
        spread = np.linspace(0, size - core, count)
        axes.append([round(float(s)) - pad for s in spread])
    return [tuple(start) for start in product(*axes)]


def patches_of(
    shape: Sequence[int],
    patch: Sequence[int],
    overlap: Sequence[float],
    padding: Sequence[int],
) -> list[Tile]:
    """Return the patches of an image as training has them, each with all its pixels.

    Parameters
    ----------
    shape, patch : sequence of int
        Spatial shapes of the image and of a patch.
    overlap : sequence of float
    padding : sequence of int
        Overlap and padding determine the distance of patches; the padding is part of a patch.

    Returns
    -------
    list of Tile
        ``inner`` and ``outer`` are the part of the patch within the image.
    """
    tiles = []
    for start in training_starts(shape, patch, overlap, padding):
        inner, outer = [], []
        for first, length, size in zip(start, patch, shape, strict=True):
            low, high = max(first, 0), min(first + length, size)
            inner.append(slice(low - first, high - first))
            outer.append(slice(low, high))
        tiles.append(Tile(start, tuple(inner), tuple(outer)))
    return tiles


def read_patch(
    array: Pixels,
    start: Sequence[int],
    shape: Sequence[int],
    fill: npt.NDArray[np.floating[Any]] | None = None,
) -> npt.NDArray[Any]:
    """Read a patch, mirroring the image at its edge (the edge pixel is not repeated).

    Parameters
    ----------
    array : ndarray or LazyArray
        Spatial axes first; other axes (channels) are read completely.
    start, shape : sequence of int
        The patch in image coordinates; `start` may be negative.
    fill : ndarray, optional
        Value for each channel outside of the array, instead of mirroring. Such patches have a
        float type that represents every value of the array.

    Returns
    -------
    ndarray
        A view if the patch is inside the image, otherwise a copy.
    """
    index: list[slice] = []
    pads: list[tuple[int, int]] = []
    for size, first, length in zip(array.shape, start, shape, strict=False):
        low, high = max(first, 0), min(first + length, size)
        if low >= high:
            raise ValueError(f"the patch at {tuple(start)} lies outside the image {array.shape}")
        index.append(slice(low, high))
        pads.append((low - first, first + length - high))
    part = array[tuple(index)]
    if not any(before or after for before, after in pads):
        return part
    if fill is not None:
        filled = np.empty(
            (*shape, *array.shape[len(pads) :]), np.promote_types(part.dtype, np.float32)
        )
        filled[...] = fill
        filled[tuple(slice(b, b + n) for (b, _), n in zip(pads, part.shape, strict=False))] = part
        return filled
    # Mirroring needs as many pixels inside the edge as are missing outside.
    wider = []
    for size, cut, (before, after) in zip(array.shape, index, pads, strict=False):
        reach = max(before, after)
        wider.append(
            slice(
                max(0, cut.start - reach) if after else cut.start,
                min(size, cut.stop + reach) if before else cut.stop,
            )
        )
    source = array[tuple(wider)]
    rest = [(0, 0)] * (array.ndim - len(pads))
    padded = np.pad(source, pads + rest, mode="reflect")
    cut_back = tuple(
        slice(cut.start - wide.start, cut.start - wide.start + length)
        for cut, wide, length in zip(index, wider, shape, strict=True)
    )
    return padded[cut_back]


def check_patch_fits(
    shape: Sequence[int], patch: Sequence[int], reflect: bool, name: str, axes: str
) -> None:
    """Raise an error if a patch is larger than the image and mirroring is not allowed.

    Raises
    ------
    UserError
        ``data.image_too_small``
    """
    if reflect or all(s >= p for s, p in zip(shape, patch, strict=True)):
        return
    raise UserError(
        f"{name}: the image {tuple(shape)} is smaller than DATA.PATCH_SIZE {tuple(patch)} "
        f"(axes {axes})",
        "set DATA.REFLECT_TO_COMPLETE_SHAPE: True to mirror the missing part, "
        "or choose a smaller DATA.PATCH_SIZE",
        "data.image_too_small",
    )
