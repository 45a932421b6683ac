"""Labels that were saved as a colour picture: a number for each colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.image import ArrayPlace
from singula.io.read import label_layout, read_header, read_image, read_labels

Array = npt.NDArray[Any]
_IN_REGIONS = 0.95  # of the coloured pixels; antialiasing and JPEG leave far more in specks


def read_given_labels(
    path: Path, ndim: int, classes: bool = False, *, arrays: ArrayPlace | None = None
) -> tuple[Array, int]:
    """Read labels as a run would, or number the colours of a picture of them.

    Parameters
    ----------
    path, ndim, classes, arrays
        As for `singula.io.read.read_labels`.

    Returns
    -------
    labels : ndarray of unsigned int
        (y, x, c) or (z, y, x, c).
    colours : int
        How many colours got a number; 0 where the file holds labels.

    Raises
    ------
    UserError
        As `read_labels`; a picture whose colours are not flat, such as a photograph or one with
        smooth edges.
    """
    try:
        return read_labels(path, ndim, classes, arrays=arrays).array, 0
    except UserError:
        header = read_header(path, arrays, labels=True)
        in_colour = (header.axes or "").endswith("S") and header.dtype.kind == "u"
        if not in_colour or label_layout(path, header, ndim, False).channels != 3:
            raise
        numbers = number_colours(read_image(path, ndim, 3, arrays=arrays).array)
        if numbers is None:
            raise
        return numbers[..., None], int(numbers.max(initial=0))


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
