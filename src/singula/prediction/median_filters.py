"""Median filters across the slices of a predicted map."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from singula.errors import UserError
from singula.util.arguments import as_array, integer

_BLOCK = 1 << 13
"""Pixels that are filtered at once; the values in their windows fit into the processor's cache."""


def median_z(values: np.ndarray, size: int = 5) -> np.ndarray:
    """Return the median along z of a predicted map.

    Parameters
    ----------
    values : ndarray of float
        Predicted map, (z, y, x).
    size : int
        Number of slices in the window.

    Returns
    -------
    ndarray
        `scipy.ndimage.median_filter(values, (size, 1, 1))`, with the dtype of `values`. The border
        is mirrored. For an even number of values, the median is the upper of the two middle values.

    Raises
    ------
    TypeError, UserError
        Not a volume of floats, or not a size of 1 or more.
    """
    size = integer(size, "size", at_least=1)
    return _median(values, (size, 1))


def median_yz(values: np.ndarray, size: int = 5) -> np.ndarray:
    """Return the median over z and y of a predicted map.

    Parameters
    ----------
    values : ndarray of float
        Predicted map, (z, y, x).
    size : int
        Number of slices and of rows in the window ``(size, size, 1)``.

    Returns
    -------
    ndarray
        See `median_z`.

    Raises
    ------
    TypeError, UserError
        Not a volume of floats, or not a size of 1 or more.
    """
    size = integer(size, "size", at_least=1)
    return _median(values, (size, size))


def median_halo(z_size: int | None, yz_size: int | None) -> tuple[int, int, int]:
    """Return the halo of a block that `median_z` and `median_yz` need, in pixels along z, y, x.

    Parameters
    ----------
    z_size, yz_size : int or None
        Window sizes of `median_z` and `median_yz`, which run one after the other; None if the
        filter is off.

    Raises
    ------
    TypeError, UserError
        A size that is not an integer of 0 or more.
    """
    if z_size is not None:
        z_size = integer(z_size, "z_size", at_least=0)
    if yz_size is not None:
        yz_size = integer(yz_size, "yz_size", at_least=0)
    z, yz = (size // 2 if size else 0 for size in (z_size, yz_size))
    return z + yz, yz, 0


def _median(values: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    values = as_array(values, "values")
    if values.ndim != 3 or values.dtype.kind != "f":
        raise UserError(
            f"values: got the shape {values.shape} of {values.dtype}, expected a (z, y, x) map of "
            "floats for a median over slices",
            "for 2D images set TEST.ANALIZE_2D_IMGS_AS_3D_STACK, or switch the filter off",
            "arguments.shape",
        )
    result = np.empty_like(values)
    if values.size == 0:
        return result
    depth, height, width = values.shape
    z_near, y_near = (_window_indices(n, k) for n, k in zip((depth, height), window, strict=True))
    rows = max(1, _BLOCK // width)
    middle = np.float64 if values.dtype.itemsize == 8 else np.float32
    for z in range(depth):
        slices = [values[near] for near in z_near[:, z]]
        for start in range(0, height, rows):
            near_rows = y_near[:, start : start + rows]
            window_values = (part[row] for part in slices for row in near_rows)
            result[z, start : start + rows] = _select(window_values, window[0] * window[1], middle)
    return result


def _window_indices(length: int, size: int) -> np.ndarray:
    """Return the indices, (size, length), of the pixels in the window of each pixel of an axis."""
    before = size // 2
    mirrored = np.pad(np.arange(length), (before, size - 1 - before), mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(mirrored, length)


def _select(planes: Iterator[np.ndarray], count: int, dtype: type[np.floating]) -> np.ndarray:
    """Return the pixelwise median of `count` planes.

    Among half of the values plus two, neither the lowest nor the highest can be the median of all.
    Both are dropped and the next value is added, until one value remains. An even count is
    completed with an infinite value, so that the upper middle value becomes the median.
    """
    candidates = [next(planes).astype(dtype, copy=False)]
    if count == 1:
        return candidates[0]
    if count % 2 == 0:
        candidates.append(np.full_like(candidates[0], np.inf))
        count += 1
    while len(candidates) < count // 2 + 2:
        candidates.append(next(planes).astype(dtype, copy=False))
    spare = np.empty_like(candidates[0])
    while True:
        spare = _sort_ends(candidates, spare)
        if len(candidates) == 3:
            return candidates[1]
        lowest = candidates.pop(0)
        np.copyto(lowest, next(planes))
        candidates[-1] = lowest


def _sort_ends(candidates: list[np.ndarray], spare: np.ndarray) -> np.ndarray:
    """Move the lowest value of each pixel to the first plane and the highest to the last.

    Pairs are sorted first, so that each plane is compared with one end only.
    """
    end = len(candidates) - 1
    half = len(candidates) // 2
    pairs = [(low, end - low) for low in range(half)]
    pairs += [(0, low) for low in range(1, end + 1 - half)]
    pairs += [(high, end) for high in range(half, end)]
    for low, high in pairs:
        np.minimum(candidates[low], candidates[high], out=spare)
        np.maximum(candidates[low], candidates[high], out=candidates[high])
        candidates[low], spare = spare, candidates[low]
    return spare
