"""Marker-controlled watershed in two or three dimensions, in place and in little memory.

Floods of parts of the growth mask that do not touch cannot meet, so one part is flooded after the
other: what a flood looks at lies close together, however large the image is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.runtime import compiled

_LEVELS = 1 << 16
_SCALE = _LEVELS / 2
_OFFSET = _LEVELS / 4  # heights from -0.5 to 1.5 keep their order
_PIXELS_PER_RUN = 16  # so runs take a byte per pixel at most


def label_seeds(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Give numbers to the connected components (connectivity 1) of a boolean mask.

    Returns
    -------
    labels : ndarray of int32
        Within a rim of one pixel of zeros, contiguous; numbers in order of the first pixel.
    count : int
    """
    labels = np.zeros([size + 2 for size in mask.shape], np.int32)
    if mask.size == 0:
        return labels, 0
    known = planes(mask)
    roots = np.zeros(compiled(_count_runs)(known) + 1, np.int32)
    return labels, int(compiled(_connect)(planes(labels), known, roots))


def inside(image: np.ndarray) -> np.ndarray:
    """View of an image without its rim of one pixel."""
    return image[(slice(1, -1),) * image.ndim]


def planes(image: np.ndarray) -> np.ndarray:
    """View of an image as a volume."""
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
        (y, x) or (z, y, x), any real dtype, made for values in [0, 1]: heights are told apart in
        steps of 2⁻¹⁵ and cut off at -0.5 and 1.5.
    labels : ndarray of int32
        The markers, contiguous and within a rim of one pixel, as `label_seeds` makes them.
        Afterwards the instances; what lies outside the mask, and the rim, is negative then.
    mask : ndarray of bool or None
        Of the shape of `surface`. None: the whole image. A marker outside it is lost.
    downhill : bool
        Pixels join from high to low values of the surface instead of from low to high.
    by_slices : bool
        Nothing grows along the first axis of a volume.

    Notes
    -----
    Monotone flooding from a queue for each height (F. Meyer, 1991), connectivity 1. A queue is
    first in, first out, so markers share a plateau by distance; saturated maps are all plateaus.
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
    # for all pixels, and of each level two chunks that are not full; what is not used takes nothing
    cells = np.empty(8 * (labels.size // 7 + 2 * min(labels.size, _LEVELS) + 1), runs.dtype)
    compiled(_spread)(planes(labels), *_levels(surface, downhill), steps, runs, parts, cells)


def _runs(labels: np.ndarray, mask: np.ndarray | None, *, apart: bool) -> np.ndarray:
    """Stretches of the rows of the mask, chained to parts; see `_chain_runs`.

    Where there are too many for the memory, as in noise, they are whole rows, and all is one part.
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
    reach = np.array([0, *strides])[-3:-1]  # to the next slice (0 in an image) and the next row
    origin = int(strides.sum())
    compiled(_chain_runs)(inner, allowed, everywhere, apart, reach, origin, runs)
    return runs


def _raise_rim(labels: np.ndarray) -> None:
    """Let nothing grow into the outermost pixels."""
    for axis in range(labels.ndim):
        for end in (0, -1):
            labels[(slice(None),) * axis + (end,)] = -1


def _levels(surface: np.ndarray, downhill: bool) -> tuple[Any, ...]:
    """Flat heights; the level of each, if they are few, or none; scale and offset of levels."""
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
    """Count stretches of True along the rows; compiled."""
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
    """Let nothing grow outside the mask; compiled."""
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
    """Find the runs of the mask and chain those that are connected; compiled.

    A run is a stretch of a row, a part of the mask a chain of runs. Of `runs`, the rows become
    the first pixel of each, the pixel after its last, the next run of its part (-1 for none), and
    -2 for the first run of a part. Pixels that are not in the mask become -1.
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
    """Number the components of a mask in order of their first pixels; compiled.

    A pixel takes the number of one before it, along any axis, or a new one; `roots` leads from a
    number to a lower one of the same component. The image is 0 before, with a rim that stays so.
    """
    depth, height, width = mask.shape
    rim = int(image.shape[0] > 1)
    made = 0
    for z in range(depth):
        for y in range(height):
            known, row = mask[z, y], image[z + rim, y + 1, 1:-1]
            above = image[z + rim, y, 1:-1]
            behind = image[z, y + 1, 1:-1]  # in an image the row itself: 0 as yet
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
    for number in range(1, made + 1):  # the lower ones have got theirs
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

    The pixels that wait at a level are kept in chunks of eight cells. The first cell of a chunk
    holds the next chunk, the others a pixel each. `ends` has the first and the last cell of each
    level; a bit of `words` says whether there are any, a bit of `pages` whether a word has one.
    """
    labels = image.reshape(-1)
    depth, height, width = image.shape
    used, spare = 0, -1
    words, pages = np.zeros(1024, np.int64), np.zeros(16, np.int64)
    ends, power = np.empty((65536, 2), runs.dtype), np.zeros(1)
    bits = power.view(np.int64)  # the exponent of a lone bit is its number
    batch = np.empty((6 + width, 2), np.int64)
    for part in parts:
        run, current = part, 0
        while True:
            count = 0
            if run >= 0:  # markers first
                for pixel in range(runs[0, run], runs[1, run]):
                    if labels[pixel] > 0:
                        batch[count, 0], batch[count, 1] = pixel, pixel - runs[0, run]
                        count += 1
                origin, run = runs[0, run], runs[2, run]
            else:
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
                cell, last = ends[current, 0], ends[current, 1]
                origin, chunk = cells[cell], cell & ~7
                ends[current, 0] = cells[chunk] + 1 if cell & 7 == 7 else cell + 1
                if cell == last or cell & 7 == 7:
                    cells[chunk], spare = spare, chunk
                if cell == last:
                    word = current >> 6
                    words[word] &= words[word] - 1
                    pages[word >> 6] ^= int(words[word] == 0) << (word & 63)
                for step in range(len(steps)):
                    pixel = origin + steps[step, 0]
                    if labels[pixel] == 0:
                        labels[pixel] = labels[origin]
                        batch[count, 0], batch[count, 1] = pixel, steps[step, 1]
                        count += 1
            if count == 0:
                continue
            row = origin // width
            row -= row // height * 2 + height - 1 if depth > 1 else 1  # those of the rim
            place = row * (width - 2) + origin % width - 1
            for each in range(count):
                pixel, beside = batch[each, 0], place + batch[each, 1]
                for step in range(len(steps)):
                    if labels[pixel + steps[step, 0]] == 0:
                        break
                else:  # nothing could grow from here
                    continue
                high = few[int(heights[beside])] if len(few) else heights[beside] * scale + offset
                level = max(current, int(max(0, min(65535, high))))
                word, bit = level >> 6, 1 << (level & 63)
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
