"""Euclidean distance transform, exact, linear in pixels, and quick where most distances are 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.runtime import compiled


def distance_to_zeros(inside: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Distance of each pixel to the nearest one where `inside` is False.

    Parameters
    ----------
    inside : ndarray of bool, (y, x) or (z, y, x)
        At least one pixel must be False. What lies beyond the border of the image is not looked at.
    spacing : sequence of float
        Size of a pixel along each axis, z first.

    Returns
    -------
    ndarray of float32
        Same shape; 0 where `inside` is False.

    Notes
    -----
    Along each axis in turn the lower envelope of parabolas (P. Felzenszwalb and D. Huttenlocher,
    2012), of each stretch between two zeros by itself: nothing beyond a zero can be nearer than it.
    """
    squared = np.empty(inside.shape, np.float32)
    inner = inside.shape[-1]
    weights = [float(step) ** 2 for step in spacing]
    compiled(_along_rows)(
        inside.reshape(-1, inner).view(np.uint8), squared.reshape(-1, inner), weights[-1]
    )
    for axis in reversed(range(inside.ndim - 1)):
        shape = (-1, inside.shape[axis], inner)
        compiled(_along_columns)(squared.reshape(shape), weights[axis])
        inner *= inside.shape[axis]
    return np.sqrt(squared, out=squared)


def _along_rows(inside: Any, squared: Any, weight: Any) -> None:
    """Squared distance to the nearest zero of the own row, infinite without one; compiled."""
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
                left = np.inf if start == 0 else float(at - start + 1)
                right = np.inf if x == width else float(x - at)
                near = min(left, right)
                away[at] = weight * near * near


def _along_columns(squared: Any, weight: Any) -> None:
    """Lower the squared distances in place along the middle axis; compiled.

    Each pixel of a column is the bottom of a parabola. `bottoms` holds those that make up the
    lower envelope, `starts` where each begins to be the lowest. Columns are copied, some at a
    time, because pixels of a column lie far apart.
    """
    tile = 16
    outer, length, inner = squared.shape
    heights = np.empty((tile, length))
    bottoms = np.empty(length, np.int64)
    starts = np.empty(length + 1)
    inverse = 1 / (2 * weight * np.maximum(np.arange(length), 1))  # division is slow
    for block in range(outer):
        for left in range(0, inner, tile):
            columns = min(tile, inner - left)
            for y in range(length):
                for x in range(columns):
                    heights[x, y] = squared[block, y, left + x]
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
                            squared[block, at, left + x] = base + weight * away * away
                            at += 1
