"""Parameters of the search, with their ranges and initial values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.representations.decoders import DECODERS, DecodeSettings

SIZE = "REMOVE_SMALL_OBJ"
_DISTANCES = ("TH_DISTANCE", "TH_DIST_FOREGROUND")


@dataclass(frozen=True)
class Parameter:
    """Parameter of the search.

    Parameters
    ----------
    key : str
        Configuration key without prefix, such as ``TH_CONTOUR``.
    low, high : float
        Range of the search.
    values : tuple of float
        Initial values in ascending order.
    whole : bool
        The parameter is an integer.
    """

    key: str
    low: float
    high: float
    values: tuple[float, ...]
    whole: bool = False

    def rounded(self, value: float) -> float:
        """Return a value limited to the range and rounded to three significant digits."""
        value = min(max(value, self.low), self.high)
        return round(value) if self.whole else float(f"{value:.3g}")


def searched_keys(channels: str, settings: DecodeSettings) -> tuple[tuple[str, ...], ...]:
    """Return the keys of the thresholds that change the instances.

    Parameters
    ----------
    channels : str
        Key of `DECODERS`, such as ``BC``.
    settings : DecodeSettings
        Settings of decoding; `grow_into_contour` changes the thresholds of the foreground.

    Returns
    -------
    seeds, growth : tuple of str
        Keys of the thresholds of seeds, and of the foreground into which they grow.
    """
    decoder = DECODERS[channels]
    seeds = list(dict.fromkeys(term.key for term in decoder.seeds))
    terms = decoder.growth_terms(into_contour=settings.grow_into_contour)
    growth = ["TH_BINARY_MASK"] if terms is None else [term.key for term in terms]
    if decoder.background is not None:
        growth = []
    growth = list(dict.fromkeys(growth))
    return tuple(seeds), tuple(key for key in growth if key not in seeds)


def threshold_parameter(key: str, points: int, distances: npt.NDArray[Any] | None) -> Parameter:
    """Return a threshold with evenly spaced initial values.

    Parameters
    ----------
    key : str
        Configuration key without prefix.
    points : int
        Number of initial values.
    distances : ndarray, optional
        Predicted values of the channel ``D`` inside objects, in pixels; None for ``Dv2``, which is
        at most 1.
    """
    low, high = 0.02, 0.98
    start, stop = 0.1, 0.9
    if key in _DISTANCES and distances is not None:
        max_distance = float(np.quantile(distances, 0.98)) if distances.size else 1.0
        max_distance = max(max_distance, 1e-3)
        low, high = 0.0, max_distance
        fraction = 0.7 if key == "TH_DISTANCE" else 0.3
        start, stop = 0.0, fraction * max_distance
    values = np.linspace(start, stop, points)
    parameter = Parameter(key, low, high, ())
    return Parameter(key, low, high, tuple(parameter.rounded(float(v)) for v in values))


def size_parameter(sizes: Sequence[int] | npt.NDArray[Any], configured: int) -> Parameter:
    """Return the minimum size of an instance as a parameter.

    Parameters
    ----------
    sizes : sequence of int
        Sizes of the objects in the ground truth, in pixels.
    configured : int
        Configured minimum size, in pixels; it is one of the initial values.
    """
    half = int(np.median(sizes)) // 2 if len(sizes) else 0
    values = {0, configured, *(int(half * fraction) for fraction in (0.1, 0.25, 0.5))}
    return Parameter(SIZE, 0, max(half, configured), tuple(sorted(values)), whole=True)
