"""Choice of augmentation for little data and for uneven, shifted or lost slices."""

from __future__ import annotations

import math

import numpy as np

from singula.autoconfig.setting import Choice
from singula.autoconfig.sizes import Sizes
from singula.dataset.facts import PartFacts
from singula.util.format import counted

_FEW_IMAGES, _FEW_OBJECTS = 5, 200
_UNEVEN = 0.1  # brightness change between slices, in standard deviations within slices
_SHIFTED = 1.5  # pixels


def has_little_data(part: PartFacts, sizes: Sizes) -> bool:
    """Return True if there is so little training data that the network could memorize it.

    Parameters
    ----------
    part : PartFacts
        Measurements of the training data.
    sizes : Sizes
        Statistics of the training instances.
    """
    return len(part.pairs) < _FEW_IMAGES and sizes.count < _FEW_OBJECTS


def choose_for_little_data(part: PartFacts, sizes: Sizes) -> list[Choice]:
    """Choose elastic deformation, zoom, blur and noise for few volumes."""
    if sizes.ndim == 2 or not has_little_data(part, sizes):
        return []  # in 2D, these are always enabled
    why = f"{counted(len(part.pairs), 'volume')} with {counted(sizes.count, 'object')}: little data"
    return [
        Choice("AUGMENTOR.ELASTIC", True, f"{why}; small deformations"),
        Choice("AUGMENTOR.ZOOM", True, f"{why}; sizes vary more than in these data"),
        Choice("AUGMENTOR.ZOOM_RANGE", (0.8, 1.25)),
        Choice("AUGMENTOR.G_BLUR", True, f"{why}; simulates images out of focus"),
        Choice("AUGMENTOR.G_SIGMA", (0.5, 1.5), note="pixels"),
        Choice("AUGMENTOR.GAUSSIAN_NOISE", True, f"{why}; noise differs between recordings"),
        Choice("AUGMENTOR.GAUSSIAN_NOISE_VAR", 0.002),
    ]


def slice_change(part: PartFacts) -> float:
    """Return the median brightness change between slices of the training images."""
    return float(np.median([image.slice_change for image in part.images]))


def is_uneven(part: PartFacts) -> bool:
    """Return True if brightness differs from slice to slice."""
    return slice_change(part) >= _UNEVEN


def choose_for_uneven_slices(part: PartFacts) -> list[Choice]:
    """Choose brightness and contrast per slice if the slices of the data differ."""
    if not is_uneven(part):
        return []
    why = f"brightness differs between slices by {slice_change(part):.0%} of the contrast"
    return [
        Choice("AUGMENTOR.BRIGHTNESS_MODE", "2D", f"{why}: each slice is changed separately"),
        Choice("AUGMENTOR.CONTRAST_MODE", "2D", why),
    ]


def choose_for_shifted_slices(part: PartFacts) -> list[Choice]:
    """Choose shifts between slices if the slices of the data are not aligned."""
    shift = float(np.median([image.slice_shift for image in part.images]))
    if shift < _SHIFTED:
        return []
    why = f"adjacent slices are shifted by {shift:.1f} pixels"
    return [
        Choice("AUGMENTOR.MISALIGNMENT", True, why),
        Choice("AUGMENTOR.MS_DISPLACEMENT", math.ceil(shift), note="pixels"),
        Choice("AUGMENTOR.MS_ROTATE_RATIO", 0.0, note="slices are shifted, not rotated"),
    ]


def choose_for_lost_slices(part: PartFacts) -> list[Choice]:
    """Choose simulated missing slices if slices of the data are lost."""
    lost = max(image.lost_slices for image in part.images)
    if not lost:
        return []
    why = f"{lost:.0%} of the slices have hardly any contrast compared with their neighbors"
    return [Choice("AUGMENTOR.MISSING_SECTIONS", True, why)]


def choose_for_slice_changes(part: PartFacts) -> list[Choice]:
    """Choose all augmentations that depend on differences between slices."""
    return [
        *choose_for_uneven_slices(part),
        *choose_for_shifted_slices(part),
        *choose_for_lost_slices(part),
    ]
