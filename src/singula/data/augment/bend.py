"""Smooth random displacements of the pixels of a plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.data.augment.change import FloatArray
from singula.util.process import compiled

_UNIFORM_STD = 1 / np.sqrt(3)  # of uniform random numbers from -1 to 1
_SPLINE_POWER = 151 / 315  # integral of the squared cubic B-spline


def draw_bend(
    plane: tuple[int, int], alpha: float, sigma: float, rng: np.random.Generator
) -> FloatArray:
    """Draw a displacement in pixels, shape (2, y, x).

    The displacement has the variance and the correlation length of uniform noise from -1 to 1,
    smoothed by a Gaussian of `sigma` pixels and multiplied by `alpha` (Simard et al., 2003): its
    standard deviation is ``0.163 alpha / sigma`` pixels.

    Notes
    -----
    The displacement is a cubic B-spline (Rueckert et al., 1999) with random coefficients and a knot
    every √3 sigma pixels, at a random offset: the width of the spline then equals that of the
    Gaussian. This takes about a seventh of the time of smoothing with a `sigma` of 4 pixels,
    regardless of `sigma` (``benchmarks/augmentation.py --parts``). Below a `sigma` of 0.58, there
    is a knot per pixel.
    """
    spacing = max(1.0, np.sqrt(3) * sigma)
    knots = tuple(int(np.ceil(length / spacing)) + 4 for length in plane)
    strength = bend_deviation(alpha, sigma) / _SPLINE_POWER
    coefficients = rng.standard_normal((2, *knots), dtype=np.float32) * np.float32(strength)
    result = np.empty((2, *plane), np.float32)
    compiled(_evaluate)(coefficients, float(spacing), rng.random(2), result)
    return result


def bend_deviation(alpha: float, sigma: float) -> float:
    """Return the standard deviation of the displacement along each axis, pixels."""
    return float(alpha * _UNIFORM_STD * _kernel_power(sigma))


def _kernel_power(sigma: float) -> float:
    """Return the sum of the squared weights of a sampled Gaussian with sum 1."""
    reach = int(4 * sigma + 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return float((weights**2).sum() / weights.sum() ** 2)


def _evaluate(coefficients: Any, spacing: float, phase: Any, result: Any) -> None:
    """Evaluate the spline at every pixel: along y for a row of knots, then along x; compiled."""
    fields, height, width = result.shape
    knots = coefficients.shape[2]
    row = np.empty(knots, np.float32)
    weights = np.empty((width, 4), np.float32)
    for j in range(width):
        t = (j / spacing + phase[1]) % 1.0
        weights[j, 0] = (1 - t) ** 3 / 6
        weights[j, 1] = (3 * t**3 - 6 * t**2 + 4) / 6
        weights[j, 2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
        weights[j, 3] = t**3 / 6
    for f in range(fields):
        for i in range(height):
            place = i / spacing + phase[0]
            k = int(place)
            t = place - k
            a = np.float32((1 - t) ** 3 / 6)
            b = np.float32((3 * t**3 - 6 * t**2 + 4) / 6)
            c = np.float32((-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6)
            d = np.float32(t**3 / 6)
            for m in range(knots):
                row[m] = (
                    a * coefficients[f, k, m]
                    + b * coefficients[f, k + 1, m]
                    + c * coefficients[f, k + 2, m]
                    + d * coefficients[f, k + 3, m]
                )
            for j in range(width):
                m = int(j / spacing + phase[1])
                result[f, i, j] = (
                    weights[j, 0] * row[m]
                    + weights[j, 1] * row[m + 1]
                    + weights[j, 2] * row[m + 2]
                    + weights[j, 3] * row[m + 3]
                )
