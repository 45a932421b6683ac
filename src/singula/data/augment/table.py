"""All augmentations of normalized patches, in the order of their application."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from singula.data.augment.blur import CutBlur, GaussianBlur, MedianBlur, MotionBlur
from singula.data.augment.change import Augmentation, DrawPatch, Patch
from singula.data.augment.intensity import (
    Background,
    Brightness,
    ChannelShuffle,
    Contrast,
    Gamma,
    Grayscale,
    Invert,
)
from singula.data.augment.noise import CutNoise, Dropout, GaussianNoise, PoissonNoise, SaltAndPepper
from singula.data.augment.regions import CutMix, Cutout, GridMask, MissingSections
from singula.data.augment.settings import AugmentSettings

# In the order in which a microscope causes them: scene, illumination, optics, camera, lost data.
AUGMENTATIONS: tuple[type[Augmentation], ...] = (
    CutMix,
    Grayscale,
    ChannelShuffle,
    Invert,
    Background,
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


def in_order(changes: Iterable[Augmentation]) -> tuple[Augmentation, ...]:
    """Sort augmentations in the order of `AUGMENTATIONS`; the sort is stable."""
    return tuple(sorted(changes, key=lambda change: AUGMENTATIONS.index(type(change))))


def apply_augmentations(
    patch: Patch, settings: AugmentSettings, rng: np.random.Generator, draw_other: DrawPatch
) -> Patch:
    """Apply each augmentation with the probability of the settings.

    Parameters
    ----------
    patch : Patch
        Normalized patch; it does not change.
    settings : AugmentSettings
    rng : Generator
    draw_other : callable
        Draw a patch of another training sample.
    """
    for change in settings.changes:
        if rng.random() < settings.probability:
            patch = change.apply(patch, rng, draw_other)
    return patch
