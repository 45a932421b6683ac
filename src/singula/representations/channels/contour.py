"""Contours of label images, by comparing each pixel with its shifted neighbors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from singula.util.arguments import choice, label_image

CONTOUR_MODES = ("thick", "inner", "outer", "dense")

_Slices: TypeAlias = tuple[slice, ...]
_SHIFT = {
    -1: (slice(1, None), slice(None, -1)),
    0: (slice(None), slice(None)),
    1: (slice(None, -1), slice(1, None)),
}


def check_contour_mode(mode: str, name: str = "contour_mode (DATA_CONTOUR_MODE)") -> None:
    """Raise `UserError` for a mode not in `CONTOUR_MODES`, `TypeError` for other types than text.

    Parameters
    ----------
    mode : str
        Contour mode.
    name : str
        Name of the argument, for messages.
    """
    hint = f"use one of {', '.join(CONTOUR_MODES)}"
    if isinstance(mode, str) and mode == "subpixel":
        hint += "; subpixel changes the shape of the image"
    choice(mode, name, CONTOUR_MODES, hint)


def find_contour(labels: NDArray[np.integer[Any]], mode: str = "thick") -> NDArray[np.bool_]:
    """Return the contour pixels of a label image.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids, 0 is background.
    mode : {'thick', 'inner', 'outer', 'dense'}
        The first three equal ``skimage.segmentation.find_boundaries`` with connectivity 1.
        'thick': pixels with a face neighbor of a different id. 'inner': those inside instances.
        'outer': those in the background and those where two instances meet. 'dense': the thick
        contour, dilated by one pixel within the instances.

    Returns
    -------
    ndarray of bool
        Mask with the shape of `labels`. The border of the image is not a contour.

    Raises
    ------
    TypeError, UserError
        Not a label image, or another mode, such as 'subpixel'.
    """
    check_contour_mode(mode, "mode")
    return find_known_contour(label_image(labels), mode)


def find_known_contour(
    labels: NDArray[np.integer[Any]], mode: str, known: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Return the contour pixels of a label image that is known in part.

    Parameters
    ----------
    labels : ndarray of unsigned int, (y, x) or (z, y, x)
        Instance ids, 0 is background.
    mode : {'thick', 'inner', 'outer', 'dense'}
        As for `find_contour`.
    known : ndarray of bool, optional
        Pixels whose labels are known; others have no contour with their neighbors. Default: all.
    """
    contour = np.zeros(labels.shape, bool)
    for low, high in _neighbor_views(labels.ndim, connectivity=1):
        differs = labels[low] != labels[high]
        if known is not None:
            differs &= known[low] & known[high]
        contour[low] |= differs
        contour[high] |= differs
    if mode == "inner":
        contour &= labels > 0
    elif mode == "outer":
        contour &= (labels == 0) | _touching(labels)
    elif mode == "dense":
        contour |= _dilate(contour) & (labels > 0)
    return contour


def _touching(labels: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Return instance pixels with a pixel of another instance at a face, an edge or a corner."""
    touching = np.zeros(labels.shape, bool)
    foreground = labels > 0
    for low, high in _neighbor_views(labels.ndim, connectivity=labels.ndim):
        meets = labels[low] != labels[high]
        meets &= foreground[low]
        meets &= foreground[high]
        touching[low] |= meets
        touching[high] |= meets
    return touching


def _dilate(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask dilated by one pixel across faces."""
    grown = mask.copy()
    for low, high in _neighbor_views(mask.ndim, connectivity=1):
        grown[low] |= mask[high]
        grown[high] |= mask[low]
    return grown


def _neighbor_views(ndim: int, connectivity: int) -> Iterator[tuple[_Slices, _Slices]]:
    """Yield two views for each direction, whose equal indices are neighbors; each pair once."""
    for offset in itertools.product((-1, 0, 1), repeat=ndim):
        if offset > (0,) * ndim and sum(map(abs, offset)) <= connectivity:
            yield (
                tuple(_SHIFT[step][0] for step in offset),
                tuple(_SHIFT[step][1] for step in offset),
            )
