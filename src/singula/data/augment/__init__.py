"""Random changes to image and label patches.

All geometric changes are composed into one mapping from output to input pixels and resampled once,
out of the *whole* image: a rotated patch shows real neighbours instead of mirrored ones wherever
the image has them. Images are interpolated linearly, labels take the nearest pixel. Flips and
quarter turns are exact and cost nothing. The other changes follow on the normalised patch, in the
order of `CHANGES`.
"""

from singula.data.augment.change import Change, ImageChange, Patch
from singula.data.augment.geometry import Geometry, Mirror, draw_geometry, draw_mirror
from singula.data.augment.resample import sample_pair
from singula.data.augment.settings import AugmentSettings
from singula.data.augment.table import CHANGES, in_order, make_changes

__all__ = [
    "CHANGES",
    "AugmentSettings",
    "Change",
    "Geometry",
    "ImageChange",
    "Mirror",
    "Patch",
    "draw_geometry",
    "draw_mirror",
    "in_order",
    "make_changes",
    "sample_pair",
]
