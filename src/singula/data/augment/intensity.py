"""Changes of each value by itself: brightness, contrast, gamma, and of colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.data.augment.change import FloatArray, ImageChange, Range


def _draw(
    values: Range, image: FloatArray, per_slice: bool, rng: np.random.Generator
) -> np.float32 | FloatArray:
    """One number for the patch, or one for each slice of a volume, ready to be broadcast."""
    if per_slice and image.ndim == 4:
        return rng.uniform(*values, size=(image.shape[0], 1, 1, 1)).astype(np.float32)
    return np.float32(rng.uniform(*values))


@dataclass(frozen=True)
class Brightness(ImageChange):
    """Add a constant.

    Parameters
    ----------
    amount : (float, float)
        Range of the constant.
    relative : bool
        The constant is a fraction of the patch's range, else in normalised units.
    per_slice : bool
        Drawn for each slice of a volume by itself.
    """

    amount: Range
    relative: bool = True
    per_slice: bool = False

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Change an image (spatial…, c)."""
        unit = np.ptp(image) if self.relative else np.float32(1)
        result: FloatArray = image + _draw(self.amount, image, self.per_slice, rng) * unit
        return result


@dataclass(frozen=True)
class Contrast(ImageChange):
    """Multiply the distance to the mean, or to zero, by 1 + a number.

    Parameters
    ----------
    factor : (float, float)
        Range of the number.
    about_mean : bool
        The mean of the patch (of each slice, with `per_slice`) stays, else zero.
    per_slice : bool
        Drawn for each slice of a volume by itself.
    """

    factor: Range
    about_mean: bool = True
    per_slice: bool = False

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Change an image (spatial…, c)."""
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
class Gamma(ImageChange):
    """Raise values to a power, over the patch's own range; its minimum and maximum stay."""

    exponent: Range

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Change an image (spatial…, c)."""
        low, span = image.min(), np.ptp(image)
        power = np.float32(rng.uniform(*self.exponent))
        if span <= 0:
            return image
        result: FloatArray = low + span * ((image - low) / span) ** power
        return result


@dataclass(frozen=True)
class Grayscale(ImageChange):
    """Give every channel the mean of all channels."""

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Change an image (spatial…, c)."""
        mean = image.mean(axis=-1, keepdims=True, dtype=np.float32)
        return np.repeat(mean, image.shape[-1], axis=-1)


@dataclass(frozen=True)
class ChannelShuffle(ImageChange):
    """Put the channels into a random order."""

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Change an image (spatial…, c)."""
        return image[..., rng.permutation(image.shape[-1])]
