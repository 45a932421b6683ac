"""Blurs in the y-x plane; the edge pixels of the patch are repeated outside."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.augment.change import (
    FloatArray,
    ImageAugmentation,
    Range,
    Sizes,
    as_slices,
    draw_box,
    draw_count,
)
from singula.util.process import compiled


@dataclass(frozen=True)
class GaussianBlur(ImageAugmentation):
    """Gaussian blur; `sigma` is its standard deviation in pixels."""

    sigma: Range

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        from scipy.ndimage import gaussian_filter

        sigma = rng.uniform(*self.sigma)
        widths = (0.0,) * (image.ndim - 3) + (sigma, sigma, 0.0)
        result: FloatArray = gaussian_filter(image, widths, mode="nearest")
        return result


@dataclass(frozen=True)
class MedianBlur(ImageAugmentation):
    """Median filter; `size` is the side of the square in pixels, made odd by adding one."""

    size: Sizes

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        odd = sorted({size | 1 for size in range(self.size[0], self.size[1] + 1)})
        return median_of_squares(image, odd[int(rng.integers(len(odd)))])


def median_of_squares(image: FloatArray, side: int) -> FloatArray:
    """Apply a median filter in the y-x plane, equal to scipy's with mode 'nearest'.

    `side` is odd.
    """
    reach = side // 2
    planes = np.moveaxis(as_slices(image), -1, 1)
    pads = [(0, 0), (0, 0), (reach, reach), (reach, reach)]
    wide = np.ascontiguousarray(np.pad(planes, pads, mode="edge"), np.float32)
    exchanges = median_network(side * side)
    result = np.empty(planes.shape, np.float32)
    kernel = compiled(_median_plane)
    for z, c in np.ndindex(*planes.shape[:2]):
        kernel(wide[z, c], side, exchanges, result[z, c])
    return np.moveaxis(result, 1, -1).reshape(image.shape)


def _median_plane(wide: Any, side: int, exchanges: Any, result: Any) -> None:
    """Process all windows of a row together, so that one instruction compares many pairs."""
    height, width = result.shape
    values = np.empty((side * side, width), np.float32)
    for i in range(height):
        for k in range(side * side):
            values[k] = wide[i + k // side, k % side : k % side + width]
        for n in range(exchanges.shape[0]):
            first = values[exchanges[n, 0]]
            second = values[exchanges[n, 1]]
            for j in range(width):
                a = first[j]
                b = second[j]
                first[j] = a if a < b else b
                second[j] = b if a < b else a
        result[i] = values[side * side // 2]


@functools.cache
def median_network(count: int) -> npt.NDArray[np.int64]:
    """Return pairs of a sorting network that puts the median of `count` values into the middle.

    Merge exchange (K. E. Batcher, 1968), without the pairs that do not influence the median.
    """
    pairs = []
    top = 1 << max(count - 1, 1).bit_length() - 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(count - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    needed, pairs_needed = {count // 2}, []
    for pair in reversed(pairs):
        if needed & set(pair):
            needed |= set(pair)
            pairs_needed.append(pair)
    return np.array(pairs_needed[::-1], np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class MotionBlur(ImageAugmentation):
    """Motion blur: mean along a straight line of random direction; `length` is in pixels."""

    length: Sizes

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        kernel = line_kernel(draw_count(self.length, rng), float(rng.uniform(0, np.pi)))
        reach = kernel.shape[0] // 2
        pads = [(0, 0)] * (image.ndim - 3) + [(reach, reach), (reach, reach), (0, 0)]
        wide = np.pad(image, pads, mode="edge")
        height, width = image.shape[-3:-1]
        result = np.zeros(image.shape, np.float32)
        for y, x in np.argwhere(kernel > 0):
            result += kernel[y, x] * wide[..., y : y + height, x : x + width, :]
        return result


def line_kernel(length: int, angle: float) -> npt.NDArray[np.float32]:
    """Return weights of `length` points, one pixel apart, on a line through the center.

    The weight of each point is distributed to the four pixels around it; the sum is 1.
    """
    along = np.arange(length) - (length - 1) / 2
    reach = int(np.ceil((length - 1) / 2))
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3), np.float32)
    y, x = along * np.sin(angle) + reach + 1, along * np.cos(angle) + reach + 1
    row, column = np.floor(y + 1e-9).astype(int), np.floor(x + 1e-9).astype(int)
    down, right = y - row, x - column
    for i, j, weight in (
        (0, 0, (1 - down) * (1 - right)),
        (0, 1, (1 - down) * right),
        (1, 0, down * (1 - right)),
        (1, 1, down * right),
    ):
        np.add.at(kernel, (row + i, column + j), np.maximum(weight, 0) / length)
    kernel[kernel < 1e-6] = 0
    kernel /= kernel.sum()
    return kernel


@dataclass(frozen=True)
class CutBlur(ImageAugmentation):
    """CutBlur: reduce the resolution of a box (Yoo et al., 2020).

    Parameters
    ----------
    size : (float, float)
        Side of the box as a fraction of each axis.
    factor : (int, int)
        Downsampling factor along y and x.
    inside_only : bool
        False: half of the time, reduce the resolution outside of the box instead.
    """

    size: Range
    factor: Sizes
    inside_only: bool = True

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        box = draw_box(image.shape[:-1], self.size, rng)
        factor = draw_count(self.factor, rng)
        if not self.inside_only and rng.random() < 0.5:
            result = lose_resolution(image, factor)
            result[box] = image[box]
        else:
            result = image.copy()
            result[box] = lose_resolution(image[box], factor)
        return result


def lose_resolution(image: FloatArray, factor: int) -> FloatArray:
    """Average blocks in the y-x plane and interpolate linearly between their centers."""
    for axis in (image.ndim - 3, image.ndim - 2):
        length = image.shape[axis]
        edges = np.arange(0, length, factor)
        counts = np.diff(np.append(edges, length))
        column = [1] * image.ndim
        column[axis] = -1
        means = np.add.reduceat(image, edges, axis=axis) / counts.reshape(column)
        place = np.interp(np.arange(length), edges + (counts - 1) / 2, np.arange(len(edges)))
        below = place.astype(int)
        above = np.minimum(below + 1, len(edges) - 1)
        share = (place - below).reshape(column)
        image = means.take(below, axis) * (1 - share) + means.take(above, axis) * share
        image = image.astype(np.float32)
    return image
