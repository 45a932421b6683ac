"""Apply a normalization to any part of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
_PORTION = 1 << 20  # values that are normalized at a time in double precision


@dataclass(frozen=True)
class Scaling:
    """The four numbers per channel, ready to be applied to any part of an image."""

    low: DoubleArray
    high: DoubleArray
    shift: DoubleArray
    scale: DoubleArray

    def apply(self, part: npt.NDArray[Any]) -> FloatArray:
        """Normalize an array (…, channels) to float32; the input stays as it is.

        Single precision holds every integer of up to 16 bits. Other types are normalized in double
        precision, so a small range survives a large offset.
        """
        if part.dtype.kind in "bui" and part.dtype.itemsize <= 2:
            return self._normalized(part.astype(np.float32))
        result = np.empty(part.shape, np.float32)
        rows = max(1, _PORTION * len(part) // max(1, part.size))
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
