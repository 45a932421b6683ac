"""Channel `E`: offset to the center of the instance, bandwidth and seediness."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.representations.channel import Channel
from singula.representations.channels.source import Source
from singula.representations.families import UNIT_RADIUS

_CANDIDATES = 32
_MIN_RADIUS = 0.5
_SHARE = 0.75  # of the extent: embeddings of other instances are further away
_BORDER_SEEDINESS = 0.7


def encode_offset(source: Source, channel: Channel) -> NDArray[np.float32]:
    """Return the offset of instance pixels to the center along the axis of the plane.

    It is in pixels of the finest axis, and 0 in the background.
    """
    _check_axes(source, channel)
    plane: NDArray[np.float32] = _planes(source)[channel.plane]
    return plane


def encode_bandwidth(source: Source, channel: Channel) -> NDArray[np.float32]:
    """Return the logarithm of the radius of the cluster, 0 in the background.

    The radius is three quarters of the semi-axis of an ellipsoid with the extent of the instance
    along the axis of the plane.
    """
    _check_axes(source, channel)
    plane: NDArray[np.float32] = _planes(source)[channel.plane]
    return plane


def encode_seediness(source: Source, channel: Channel) -> NDArray[np.float32]:
    """Return 1 at the centers, falling to 0.7 at the border of an instance; 0 in the background.

    The loss does not use it: a network learns how close its embeddings are to the center.
    """
    _check_axes(source, channel)
    plane: NDArray[np.float32] = _planes(source)[channel.plane]
    return plane


def _check_axes(source: Source, channel: Channel) -> None:
    expected = int(channel.list_code[1:])
    if source.labels.ndim != expected:
        raise UserError(
            f"channels: got {channel.list_code} for an image with {source.labels.ndim} axes, "
            f"expected {expected} axes",
            "write E without a number",
            "channels.axes",
        )


def _planes(source: Source) -> NDArray[np.float32]:
    """Return the offsets and bandwidths per axis and the seediness, which all planes share."""
    if "E" not in source.shared:
        source.shared["E"] = _encode(source)
    planes: NDArray[np.float32] = source.shared["E"]
    return planes


def _encode(source: Source) -> NDArray[np.float32]:
    labels, ndim = source.index, source.labels.ndim
    result = np.zeros((2 * ndim + 1, *labels.shape), np.float32)
    pixels = np.flatnonzero(labels)
    if not len(pixels):
        return result
    sizes = np.asarray(source.spacing) / min(source.spacing)
    rows = labels.ravel()[pixels]
    at = np.stack(np.unravel_index(pixels, labels.shape)) * sizes[:, None]
    counts = np.maximum(np.bincount(rows), 1)
    centers = np.stack([np.bincount(rows, weights=axis) / counts for axis in at])
    squares = np.stack([np.bincount(rows, weights=axis) / counts for axis in at**2])
    spread = np.sqrt(np.maximum(squares - centers**2, 0))
    radii = np.maximum(spread * np.sqrt(ndim + 2), _MIN_RADIUS)
    if source.settings.options_of("E" + str(ndim) + ".0")["center_mode"] == "medoid":
        centers = _medoids(at, rows, len(counts))
    offsets = centers[:, rows] - at
    flat = result.reshape(2 * ndim + 1, -1)
    flat[:ndim, pixels] = offsets
    flat[ndim:-1, pixels] = np.log(_SHARE * radii / UNIT_RADIUS)[:, rows]
    depth = 1 - ((offsets / radii[:, rows]) ** 2).sum(axis=0).clip(0, 1)
    flat[-1, pixels] = _BORDER_SEEDINESS + (1 - _BORDER_SEEDINESS) * depth
    return result


def _medoids(at: NDArray[Any], rows: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Return the pixel of each instance with the smallest sum of distances to its pixels.

    The sum is convex, so that only the pixels nearest to its minimum, the geometric median, are
    compared.

    Parameters
    ----------
    at : ndarray of float, (ndim, pixels)
        Positions of the pixels of all instances.
    rows : ndarray of int, (pixels,)
        Instance of each pixel.
    count : int
        Largest instance, plus 1.
    """
    medoids = np.zeros((len(at), count))
    order = np.argsort(rows, kind="stable")
    ends = np.flatnonzero(np.diff(rows[order], append=-1)) + 1
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        points = at[:, order[start:stop]]
        middle = points.mean(axis=1, keepdims=True)
        for _ in range(20):  # Weiszfeld's iterations
            weights = 1 / np.maximum(np.sqrt(((points - middle) ** 2).sum(axis=0)), 1e-3)
            middle = (points * weights).sum(axis=1, keepdims=True) / weights.sum()
        away = ((points - middle) ** 2).sum(axis=0)
        nearest = np.sort(np.argsort(away, kind="stable")[:_CANDIDATES])
        sums = [np.sqrt(((points - points[:, [n]]) ** 2).sum(axis=0)).sum() for n in nearest]
        medoids[:, rows[order[start]]] = points[:, nearest[int(np.argmin(sums))]]
    return medoids
