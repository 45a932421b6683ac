"""Which changes are made."""

from __future__ import annotations

from dataclasses import dataclass

from singula.data.augment.change import Change, Range


@dataclass(frozen=True)
class AugmentSettings:
    """Which changes are made; None or False switches one off.

    Parameters
    ----------
    probability : float
        Chance of each change by itself.
    rotation : (float, float), optional
        Degrees, in the y-x plane.
    zoom : (float, float), optional
        Factor in the y-x plane; above 1 enlarges.
    shift : (float, float), optional
        Fraction of the patch, to either side along y and x.
    shear : (float, float), optional
        Degrees.
    mode : {'reflect', 'symmetric', 'nearest', 'constant', 'wrap'}
        What lies beyond the image's edge for these four (numpy's names).
    elastic_alpha : (float, float), optional
        Strength of the elastic displacement in pixels before smoothing.
    elastic_sigma : float
        Smoothing of the displacement, pixels.
    elastic_mode : str
        What the displacement finds beyond the image's edge, as `mode`.
    misalignment : int, optional
        Largest movement in pixels of the slices of a volume from a random one on.
    misalignment_turns : float
        Share of misalignments that turn the slices instead of shifting them.
    rot90, vflip, hflip, zflip : bool
        Quarter turns in the plane; mirroring of y, x, z.
    changes : tuple of Change
        Made on the normalised patch, in this order (see `in_order`).
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
    changes: tuple[Change, ...] = ()
