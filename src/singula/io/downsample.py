"""Halve the size of images and label images along some axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.errors import UserError
from singula.io.image import AnyArray
from singula.util.arguments import as_array, flag, items


def nearest(labels: AnyArray, halved: Sequence[bool]) -> AnyArray:
    """Select every second pixel along the axes that are halved; ids are never mixed.

    Parameters
    ----------
    labels : ndarray, shape (y, x, …) or (z, y, x, …)
        Label image, spatial axes first.
    halved : sequence of bool
        True for each spatial axis to halve.

    Raises
    ------
    TypeError, UserError
        Not an array, or not a truth value for each spatial axis.
    """
    labels = as_array(labels, "labels")
    halved = _halved(halved, labels.ndim)
    return np.ascontiguousarray(labels[tuple(slice(None, None, 2 if h else 1) for h in halved)])


def _halved(values: object, max_axes: int) -> tuple[bool, ...]:
    halved = items(values, "halved", flag)
    if len(halved) > max_axes:
        raise UserError(
            f"halved: got {len(halved)} values, expected at most {max_axes}, one for each axis",
            "give one for each spatial axis",
            "arguments.count",
        )
    return halved


def mean(image: AnyArray, halved: Sequence[bool]) -> AnyArray:
    """Average pairs of pixels along the axes that are halved; an odd last pixel stays unchanged.

    Parameters
    ----------
    image : ndarray, shape (y, x, …) or (z, y, x, …)
        Image, spatial axes first.
    halved : sequence of bool
        True for each spatial axis to halve.

    Returns
    -------
    ndarray
        Image of the same type; means of integers are rounded.

    Raises
    ------
    TypeError, UserError
        As `nearest`.
    """
    image = as_array(image, "image")
    halved = _halved(halved, image.ndim)
    result: AnyArray = image.astype(np.float64 if image.dtype.itemsize > 2 else np.float32)
    for axis, half in enumerate(halved):
        if not half:
            continue
        if result.shape[axis] % 2:
            last = result.take([-1], axis)
            result = np.concatenate([result, last], axis)
        even, odd = (result[(slice(None),) * axis + (slice(s, None, 2),)] for s in (0, 1))
        result = (even + odd) / 2
    if image.dtype.kind in "iu":
        result = np.rint(result)
    return result.astype(image.dtype)
