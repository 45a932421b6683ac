"""The part of an image that decides about the targets of a patch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.channels import Extent
from singula.data.augment import Geometry

Sides = list[tuple[int, int]]


def margin_of(extent: Extent, geometry: Geometry, shape: Sequence[int]) -> tuple[int, ...]:
    """Pixels on each side of a patch that its targets need, along each axis.

    At most one patch length: a network that sees a patch cannot tell what lies further away, and a
    window of three patch lengths bounds the cost where one instance spans a large image.

    Parameters
    ----------
    extent : Extent
        Of the image.
    geometry : Geometry
        How the image is mapped; its displacement is not looked at.
    shape : sequence of int
        Of the patch.
    """
    found = np.zeros(len(shape))
    for _, matrix, _ in geometry.planes(shape[0]):
        whole = np.eye(len(shape))
        whole[-2:, -2:] = np.linalg.inv(matrix)
        found = np.maximum(found, extent.margin(whole))
    if not extent.is_local:
        found[-2:] += geometry.play + 1  # the nearest pixel is half a pixel away at most
    wanted = np.ceil(found - 1e-9).astype(int).tolist()
    return tuple(min(pixels, length) for pixels, length in zip(wanted, shape, strict=True))


def sides_of(
    size: Sequence[int],
    start: Sequence[int],
    shape: Sequence[int],
    margin: Sequence[int],
    geometry: Geometry,
) -> Sides:
    """Pixels before and after a patch along each axis that its window of labels has in addition.

    The window ends at the image's edge, which is no contour. In the plane of a patch that is
    resampled it goes on, with what is found there.
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
    """The window of a patch as a part of the image, with what is mirrored beyond the edge."""
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
