"""Application of a normalization to any part of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
_MAX_VALUES = 1 << 20  # values that are normalized at a time in double precision


@dataclass(frozen=True)
class Scaling:
    """Normalization ``(clip(x, low, high) - shift) / scale`` of each channel.

    Attributes
    ----------
    low, high, shift, scale : ndarray of float64, shape (channels,)
        Limits of the values; number that is subtracted; divisor.
    """

    low: DoubleArray
    high: DoubleArray
    shift: DoubleArray
    scale: DoubleArray

    def apply(self, part: npt.NDArray[Any]) -> FloatArray:
        """Return a normalized copy of an array (..., channels) in float32.

        Single precision represents all integers of up to 16 bits. Other types are normalized in
        double precision, which preserves a small range with a large offset.
        """
        if part.dtype.kind in "bui" and part.dtype.itemsize <= 2:
            return self._normalized(part.astype(np.float32))
        result = np.empty(part.shape, np.float32)
        rows = max(1, _MAX_VALUES * len(part) // max(1, part.size))
        with np.errstate(over="ignore"):  # prediction and training report infinite values
            for first in range(0, len(part), rows):
                portion = part[first : first + rows].astype(np.float64)
                result[first : first + rows] = self._normalized(portion)
        return result

    def _normalized(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Normalize floats in place, in their own precision."""
        kind = values.dtype
        if np.isfinite(self.low).any() or np.isfinite(self.high).any():
            np.clip(values, self.low.astype(kind), self.high.astype(kind), out=values)
        values -= self.shift.astype(kind)
        values /= self.scale.astype(kind)
        return values
