"""Connected components of masks in two or three dimensions, from the runs of their rows.

A run is a stretch of a row within the mask. Seeds are labeled components; the parts of a growth
mask are linked lists of runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.util.process import compiled

_PIXELS_PER_RUN = 16  # limits the runs to one byte per pixel


def label_seeds(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Label the connected components (connectivity 1) of a boolean mask.

    Parameters
    ----------
    mask : ndarray of bool
        (y, x) or (z, y, x).

    Returns
    -------
    labels : ndarray of int32
        Labels in the order of their first pixels, contiguous, with a rim of one pixel of zeros:
        each axis is two pixels longer than that of the mask.
    count : int
        Number of components.
    """
    labels = np.zeros([size + 2 for size in mask.shape], np.int32)
    if mask.size == 0:
        return labels, 0
    volume = planes(mask)
    roots = np.zeros(compiled(_count_runs)(volume) + 1, np.int32)
    return labels, int(compiled(_connect)(planes(labels), volume, roots))


def inside(image: np.ndarray) -> np.ndarray:
    """Return a view of an image without its rim of one pixel."""
    return image[(slice(1, -1),) * image.ndim]


def planes(image: np.ndarray) -> np.ndarray:
    """Return a view of an image as a volume (z, y, x)."""
    return image if image.ndim == 3 else image[None]


def find_runs(labels: np.ndarray, mask: np.ndarray | None, *, apart: bool) -> np.ndarray:
    """Return the runs of the mask, linked to parts; see `_chain_runs`.

    If there are too many runs, as in noise, whole rows are the runs and the image is one part.
    """
    inner, everywhere = planes(inside(labels)), mask is None
    allowed = planes(np.zeros((1,) * labels.ndim, bool) if mask is None else mask)
    count = 0 if everywhere else compiled(_count_runs)(allowed)
    if mask is not None and count * _PIXELS_PER_RUN > mask.size:
        compiled(_bar)(inner, allowed)
        everywhere = True
    if everywhere:
        count = inner.shape[0] * inner.shape[1]
    runs = np.empty((4, count), np.int32 if labels.size < 1 << 30 else np.int64)
    strides = np.array(labels.strides) // labels.itemsize
    reach = np.array([0, *strides])[-3:-1]  # to the next slice (0 in 2D) and row
    origin = int(strides.sum())
    compiled(_chain_runs)(inner, allowed, everywhere, apart, reach, origin, runs)
    return runs


def _count_runs(mask: Any) -> int:
    """Count the runs of True in the rows of a mask, bool (z, y, x); compiled."""
    depth, height, width = mask.shape
    count = 0
    for z in range(depth):
        for y in range(height):
            row = mask[z, y]
            before = False
            for x in range(width):
                count += row[x] & ~before
                before = row[x]
    return count


def _bar(labels: Any, mask: Any) -> None:
    """Set labels, int32 (z, y, x), to -1 outside of the mask, bool (z, y, x); compiled."""
    depth, height, width = mask.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if not mask[z, y, x]:
                    labels[z, y, x] = -1


def _chain_runs(
    labels: Any,
    mask: Any,
    everywhere: Any,
    apart: Any,
    reach: Any,
    origin: Any,
    runs: Any,
) -> None:
    """Find the runs of the mask and link those that are connected; compiled.

    A run is a stretch of a row within the mask; a part is a linked list of connected runs.

    Parameters
    ----------
    labels : int32, (z, y, x)
        Labels without their rim. Pixels outside of the mask become -1.
    mask : bool, (z, y, x)
        Not used if `everywhere`: then each row is a run.
    apart : bool
        Do not connect slices.
    reach : int64, (2,)
        Steps in the flat labels to the next slice and to the next row.
    origin : int
        Position of the first pixel in the flat labels with their rim.
    runs : int32 or int64, (4, n)
        Result. Rows: first pixel; pixel after the last; next run of the part (-1 for none); -2 for
        the first run of a part.
    """
    depth, height, width = labels.shape
    start, stop, follow, head = runs[0], runs[1], runs[2], runs[3]
    first = np.zeros(depth * height + 1, start.dtype)
    run = 0
    for line in range(depth * height):
        z, y = line // height, line % height
        at = origin + z * reach[0] + y * reach[1]
        x = 0
        while x < width:
            if not (everywhere or mask[z, y, x]):
                labels[z, y, x] = -1
                x += 1
                continue
            start[run], follow[run] = at + x, run
            while x < width and (everywhere or mask[z, y, x]):
                x += 1
            stop[run] = at + x
            run += 1
        first[line + 1] = run
        for axis in range(2):
            if (axis == 1 and y == 0) or (axis == 0 and (z == 0 or apart)):
                continue
            beside = line - (1 if axis == 1 else height)
            one, two = first[beside], first[line]
            while one < first[beside + 1] and two < run:
                if start[one] + reach[axis] < stop[two] and start[two] < stop[one] + reach[axis]:
                    low, high = one, two
                    while follow[low] != low:
                        follow[low] = follow[follow[low]]
                        low = follow[low]
                    while follow[high] != high:
                        follow[high] = follow[follow[high]]
                        high = follow[high]
                    follow[max(low, high)] = min(low, high)
                if stop[one] + reach[axis] < stop[two]:
                    one += 1
                else:
                    two += 1
    head[:] = -1
    for run in range(len(follow)):
        follow[run] = follow[follow[run]]  # the first run of its part
    for run in range(len(follow) - 1, -1, -1):
        root = follow[run]
        follow[run] = head[root]
        head[root] = -2 if root == run else run


def _connect(image: Any, mask: Any, roots: Any) -> int:
    """Label the components of a mask in the order of their first pixels; compiled.

    A pixel receives the number of a labeled pixel before it along any axis, or a new number.
    `roots` links a number to a lower number of the same component (union-find).

    Parameters
    ----------
    image : int32, (z, y, x)
        Zeros with a rim of one pixel, which does not change. Receives the labels.
    mask : bool, (z, y, x)
    roots : int32, (number of runs + 1,)
        Zeros.
    """
    depth, height, width = mask.shape
    rim = int(image.shape[0] > 1)
    n_parts = 0
    for z in range(depth):
        for y in range(height):
            is_seed, row = mask[z, y], image[z + rim, y + 1, 1:-1]
            above = image[z + rim, y, 1:-1]
            behind = image[z, y + 1, 1:-1]  # in a 2D image this is the row itself, still 0
            label = 0
            for x in range(width):
                if not is_seed[x]:
                    label = 0
                    continue
                for beside in (above[x], behind[x]):
                    if beside == label or beside == 0:
                        continue
                    if label == 0:
                        label = beside
                        continue
                    while roots[label] != label:
                        roots[label] = roots[roots[label]]
                        label = roots[label]
                    while roots[beside] != beside:
                        roots[beside] = roots[roots[beside]]
                        beside = roots[beside]
                    label, beside = min(label, beside), max(label, beside)
                    roots[beside] = label
                if label == 0:
                    n_parts += 1
                    roots[n_parts] = label = n_parts
                row[x] = label
    count = 0
    for number in range(1, n_parts + 1):  # lower numbers are final
        count += roots[number] == number
        roots[number] = count if roots[number] == number else roots[roots[number]]
    for z in range(depth):
        for y in range(height):
            row = image[z + rim, y + 1, 1:-1]
            for x in range(width):
                row[x] = roots[row[x]]
    return count
