"""Compiled loop of the ELU in `cpu_layers`, over bfloat16 or float32 values.

Import this module where the layer runs: importing numba takes half a second.

Values are passed as their bits. A bfloat16 value is the upper half of a float32, so that loading is
a shift and storing a rounding (to nearest, ties to even).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

from singula.util.process import compiled

_F = np.float32
_ZERO, _ONE, _HALF = _F(0), _F(1), _F(0.5)
_LOG2_E = _F(1.4426950408889634)
# log(2) in two parts (Cody & Waite), of which the first has few bits
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
_ROUND = _F(12582912.0)  # 1.5 · 2²³: adding it removes the fraction
_LOWEST = _F(-87)  # the exponent of a float32 does not overflow; exp - 1 is -1 from -17 on
# Taylor coefficients of (expm1(x) - x) / x²
_C3, _C4, _C5, _C6, _C7 = _F(1 / 6), _F(1 / 24), _F(1 / 120), _F(1 / 720), _F(1 / 5040)


def _load(bits: Any) -> Any:
    """Return the value with these bits; numba uses `_typed_load`."""


@overload(_load)
def _typed_load(bits: Any) -> Any:
    def load_half(bits: Any) -> Any:
        return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)

    def load_full(bits: Any) -> Any:
        return np.uint32(bits).view(np.float32)

    return load_half if bits.bitwidth == 16 else load_full


def _store(value: Any, like: Any) -> Any:
    """Return the bits of a value in the type of `like`; numba uses `_typed_store`."""


@overload(_store)
def _typed_store(value: Any, like: Any) -> Any:
    def store_half(value: Any, like: Any) -> Any:
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        rounded = np.uint32(np.uint32(bits + np.uint32(0x7FFF)) + odd)
        # The sum would overflow for some NaN.
        return np.uint16(rounded >> np.uint32(16)) if value == value else np.uint16(0x7FC0)

    def store_full(value: Any, like: Any) -> Any:
        return np.float32(value).view(np.uint32)

    return store_half if like.bitwidth == 16 else store_full


@compiled
def _expm1(value: Any) -> Any:
    """Return exp(value) - 1 for a value ≤ 0, as 2ⁿ·expm1(r) + 2ⁿ - 1 with |r| ≤ log(2) / 2."""
    value = max(value, _LOWEST)
    n = (value * _LOG2_E + _ROUND) - _ROUND
    r = (value - n * _LN2_HIGH) - n * _LN2_LOW
    series = _HALF + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7))))
    power = np.int32(np.int32(np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return power * (r + r * r * series) + (power - _ONE)


@compiled
def elu(values: Any) -> None:
    """Replace each value of a flat array by its ELU.

    The loop uses a single array, because the compiler does not vectorize loops over arrays that
    could overlap.
    """
    for i in range(values.size):
        x = _load(values[i])
        negative = _expm1(min(x, _ZERO))
        values[i] = _store(negative if x <= _ZERO else x, values[i])
