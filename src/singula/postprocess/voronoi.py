"""Instances grown until they touch: every pixel of an area goes to the nearest one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.instances.thresholds import MIN_AUTO, histogram, otsu_from_histogram
from singula.postprocess.labels import check_labels, check_spacing, index_labels, look_up
from singula.runtime import compiled

_NO_OTSU = 0.5


def voronoi(
    labels: np.ndarray, area: np.ndarray, *, spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Give every background pixel of an area to the nearest instance.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    area : ndarray of bool
        Where instances may grow. What they cover already they keep, inside the area and outside.
    spacing : sequence of float, optional
        Pixel size per axis, z first.

    Returns
    -------
    ndarray
        A new array of the dtype of `labels`. Without any instance there is nothing to grow.

    Raises
    ------
    UserError
        If labels and area differ in shape, or the spacing does not fit.

    Notes
    -----
    The Euclidean distance between centres of pixels, exactly: along each axis in turn the lower
    envelope of parabolas (P. Felzenszwalb and D. Huttenlocher, 2012), linear in pixels. Of
    instances equally near, the one with the lowest id gets the pixel.
    """
    checked = check_labels(labels)
    if area.shape != checked.shape:
        raise UserError(f"labels have the shape {checked.shape}, the area to fill {area.shape}")
    sizes = np.array(check_spacing(spacing, checked.ndim))
    index, ids = index_labels(checked)
    if not index.any():
        return checked.astype(np.asarray(labels).dtype)
    weights = (sizes / sizes.min()) ** 2
    nearest = index.astype(np.uint32)
    distance = np.empty(nearest.shape)
    width = nearest.shape[-1]
    compiled(_along_rows)(nearest.reshape(-1, width), distance.reshape(-1, width), weights[-1])
    inner = width
    for axis in reversed(range(nearest.ndim - 1)):
        shape = (-1, nearest.shape[axis], inner)
        compiled(_along_columns)(nearest.reshape(shape), distance.reshape(shape), weights[axis])
        inner *= nearest.shape[axis]
    np.copyto(nearest, index, where=(index != 0) | ~area.astype(bool), casting="unsafe")
    return look_up(ids.astype(np.asarray(labels).dtype), nearest)


def growth_area(maps: Mapping[str, np.ndarray], threshold: float = 0.0) -> tuple[np.ndarray, float]:
    """Foreground of predicted maps, in which `voronoi` may grow instances.

    Parameters
    ----------
    maps : mapping of str to ndarray
        Probabilities by channel name. ``M`` is taken if it is there, else ``B`` + ``C``.
    threshold : float
        ``VORONOI_TH``. 0 takes Otsu's of the map; where that finds nothing to separate, 0.5.

    Returns
    -------
    area : ndarray of bool
        Where the map is above the threshold.
    threshold : float
        The one that was used.

    Raises
    ------
    UserError
        If the maps are missing or the threshold is not in [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise UserError(f"VORONOI_TH is {threshold}; it must be in [0, 1], 0 meaning Otsu's")
    if "M" in maps:
        foreground = np.asarray(maps["M"])
    elif "B" in maps and "C" in maps:
        foreground = np.add(maps["B"], maps["C"], dtype=np.float32)
    else:
        raise UserError(
            f"VORONOI_ON_MASK needs the map M, or B and C; found {', '.join(maps) or 'none'}",
            hint="use it with DATA_CHANNELS BC, BCM, BCD or BCDv2",
        )
    if threshold == 0:
        automatic = otsu_from_histogram(histogram(foreground))
        threshold = _NO_OTSU if automatic is None or automatic < MIN_AUTO else automatic
    return foreground > threshold, threshold


def _along_rows(nearest: Any, distance: Any, weight: Any) -> None:
    """Fill rows in place with the nearest label of the row and its squared distance; compiled."""
    height, width = nearest.shape
    before = np.empty(width, np.int64)
    for y in range(height):
        row, away = nearest[y], distance[y]
        left = -1
        for x in range(width):
            if row[x] != 0:
                left = x
            before[x] = left
        right = -1
        for x in range(width - 1, -1, -1):
            if row[x] != 0:
                right = x
            left = before[x]
            best = right
            if left >= 0:
                gap = (right - x) - (x - left)
                if right < 0 or gap > 0 or (gap == 0 and row[left] < row[right]):
                    best = left
            away[x] = np.inf
            if best >= 0:
                row[x] = row[best]
                away[x] = weight * (x - best) ** 2


def _along_columns(nearest: Any, distance: Any, weight: Any) -> None:
    """Lower the squared distances in place along the middle axis; compiled.

    Each pixel of a column is the bottom of a parabola. `bottoms` holds those that make up the
    lower envelope, `starts` where each begins to be the lowest. A parabola that is the lowest in
    a single point, along with others, stays: its label may be the lowest. Columns are copied,
    some at a time, because pixels of a column lie far apart.
    """
    tile = 8
    outer, length, inner = nearest.shape
    heights = np.empty((tile, length))
    labels = np.empty((tile, length), nearest.dtype)
    bottoms = np.empty(length, np.int64)
    starts = np.empty(length)
    for block in range(outer):
        for left in range(0, inner, tile):
            columns = min(tile, inner - left)
            for y in range(length):
                for x in range(columns):
                    heights[x, y] = distance[block, y, left + x]
                    labels[x, y] = nearest[block, y, left + x]
            for x in range(columns):
                height = heights[x]
                count = 0
                for y in range(length):
                    if height[y] == np.inf:
                        continue
                    start = -np.inf
                    while count > 0:
                        last = bottoms[count - 1]
                        rise = height[y] - height[last] + weight * (y * y - last * last)
                        start = rise / (2 * weight * (y - last))
                        if start >= starts[count - 1]:
                            break
                        count -= 1
                    if start <= length - 1:
                        bottoms[count], starts[count] = y, start
                        count += 1
                lowest = 0
                for y in range(length):
                    if count == 0:
                        break
                    while lowest + 1 < count and starts[lowest + 1] < y:
                        lowest += 1
                    best = np.inf
                    candidate = lowest
                    while candidate < count and (candidate == lowest or starts[candidate] <= y):
                        bottom = bottoms[candidate]
                        value = height[bottom] + weight * (y - bottom) ** 2
                        label = labels[x, bottom]
                        if value < best or (value == best and label < nearest[block, y, left + x]):
                            best = value
                            nearest[block, y, left + x] = label
                        candidate += 1
                    distance[block, y, left + x] = best
