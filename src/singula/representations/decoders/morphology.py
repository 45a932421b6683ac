"""Morphology and relabeling for the marker-controlled watershed, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import edt
import numpy as np

from singula.representations.decoders.components import inside, planes
from singula.util.boxes import Box
from singula.util.process import compiled


def step(mask: np.ndarray, *, grow: bool) -> np.ndarray:
    """Dilate or erode a boolean mask by one pixel along every axis (connectivity 1).

    Pixels outside of the image have no effect.
    """
    result = mask.copy()
    for axis in range(mask.ndim):
        ahead = tuple(slice(1, None) if a == axis else slice(None) for a in range(mask.ndim))
        behind = tuple(slice(None, -1) if a == axis else slice(None) for a in range(mask.ndim))
        if grow:
            result[ahead] |= mask[behind]
            result[behind] |= mask[ahead]
        else:
            result[ahead] &= mask[behind]
            result[behind] &= mask[ahead]
    return result


def morph(
    mask: np.ndarray, operation: str, radius: float, spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Erode or dilate a boolean mask with a disk or ball.

    Parameters
    ----------
    mask : ndarray of bool
    operation : {"erode", "dilate"}
    radius : float
        Radius in pixels of the finest axis.
    spacing : sequence of float, optional
        Voxel size per axis. The structuring element is round in physical units: in a volume with
        thick slices, a small one stays within the plane.

    Notes
    -----
    The result comes from a distance transform; the time does not depend on the radius. With radius
    0, `mask` itself is returned.
    """
    if radius <= 0 or mask.size == 0:
        return mask
    relative = None if spacing is None else tuple(s / min(spacing) for s in spacing)
    inside = mask if operation == "erode" else ~mask
    eroded = edt.edtsq(inside, anisotropy=relative, black_border=False) > radius**2
    result: np.ndarray = eroded if operation == "erode" else ~eroded
    return result


def compact_in_place(
    labels: np.ndarray,
    count: int,
    *,
    min_size: int,
    border_size: int | None = None,
    drop: int | None = None,
) -> np.ndarray:
    """Relabel from 1 without gaps, with the smallest unsigned dtype that holds the labels.

    Parameters
    ----------
    labels : ndarray of int32
        Contiguous, with a rim of one pixel. The array is overwritten, and the result may use its
        memory. Negative numbers become background.
    count : int
        Largest label.
    min_size : int
        Labels with fewer pixels become background.
    border_size : int, optional
        The same for labels that touch the border of the image; `min_size` by default.
    drop : int, optional
        This label becomes background.

    Returns
    -------
    ndarray of unsigned int
        Contiguous, without the rim.
    """
    image = inside(labels)
    numbers = _numbers(image, count, min_size, border_size, drop)
    if numbers.dtype == np.uint32:  # pixels are written to positions that have been read
        result = labels.view(np.uint32).reshape(-1)[: image.size].reshape(image.shape)
    else:
        result = np.empty(image.shape, numbers.dtype)
    look_up(image, numbers, result)
    return result


def compact(labels: np.ndarray, count: int, min_size: int, border_size: int) -> np.ndarray:
    """Relabel from 1 without gaps, with the smallest unsigned dtype that holds the labels.

    Parameters
    ----------
    labels : ndarray of int32
        Contiguous, (y, x) or (z, y, x).
    count : int
        Largest label.
    min_size, border_size : int
        Labels with fewer pixels become background: those that do not and that do touch the border
        of the image.
    """
    numbers = _numbers(labels, count, min_size, border_size, None)
    result = np.empty(labels.shape, numbers.dtype)
    look_up(labels, numbers, result)
    return result


def drop_small_in_place(
    labels: np.ndarray, count: int, min_size: int, border_size: int | None = None
) -> int:
    """Relabel in place as `compact_in_place` does, and return the number of labels."""
    image = inside(labels)
    numbers = _numbers(image, count, min_size, border_size, None)
    look_up(image, numbers, image)
    return int(numbers.max())


def look_up(image: np.ndarray, numbers: np.ndarray, result: np.ndarray) -> None:
    """Write the number of each label to `result`; 0 for negative labels."""
    compiled(_look_up)(planes(image), numbers, planes(result))


def labels_at_border(
    labels: np.ndarray, box: Box | None = None, shape: Sequence[int] | None = None
) -> np.ndarray:
    """Return the positive labels that touch the border of the image, ascending.

    Parameters
    ----------
    labels : ndarray of int
        The image, or a block of it.
    box : Box, optional
        Position of the block.
    shape : sequence of int, optional
        Shape of the image that contains the block.
    """
    shape = labels.shape if shape is None else shape
    box = tuple(slice(0, size) for size in shape) if box is None else box
    labels_on_faces = [np.zeros(0, labels.dtype)]
    for axis, (part, size) in enumerate(zip(box, shape, strict=True)):
        before = (slice(None),) * axis
        if part.start == 0:
            labels_on_faces.append(np.unique(labels[(*before, slice(0, 1))]))
        if part.stop == size:
            labels_on_faces.append(np.unique(labels[(*before, slice(-1, None))]))
    unique = np.unique(np.concatenate(labels_on_faces))
    return np.asarray(unique[unique > 0])


def is_large(
    pixels: np.ndarray, at_border: np.ndarray, min_size: int, border_size: int
) -> np.ndarray:
    """Return True for each instance that is large enough to stay.

    Parameters
    ----------
    pixels : ndarray of int, shape (n,)
    at_border : ndarray of bool, shape (n,)
        The instance touches the border of the image.
    min_size : int
        Smallest number of pixels of an instance that does not touch the border.
    border_size : int
        Smallest number of pixels of an instance that does.
    """
    return np.asarray(pixels >= np.maximum(np.where(at_border, border_size, min_size), 1))


def _numbers(
    image: np.ndarray, count: int, min_size: int, border_size: int | None, drop: int | None
) -> np.ndarray:
    """Return the new number of each label, 0 for labels that are removed."""
    sizes = np.zeros(count + 1, np.int64)
    compiled(_count)(planes(image), sizes)
    sizes[[0] if drop is None else [0, drop]] = 0
    at_border = np.zeros(count + 1, bool)
    if border_size is not None and border_size != min_size:
        at_border[labels_at_border(image)] = True
    border_size = min_size if border_size is None else border_size
    large = np.flatnonzero(is_large(sizes, at_border, min_size, border_size))
    numbers = np.zeros(count + 1, np.min_scalar_type(len(large)))
    numbers[large] = np.arange(1, len(large) + 1)
    return numbers


def _count(labels: Any, sizes: Any) -> None:
    """Count the pixels of each positive label; compiled.

    `labels` is an int32 volume (z, y, x); `sizes`, int64 of shape (count + 1,), receives the
    counts.
    """
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            row = labels[z, y]
            start = 0
            for x in range(1, width + 1):
                if x == width or row[x] != row[start]:
                    if row[start] > 0:
                        sizes[row[start]] += x - start
                    start = x


def _look_up(labels: Any, numbers: Any, result: Any) -> None:
    """Write the number of each label to `result`; compiled.

    `labels` is an int32 volume (z, y, x), `numbers` has an entry per label, and `result` has the
    shape of `labels`. Negative labels get the number of label 0.
    """
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                result[z, y, x] = numbers[max(labels[z, y, x], 0)]
