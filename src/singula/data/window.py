"""The window of labels around a patch that determines its targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.data.augment import Geometry
from singula.representations.channels import Extent

Sides = list[tuple[int, int]]


def margin_of(extent: Extent, geometry: Geometry, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the pixels around a patch that its targets depend on, per axis.

    The maximum is one patch length: the network cannot infer anything further away from a patch,
    and the limit bounds the cost if one instance spans a large image.

    Parameters
    ----------
    extent : Extent
        Extent of the labels of the image.
    geometry : Geometry
        Geometric augmentation; its displacement is not used.
    shape : sequence of int
        Spatial shape of the patch.
    """
    margin = np.zeros(len(shape))
    for _, matrix, _ in geometry.planes(shape[0]):
        whole = np.eye(len(shape))
        whole[-2:, -2:] = np.linalg.inv(matrix)
        margin = np.maximum(margin, extent.margin(whole))
    if not extent.is_local:
        margin[-2:] += geometry.play + 1  # the nearest pixel is at most half a pixel away
    wanted = np.ceil(margin - 1e-9).astype(int).tolist()
    return tuple(min(pixels, length) for pixels, length in zip(wanted, shape, strict=True))


def sides_of(
    size: Sequence[int],
    start: Sequence[int],
    shape: Sequence[int],
    margin: Sequence[int],
    geometry: Geometry,
) -> Sides:
    """Return the additional pixels before and after a patch in its window of labels, per axis.

    The window ends at the edge of the image, which is not a contour. In the plane of a patch that
    is resampled, the window continues with the padding of the resampling.
    """
    sides = []
    for axis, (whole, first, length, pixels) in enumerate(
        zip(size, start, shape, margin, strict=True)
    ):
        if axis >= len(shape) - 2 and not geometry.is_identity:
            sides.append((pixels, pixels))
            continue
        before = min(pixels, max(0, first))
        after = min(pixels, max(0, whole - first - length))
        sides.append((before, after))
    return sides


def window_in_image(
    size: Sequence[int], start: Sequence[int], shape: Sequence[int], margin: Sequence[int]
) -> tuple[slice, ...]:
    """Return the window of a patch in the image, including pixels mirrored beyond the edge."""
    window = []
    for whole, first, length, pixels in zip(size, start, shape, margin, strict=True):
        stop = first + length
        low, high = max(0, first - pixels), min(whole, stop + pixels)
        if first < 0:
            high = max(high, min(whole, -first + 1 + pixels))
        if stop > whole:
            low = min(low, max(0, 2 * (whole - 1) - (stop - 1) - pixels))
        window.append(slice(low, high))
    return tuple(window)
