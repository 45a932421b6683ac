"""Where random patches lie, and how much foreground a patch must hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.patches import read_patch
from singula.io.lazy_array import Pixels, pieces

Array = npt.NDArray[Any]
Start = tuple[int, ...]
_DRAWS = 30  # before the places with enough foreground are counted out


def random_start(shape: Sequence[int], patch: Sequence[int], rng: np.random.Generator) -> Start:
    """Anywhere inside; centred (and mirrored) along axes where the image is smaller."""
    return tuple(
        int(rng.integers(0, size - length + 1)) if size >= length else -((length - size) // 2)
        for size, length in zip(shape, patch, strict=True)
    )


def foreground_rows(labels: Pixels) -> npt.NDArray[np.int64]:
    """Foreground pixels of labels (y, x) or (z, y, x) up to and including each line along x.

    Eight bytes a line: from these and one line of the labels any foreground pixel is found.
    """
    rows = np.zeros(labels.shape[:-1], np.int64)
    for box, part in pieces(labels):
        rows[box[:-1]] += np.count_nonzero(part > 0, axis=-1)
    return np.cumsum(rows.ravel(), dtype=np.int64)


def weighted_start(
    labels: Pixels,
    rows: npt.NDArray[np.int64],
    weights: tuple[float, float],
    patch: Sequence[int],
    rng: np.random.Generator,
) -> Start:
    """A patch around a pixel that is foreground or background with the given weights.

    Parameters
    ----------
    labels : ndarray
        (y, x) or (z, y, x).
    rows : ndarray
        See `foreground_rows`.
    weights : (float, float)
        Of foreground and background as a whole; pixels of a kind have equal chances.
    patch : sequence of int
        Moved inside where the pixel is near the edge.
    """
    shape = labels.shape
    total = int(rows[-1])
    share = weights[0] / sum(weights)
    inside = bool(rng.random() < share)
    if total in (0, labels.size):
        inside = total > 0
    number = int(rng.integers(0, total if inside else labels.size - total))
    width = shape[-1]
    ends = rows if inside else width * np.arange(1, len(rows) + 1) - rows
    row = int(np.searchsorted(ends, number, side="right"))
    before = int(ends[row - 1]) if row else 0
    place = np.unravel_index(row, shape[:-1])
    x = int(np.flatnonzero((labels[place] > 0) == inside)[number - before])
    start = []
    centres = [*(int(c) for c in place), x]
    for centre, size, length in zip(centres, shape, patch, strict=True):
        low = centre - length // 2
        start.append(min(max(low, 0), size - length) if size >= length else -((length - size) // 2))
    return tuple(start)


def foreground_share(labels: Pixels, start: Sequence[int], patch: Sequence[int]) -> float:
    """Fraction of a patch that is foreground."""
    return float(np.count_nonzero(read_patch(labels, start, patch))) / prod(patch)


def starts_with_foreground(labels: Pixels, patch: Sequence[int], least: float) -> Array:
    """Every start inside the image whose patch has at least this fraction of foreground.

    Returns
    -------
    ndarray
        (n, axes); along axes where the image is smaller than the patch only the centred start.
    """
    shape = labels.shape
    if any(size < length for size, length in zip(shape, patch, strict=True)):
        fitted = tuple(max(s, p) for s, p in zip(shape, patch, strict=True))
        shift = [-((f - s) // 2) for f, s in zip(fitted, shape, strict=True)]
        found = starts_with_foreground(read_patch(labels, shift, fitted), patch, least)
        return np.asarray(found + shift)
    # Sums over all boxes, one axis after the other, by differences of running sums.
    counts = (np.asarray(labels) > 0).astype(np.int64)
    for axis, length in enumerate(patch):
        sums = np.cumsum(counts, axis=axis)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis)
        size = sums.shape[axis]
        counts = sums.take(range(length, size), axis) - sums.take(range(size - length), axis)
    return np.argwhere(counts >= least * prod(patch))


def start_with_foreground(
    labels: Pixels,
    draw: Callable[[], Start],
    patch: Sequence[int],
    least: float,
    rng: np.random.Generator,
) -> Start:
    """What `draw` gives, again until the patch has enough foreground.

    Where that takes long, any place that has enough is taken; the image must have one.
    """
    for _ in range(_DRAWS):
        start = draw()
        if foreground_share(labels, start, patch) >= least:
            return start
    found = starts_with_foreground(labels, patch, least)
    return tuple(int(v) for v in found[rng.integers(len(found))])


def probability_map(labels: Pixels, weights: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Chance of each pixel to be the centre of a patch; the sum is 1."""
    mask = np.asarray(labels) > 0
    count = int(np.count_nonzero(mask))
    share = weights[0] / sum(weights)
    if count in (0, mask.size):
        return np.full(labels.shape, 1 / labels.size, np.float32)
    inside, outside = share / count, (1 - share) / (mask.size - count)
    return np.where(mask, np.float32(inside), np.float32(outside))
