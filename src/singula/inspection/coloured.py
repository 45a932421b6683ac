"""Labels that were saved as a colour picture: a number for each colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_IN_REGIONS = 0.95  # of the coloured pixels; antialiasing and JPEG leave far more in specks


def number_colours(picture: Array) -> Array | None:
    """Give each colour a number, 0 to black, or to the most frequent where nothing is black.

    Parameters
    ----------
    picture : ndarray of uint8 or uint16, shape (y, x, 3) or (z, y, x, 3)

    Returns
    -------
    ndarray of uint32, shape (y, x) or (z, y, x), or None
        None where the pixels of a colour are scattered instead of making regions.
    """
    import cc3d
    import fastremap

    red, green, blue = np.moveaxis(picture.astype(np.uint64), -1, 0)
    packed = (red << 32) | (green << 16) | blue
    found, counts = fastremap.unique(packed, return_counts=True)
    background = found[0] if found[0] == 0 else found[counts.argmax()]
    others = found[found != background]
    numbers = np.where(packed == background, 0, 1 + np.searchsorted(others, packed))
    numbers = numbers.astype(np.uint32)
    regions = cc3d.connected_components(numbers, connectivity=8 if numbers.ndim == 2 else 26)
    sizes = np.bincount(regions.ravel())[1:]
    large = sizes[sizes >= 3**numbers.ndim].sum()
    return numbers if large >= _IN_REGIONS * sizes.sum() else None
