"""Binary channels: body `B`, contour `C`, mask `M`, central points `P`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channels.source import Source
from singula.representations.channels.table import register
from singula.util.citation import Citation
from singula.util.process import compiled


@register("B", "binary", "instances without their contour")
def encode_body(source: Source) -> NDArray[np.uint8]:
    """Return ``(L > 0) & ~K`` for labels `L` and contour `K`."""
    return (source.foreground & ~source.contour).view(np.uint8)


_CONTOURS = Citation(
    "chen2016",
    "Chen, H.; Qi, X.; Yu, L.; Heng, P.-A.",
    "DCAN: deep contour-aware networks for accurate gland segmentation",
    "CVPR",
    2016,
    "10.1109/CVPR.2016.273",
)


@register("C", "binary", "contour of the instances", citations=(_CONTOURS,))
def encode_contour(source: Source) -> NDArray[np.uint8]:
    """Return the contour `K`."""
    return source.contour.view(np.uint8)


@register("M", "binary", "instances with their contour")
def encode_mask(source: Source) -> NDArray[np.uint8]:
    """Return ``L > 0`` for labels `L`."""
    return source.foreground.view(np.uint8)


@register("P", "binary", "a disk at the center of each instance", reach="instance")
def encode_points(source: Source) -> NDArray[np.uint8]:
    """Return a disk or ball per instance, at its pixel nearest to its centroid and clipped to it.

    The ball is round in physical space and its radius is in in-plane pixels. If the distance of
    slices exceeds the radius, it is a disk in one slice.
    """
    if not source.foreground.any():
        return np.zeros(source.labels.shape, np.uint8)
    pixels = np.flatnonzero(source.labels)
    rows = source.index.ravel()[pixels]
    at = np.stack(np.unravel_index(pixels, source.labels.shape))
    size = np.bincount(rows)
    sums = np.stack([np.bincount(rows, weights=axis) for axis in at], axis=1).astype(np.int64)
    _, first = nearest_to_centroids(source.index, size, sums, source.spacing)
    ids = np.flatnonzero(size)
    centers = np.stack(np.unravel_index(first[ids], source.labels.shape), axis=1)
    return draw_points(source.index, ids, centers, source.settings.point_radius, source.spacing)


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
