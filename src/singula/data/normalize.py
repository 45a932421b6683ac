"""Normalization of images of any data type and range for a network.

Every normalization is ``(clip(x, low, high) − shift) / scale`` per channel. The four numbers come
from the data type, from the image or from the data set, and always from *whole* images, never from
a patch or a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from singula.data.scaling import DoubleArray, Scaling
from singula.data.statistics import Statistics
from singula.errors import UserError
from singula.io.lazy_array import LazyArray, Pixels, iter_blocks
from singula.util.arguments import as_array, choice, flag, instance, items, number
from singula.util.format import counted

__all__ = ["Normalizer", "Scaling"]

_MIN_SPAN, _MAX_VALUE = 1 / 255, 10.0  # of normalized values that suit a network
_OVERSHOOT = 2.0  # maximum of floats for [0, 1] after interpolation or deconvolution


@dataclass(frozen=True)
class Normalizer:
    """Settings of a normalization, with the statistics of the training set.

    Parameters
    ----------
    kind : {'div', 'scale_range', 'custom'}
        ``div``: divide by the largest value of the data type (255, 65535; floats: see `fit`).
        ``scale_range``: scale the minimum to 0 and the maximum to 1. ``custom``: subtract a mean
        and divide by a standard deviation.
    per_image : bool
        Use statistics of each image, else of the whole training set.
    clip : (float, float), optional
        Percentiles to which values are clipped first.
    statistics : dict, optional
        ``low``, ``high``, ``mean``, ``std``, ``minimum`` and ``maximum`` per channel of the
        training set, and the ``divisor`` of its floats (see `fit`); or ``mean`` and ``std`` of the
        user.

    Raises
    ------
    TypeError, UserError
        A value has a wrong type or is out of range.
    """

    kind: str = "div"
    per_image: bool = True
    clip: tuple[float, float] | None = None
    statistics: dict[str, tuple[float, ...]] | None = None

    def __post_init__(self) -> None:
        """Validate the values."""
        choice(self.kind, "kind", ("div", "scale_range", "custom"))
        flag(self.per_image, "per_image")
        if self.clip is not None:
            items(self.clip, "clip", partial(number, at_least=0, at_most=100), count=2)
        if self.statistics is not None:
            instance(self.statistics, "statistics", dict)

    @property
    def needs_fit(self) -> bool:
        """True if statistics of the training set are needed and missing."""
        needed = {"divisor"} if self.kind == "div" else set[str]()
        if self._per_set:
            needed |= {"scale_range": {"minimum", "maximum"}, "custom": {"mean", "std"}}.get(
                self.kind, set()
            )
            if self.clip is not None:
                needed |= {"low", "high"}
        return not needed <= set(self.statistics or {})

    @property
    def _per_set(self) -> bool:
        """True if statistics of the whole training set are needed."""
        return not self.per_image and (self.kind != "div" or self.clip is not None)

    @property
    def uses_set_moments(self) -> bool:
        """True if one mean and standard deviation of the set normalize every image."""
        return self.kind == "custom" and (not self.per_image or "mean" in (self.statistics or {}))

    @property
    def same_for_all(self) -> bool:
        """True if the four numbers do not depend on the image."""
        return not self.per_image and self.kind != "div"

    def fit(self, images: Iterable[Pixels]) -> Normalizer:
        """Return a copy with the statistics of a set of images.

        Statistics of the user do not change. Percentiles are exact for integers of up to 16 bits;
        for other types they are computed from about two million evenly spaced values of each image.

        For ``div``, the divisor of floats is the same for all images: 1 if the largest float of the
        set is at most 2 (values for [0, 1] can exceed 1 slightly), else 255, or 65535 above that.
        Integers are divided by the largest value of their data type, in a mixed set too. If the set
        has no floats, the divisor is 0, and each float image is scaled by its own largest value.

        Parameters
        ----------
        images : iterable of ndarray or LazyArray
            Images (..., channels).
        """
        measured, maximum = Statistics(self.clip), None
        for image in images:
            if self._per_set:
                measured.add(image)
            if self.kind == "div" and image.dtype.kind == "f":
                maximum = max(_maximum(image), -np.inf if maximum is None else maximum)
        statistics = measured.summary() if self._per_set else {}
        if self.kind == "div":
            statistics["divisor"] = (0.0 if maximum is None else _for_floats(maximum, _OVERSHOOT),)
        return replace(self, statistics={**statistics, **(self.statistics or {})})

    def scaling(self, image: Pixels) -> Scaling:
        """Return the normalization of a whole image.

        If the training set had no floats (see `fit`), ``div`` does not change a float image with
        values of at most 1, and divides others by 255 or 65535.

        Parameters
        ----------
        image : ndarray or LazyArray
            Real numbers, shape (..., channels).

        Raises
        ------
        TypeError, UserError
            The argument is not an image; ``normalization.channels``.
        """
        if not isinstance(image, LazyArray):
            image = as_array(image, "image", ndim=(2, 3, 4), axes="(..., channels)")
        measured = Statistics(self.clip)
        if self.wants_values:
            measured.add(image)
        return self.scaling_from(image.dtype, image.shape[-1], measured, lambda: _maximum(image))

    @property
    def wants_values(self) -> bool:
        """True if `scaling` needs statistics of each image in addition to its largest value."""
        return self.per_image and (self.clip is not None or self.kind != "div")

    def scaling_from(
        self,
        dtype: np.dtype[Any],
        channels: int,
        measured: Statistics,
        largest: Callable[[], float],
    ) -> Scaling:
        """Return the normalization of an image from its statistics.

        Parameters
        ----------
        dtype : dtype
            Data type of the image.
        channels : int
            Number of channels of the image.
        measured : Statistics
            Statistics of the image; empty unless `wants_values`.
        largest : callable
            Returns the largest value of the image.

        Raises
        ------
        UserError
            ``normalization.channels``.
        """
        statistics = self.statistics or {}
        if self.wants_values:
            statistics = {**measured.summary(), **statistics}

        def get(name: str, default: float) -> DoubleArray:
            values = statistics.get(name, (default,))
            if len(values) not in (1, channels):
                raise UserError(
                    f"got an image with {counted(channels, 'channel')}, expected {len(values)}, as "
                    "in the normalization statistics",
                    "train again, or predict images with the channels of the training set",
                    "normalization.channels",
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
        # All values of an image without contrast become 0.
        return Scaling(low, high, shift, np.where(scale > 0, scale, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, for a checkpoint."""
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
        """Return the normalizer that `to_dict` returned."""
        statistics = values["statistics"]
        return cls(
            kind=values["kind"],
            per_image=values["per_image"],
            clip=tuple(values["clip"]) if values["clip"] else None,
            statistics={k: tuple(v) for k, v in statistics.items()} if statistics else None,
        )


def warn_if_far_from_unit_range(low: float, high: float) -> list[str]:
    """Return a line about images that are far from [0, 1] after ``div``; empty for others.

    Parameters
    ----------
    low, high : float
        Smallest and largest value after normalization.
    """
    if high - low >= _MIN_SPAN and max(abs(low), abs(high)) <= _MAX_VALUE:
        return []
    return [
        f"ATTENTION: DATA.NORMALIZATION.TYPE div: got float images from {low:g} to {high:g}, "
        "expected about 0 to 1; set DATA.NORMALIZATION.TYPE: scale_range"
    ]


def divisor(dtype: np.dtype[Any], for_floats: float, largest: Callable[[], float]) -> float:
    """Return the divisor of ``div`` for an image.

    Parameters
    ----------
    dtype : dtype
        Data type of the image, which determines the divisor of integers.
    for_floats : float
        Divisor of floats; 0: from the largest value of the image.
    largest : callable
        Returns the largest value of the image.
    """
    if dtype == np.bool_:
        return 1.0
    if dtype in (np.uint8, np.int8):
        return 255.0
    if np.issubdtype(dtype, np.integer):
        return 65535.0
    return for_floats or _for_floats(largest(), above_one=1.0)


def _maximum(image: Pixels) -> float:
    return extremes(image)[1]


def extremes(image: Pixels) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    ranges = [(float(part.min()), float(part.max())) for _, part in iter_blocks(image) if part.size]
    lows, highs = zip(*ranges or [(0.0, 0.0)], strict=True)
    return min(lows), max(highs)


def _for_floats(largest: float, above_one: float) -> float:
    """Return 1, 255 or 65535 for floats up to `largest`; 1 for at most `above_one`."""
    if largest <= above_one:
        return 1.0
    return 255.0 if largest <= 255.0 else 65535.0
