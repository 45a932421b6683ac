"""Channels relative to the center of each instance: distance `Dc` and offsets `H`, `V`, `Z`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.representations.channels.distance import divide_by_largest
from singula.representations.channels.skeleton import skeletons
from singula.representations.channels.source import Source


def encode_center_distance(source: Source) -> NDArray[np.float32]:
    """Return the distance of instance pixels to the centroid or skeleton, 0 in the background.

    With the option ``norm``, the distances are divided by the largest one of the instance.
    """
    options = source.settings.options_of("Dc")
    result = np.zeros(source.labels.shape, np.float32)
    if not source.foreground.any():
        return result
    if options["type"] == "skeleton":
        result = _distance_to_skeletons(source)
    else:
        pixels, _, offsets = _offsets(source)
        result.ravel()[pixels] = np.sqrt((offsets**2).sum(axis=0))
    return divide_by_largest(result, source.index) if options["norm"] else result


def encode_offset_x(source: Source) -> NDArray[np.float32]:
    """Return the offset of instance pixels from the centroid along x, 0 in the background.

    It is negative on the left of the centroid. With the option ``norm``, the negative and the
    positive offsets of an instance are divided by their largest absolute value.
    """
    return _encode_offset(source, "H", -1)


def encode_offset_y(source: Source) -> NDArray[np.float32]:
    """Return the offset along y, as `encode_offset_x`; it is negative above the centroid."""
    return _encode_offset(source, "V", -2)


def encode_offset_z(source: Source) -> NDArray[np.float32]:
    """Return the offset along z, as `encode_offset_x`; it is negative in slices before it."""
    return _encode_offset(source, "Z", -3)


def _encode_offset(source: Source, code: str, axis: int) -> NDArray[np.float32]:
    if source.labels.ndim < -axis:
        raise UserError(
            f"channels: got {code} for a 2D image, expected a volume",
            "remove Z from the channels",
            "channels.no_z",
        )
    result = np.zeros(source.labels.shape, np.float32)
    if not source.foreground.any():
        return result
    pixels, rows, offsets = _offsets(source)
    along = offsets[axis]
    if source.settings.options_of(code)["norm"]:
        for sign in (-1, 1):
            largest = np.zeros(int(rows.max()) + 1)
            np.maximum.at(largest, rows, sign * along)
            divisor = np.where(largest > 0, largest, 1)[rows]
            along = np.where(sign * along > 0, along / divisor, along)
    result.ravel()[pixels] = along
    return result


def _offsets(source: Source) -> tuple[NDArray[np.intp], NDArray[Any], NDArray[np.float64]]:
    """Return the flat positions of instance pixels, their rows, and their offsets per axis."""
    pixels = np.flatnonzero(source.index)
    rows = source.index.ravel()[pixels]
    at = np.stack(np.unravel_index(pixels, source.labels.shape)).astype(np.float64)
    size = np.maximum(np.bincount(rows), 1)
    centers = np.stack([np.bincount(rows, weights=axis) / size for axis in at])
    return pixels, rows, (at - centers[:, rows]) * np.array(source.spacing)[:, None]


def _distance_to_skeletons(source: Source) -> NDArray[np.float32]:
    from scipy.ndimage import distance_transform_edt

    result = np.zeros(source.labels.shape, np.float32)
    for box, inside, skeleton in skeletons(source.index):
        distance = distance_transform_edt(~skeleton, sampling=source.spacing)
        result[box][inside] = distance[inside]
    return result
