"""Measurement of differences between adjacent slices of a volume."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.io.lazy_array import Pixels
from singula.util.boxes import center_box, evenly_spaced

_MAX_PAIRS = 48  # pairs of adjacent slices that are compared, spread over the volume
_MAX_SIDE = 256  # pixels; only the center of larger slices is compared
_MIN_SIDE = 16
_BACKGROUND = 8.0  # pixels; coarser structures are ignored by the registration
_LOST = 0.2  # fraction of the deviation of its neighbor below which a slice is lost
_NOISE = 1.5  # pixels; finer structures are ignored by the registration


def survey_slices(array: Pixels) -> tuple[float, float, float]:
    """Measure the differences in brightness and position between adjacent slices.

    Parameters
    ----------
    array : array-like, (z, y, x, channels)
        Volume; only the first channel is used.

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
    center = center_box(plane, (_MAX_SIDE, _MAX_SIDE))
    changes, deviations, shifts, lost = [], [], [], []
    for start in evenly_spaced(depth - 1, _MAX_PAIRS):
        pair = np.asarray(array[(slice(start, start + 2), *center)])[..., 0]
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
    """Return the shift of the second slice in pixels along y and x.

    Parameters
    ----------
    first, second : ndarray of float, (y, x)
        Adjacent slices.

    Notes
    -----
    The method is phase correlation (Kuglin and Hines, 1975) in a band of frequencies, without slow
    changes of brightness and pixel noise.
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
