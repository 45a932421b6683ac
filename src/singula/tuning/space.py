"""Which numbers a decoder listens to, and between which values they are searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.instances import DECODERS, DecodeSettings

SIZE = "REMOVE_SMALL_OBJ"
_DISTANCES = ("TH_DISTANCE", "TH_DIST_FOREGROUND")


@dataclass(frozen=True)
class Parameter:
    """One number that is searched.

    Parameters
    ----------
    key : str
        The configuration's key without prefix, such as ``TH_CONTOUR``.
    low, high : float
        Where it is searched.
    values : tuple of float
        What is tried first, ascending.
    whole : bool
        It is a whole number.
    """

    key: str
    low: float
    high: float
    values: tuple[float, ...]
    whole: bool = False

    def rounded(self, value: float) -> float:
        """The value as it is tried and written: within the range, with few digits."""
        value = min(max(value, self.low), self.high)
        return round(value) if self.whole else float(f"{value:.3g}")


def searched_keys(channels: str, settings: DecodeSettings) -> tuple[tuple[str, ...], ...]:
    """Keys of thresholds that change the instances: those of seeds, and those of growth.

    Parameters
    ----------
    channels : str
        A key of `DECODERS`.
    settings : DecodeSettings
        With `grow_into_contour` the growth follows from other thresholds.
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
    """A threshold with evenly spaced values.

    Parameters
    ----------
    key : str
    points : int
        Number of values.
    distances : ndarray, optional
        Predicted ``D`` inside objects; None where the distance is ``Dv2``, which ends at 1.
    """
    low, high = 0.02, 0.98
    start, stop = 0.1, 0.9
    if key in _DISTANCES and distances is not None:
        deepest = float(np.quantile(distances, 0.98)) if distances.size else 1.0
        deepest = max(deepest, 1e-3)
        low, high = 0.0, deepest
        share = 0.7 if key == "TH_DISTANCE" else 0.3
        start, stop = 0.0, share * deepest
    values = np.linspace(start, stop, points)
    plain = Parameter(key, low, high, ())
    return Parameter(key, low, high, tuple(plain.rounded(float(v)) for v in values))


def size_parameter(sizes: Sequence[int] | npt.NDArray[Any], configured: int) -> Parameter:
    """The least number of pixels of an instance.

    Parameters
    ----------
    sizes : sequence of int
        Pixels of the true objects.
    configured : int
        Value of the configuration, which is tried too.
    """
    half = int(np.median(sizes)) // 2 if len(sizes) else 0
    tried = {0, configured, *(int(half * share) for share in (0.1, 0.25, 0.5))}
    return Parameter(SIZE, 0, max(half, configured), tuple(sorted(tried)), whole=True)
