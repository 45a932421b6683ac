"""Binary channels: `B`, `C`, `M`, `P`, foreground `F`, background `Bg` and contact zones `T`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channel_table import SPECIFIED
from singula.representations.channels.distance import multi_label_distance
from singula.representations.channels.skeleton import skeletons
from singula.representations.channels.source import EncodeSettings, Source
from singula.representations.channels.transform import distance_to_zeros
from singula.util.process import compiled


def encode_body(source: Source) -> NDArray[np.uint8]:
    """Return ``(L > 0) & ~K`` for labels `L` and contour `K`."""
    return (source.foreground & ~source.contour).view(np.uint8)


def encode_contour(source: Source) -> NDArray[np.uint8]:
    """Return the contour `K`."""
    return source.contour.view(np.uint8)


def encode_mask(source: Source) -> NDArray[np.uint8]:
    """Return ``L > 0`` for labels `L`."""
    return source.foreground.view(np.uint8)


def encode_points(source: Source) -> NDArray[np.uint8]:
    """Return a disk or ball per instance, at its pixel nearest to its centroid and clipped to it.

    The ball is round in physical space and its radius is in in-plane pixels. If the distance of
    slices exceeds the radius, it is a disk in one slice. With the option ``type: skeleton``, it is
    the dilated skeleton of the instance, clipped to it.
    """
    if not source.foreground.any():
        return np.zeros(source.labels.shape, np.uint8)
    options, radius = source.settings.options_of("P"), disk_radius(source.settings)
    if options["type"] == "skeleton":
        points = np.zeros(source.labels.shape, np.uint8)
        for box, inside, skeleton in skeletons(source.index):
            near = distance_to_zeros(~skeleton, _in_plane(source)) <= radius
            points[box][inside & near] = 1
        return _eroded(points, source, float(options["erosion"]))
    pixels = np.flatnonzero(source.labels)
    rows = source.index.ravel()[pixels]
    at = np.stack(np.unravel_index(pixels, source.labels.shape))
    size = np.bincount(rows)
    sums = np.stack([np.bincount(rows, weights=axis) for axis in at], axis=1).astype(np.int64)
    _, first = nearest_to_centroids(source.index, size, sums, source.spacing)
    ids = np.flatnonzero(size)
    centers = np.stack(np.unravel_index(first[ids], source.labels.shape), axis=1)
    points = draw_points(source.index, ids, centers, radius, source.spacing)
    return _eroded(points, source, float(options["erosion"]))


def disk_radius(settings: EncodeSettings) -> float:
    """Return the radius of the disks of `P` in in-plane pixels."""
    is_listed = "P" in settings.options or not set(settings.channels) <= SPECIFIED
    return float(settings.options_of("P")["dilation"]) if is_listed else settings.point_radius


def encode_foreground(source: Source) -> NDArray[np.uint8]:
    """Return ``L > 0`` for labels `L`, after the options ``erosion`` and ``dilation``.

    The erosion removes the pixels of an instance within this distance of its outside, so that
    touching instances separate. The dilation adds background within this distance of an instance.
    """
    options = source.settings.options_of("F")
    inside = source.foreground
    if options["erosion"]:
        inside = inside & (_border_distance(source) > float(options["erosion"]))
    if options["dilation"]:
        near = _outer_distance(source) <= float(options["dilation"])
        inside = inside | near & ~source.foreground
    return inside.view(np.uint8)


def encode_background(source: Source) -> NDArray[np.uint8]:
    """Return ``L == 0`` for labels `L`, after the options ``erosion`` and ``dilation``.

    The erosion removes background within this distance of an instance. The dilation adds the pixels
    of instances within this distance of their outside.
    """
    options = source.settings.options_of("Bg")
    outside = ~source.foreground
    if options["erosion"]:
        outside = outside & (_outer_distance(source) > float(options["erosion"]))
    if options["dilation"]:
        near = _border_distance(source) <= float(options["dilation"])
        outside = outside | near & source.foreground
    return outside.view(np.uint8)


def encode_touching(source: Source) -> NDArray[np.uint8]:
    """Return the pixels of instances near another instance.

    A pixel counts if another instance is in the square or cube around it that reaches half of the
    option ``thickness``, rounded up: zones of width 2 have one pixel on each side.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    reach = -(-int(source.settings.options_of("T")["thickness"]) // 2)
    if reach < 1 or not source.foreground.any():
        return np.zeros(source.labels.shape, np.uint8)
    index, size = source.index.astype(np.int64), 2 * reach + 1
    highest = maximum_filter(index, size, mode="nearest")
    beyond = int(index.max()) + 1
    lowest = minimum_filter(np.where(index > 0, index, beyond), size, mode="nearest")
    touching = source.foreground & ((highest != index) | (lowest != index))
    result: NDArray[np.uint8] = touching.view(np.uint8)
    return result


def _border_distance(source: Source) -> NDArray[np.float32]:
    """Return the distance in in-plane pixels to the nearest pixel outside of the instance.

    It is infinite in an image that one instance fills, as the image border is not its border.
    """
    index = source.index
    if int(index.min()) == int(index.max()):
        return np.full(index.shape, np.inf, np.float32)
    return multi_label_distance(index, _in_plane(source))


def _outer_distance(source: Source) -> NDArray[np.float32]:
    """Return the distance in in-plane pixels to the nearest instance; infinite without any."""
    if not source.foreground.any():
        return np.full(source.labels.shape, np.inf, np.float32)
    return distance_to_zeros(~source.foreground, _in_plane(source))


def _in_plane(source: Source) -> list[float]:
    """Return the voxel size per axis in in-plane pixels."""
    return [float(size) / float(min(source.spacing[-2:])) for size in source.spacing]


def _eroded(mask: NDArray[np.uint8], source: Source, radius: float) -> NDArray[np.uint8]:
    """Return a mask without the pixels within a radius of its outside."""
    if not radius or mask.all():
        return mask
    inside: NDArray[np.bool_] = distance_to_zeros(mask > 0, _in_plane(source)) > radius
    return inside.view(np.uint8)


def nearest_to_centroids(
    index: NDArray[Any],
    size: NDArray[np.int64],
    sums: NDArray[np.int64],
    spacing: Sequence[float],
    origin: Sequence[int] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the pixel of each instance that is nearest to its centroid; of several, the first.

    Parameters
    ----------
    index : ndarray of unsigned int, (y, x) or (z, y, x)
        Row of each pixel in `size`; 0 is background. It can be a block of an image.
    size : ndarray of int64, shape (rows,)
        Number of pixels of each instance of the image.
    sums : ndarray of int64, shape (rows, ndim)
        Sums of their coordinates in the image. They are below 2^53, so that ties are exact.
    spacing : sequence of float
        Voxel size per axis.
    origin : sequence of int, optional
        Position of the block in the image.

    Returns
    -------
    squared : ndarray of float64, shape (rows,)
        Squared distance times the squared size; infinite without pixels.
    first : ndarray of int64, shape (rows,)
        Flat position of the pixel in `index`; -1 without pixels.
    """
    start = np.zeros(3, np.int64)
    start[3 - index.ndim :] = 0 if origin is None else origin
    weights, totals = np.zeros(3), np.zeros((len(size), 3), np.int64)
    weights[3 - index.ndim :] = np.array(spacing, np.float64) ** 2
    totals[:, 3 - index.ndim :] = sums
    squared, first = np.full(len(size), np.inf), np.full(len(size), -1, np.int64)
    volume = index if index.ndim == 3 else index[None]
    compiled(_find_nearest)(volume, size, totals, weights, start, squared, first)
    return squared, first


def _find_nearest(
    index: Any, size: Any, sums: Any, weights: Any, start: Any, squared: Any, first: Any
) -> None:
    """Update the smallest squared distance of each row and its pixel; compiled.

    Parameters
    ----------
    index : unsigned int, (z, y, x)
    size : int64, (rows,)
    sums : int64, (rows, 3)
    weights : float64, (3,)
        Squared voxel sizes.
    start : int64, (3,)
        Position of the first pixel in the image.
    squared, first : float64 and int64, (rows,)
        Results, which are updated.
    """
    depth, height, width = index.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                row = index[z, y, x]
                if row == 0:
                    continue
                n = size[row]
                away = weights[0] * float(n * (start[0] + z) - sums[row, 0]) ** 2
                away += weights[1] * float(n * (start[1] + y) - sums[row, 1]) ** 2
                away += weights[2] * float(n * (start[2] + x) - sums[row, 2]) ** 2
                if away < squared[row]:
                    squared[row] = away
                    first[row] = (z * height + y) * width + x


def draw_points(
    labels: NDArray[Any],
    ids: NDArray[Any],
    centers: NDArray[np.int64],
    radius: float,
    spacing: Sequence[float],
) -> NDArray[np.uint8]:
    """Draw a disk or ball around the center of each instance, clipped to the instance.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Label image, or a block of it.
    ids : ndarray of int, shape (n,)
        Ids of the instances.
    centers : ndarray of int64, shape (n, ndim)
        Center of each instance in pixels of `labels`; it can be outside of a block.
    radius : float
        Radius in in-plane pixels.
    spacing : sequence of float
        Voxel size per axis.
    """
    flat, points = labels.ravel(), np.zeros(labels.size, np.uint8)
    for offset in _ball(radius, spacing):
        at = centers + offset
        inside = ((at >= 0) & (at < labels.shape)).all(axis=1)
        pixel = np.ravel_multi_index(tuple(at[inside].T), labels.shape)
        points[pixel[flat[pixel] == ids[inside]]] = 1
    return points.reshape(labels.shape)


def _ball(radius: float, spacing: Sequence[float]) -> NDArray[np.int64]:
    """Return the pixel offsets within `radius` in-plane pixels of the center, one per row."""
    steps = np.array(spacing) / min(spacing[-2:])
    axes = [range(-reach, reach + 1) for reach in (radius / steps).astype(int).tolist()]
    offsets = np.array(list(itertools.product(*axes)))
    inside: NDArray[np.bool_] = ((offsets * steps) ** 2).sum(axis=1) <= radius**2 * (1 + 1e-9)
    return offsets[inside]
