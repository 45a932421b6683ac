"""Augmentations of single values: brightness, contrast, gamma, inversion and colors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.data.augment.change import FloatArray, ImageAugmentation, Range, black, white


def _draw(
    values: Range, image: FloatArray, per_slice: bool, rng: np.random.Generator
) -> np.float32 | FloatArray:
    """Draw one number for the patch, or one per slice of a volume, for broadcasting."""
    if per_slice and image.ndim == 4:
        return rng.uniform(*values, size=(image.shape[0], 1, 1, 1)).astype(np.float32)
    return np.float32(rng.uniform(*values))


@dataclass(frozen=True)
class Brightness(ImageAugmentation):
    """Brightness: add a constant.

    Parameters
    ----------
    amount : (float, float)
        Range of the constant.
    relative : bool
        The constant is a fraction of the range of the patch; otherwise in normalized units.
    per_slice : bool
        Draw a separate value for each slice of a volume.
    """

    amount: Range
    relative: bool = True
    per_slice: bool = False

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        unit = np.ptp(image) if self.relative else np.float32(1)
        result: FloatArray = image + _draw(self.amount, image, self.per_slice, rng) * unit
        return result


@dataclass(frozen=True)
class Contrast(ImageAugmentation):
    """Contrast: multiply the difference to the mean, or to zero, by 1 + a number.

    Parameters
    ----------
    factor : (float, float)
        Range of the number.
    about_mean : bool
        Keep the mean of the patch (of each slice with `per_slice`); otherwise keep zero.
    per_slice : bool
        Draw a separate value for each slice of a volume.
    """

    factor: Range
    about_mean: bool = True
    per_slice: bool = False

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        gain = 1 + _draw(self.factor, image, self.per_slice, rng)
        result: FloatArray
        if not self.about_mean:
            result = image * gain
            return result
        axes = (1, 2, 3) if self.per_slice and image.ndim == 4 else None
        mean: Any = image.mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
        result = mean + (image - mean) * gain
        return result


@dataclass(frozen=True)
class Gamma(ImageAugmentation):
    """Gamma: raise values to a power within the range of the patch."""

    exponent: Range

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        low, span = image.min(), np.ptp(image)
        power = np.float32(rng.uniform(*self.exponent))
        if span <= 0:
            return image
        result: FloatArray = low + span * ((image - low) / span) ** power
        return result


@dataclass(frozen=True)
class Background(ImageAugmentation):
    """Uneven background: add light that changes smoothly along y and x.

    The light is a random polynomial of degree 2 in y and x, with values from 0 to `strength`. All
    slices and channels have the same light.

    Parameters
    ----------
    strength : (float, float)
        Range of the brightest value, as a fraction of the range from black to white.
    """

    strength: Range

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in image.shape[-3:-1])
        a, b, c, d, e = rng.uniform(-1, 1, 5).astype(np.float32)
        rows, columns = a * y + b * y**2, c * x + d * x**2
        light = rows[:, None] + columns + e * y[:, None] * x
        span = np.ptp(light)
        if span <= 0:
            return image
        unit = np.float32(rng.uniform(*self.strength)) * (white(image) - black(image))
        result: FloatArray = image + ((light - light.min()) / span * unit)[..., None]
        return result


@dataclass(frozen=True)
class Invert(ImageAugmentation):
    """Exchange black and white."""

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        result: FloatArray = black(image) + white(image) - image
        return result


@dataclass(frozen=True)
class Grayscale(ImageAugmentation):
    """Replace every channel by the mean of all channels."""

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        mean = image.mean(axis=-1, keepdims=True, dtype=np.float32)
        return np.repeat(mean, image.shape[-1], axis=-1)


@dataclass(frozen=True)
class ChannelShuffle(ImageAugmentation):
    """Put the channels into a random order."""

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        return image[..., rng.permutation(image.shape[-1])]
