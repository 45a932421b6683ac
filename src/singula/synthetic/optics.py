"""Noise, blur and illumination of synthetic microscope images.

All randomness comes from the given generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]


def smooth_noise(shape: Sequence[int], size: Any, rng: np.random.Generator) -> Floats:
    """Return noise with mean 0 and standard deviation 1.

    Parameters
    ----------
    shape : sequence of int
        Shape of the noise.
    size : float or ndarray of float, shape (ndim,)
        Size of the grains in pixels, one value or one per axis.
    rng : numpy.random.Generator
        Source of randomness.
    """
    from scipy import ndimage

    noise = ndimage.gaussian_filter(
        rng.standard_normal(tuple(shape), np.float32), size, mode="wrap"
    )
    return np.asarray(noise / noise.std())


def record(
    signal: Floats,
    steps: Floats,
    rng: np.random.Generator,
    *,
    blur: Sequence[float],
    haze: float,
    photons: float,
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Add out-of-focus haze, blur, uneven illumination, photon noise and read noise.

    Parameters
    ----------
    signal : ndarray of float, (y, x) or (z, y, x)
        Emitted light; about 1 for an object of usual brightness.
    steps : ndarray of float, shape (ndim,)
        Voxel size in in-plane pixels.
    rng : numpy.random.Generator
        Source of randomness.
    blur : sequence of float
        Standard deviation of the point spread function in in-plane pixels, z first.
    haze : float
        Out-of-focus light, relative to the light in focus.
    photons : float
        Photons per pixel of an object of brightness 1; fewer photons cause more noise.

    Returns
    -------
    ndarray of uint8 (2D) or uint16 (3D)
    """
    from scipy import ndimage

    out_of_focus = ndimage.gaussian_filter(signal, 15 / steps, truncate=2)
    sharpness = np.asarray(blur)[-signal.ndim :] / steps
    exposure = ndimage.gaussian_filter(signal, sharpness) + haze * out_of_focus + 0.08
    exposure *= _light(signal.shape, rng)
    recorded: Floats = rng.poisson(photons * exposure) / photons + rng.normal(
        0.06, 0.02, exposure.shape
    )
    if signal.ndim == 2:
        return np.clip(90 * recorded, 0, 255).astype(np.uint8)
    return np.clip(2000 * recorded, 0, 65535).astype(np.uint16)


def _light(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return an illumination that falls from 1 at a random position to about a half in a corner."""
    plane = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape[-2:]), indexing="ij"))
    distance = ((plane - rng.uniform(-0.6, 0.6, (2, 1, 1))) ** 2).sum(axis=0)
    light = np.exp(-rng.uniform(0.1, 0.3) * distance)
    # Light is absorbed along z.
    loss = np.linspace(1, rng.uniform(0.7, 0.9), shape[0]) if len(shape) == 3 else np.ones(1)
    return np.asarray(light if len(shape) == 2 else loss[:, None, None] * light)
