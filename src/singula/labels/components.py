"""Connected components of masks and label images."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from singula.util.process import compiled


def connected_components(labels: np.ndarray, *, corners: bool = False) -> tuple[np.ndarray, int]:
    """Label the connected components of equal values; 0 is background.

    Parameters
    ----------
    labels : ndarray of bool or int, (y, x) or (z, y, x)
        Mask or label image.
    corners : bool
        Pixels are neighbors if they share a corner, not only a side.

    Returns
    -------
    components : ndarray of uint32
        Number of the component of each pixel, from 1.
    count : int
        Number of components.
    """
    import cc3d

    if not labels.size:
        return np.zeros(labels.shape, np.uint32), 0
    connectivity: Literal[4, 6, 8, 26] = 8 if corners else 4
    if labels.ndim == 3:
        connectivity = 26 if corners else 6
    components, count = cc3d.connected_components(
        np.require(labels, requirements=["C", "W"]),  # cc3d does not accept read-only arrays
        connectivity=connectivity,
        out_dtype=np.uint32,
        return_N=True,
    )
    return components, int(count)


def component_sizes(labels: np.ndarray, *, corners: bool = False) -> np.ndarray:
    """Return the number of pixels of each connected component; see `connected_components`."""
    components, count = connected_components(labels, corners=corners)
    sizes: np.ndarray = np.bincount(components.ravel(), minlength=count + 1)[1:]
    return sizes


def label_of_components(components: np.ndarray, count: int, labels: np.ndarray) -> np.ndarray:
    """Return the label of each component as int64, shape (count + 1,); that of 0 is 0."""
    owner = np.zeros(count + 1, np.int64)
    compiled(_assign)(components.ravel(), labels.ravel(), owner)
    return owner


def count_components(index: np.ndarray, rows: int) -> np.ndarray:
    """Return the number of connected components of each instance; pixels also connect at corners.

    Parameters
    ----------
    index : ndarray of int, (y, x) or (z, y, x)
        Row number of each pixel; see `singula.labels.index.index_labels`.
    rows : int
        Number of rows, with the background.

    Returns
    -------
    ndarray of int64, shape (rows,)
    """
    components, count = connected_components(index, corners=True)
    return np.bincount(label_of_components(components, count, index)[1:], minlength=rows)


def _assign(components: Any, labels: Any, owner: Any) -> None:
    """Store the label of each component; compiled."""
    for place in range(len(components)):
        owner[components[place]] = labels[place]
