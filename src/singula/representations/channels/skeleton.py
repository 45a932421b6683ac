"""Skeletons of the instances of a label image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def skeletons(index: NDArray[Any]) -> Iterator[tuple[Box, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield the bounding box of each instance, its mask and its skeleton inside of the box.

    Parameters
    ----------
    index : ndarray of unsigned int, (y, x) or (z, y, x)
        Row of each pixel; 0 is background.

    References
    ----------
    T.-C. Lee, R. L. Kashyap, C.-N. Chu, *Building skeleton models via 3-D medial surface axis
    thinning algorithms*, CVGIP 56 (1994).
    """
    from scipy.ndimage import find_objects
    from skimage.morphology import skeletonize

    for number, box in enumerate(find_objects(index), start=1):
        if box is None:
            continue
        inside = index[box] == number
        skeleton = skeletonize(np.pad(inside, 1), method="lee") > 0  # type: ignore[no-untyped-call]
        cut = (slice(1, -1),) * index.ndim
        skeleton = skeleton[cut] & inside
        if not skeleton.any():  # a tiny instance can lose all pixels
            skeleton = inside
        yield box, inside, skeleton
