"""Settings of the augmentation."""

from __future__ import annotations

from dataclasses import dataclass

from singula.data.augment.change import Augmentation, Range


@dataclass(frozen=True)
class AugmentSettings:
    """Settings of the augmentation; None or False disables an augmentation.

    Parameters
    ----------
    probability : float
        Probability of each augmentation.
    rotation : (float, float), optional
        Angle in the y-x plane, degrees.
    zoom : (float, float), optional
        Factor in the y-x plane; above 1 enlarges.
    shift : (float, float), optional
        Fraction of the patch along y and x, in both directions.
    shear : (float, float), optional
        Angle, degrees.
    mode : {'reflect', 'symmetric', 'nearest', 'constant', 'wrap'}
        Padding outside of the image for these four (names of NumPy).
    elastic_alpha : (float, float), optional
        Strength of the elastic displacement in pixels before smoothing.
    elastic_sigma : float
        Smoothing of the displacement, pixels.
    elastic_mode : str
        Padding outside of the image for the displacement; values as for `mode`.
    misalignment : int, optional
        Largest displacement in pixels of the slices of a volume from a random one on.
    misalignment_turns : float
        Fraction of misalignments that rotate the slices instead of shifting them.
    rot90, vflip, hflip, zflip : bool
        Rotations by 90° in the plane; flips of y, x, z.
    changes : tuple of Augmentation
        Augmentations of the normalized patch, in this order (see `in_order`).
    """

    probability: float = 0.5
    rotation: Range | None = None
    zoom: Range | None = None
    shift: Range | None = None
    shear: Range | None = None
    mode: str = "reflect"
    elastic_alpha: Range | None = None
    elastic_sigma: float = 4.0
    elastic_mode: str = "constant"
    misalignment: int | None = None
    misalignment_turns: float = 0.5
    rot90: bool = False
    vflip: bool = False
    hflip: bool = False
    zflip: bool = False
    changes: tuple[Augmentation, ...] = ()
