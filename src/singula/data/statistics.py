"""Statistics of the values of images, per channel, for normalization and histogram matching."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.lazy_array import Pixels, iter_blocks
from singula.util.boxes import Box

_SAMPLES = 2_000_000  # values per image for the percentiles of floats


class Statistics:
    """Statistics per channel of any number of images, in one pass over each image.

    Parameters
    ----------
    clip : (float, float), optional
        Percentiles to which values are clipped.
    """

    def __init__(self, clip: tuple[float, float] | None) -> None:
        self.clip = clip
        self.counts: list[npt.NDArray[np.int64]] | None = None  # histograms of small integers
        self.offset = 0
        self.samples: list[list[npt.NDArray[np.floating[Any]]]] = []
        self.exact = True

    def add(self, image: Pixels) -> None:
        """Add an image (..., channels); a lazy image is read in blocks."""
        shape = image.shape[:-1]
        for box, part in iter_blocks(image):
            self.add_part(part, [b.start for b in box[: len(shape)]], shape)

    def add_part(
        self, image: npt.NDArray[Any], origin: Sequence[int], shape: Sequence[int]
    ) -> None:
        """Add a box of an image; all its boxes have the same result as the image.

        Parameters
        ----------
        image : ndarray
            Box, shape (..., channels).
        origin, shape : sequence of int
            First pixel of the box, and spatial shape of the image.
        """
        flat = image.reshape(-1, image.shape[-1])
        is_small = image.dtype in (np.uint8, np.uint16, np.bool_)
        if not self.samples:
            self.samples = [[] for _ in range(flat.shape[1])]
            self.exact = bool(is_small)
        if len(self.samples) != flat.shape[1]:
            raise UserError(
                f"numbers of channels: got {len(self.samples)} and {flat.shape[1]}, expected equal "
                "numbers in all images",
                "use images with the same channels",
                "normalization.mixed_channels",
            )
        if self.exact and is_small:
            if self.counts is None:
                self.counts = [np.zeros(65536, np.int64) for _ in self.samples]
            # In portions, as `bincount` copies its input to eight bytes per pixel.
            for first in range(0, len(flat), _SAMPLES):
                part = flat[first : first + _SAMPLES]
                for channel, counts in enumerate(self.counts):
                    plane = part[:, channel]
                    if plane.min() == plane.max():  # as in empty areas, much faster
                        counts[int(plane[0])] += len(plane)
                    else:
                        counts += np.bincount(plane, minlength=65536)
            return
        sizes = zip(origin, image.shape, strict=False)
        box = tuple(slice(first, first + size) for first, size in sizes)
        selected = _every_nth(box, tuple(shape), max(1, math.prod(shape) // _SAMPLES))
        for channel, values in enumerate(self.samples):
            values.append(flat[selected, channel].astype(_precision(image.dtype)))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the content as arrays by name."""
        arrays: dict[str, npt.NDArray[Any]] = {"exact": np.array(self.exact)}
        if self.counts is not None:
            stop = max(int(np.flatnonzero(counts).max(initial=-1)) + 1 for counts in self.counts)
            arrays["counts"] = np.stack(self.counts)[:, :stop]
        if any(self.samples):
            arrays["samples"] = np.stack([np.concatenate(values) for values in self.samples])
        return arrays

    def add_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add the content of other statistics from `to_arrays`."""
        counts, samples = arrays.get("counts"), arrays.get("samples")
        self.exact = bool(arrays["exact"])
        if not self.samples:
            channels = len(counts if counts is not None else samples if samples is not None else ())
            self.samples = [[] for _ in range(channels)]
        if counts is not None:
            if self.counts is None:
                self.counts = [np.zeros(65536, np.int64) for _ in self.samples]
            for total, part in zip(self.counts, counts, strict=True):
                total[: len(part)] += part
        for values, more in zip(self.samples, samples if samples is not None else (), strict=False):
            values.append(more)

    def summary(self) -> dict[str, tuple[float, ...]]:
        """Return ``low``, ``high``, ``minimum``, ``maximum``, ``mean`` and ``std`` per channel."""
        names = ("low", "high", "minimum", "maximum", "mean", "std")
        columns = []
        for channel in range(len(self.samples)):
            values, weights = self._values(channel)
            columns.append(_describe(values, weights, self.clip))
        return {name: tuple(c[i] for c in columns) for i, name in enumerate(names)}

    def distribution(self) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
        """Return the sorted distinct values of each channel and their numbers of occurrences."""
        return [self._values(channel) for channel in range(len(self.samples))]

    def _values(self, channel: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the sorted distinct values of a channel and their numbers of occurrences."""
        parts, weights = [], []
        if self.counts is not None:
            occurring = np.flatnonzero(self.counts[channel])
            parts.append(occurring.astype(np.float64))
            weights.append(self.counts[channel][occurring])
        for sample in self.samples[channel]:
            values, count = np.unique(sample.astype(np.float64), return_counts=True)
            parts.append(values)
            weights.append(count)
        joined, weight = np.concatenate(parts), np.concatenate(weights)
        distinct, index = np.unique(joined, return_inverse=True)
        return distinct, np.bincount(index, weight).astype(np.int64)


def _precision(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return the float type that represents every value of an image type."""
    is_small = dtype.itemsize <= 2 or dtype == np.float32
    return np.float32 if is_small else np.float64


def _every_nth(box: Box, shape: tuple[int, ...], step: int) -> slice | npt.NDArray[np.intp]:
    """Return the pixels of a box whose index in the whole image is a multiple of `step`."""
    if step == 1 or all(b.stop - b.start == size for b, size in zip(box, shape, strict=True)):
        return slice(None, None, step)
    number = np.zeros((1,) * len(shape), np.int64)
    for axis, (side, size) in enumerate(zip(box, shape, strict=True)):
        along = [1] * len(shape)
        along[axis] = -1
        number = number * size + np.arange(side.start, side.stop).reshape(along)
    return np.flatnonzero(number.ravel() % step == 0)


def _describe(
    values: npt.NDArray[np.float64],
    weights: npt.NDArray[np.int64],
    clip: tuple[float, float] | None,
) -> tuple[float, ...]:
    """Return low, high, minimum, maximum, mean and std after clipping to the percentiles."""
    low, high = -np.inf, np.inf
    if clip is not None:
        low, high = (_percentile(values, weights, p) for p in clip)
        values = np.clip(values, low, high)
    first, last = float(values[0]), float(values[-1])
    if first == last:  # rounding must not cause a deviation
        return float(low), float(high), first, last, first, 0.0
    total = weights.sum()
    scale = 2.0**600 if max(-first, last) > 1e150 else 1.0  # sums of squares must not overflow
    mean = first + scale * float(((values - first) / scale * weights).sum() / total)
    std = scale * float(np.sqrt((weights * ((values - mean) / scale) ** 2).sum() / total))
    return float(low), float(high), first, last, mean, std


def _percentile(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.int64], percent: float
) -> float:
    """Return the percentile (linear interpolation) of values repeated by their weights."""
    ends = np.cumsum(weights)
    position = (ends[-1] - 1) * percent / 100.0
    below = int(np.floor(position))
    first = values[np.searchsorted(ends, below, side="right")]
    second = values[np.searchsorted(ends, min(below + 1, int(ends[-1]) - 1), side="right")]
    return float(first + (second - first) * (position - below))
