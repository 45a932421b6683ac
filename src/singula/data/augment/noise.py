"""Noise, and loss of single pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from singula.data.augment.change import (
    FloatArray,
    ImageAugmentation,
    Range,
    Sizes,
    black,
    draw_box,
    draw_count,
    white,
)


@dataclass(frozen=True)
class GaussianNoise(ImageAugmentation):
    """Add Gaussian noise.

    Parameters
    ----------
    mean, variance : float
        Mean and variance in normalized units.
    from_image : bool
        Use the mean and variance of the patch instead.
    """

    mean: float = 0.0
    variance: float = 0.05
    from_image: bool = False

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        mean, variance = self.mean, self.variance
        if self.from_image:
            mean, variance = float(image.mean()), float(image.var())
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        noise *= np.float32(np.sqrt(variance))
        noise += np.float32(mean)
        noise += image
        return noise


@dataclass(frozen=True)
class PoissonNoise(ImageAugmentation):
    """Poisson noise of counted photons.

    Parameters
    ----------
    photons : (float, float)
        Number of photons per normalized unit above black, drawn from a log-uniform distribution.
    """

    photons: Range = (20.0, 200.0)

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        per_unit = np.float32(np.exp(rng.uniform(*np.log(self.photons))))
        dark = black(image)
        counted = rng.poisson((image - dark) * per_unit).astype(np.float32)
        return dark + counted / per_unit


@dataclass(frozen=True)
class SaltAndPepper(ImageAugmentation):
    """Set random values to white or black, independently in each channel.

    Parameters
    ----------
    amount : float
        Fraction of the values.
    salt : float
        Fraction of white among these values.
    """

    amount: float
    salt: float = 0.5

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        drawn = rng.random(image.shape, dtype=np.float32)
        result = np.where(drawn < self.amount * self.salt, white(image), image)
        pepper = (drawn >= self.amount * self.salt) & (drawn < self.amount)
        result[pepper] = black(image)
        return result


@dataclass(frozen=True)
class Dropout(ImageAugmentation):
    """Set a random fraction of the pixels to zero, in all channels."""

    fraction: Range

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        fraction = rng.uniform(*self.fraction)
        is_unchanged = rng.random(image.shape[:-1], dtype=np.float32) >= fraction
        return image * is_unchanged[..., None]


@dataclass(frozen=True)
class CutNoise(ImageAugmentation):
    """Add Gaussian noise inside boxes.

    Parameters
    ----------
    scale : (float, float)
        Standard deviation of the noise as a fraction of the range of the patch.
    count : (int, int)
        Number of boxes.
    size : (float, float)
        Side of a box as a fraction of each axis.
    """

    scale: Range
    count: Sizes
    size: Range

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        result, span = image.copy(), np.ptp(image)
        for _ in range(draw_count(self.count, rng)):
            box = draw_box(image.shape[:-1], self.size, rng)
            deviation = np.float32(rng.uniform(*self.scale)) * span
            noise = rng.standard_normal(result[box].shape, dtype=np.float32)
            result[box] += deviation * noise
        return result
