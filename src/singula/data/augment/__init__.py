"""Random augmentation of image and label patches.

All geometric augmentations are composed into one mapping from output to input pixels and resampled
once from the *whole* image, so that a rotated patch shows its true surroundings instead of mirrored
pixels. Images are interpolated linearly, labels with the nearest pixel. Flips and rotations by 90°
are exact and need no resampling. The other augmentations are applied to the normalized patch, in
the order of `AUGMENTATIONS`.
"""

from singula.data.augment.change import Augmentation, ImageAugmentation, Patch
from singula.data.augment.geometry import Geometry, Mirror, draw_geometry, draw_mirror
from singula.data.augment.resample import sample_pair
from singula.data.augment.settings import AugmentSettings
from singula.data.augment.table import AUGMENTATIONS, apply_augmentations, in_order

__all__ = [
    "AUGMENTATIONS",
    "AugmentSettings",
    "Augmentation",
    "Geometry",
    "ImageAugmentation",
    "Mirror",
    "Patch",
    "apply_augmentations",
    "draw_geometry",
    "draw_mirror",
    "in_order",
    "sample_pair",
]
