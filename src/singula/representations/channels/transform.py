"""Exact Euclidean distance transform, in linear time, and fast if most distances are 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.util.process import compiled


def distance_to_zeros(inside: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return the distance of each pixel to the nearest pixel where `inside` is False.

    Parameters
    ----------
    inside : ndarray of bool, (y, x) or (z, y, x)
        At least one pixel must be False. Pixels beyond the image border are ignored.
    spacing : sequence of float
        Voxel size per axis, in the order of the axes.

    Returns
    -------
    ndarray of float32
        Same shape; 0 where `inside` is False.

    Notes
    -----
    Computes the lower envelope of parabolas along each axis in turn (P. Felzenszwalb and
    D. Huttenlocher, 2012), separately between two zeros: nothing beyond a zero can be nearer.
    """
    squared = squared_along_rows(inside, spacing[-1])
    for axis in reversed(range(inside.ndim - 1)):
        lower_along(squared, axis, spacing[axis])
    return np.sqrt(squared, out=squared)


def squared_along_rows(inside: NDArray[np.bool_], size: float) -> NDArray[np.float32]:
    """Return the squared distance of each pixel to the nearest zero of its row.

    Parameters
    ----------
    inside : ndarray of bool, contiguous
        Rows along the last axis, each complete.
    size : float
        Voxel size along the row.

    Returns
    -------
    ndarray of float32
        Same shape; infinite in rows without a zero.
    """
    squared = np.empty(inside.shape, np.float32)
    rows = (-1, inside.shape[-1])
    flat = inside.reshape(rows).view(np.uint8)
    compiled(_along_rows)(flat, squared.reshape(rows), float(size) ** 2)
    return squared


def lower_along(squared: NDArray[np.float32], axis: int, size: float) -> None:
    """Include another axis in squared distances along the axes after it, in place.

    Parameters
    ----------
    squared : ndarray of float32, contiguous
        Squared distances, complete along `axis`.
    axis : int
        The axis before those that are included.
    size : float
        Voxel size along `axis`.
    """
    inner = int(np.prod(squared.shape[axis + 1 :]))
    shape = (-1, squared.shape[axis], inner)
    compiled(_along_columns)(squared.reshape(shape), float(size) ** 2)


def _along_rows(inside: Any, squared: Any, weight: Any) -> None:
    """Write the squared distances to the nearest zero of the row; compiled.

    Parameters
    ----------
    inside : uint8, (rows, x)
    squared : float32, (rows, x)
        Result; infinite in rows without zeros.
    weight : float
        Squared voxel size along x.
    """
    height, width = inside.shape
    for y in range(height):
        row, away = inside[y], squared[y]
        x = 0
        while x < width:
            if row[x] == 0:
                away[x] = 0
                x += 1
                continue
            start = x
            while x < width and row[x] != 0:
                x += 1
            for at in range(start, x):
                before = np.inf if start == 0 else float(at - start + 1)
                after = np.inf if x == width else float(x - at)
                near = min(before, after)
                away[at] = weight * near * near


def _along_columns(squared: Any, weight: Any) -> None:
    """Lower the squared distances along the middle axis, in place; compiled.

    Each pixel of a column is the bottom of a parabola. `bottoms` and `starts` are the stack of the
    lower envelope: bottoms, and first positions where they are the lowest. Columns are copied, some
    at a time, because the pixels of a column are far apart in memory.

    Parameters
    ----------
    squared : float32, (outer, y, inner)
        Squared distances along the axes after y, which are updated.
    weight : float
        Squared voxel size along y.
    """
    tile = 16
    outer, length, inner = squared.shape
    heights = np.empty((tile, length))
    bottoms = np.empty(length, np.int64)
    starts = np.empty(length + 1)
    inverse = 1 / (2 * weight * np.maximum(np.arange(length), 1))  # division is slow
    for block in range(outer):
        for offset in range(0, inner, tile):
            columns = min(tile, inner - offset)
            for y in range(length):
                for x in range(columns):
                    heights[x, y] = squared[block, y, offset + x]
            for x in range(columns):
                height = heights[x]
                y = 0
                while y < length:
                    if height[y] == 0:
                        y += 1
                        continue
                    first = y
                    while y < length and height[y] != 0:
                        y += 1
                    count = 0
                    for at in range(max(first - 1, 0), min(y + 1, length)):
                        if height[at] == np.inf:
                            continue
                        start = -np.inf
                        while count > 0:
                            last = bottoms[count - 1]
                            rise = height[at] - height[last]
                            start = rise * inverse[at - last] + 0.5 * (at + last)
                            if start > starts[count - 1]:
                                break
                            count -= 1
                        if count == 0:
                            start = -np.inf
                        if start < y:
                            bottoms[count], starts[count] = at, start
                            count += 1
                    starts[count] = y
                    at = first
                    for part in range(count):
                        bottom, end = bottoms[part], starts[part + 1]
                        base = height[bottom]
                        while at < end:
                            away = float(at - bottom)
                            squared[block, at, offset + x] = base + weight * away * away
                            at += 1
