"""Conversion of labels that were saved as a color picture to ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from singula.labels.components import component_sizes

Array = npt.NDArray[Any]
# Minimum fraction of colored pixels in regions; antialiasing and JPEG leave more in specks
_IN_REGIONS = 0.95


def number_colors(picture: Array) -> Array | None:
    """Give each color a number; 0 is black, or the most frequent color if there is no black.

    Parameters
    ----------
    picture : ndarray of uint8 or uint16, shape (y, x, 3) or (z, y, x, 3)
        Color picture of labels.

    Returns
    -------
    ndarray of uint32, shape (y, x) or (z, y, x), or None
        Number of each pixel; None if the pixels of a color are scattered instead of in regions.
    """
    import fastremap

    red, green, blue = np.moveaxis(picture.astype(np.uint64), -1, 0)
    packed = (red << 32) | (green << 16) | blue
    colors, counts = fastremap.unique(packed, return_counts=True)
    background = colors[0] if colors[0] == 0 else colors[counts.argmax()]
    others = colors[colors != background]
    numbers = np.where(packed == background, 0, 1 + np.searchsorted(others, packed))
    numbers = numbers.astype(np.uint32)
    sizes = component_sizes(numbers, corners=True)
    large = sizes[sizes >= 3**numbers.ndim].sum()
    return numbers if large >= _IN_REGIONS * sizes.sum() else None
