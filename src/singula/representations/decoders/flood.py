"""Marker-controlled watershed in two or three dimensions, in place and with little memory.

Parts of the growth mask that do not touch cannot influence each other. They are flooded one after
the other, so that the pixels in use stay in the cache, however large the image is. See
``docs/internals/flood.md`` for the method and its proof.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.util.process import compiled

_LEVELS = 1 << 16
_SCALE = _LEVELS / 2
_OFFSET = _LEVELS / 4  # heights from -0.5 to 1.5 have different levels
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
    known = planes(mask)
    roots = np.zeros(compiled(_count_runs)(known) + 1, np.int32)
    return labels, int(compiled(_connect)(planes(labels), known, roots))


def inside(image: np.ndarray) -> np.ndarray:
    """Return a view of an image without its rim of one pixel."""
    return image[(slice(1, -1),) * image.ndim]


def planes(image: np.ndarray) -> np.ndarray:
    """Return a view of an image as a volume (z, y, x)."""
    return image if image.ndim == 3 else image[None]


def flood_in_place(
    surface: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray | None,
    *,
    downhill: bool,
    by_slices: bool = False,
) -> None:
    """Grow markers over `surface` within `mask`.

    Parameters
    ----------
    surface : ndarray
        (y, x) or (z, y, x), any real dtype, for values in [0, 1]: values are rounded to steps of
        2⁻¹⁵ and clipped to [-0.5, 1.5].
    labels : ndarray of int32
        The markers, contiguous and with a rim of one pixel, as returned by `label_seeds`. They are
        replaced by the instances; the rim and pixels outside of the mask become negative.
    mask : ndarray of bool or None
        Growth mask with the shape of `surface`; None for the whole image. Markers outside of the
        mask are removed.
    downhill : bool
        Flood from high to low values of the surface instead of from low to high.
    by_slices : bool
        Do not grow along the first axis of a volume.

    Notes
    -----
    Monotone flooding with one queue per height (F. Meyer, 1991), connectivity 1. The queues are
    first in, first out, so that markers share a plateau by distance; saturated maps consist mostly
    of plateaus.
    """
    if surface.size == 0:
        return
    strides = np.array(labels.strides) // labels.itemsize
    places = np.cumprod([1, *surface.shape[:0:-1]])[::-1]
    axes = slice(1 if by_slices and surface.ndim == 3 else 0, None)
    steps = np.stack([np.r_[-s[axes], s[axes][::-1]] for s in (strides, places)], axis=1)
    _raise_rim(labels)
    runs = _runs(labels, mask, apart=by_slices)
    parts = np.flatnonzero(runs[3] == -2)
    # Memory for all pixels and two incomplete chunks per level; unused pages are never allocated.
    cells = np.empty(8 * (labels.size // 7 + 2 * min(labels.size, _LEVELS) + 1), runs.dtype)
    compiled(_spread)(planes(labels), *_levels(surface, downhill), steps, runs, parts, cells)


def _runs(labels: np.ndarray, mask: np.ndarray | None, *, apart: bool) -> np.ndarray:
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


def _raise_rim(labels: np.ndarray) -> None:
    """Set the rim to -1, so that nothing grows into it."""
    for axis in range(labels.ndim):
        for end in (0, -1):
            labels[(slice(None),) * axis + (end,)] = -1


def _levels(surface: np.ndarray, downhill: bool) -> tuple[Any, ...]:
    """Return flat heights, a table of their levels (empty for 32 bits), scale and offset."""
    scale = np.float32(-_SCALE if downhill else _SCALE)
    offset = np.float32(_OFFSET + downhill * _SCALE)
    heights = np.ascontiguousarray(surface, surface.dtype.newbyteorder("="))
    if heights.itemsize > 2:
        few = np.zeros(0, np.uint16)
        return heights.astype(np.float32, copy=False).ravel(), few, scale, offset
    codes = np.arange(1 << 8 * heights.itemsize, dtype=f"u{heights.itemsize}")
    with np.errstate(invalid="ignore"):
        level = codes.view(heights.dtype).astype(np.float32) * scale + offset
    few = np.nan_to_num(level, nan=0).clip(0, _LEVELS - 1).astype(np.uint16)
    return heights.ravel().view(codes.dtype), few, scale, offset


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
    made = 0
    for z in range(depth):
        for y in range(height):
            known, row = mask[z, y], image[z + rim, y + 1, 1:-1]
            above = image[z + rim, y, 1:-1]
            behind = image[z, y + 1, 1:-1]  # in a 2D image this is the row itself, still 0
            own = 0
            for x in range(width):
                if not known[x]:
                    own = 0
                    continue
                for beside in (above[x], behind[x]):
                    if beside == own or beside == 0:
                        continue
                    if own == 0:
                        own = beside
                        continue
                    while roots[own] != own:
                        roots[own] = roots[roots[own]]
                        own = roots[own]
                    while roots[beside] != beside:
                        roots[beside] = roots[roots[beside]]
                        beside = roots[beside]
                    own, beside = min(own, beside), max(own, beside)
                    roots[beside] = own
                if own == 0:
                    made += 1
                    roots[made] = own = made
                row[x] = own
    count = 0
    for number in range(1, made + 1):  # lower numbers are final
        count += roots[number] == number
        roots[number] = count if roots[number] == number else roots[roots[number]]
    for z in range(depth):
        for y in range(height):
            row = image[z + rim, y + 1, 1:-1]
            for x in range(width):
                row[x] = roots[row[x]]
    return count


def _spread(
    image: Any,
    heights: Any,
    few: Any,
    scale: Any,
    offset: Any,
    steps: Any,
    runs: Any,
    parts: Any,
    cells: Any,
) -> None:
    """Flood one part of the mask after the other, in place; compiled.

    The queue of a level consists of chunks of eight cells. The first cell of a chunk holds the next
    chunk, each other cell a pixel. `ends` holds the first and the last cell of each level. A bit of
    `words` is set if a level has waiting pixels, a bit of `pages` if a word is not 0.

    Parameters
    ----------
    image : int32, (z, y, x)
        Markers with a rim of -1; replaced by the instances.
    heights : float32 or unsigned int, (pixels,)
        Flat surface without a rim; unsigned integers are indices of `few`.
    few : uint16, (values,)
        Level of each height, or empty: then levels are computed with `scale` and `offset`.
    scale, offset : float32
    steps : int64, (neighbors, 2)
        Steps to the neighbors in the flat image with its rim, and in the flat surface.
    runs : int32 or int64, (4, n)
        See `_chain_runs`.
    parts : int64, (parts,)
        First run of each part.
    cells : int32 or int64
        Memory of the queues.
    """
    labels = image.reshape(-1)
    depth, height, width = image.shape
    used, spare = 0, -1
    words, pages = np.zeros(1024, np.int64), np.zeros(16, np.int64)
    ends, power = np.empty((65536, 2), runs.dtype), np.zeros(1)
    bits = power.view(np.int64)  # the exponent of a power of two is the number of its bit
    batch = np.empty((6 + width, 2), np.int64)
    for part in parts:
        run, current = part, 0
        while True:
            count = 0
            # A batch consists of pixels that were just labeled: first the markers, run by run.
            if run >= 0:
                for pixel in range(runs[0, run], runs[1, run]):
                    if labels[pixel] > 0:
                        batch[count, 0], batch[count, 1] = pixel, pixel - runs[0, run]
                        count += 1
                origin, run = runs[0, run], runs[2, run]
            else:
                # Then the pixels of the lowest level that is not empty. Levels below `current` are
                # empty, because no pixel is added below it.
                if not words[current >> 6] & (1 << (current & 63)):
                    page = current >> 12
                    while page < 16 and pages[page] == 0:
                        page += 1
                    if page == 16:
                        break
                    power[0] = pages[page] & -pages[page]
                    word = (page << 6) + (bits[0] >> 52 & 2047) - 1023
                    power[0] = words[word] & -words[word]
                    current = (word << 6) + (bits[0] >> 52 & 2047) - 1023
                # Take the first pixel of the queue; return a chunk that is now empty.
                cell, last = ends[current, 0], ends[current, 1]
                origin, chunk = cells[cell], cell & ~7
                ends[current, 0] = cells[chunk] + 1 if cell & 7 == 7 else cell + 1
                if cell == last or cell & 7 == 7:
                    cells[chunk], spare = spare, chunk
                if cell == last:
                    word = current >> 6
                    words[word] &= words[word] - 1
                    pages[word >> 6] ^= int(words[word] == 0) << (word & 63)
                # It passes its label to its unlabeled neighbors.
                for step in range(len(steps)):
                    pixel = origin + steps[step, 0]
                    if labels[pixel] == 0:
                        labels[pixel] = labels[origin]
                        batch[count, 0], batch[count, 1] = pixel, steps[step, 1]
                        count += 1
            if count == 0:
                continue
            # Position in the surface, which has no rim: subtract the rows and pixels of the rim.
            row = origin // width
            row -= row // height * 2 + height - 1 if depth > 1 else 1
            place = row * (width - 2) + origin % width - 1
            for each in range(count):
                pixel, beside = batch[each, 0], place + batch[each, 1]
                for step in range(len(steps)):
                    if labels[pixel + steps[step, 0]] == 0:
                        break
                else:  # all neighbors are labeled: the pixel does not have to wait
                    continue
                high = few[int(heights[beside])] if len(few) else heights[beside] * scale + offset
                level = max(current, int(max(0, min(65535, high))))
                word, bit = level >> 6, 1 << (level & 63)
                # Append the pixel to the queue of its level, in a new chunk if necessary.
                waiting = words[word] & bit != 0
                cell = ends[level, 1]
                if waiting and cell & 7 != 7:
                    cell += 1
                else:
                    chunk = spare if spare >= 0 else used
                    used += 8 * (spare < 0)
                    spare = cells[chunk] if spare >= 0 else -1
                    if waiting:
                        cells[cell & ~7] = chunk
                    else:
                        ends[level, 0] = chunk + 1
                        words[word] |= bit
                        pages[word >> 6] |= 1 << (word & 63)
                    cell = chunk + 1
                ends[level, 1] = cell
                cells[cell] = pixel
