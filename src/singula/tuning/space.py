"""Parameters of the search, with their ranges and initial values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.representations.thresholds import THRESHOLDS

SIZE = "REMOVE_SMALL_OBJ"


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


def threshold_parameter(key: str, points: int, distances: npt.NDArray[Any] | None) -> Parameter:
    """Return a threshold with evenly spaced initial values.

    Parameters
    ----------
    key : str
        Configuration key without prefix.
    points : int
        Number of initial values.
    distances : ndarray, optional
        Predicted values of a distance inside objects; None for values of at most 1, such as
        probabilities and ``Dv2``, and for a threshold with a `search_range`.
    """
    threshold = THRESHOLDS[key]
    high = 1.0 if threshold.high is None else threshold.high
    start, stop = 0.1 * high, 0.9 * high
    low, high = 0.02 * high, 0.98 * high
    if threshold.high is None and distances is not None:
        max_distance = float(np.quantile(distances, 0.98)) if distances.size else 1.0
        max_distance = max(max_distance, 1e-3)
        low, high = 0.0, max_distance
        start, stop = 0.0, threshold.search_share * max_distance
    if threshold.search_range is not None:
        low, high = start, stop = threshold.search_range
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
