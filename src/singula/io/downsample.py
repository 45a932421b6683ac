"""Halve the size of images and label images along some axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.arguments import as_array, flag, items
from singula.errors import UserError
from singula.io.image import AnyArray


def nearest(labels: AnyArray, halved: Sequence[bool]) -> AnyArray:
    """Every second pixel along the axes that are halved.

    Parameters
    ----------
    labels : ndarray
        Spatial axes first.
    halved : sequence of bool
        One for each spatial axis.

    Raises
    ------
    TypeError, UserError
        Not an array, or not a truth value for each spatial axis.
    """
    labels = as_array(labels, "labels")
    halved = _halved(halved, labels.ndim)
    return np.ascontiguousarray(labels[tuple(slice(None, None, 2 if h else 1) for h in halved)])


def _halved(values: object, most: int) -> tuple[bool, ...]:
    halved = items(values, "halved", flag)
    if len(halved) > most:
        raise UserError(
            f"halved: got {len(halved)} values, expected at most {most}, one for each axis",
            "give one for each spatial axis",
            "arguments.count",
        )
    return halved


def mean(image: AnyArray, halved: Sequence[bool]) -> AnyArray:
    """Mean of pairs along the axes that are halved, in the image's type; a last one stays alone.

    Parameters
    ----------
    image : ndarray
        Spatial axes first.
    halved : sequence of bool
        One for each spatial axis.

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
