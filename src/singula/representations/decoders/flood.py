"""Marker-controlled watershed in two or three dimensions, in place and with little memory.

Parts of the growth mask that do not touch cannot influence each other. They are flooded one after
the other, so that the pixels in use stay in the cache, however large the image is; several threads
flood different parts. See ``docs/internals/flood.md`` for the method and its proof.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numba.extending import register_jitable

from singula.representations.decoders.components import find_runs, planes
from singula.util.instructions import lowest_bit, prefetch
from singula.util.process import compiled, free_threads

_LEVELS = 1 << 16
_SCALE = _LEVELS / 2
_OFFSET = _LEVELS / 4  # heights from -0.5 to 1.5 have different levels
_GROUPS_PER_THREAD = 4  # parts differ in work: a thread that is done takes the next group
_MIN_PIXELS = 1 << 16  # of a group; for fewer, starting a thread takes longer than the flood


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
    runs = find_runs(labels, mask, apart=by_slices)
    parts = np.flatnonzero(runs[3] == -2)
    pixels = np.zeros(len(parts), np.int64)
    compiled(_count_pixels)(runs, parts, pixels)
    heights = _levels(surface, downhill)

    def spread(group: slice) -> None:
        count = int(pixels[group].sum())
        # Memory for all pixels and two incomplete chunks per level; unused pages are not allocated.
        cells = np.empty(8 * (count // 7 + 2 * min(count, _LEVELS) + 1), runs.dtype)
        compiled(_spread)(planes(labels), *heights, steps, runs, parts[group], cells)

    threads = free_threads()
    groups = _groups(pixels, threads)
    if len(groups) == 1:
        spread(groups[0])
        return
    with ThreadPoolExecutor(min(threads, len(groups))) as pool:
        list(pool.map(spread, groups))


def compile_flooding() -> None:
    """Compile the flooding of a map of 32-bit values, without an image."""
    labels, surface = np.zeros((3, 3), np.int32), np.zeros((1, 1), np.float32)
    runs, parts = np.zeros((4, 0), np.int32), np.zeros(0, np.int64)
    steps, cells = np.zeros((4, 2), np.int64), np.zeros(1, np.int32)
    heights = _levels(surface, downhill=False)
    compiled(_count_pixels)(runs, parts, parts)
    compiled(_spread)(planes(labels), *heights, steps, runs, parts, cells)


def _groups(pixels: np.ndarray, threads: int) -> list[slice]:
    """Divide the parts into groups of about equal numbers of pixels; one group for one thread."""
    ends = np.cumsum(pixels)
    total = int(pixels.sum())
    count = min(_GROUPS_PER_THREAD * threads, total // _MIN_PIXELS) if threads > 1 else 1
    limits = np.arange(1, count) * total // max(1, count)
    bounds = np.unique([0, *np.searchsorted(ends, limits, side="right"), len(pixels)])
    return [slice(a, b) for a, b in pairwise(bounds)] or [slice(0, 0)]


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


def _count_pixels(runs: Any, parts: Any, pixels: Any) -> None:
    """Count the pixels of each part, int64 (parts,), for `_spread`; compiled."""
    for part in range(len(parts)):
        run = parts[part]
        while run >= 0:
            pixels[part] += runs[1, run] - runs[0, run]
            run = runs[2, run]


def _place_in_surface(shape: Any, pixel: Any) -> Any:
    """Return the position in the flat surface, which has no rim, of a pixel of the flat image."""
    depth, height, width = shape
    row = pixel // width
    row -= row // height * 2 + height - 1 if depth > 1 else 1
    return row * (width - 2) + pixel % width - 1


_place: Any = register_jitable(_place_in_surface)


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
        See `components.find_runs`.
    parts : int64, (parts,)
        First run of each part.
    cells : int32 or int64
        Memory of the queues.
    """
    labels, width = image.reshape(-1), image.shape[2]
    used, spare = 0, -1
    words, pages = np.zeros(1024, np.int64), np.zeros(16, np.int64)
    ends = np.empty((65536, 2), runs.dtype)
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
                    word = (page << 6) + lowest_bit(pages[page])
                    current = (word << 6) + lowest_bit(words[word])
                # Take the first pixel of the queue; return a chunk that is now empty.
                cell, last = ends[current, 0], ends[current, 1]
                origin, chunk = cells[cell], cell & ~7
                if cell | 7 != last | 7:
                    # The processor loads the neighborhood of the pixel after the next six.
                    later = cells[cells[chunk] + (cell & 7)]
                    place = _place(image.shape, later)
                    for step in range(len(steps)):
                        prefetch(labels, later + steps[step, 0])
                        prefetch(labels, later + 2 * steps[step, 0])
                        prefetch(heights, place + steps[step, 1])
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
            place = _place(image.shape, origin)
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
                waiting, cell = words[word] & bit != 0, ends[level, 1]
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
