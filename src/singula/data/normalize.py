"""Bring images of any type and range to the numbers a network likes.

Every normalisation here is ``(clip(x, low, high) − shift) / scale`` per channel. What differs is
where the four numbers come from: the type, the image, or the data set. They always come from a
*whole* image, never from a patch or a tile of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.scaling import DoubleArray, Scaling
from singula.errors import UserError
from singula.io.lazy_array import LazyArray, Pixels, iter_blocks
from singula.util.arguments import as_array, choice, flag, instance, items, number
from singula.util.boxes import Box
from singula.util.format import counted

__all__ = ["Normalizer", "Scaling", "Statistics"]

_SAMPLES = 2_000_000  # values per image from which percentiles of floats are taken
_LEAST_SPAN, _MOST_VALUE = 1 / 255, 10.0  # of normalized values that suit a network
_OVERSHOOT = 2.0  # what floats meant for [0, 1] stay below after interpolation or deconvolution


@dataclass(frozen=True)
class Normalizer:
    """How images are normalised.

    Parameters
    ----------
    kind : {'div', 'scale_range', 'custom'}
        ``div``: by the largest value of the type (255, 65535; floats: see `fit`).
        ``scale_range``: minimum to 0, maximum to 1. ``custom``: subtract a mean, divide by a
        standard deviation.
    per_image : bool
        Statistics of each image by itself, else of the whole training set.
    clip : (float, float), optional
        Percentiles to which values are clipped first.
    statistics : dict, optional
        ``low high mean std minimum maximum`` per channel of the training set, and the ``divisor``
        of its floats (see `fit`), or ``mean`` and ``std`` given by the user.

    Raises
    ------
    TypeError, UserError
        A value of another type, or out of range.
    """

    kind: str = "div"
    per_image: bool = True
    clip: tuple[float, float] | None = None
    statistics: dict[str, tuple[float, ...]] | None = None

    def __post_init__(self) -> None:
        """Refuse values of other types."""
        choice(self.kind, "kind", ("div", "scale_range", "custom"))
        flag(self.per_image, "per_image")
        if self.clip is not None:
            items(self.clip, "clip", partial(number, at_least=0, at_most=100), count=2)
        if self.statistics is not None:
            instance(self.statistics, "statistics", dict)

    @property
    def needs_fit(self) -> bool:
        """True while statistics of the training set are wanted and not known."""
        wanted = {"divisor"} if self.kind == "div" else set[str]()
        if self._per_set:
            wanted |= {"scale_range": {"minimum", "maximum"}, "custom": {"mean", "std"}}.get(
                self.kind, set()
            )
            if self.clip is not None:
                wanted |= {"low", "high"}
        return not wanted <= set(self.statistics or {})

    @property
    def _per_set(self) -> bool:
        """True when values are counted over the whole training set."""
        return not self.per_image and (self.kind != "div" or self.clip is not None)

    @property
    def uses_set_moments(self) -> bool:
        """True if one mean and standard deviation of the set normalize every image."""
        return self.kind == "custom" and (not self.per_image or "mean" in (self.statistics or {}))

    @property
    def same_for_all(self) -> bool:
        """True when the four numbers do not depend on the image."""
        return not self.per_image and self.kind != "div"

    def fit(self, images: Iterable[Pixels]) -> Normalizer:
        """A copy that knows the statistics of these images (…, channels).

        Numbers that the user gave stay. Percentiles are exact for integers of up to 16 bits; for
        other types they come from about two million evenly spaced values of each image.

        ``div`` decides here, once for all, what floats are divided by: 1 when those of the whole
        set do not exceed 2 (they may overshoot 1 a little), else 255, or 65535 when they exceed
        that. Integers are divided by the largest value of their own type, in a mixed set too.
        When the set holds no floats the divisor is 0: a float image then decides for itself.
        """
        gathered, largest = Statistics(self.clip), None
        for image in images:
            if self._per_set:
                gathered.add(image)
            if self.kind == "div" and image.dtype.kind == "f":
                largest = max(_largest(image), -np.inf if largest is None else largest)
        found = gathered.summary() if self._per_set else {}
        if self.kind == "div":
            found["divisor"] = (0.0 if largest is None else _for_floats(largest, _OVERSHOOT),)
        return replace(self, statistics={**found, **(self.statistics or {})})

    def scaling(self, image: Pixels) -> Scaling:
        """The four numbers for one whole image (…, channels).

        Where ``div`` knows of no floats in the training set (see `fit`), an image of floats is
        taken as it is up to 1, and is divided by 255 or 65535 when it reaches beyond.

        Parameters
        ----------
        image : ndarray or LazyArray
            (..., channels), real numbers.

        Raises
        ------
        TypeError, UserError
            Not an image.
        """
        if not isinstance(image, LazyArray):
            image = as_array(image, "image", ndim=(2, 3, 4), axes="(..., channels)")
        own = Statistics(self.clip)
        if self.wants_values:
            own.add(image)
        return self.scaling_from(image.dtype, image.shape[-1], own, lambda: _largest(image))

    @property
    def wants_values(self) -> bool:
        """Whether `scaling` looks at the values of each image, beyond the largest."""
        return self.per_image and (self.clip is not None or self.kind != "div")

    def scaling_from(
        self,
        dtype: np.dtype[Any],
        channels: int,
        own: Statistics,
        largest: Callable[[], float],
    ) -> Scaling:
        """The four numbers for an image of which only this is known.

        Parameters
        ----------
        dtype : dtype
        channels : int
        own : Statistics
            Of the image; empty unless `wants_values`.
        largest : callable
            Gives the largest value.
        """
        statistics = self.statistics or {}
        if self.wants_values:
            statistics = {**own.summary(), **statistics}

        def get(name: str, default: float) -> DoubleArray:
            values = statistics.get(name, (default,))
            if len(values) not in (1, channels):
                raise UserError(
                    f"normalization statistics are for {counted(len(values), 'channel')}, "
                    f"the image has {channels}",
                    "train again, or predict images like those of the training set",
                )
            return np.broadcast_to(np.array(values, np.float64), (channels,))

        low, high = get("low", -np.inf), get("high", np.inf)
        if self.kind == "div":
            shift = np.zeros(channels)
            scale = np.full(channels, divisor(dtype, statistics.get("divisor", (0.0,))[0], largest))
        elif self.kind == "scale_range":
            shift = get("minimum", 0.0)
            scale = get("maximum", 1.0) - shift
        else:
            shift, scale = get("mean", 0.0), get("std", 1.0)
        # Without any contrast, every value becomes 0.
        return Scaling(low, high, shift, np.where(scale > 0, scale, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        return {
            "kind": self.kind,
            "per_image": self.per_image,
            "clip": list(self.clip) if self.clip else None,
            "statistics": {k: list(v) for k, v in self.statistics.items()}
            if self.statistics
            else None,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Normalizer:
        """What `to_dict` wrote."""
        statistics = values["statistics"]
        return cls(
            kind=values["kind"],
            per_image=values["per_image"],
            clip=tuple(values["clip"]) if values["clip"] else None,
            statistics={k: tuple(v) for k, v in statistics.items()} if statistics else None,
        )


def notice_range(low: float, high: float) -> list[str]:
    """Return a line about images that ``div`` leaves far from [0, 1]; empty for other images.

    Parameters
    ----------
    low, high : float
        Smallest and largest value after normalization.
    """
    if high - low >= _LEAST_SPAN and max(abs(low), abs(high)) <= _MOST_VALUE:
        return []
    return [
        f"ATTENTION: DATA.NORMALIZATION.TYPE div leaves the float images between {low:g} and "
        f"{high:g}, and the network expects 0 to 1: set DATA.NORMALIZATION.TYPE: scale_range"
    ]


def divisor(dtype: np.dtype[Any], for_floats: float, largest: Callable[[], float]) -> float:
    """What ``div`` divides an image by: its type decides, or for floats `for_floats`.

    With 0 a float image decides for itself, by its largest value.
    """
    if dtype == np.bool_:
        return 1.0
    if dtype in (np.uint8, np.int8):
        return 255.0
    if np.issubdtype(dtype, np.integer):
        return 65535.0
    return for_floats or _for_floats(largest(), above_one=1.0)


def _largest(image: Pixels) -> float:
    return extremes(image)[1]


def extremes(image: Pixels) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    found = [(float(part.min()), float(part.max())) for _, part in iter_blocks(image) if part.size]
    lows, highs = zip(*found or [(0.0, 0.0)], strict=True)
    return min(lows), max(highs)


def _for_floats(largest: float, above_one: float) -> float:
    """1, 255 or 65535 for floats up to `largest`; up to `above_one` they are meant for [0, 1]."""
    if largest <= above_one:
        return 1.0
    return 255.0 if largest <= 255.0 else 65535.0


class Statistics:
    """Statistics per channel over any number of images, in one pass over each."""

    def __init__(self, clip: tuple[float, float] | None) -> None:
        self.clip = clip
        self.counts: list[npt.NDArray[np.int64]] | None = None  # histograms of small integers
        self.offset = 0
        self.samples: list[list[npt.NDArray[np.floating[Any]]]] = []
        self.exact = True

    def add(self, image: Pixels) -> None:
        """Count one image (…, channels); a lazy one piece by piece."""
        shape = image.shape[:-1]
        for box, part in iter_blocks(image):
            self.add_part(part, [b.start for b in box[: len(shape)]], shape)

    def add_part(
        self, image: npt.NDArray[Any], origin: Sequence[int], shape: Sequence[int]
    ) -> None:
        """Count a box (…, channels) of an image; all boxes together count as the image does.

        Parameters
        ----------
        origin, shape : sequence of int
            The box's first pixel, and the spatial shape of the image.
        """
        flat = image.reshape(-1, image.shape[-1])
        small = image.dtype in (np.uint8, np.uint16, np.bool_)
        if not self.samples:
            self.samples = [[] for _ in range(flat.shape[1])]
            self.exact = bool(small)
        if len(self.samples) != flat.shape[1]:
            raise UserError(
                f"images of one set differ in their number of channels: "
                f"{len(self.samples)} and {flat.shape[1]}"
            )
        if self.exact and small:
            if self.counts is None:
                self.counts = [np.zeros(65536, np.int64) for _ in self.samples]
            # In portions: a histogram works on a copy of eight bytes per pixel.
            for first in range(0, len(flat), _SAMPLES):
                part = flat[first : first + _SAMPLES]
                for channel, counts in enumerate(self.counts):
                    counts += np.bincount(part[:, channel], minlength=65536)
            return
        sizes = zip(origin, image.shape, strict=False)
        box = tuple(slice(first, first + size) for first, size in sizes)
        drawn = _drawn(box, tuple(shape), max(1, math.prod(shape) // _SAMPLES))
        for channel, values in enumerate(self.samples):
            values.append(flat[drawn, channel].astype(_precision(image.dtype)))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What was counted, as arrays by name."""
        found: dict[str, npt.NDArray[Any]] = {"exact": np.array(self.exact)}
        if self.counts is not None:
            found["counts"] = np.stack(self.counts)
        if any(self.samples):
            found["samples"] = np.stack([np.concatenate(values) for values in self.samples])
        return found

    def add_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add what `to_arrays` of another part gave."""
        counts, samples = arrays.get("counts"), arrays.get("samples")
        self.exact = bool(arrays["exact"])
        if not self.samples:
            channels = len(counts if counts is not None else samples if samples is not None else ())
            self.samples = [[] for _ in range(channels)]
        if counts is not None:
            self.counts = list(counts if self.counts is None else self.counts + counts)
        for values, more in zip(self.samples, samples if samples is not None else (), strict=False):
            values.append(more)

    def summary(self) -> dict[str, tuple[float, ...]]:
        """``low high minimum maximum mean std``, each with one number per channel."""
        names = ("low", "high", "minimum", "maximum", "mean", "std")
        columns = []
        for channel in range(len(self.samples)):
            values, weights = self._values(channel)
            columns.append(_describe(values, weights, self.clip))
        return {name: tuple(c[i] for c in columns) for i, name in enumerate(names)}

    def distribution(self) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
        """Sorted distinct values of each channel with how often each occurs."""
        return [self._values(channel) for channel in range(len(self.samples))]

    def _values(self, channel: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Sorted distinct values with how often each occurs, whatever parts were added."""
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
        distinct, place = np.unique(joined, return_inverse=True)
        return distinct, np.bincount(place, weight).astype(np.int64)


def _precision(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Return the float type that represents every value of an image type."""
    small = dtype.itemsize <= 2 or dtype == np.float32
    return np.float32 if small else np.float64


def _drawn(box: Box, shape: tuple[int, ...], step: int) -> slice | npt.NDArray[np.intp]:
    """Which pixels of a box are every so many of the whole image's, counted in its order."""
    if step == 1 or all(b.stop - b.start == size for b, size in zip(box, shape, strict=True)):
        return slice(None, None, step)
    number = np.zeros((1,) * len(shape), np.int64)
    for axis, (one, size) in enumerate(zip(box, shape, strict=True)):
        along = [1] * len(shape)
        along[axis] = -1
        number = number * size + np.arange(one.start, one.stop).reshape(along)
    return np.flatnonzero(number.ravel() % step == 0)


def _describe(
    values: npt.NDArray[np.float64],
    weights: npt.NDArray[np.int64],
    clip: tuple[float, float] | None,
) -> tuple[float, ...]:
    """(low, high, minimum, maximum, mean, std) after clipping to the percentiles."""
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
    """`numpy.percentile` (linear interpolation) of the values repeated by their weights."""
    ends = np.cumsum(weights)
    position = (ends[-1] - 1) * percent / 100.0
    below = int(np.floor(position))
    first = values[np.searchsorted(ends, below, side="right")]
    second = values[np.searchsorted(ends, min(below + 1, int(ends[-1]) - 1), side="right")]
    return float(first + (second - first) * (position - below))
