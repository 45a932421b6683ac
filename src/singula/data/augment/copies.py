"""Ids of the mirrored copies of objects beyond the edge of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def separate_copies(ids: Array, outside: npt.NDArray[np.bool_]) -> Array:
    """Give each connected part of an instance that is completely outside of the image a new id.

    A patch that extends beyond the image is mirrored there, so an id can occur several times. With
    one id, the copies would have a common center, and a copy would not have a center of its own.

    Parameters
    ----------
    ids : ndarray of int
        Ids of a patch, (y, x) or (z, y, x); 0 and negative values are not instances.
    outside : ndarray of bool
        True for pixels outside of the image; the same shape.

    Returns
    -------
    ndarray of int
        The parts of an instance with a pixel inside of the image keep the id: it is the object,
        whose thin parts can be interrupted after resampling, and what is mirrored at the edge next
        to it. The input if nothing changes, else a copy, if necessary with a wider dtype.
    """
    from skimage.measure import label

    beyond = outside & (ids > 0)
    if not beyond.any():
        return ids
    parts: Array = label(  # type: ignore[no-untyped-call]
        np.maximum(ids, 0), connectivity=ids.ndim
    )
    is_copy = np.zeros(int(parts.max()) + 1, bool)
    is_copy[parts[beyond]] = True
    is_copy[parts[~outside]] = False
    if not is_copy.any():
        return ids
    largest = int(ids.max())
    is_wide = largest + int(is_copy.sum()) > np.iinfo(ids.dtype).max
    separated = ids.astype(np.int64) if is_wide else ids.copy()
    changed = is_copy[parts]
    separated[changed] = (np.cumsum(is_copy)[parts[changed]] + largest).astype(separated.dtype)
    return separated
