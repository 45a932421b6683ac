"""Random positions of patches, by probability or minimum fraction of foreground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.patches import read_patch
from singula.io.lazy_array import Pixels, iter_blocks
from singula.util.annotated_slices import annotated_slices, is_planar
from singula.util.sparse_labels import annotated_mask

Array = npt.NDArray[Any]
Start = tuple[int, ...]
_MAX_DRAWS = 30  # before all positions with enough foreground are computed


def random_start(shape: Sequence[int], patch: Sequence[int], rng: np.random.Generator) -> Start:
    """Draw a start inside the image; a patch larger than the image is centered and mirrored."""
    return tuple(
        int(rng.integers(0, size - length + 1)) if size >= length else -((length - size) // 2)
        for size, length in zip(shape, patch, strict=True)
    )


def foreground_rows(labels: Pixels) -> npt.NDArray[np.int64]:
    """Return the cumulative number of foreground pixels per line along x.

    With these eight bytes per line and one line of the labels (y, x) or (z, y, x), any foreground
    pixel can be found by its number.
    """
    return _cumulative_rows(labels, lambda part: part > 0)


def background_rows(labels: Pixels) -> npt.NDArray[np.int64]:
    """Return the cumulative number of annotated background pixels; see `foreground_rows`."""
    return _cumulative_rows(labels, lambda part: part == 0)


def _cumulative_rows(labels: Pixels, select: Callable[[Array], Array]) -> npt.NDArray[np.int64]:
    rows = np.zeros(labels.shape[:-1], np.int64)
    for box, part in iter_blocks(labels):
        rows[box[:-1]] += np.count_nonzero(select(part), axis=-1)
    return np.cumsum(rows.ravel(), dtype=np.int64)


def weighted_start(
    labels: Pixels,
    rows: npt.NDArray[np.int64],
    weights: tuple[float, float],
    patch: Sequence[int],
    rng: np.random.Generator,
    background: npt.NDArray[np.int64] | None = None,
) -> Start:
    """Draw a patch around a foreground or background pixel with the given weights.

    Parameters
    ----------
    labels : ndarray
        Label ids, (y, x) or (z, y, x).
    rows : ndarray
        Cumulative counts from `foreground_rows`.
    weights : (float, float)
        Weights of the foreground and the background; their pixels have equal probabilities.
    patch : sequence of int
        Shape of the patch, which is moved into the image if the pixel is near the edge.
    rng : Generator
        Source of random numbers.
    background : ndarray, optional
        Cumulative counts from `background_rows`, if some pixels are not annotated.
    """
    shape = labels.shape
    total = int(rows[-1])
    annotated = labels.size if background is None else total + int(background[-1])
    share = weights[0] / sum(weights)
    inside = bool(rng.random() < share)
    if total in (0, annotated):
        inside = total > 0
    number = int(rng.integers(0, total if inside else annotated - total))
    width = shape[-1]
    ends = rows
    if not inside:
        ends = width * np.arange(1, len(rows) + 1) - rows if background is None else background
    row = int(np.searchsorted(ends, number, side="right"))
    before = int(ends[row - 1]) if row else 0
    line = np.unravel_index(row, shape[:-1])
    pixels = labels[line]
    x = int(np.flatnonzero(pixels > 0 if inside else pixels == 0)[number - before])
    start = []
    centers = [*(int(c) for c in line), x]
    for center, size, length in zip(centers, shape, patch, strict=True):
        low = center - length // 2
        start.append(min(max(low, 0), size - length) if size >= length else -((length - size) // 2))
    return tuple(start)


def foreground_share(labels: Pixels, start: Sequence[int], patch: Sequence[int]) -> float:
    """Return the fraction of foreground in the annotated pixels of a patch; -1 without any."""
    part = read_patch(labels, start, patch)
    if part.dtype.kind != "i":
        return float(np.count_nonzero(part)) / prod(patch)
    count = int(np.count_nonzero(part >= 0))
    return float(np.count_nonzero(part > 0)) / count if count else -1.0


def planar_slices(labels: Pixels) -> npt.NDArray[np.int64]:
    """Return the annotated slices of a volume of which single slices are annotated, else none.

    Parameters
    ----------
    labels : ndarray
        Label ids, (y, x) or (z, y, x); -1 is not annotated.
    """
    ids = np.asarray(labels)
    return np.flatnonzero(annotated_slices(ids)) if is_planar(ids) else np.zeros(0, np.int64)


def start_at_slice(
    start: Start,
    slices: npt.NDArray[np.int64],
    size: int,
    depth: int,
    rng: np.random.Generator,
) -> Start:
    """Move a patch along z, so that one of its annotated slices is at a random depth.

    Parameters
    ----------
    start : tuple of int
        Start of the patch, z first.
    slices : ndarray of int
        Annotated slices.
    size, depth : int
        Number of slices of the volume and of the patch. At most half of the patch is outside of
        the volume, where the volume is mirrored.
    rng : Generator
        Source of random numbers.
    """
    inside = slices[(slices >= start[0]) & (slices < start[0] + depth)]
    if not len(inside):  # only mirrored pixels are annotated
        inside = slices
    first = int(inside[rng.integers(len(inside))] - rng.integers(depth))
    outside = min(depth, size) // 2
    return (min(max(first, -outside), size - depth + outside), *start[1:])


def starts_with_foreground(labels: Pixels, patch: Sequence[int], min_fraction: float) -> Array:
    """Return all starts inside the image whose patch has at least this fraction of foreground.

    Patches without annotated pixels are left out.

    Returns
    -------
    ndarray
        Starts, shape (n, axes); along axes on which the image is smaller than the patch, only the
        centered start.
    """
    shape = labels.shape
    if any(size < length for size, length in zip(shape, patch, strict=True)):
        fitted = tuple(max(s, p) for s, p in zip(shape, patch, strict=True))
        shift = [-((f - s) // 2) for f, s in zip(fitted, shape, strict=True)]
        starts = starts_with_foreground(read_patch(labels, shift, fitted), patch, min_fraction)
        return np.asarray(starts + shift)
    ids = np.asarray(labels)
    counts = _box_sums(ids > 0, patch)
    if ids.dtype.kind != "i":
        return np.argwhere(counts >= min_fraction * prod(patch))
    annotated = _box_sums(ids >= 0, patch)
    return np.argwhere((counts >= min_fraction * annotated) & (annotated > 0))


def _box_sums(mask: npt.NDArray[np.bool_], patch: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the numbers of pixels of a mask in all boxes, from differences of cumulative sums."""
    counts = mask.astype(np.int64)
    for axis, length in enumerate(patch):
        sums = np.cumsum(counts, axis=axis)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis)
        size = sums.shape[axis]
        counts = sums.take(range(length, size), axis) - sums.take(range(size - length), axis)
    return counts


def start_with_foreground(
    labels: Pixels,
    draw: Callable[[], Start],
    patch: Sequence[int],
    min_fraction: float,
    rng: np.random.Generator,
) -> Start:
    """Call `draw` until the patch has enough foreground.

    After several attempts, choose a random start among all valid ones; at least one must exist.
    """
    for _ in range(_MAX_DRAWS):
        start = draw()
        if foreground_share(labels, start, patch) >= min_fraction:
            return start
    starts = starts_with_foreground(labels, patch, min_fraction)
    return tuple(int(v) for v in starts[rng.integers(len(starts))])


def probability_map(labels: Pixels, weights: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return the probability of each pixel to be the center of a patch; the sum is 1."""
    ids = np.asarray(labels)
    mask, annotated = ids > 0, annotated_mask(ids)
    count, size = int(np.count_nonzero(mask)), int(np.count_nonzero(annotated))
    share = weights[0] / sum(weights)
    if count in (0, size):
        inside = outside = 1 / max(1, size)
    else:
        inside, outside = share / count, (1 - share) / (size - count)
    weight = np.where(mask, np.float32(inside), np.float32(outside))
    return np.where(annotated, weight, np.float32(0))
