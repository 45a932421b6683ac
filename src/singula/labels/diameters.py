"""Equivalent diameters of instances."""

from __future__ import annotations

from math import pi

import numpy as np

from singula.labels.index import extents
from singula.util.arguments import label_image

_MIN_COMPLETE = 10  # complete instances that suffice without the cut ones


def equivalent_diameters(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the diameter of the disk or ball with the size of each instance.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.

    Returns
    -------
    diameters : ndarray of float64, shape (n,)
        Equivalent diameter of each instance in pixels, in the order of the ids.
    cut : ndarray of bool, shape (n,)
        True for instances that touch the border of the image.

    Raises
    ------
    TypeError, UserError
        Not a label image.

    Examples
    --------
    >>> import numpy as np
    >>> equivalent_diameters(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0], [2, 2, 2]]))[0].round(3)
    array([1.128, 1.954])
    """
    labels = label_image(labels)
    table = extents(labels)
    sizes = table.npixels.astype(np.float64)
    diameters = np.sqrt(4 / pi * sizes) if labels.ndim == 2 else np.cbrt(6 / pi * sizes)
    cut = (table.low == 0).any(axis=1) | (table.high == np.array(labels.shape)).any(axis=1)
    return diameters, cut


def representative(diameters: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Return True for the instances whose sizes are representative.

    These are the complete instances. If there are fewer than ten, the larger half of the cut
    instances is added, of which little is missing.

    Parameters
    ----------
    diameters, cut : ndarray, shape (n,)
        As `equivalent_diameters` returns them.
    """
    complete = ~cut
    if complete.sum() >= _MIN_COMPLETE or complete.all():
        return complete
    used: np.ndarray = complete | (diameters >= np.median(diameters[cut]))
    return used
