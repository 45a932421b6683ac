"""Differences between adjacent slices of a volume: brightness, position, lost slices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.io.lazy_array import Pixels

_MAX_PAIRS = 48  # pairs of adjacent slices that are compared, spread over the volume
_MAX_SIDE = 256  # of the region in the middle of the slices
_MIN_SIDE = 16
_BACKGROUND = 8.0  # slower changes of brightness than this many pixels do not count for positions
_LOST = 0.2  # a slice with less than this fraction of its neighbor's deviation is lost
_NOISE = 1.5  # details smaller than this many pixels do not count either


def survey_slices(array: Pixels) -> tuple[float, float, float]:
    """Measure how much adjacent slices differ in brightness and position.

    Parameters
    ----------
    array : array-like, (z, y, x, channels)
        The first channel counts.

    Returns
    -------
    change : float
        Median difference of the median brightness of adjacent slices, in units of the standard
        deviation within slices. 0 for fewer than 3 slices.
    shift : float
        Median distance in pixels by which adjacent slices are shifted, from phase correlation.
        0 for fewer than 3 slices, or slices narrower than 16 pixels.
    lost : float
        Fraction of the pairs in which one slice has hardly any contrast compared with the other.
    """
    depth, *plane = array.shape[:3]
    if depth < 3:
        return 0.0, 0.0, 0.0
    middle = tuple(
        slice((size - min(size, _MAX_SIDE)) // 2, (size + min(size, _MAX_SIDE)) // 2)
        for size in plane
    )
    starts = np.unique(np.linspace(0, depth - 2, min(depth - 1, _MAX_PAIRS)).astype(int))
    changes, deviations, shifts, lost = [], [], [], []
    for start in starts:
        pair = np.asarray(array[(slice(int(start), int(start) + 2), *middle)])[..., 0]
        pair = pair.astype(np.float64)
        changes.append(abs(float(np.subtract(*np.median(pair, axis=(1, 2))))))
        low, high = sorted(pair.std(axis=(1, 2)).tolist())
        deviations.append((low + high) / 2)
        lost.append(low < _LOST * high)
        if min(pair.shape[1:]) >= _MIN_SIDE:
            shifts.append(float(np.hypot(*shift_between(pair[0], pair[1]))))
    deviation = float(np.mean(deviations))
    change = float(np.median(changes)) / deviation if deviation > 0 else 0.0
    shift = float(np.median(shifts)) if shifts and deviation > 0 else 0.0
    return change, shift, float(np.mean(lost))


def shift_between(first: NDArray[Any], second: NDArray[Any]) -> tuple[int, int]:
    """Return by how many pixels along y and x the second slice is shifted.

    Parameters
    ----------
    first, second : ndarray of float, (y, x)

    Notes
    -----
    Phase correlation (Kuglin and Hines, 1975) of a band of frequencies: slow changes of brightness
    and pixel noise are left out.
    """
    from scipy import ndimage

    height, width = first.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    spectra = []
    for plane in (first, second):
        detail = plane - ndimage.gaussian_filter(plane, _BACKGROUND)
        spectra.append(np.fft.rfft2((detail - detail.mean()) * window))
    cross = np.conj(spectra[0]) * spectra[1]
    strength = np.abs(cross)
    cross = cross / np.maximum(strength, 1e-9 * strength.max() + np.finfo(float).tiny)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    cross *= np.exp(-2 * (np.pi * _NOISE) ** 2 * (rows**2 + columns**2))
    peak = np.unravel_index(int(np.fft.irfft2(cross, s=first.shape).argmax()), first.shape)
    y, x = (
        int(place) - size if place > size // 2 else int(place)
        for place, size in zip(peak, first.shape, strict=True)
    )
    return y, x
