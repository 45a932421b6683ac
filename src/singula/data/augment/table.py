"""All changes of normalised patches, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from singula.data.augment.blur import CutBlur, GaussianBlur, MedianBlur, MotionBlur
from singula.data.augment.change import Another, Change, Patch
from singula.data.augment.intensity import Brightness, ChannelShuffle, Contrast, Gamma, Grayscale
from singula.data.augment.noise import CutNoise, Dropout, GaussianNoise, PoissonNoise, SaltAndPepper
from singula.data.augment.regions import CutMix, Cutout, GridMask, MissingSections
from singula.data.augment.settings import AugmentSettings

# As on the way from the specimen to the file: the scene, its light, the lens, the camera, losses.
CHANGES: tuple[type[Change], ...] = (
    CutMix,
    Grayscale,
    ChannelShuffle,
    Brightness,
    Contrast,
    Gamma,
    GaussianBlur,
    MedianBlur,
    MotionBlur,
    CutBlur,
    PoissonNoise,
    GaussianNoise,
    CutNoise,
    SaltAndPepper,
    Dropout,
    MissingSections,
    GridMask,
    Cutout,
)


def in_order(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Sort changes as `CHANGES` is; several of a kind stay as they were given."""
    return tuple(sorted(changes, key=lambda change: CHANGES.index(type(change))))


def make_changes(
    patch: Patch, settings: AugmentSettings, rng: np.random.Generator, another: Another
) -> Patch:
    """Make each change of the settings with their probability.

    Parameters
    ----------
    patch : Patch
        Normalised; not changed.
    settings : AugmentSettings
    rng : Generator
    another : callable
        Draws a patch of another training sample.
    """
    for change in settings.changes:
        if rng.random() < settings.probability:
            patch = change.apply(patch, rng, another)
    return patch
