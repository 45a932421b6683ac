"""Instances that the image border cuts."""

from __future__ import annotations

import numpy as np

from singula.postprocess.labels import check_labels, remove


def clear_border(labels: np.ndarray) -> np.ndarray:
    """Remove the instances that touch the image border.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background. In a volume the first and the last slice are border.

    Returns
    -------
    ndarray
        A new array of the same dtype; the other instances keep their ids.

    Raises
    ------
    UserError
        If it is no label image.

    Notes
    -----
    As `skimage.segmentation.clear_border`, except that an instance in several pieces goes as a
    whole.
    """
    checked = check_labels(labels)
    if checked.size == 0:
        return remove(labels, ())
    faces = [checked.take(end, axis).ravel() for axis in range(checked.ndim) for end in (0, -1)]
    return remove(labels, np.unique(np.concatenate(faces)))
