"""Binary channels: body `B`, contour `C`, mask `M`, central points `P`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channels.source import Source
from singula.representations.channels.table import register


@register("B", "binary", "instances without their contour")
def encode_body(source: Source) -> NDArray[np.uint8]:
    """Return ``(L > 0) & ~K`` for labels `L` and contour `K`."""
    return (source.foreground & ~source.contour).view(np.uint8)


@register("C", "binary", "contour of the instances")
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
    labels = source.labels.ravel()
    points = np.zeros(labels.shape, np.uint8)
    if source.foreground.any():
        centers = _central_pixels(source)
        ids = labels[np.ravel_multi_index(tuple(centers), source.labels.shape)]
        bounds = np.array(source.labels.shape)[:, None]
        for offset in _ball(source.settings.point_radius, source.spacing):
            at = centers + offset[:, None]
            inside = ((at >= 0) & (at < bounds)).all(axis=0)
            pixel = np.ravel_multi_index(tuple(at[:, inside]), source.labels.shape)
            points[pixel[labels[pixel] == ids[inside]]] = 1
    return points.reshape(source.labels.shape)


def _ball(radius: float, spacing: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the pixel offsets within `radius` in-plane pixels of the center, one per row."""
    steps = np.array(spacing) / min(spacing[-2:])
    axes = [range(-reach, reach + 1) for reach in (radius / steps).astype(int).tolist()]
    offsets = np.array(list(itertools.product(*axes)))
    inside: NDArray[np.bool_] = ((offsets * steps) ** 2).sum(axis=1) <= radius**2 * (1 + 1e-9)
    return offsets[inside]


def _central_pixels(source: Source) -> NDArray[np.int64]:
    """Return the pixel of each instance nearest to its centroid; of several, the first in memory.

    Each column is an instance. The sums are whole numbers below 2^53, so ties are exact.
    """
    shape = source.labels.shape
    pixels = np.flatnonzero(source.labels)
    ids = source.index.ravel()[pixels]
    at = np.stack(np.unravel_index(pixels, shape))
    size = np.bincount(ids)
    sums = np.stack([np.bincount(ids, weights=axis) for axis in at]).astype(np.int64)
    rows = np.flatnonzero(size)
    size, sums = size[rows], sums[:, rows]
    # The centroid rounded to the grid, halves down, is the result if the instance contains it.
    centers = -((size - 2 * sums) // (2 * size))
    owner = source.index.ravel()[np.ravel_multi_index(tuple(centers), shape)]
    lost = owner != rows
    if lost.any():
        row_of = np.zeros(int(rows[-1]) + 1, np.int64)
        row_of[rows] = np.arange(rows.size)
        among = lost[row_of[ids]]
        row, at = row_of[ids[among]], at[:, among]
        far = _squared_distance(at, row, centers, size, sums, source.spacing)
        order = np.lexsort((pixels[among], far, row))
        _, first = np.unique(row[order], return_index=True)
        centers[:, lost] = at[:, order[first]]
    return centers


def _squared_distance(
    at: NDArray[np.int64],
    row: NDArray[np.int64],
    centers: NDArray[np.int64],
    size: NDArray[np.int64],
    sums: NDArray[np.int64],
    spacing: tuple[float, ...],
) -> NDArray[np.float64]:
    """Return squared distances to the centroid of the instance, times its squared size."""
    rest = sums - size * centers
    offset: NDArray[Any] = size[row] * (at - centers[:, row]) - rest[:, row]
    weights = np.array(spacing)[:, None] ** 2
    return np.asarray((weights * offset.astype(np.float64) ** 2).sum(axis=0))
