"""Instances from spatial embeddings: greedy clustering around the pixels of highest seediness.

A cluster consists of the pixels whose embedding lies in the ellipsoid around the embedding of its
first pixel. The first pixels of all clusters are computed from the pixels of the whole image. A
pixel belongs to the last cluster that contains it, which needs no other pixel, so that parts of an
image are labeled independently. Coordinates are those of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.decoders.offsets import relative_spacing
from singula.representations.families import UNIT_RADIUS
from singula.util.boxes import Box, shape_of
from singula.util.process import compiled

_SIDE = 8.0  # of the cubes in which embeddings and clusters are sorted, in pixels
_MAX_BANDWIDTH = 5.0


@dataclass(frozen=True)
class EmbeddedPixels:
    """Pixels of instances with their embeddings.

    Parameters
    ----------
    places : ndarray of int64, shape (count,)
        Flat positions in the image.
    offsets : ndarray of float32, shape (count, ndim)
        Offset to the center of the instance per axis, in pixels of the finest axis.
    bandwidths : ndarray of float32, shape (count, ndim)
        Logarithm of the radius of the cluster per axis, relative to `UNIT_RADIUS` pixels.
    seediness : ndarray of float32, shape (count,)
        Values from 0 to 1.
    """

    places: NDArray[np.int64]
    offsets: NDArray[np.float32]
    bandwidths: NDArray[np.float32]
    seediness: NDArray[np.float32]


@dataclass(frozen=True)
class Clusters:
    """Clusters in the order of the seediness of their first pixels.

    Parameters
    ----------
    centers : ndarray of float64, shape (count, ndim)
        Embeddings of the first pixels, in pixels of the finest axis.
    radii : ndarray of float64, shape (count, ndim)
        Radii of the ellipsoids, in the same unit.
    """

    centers: NDArray[np.float64]
    radii: NDArray[np.float64]


def embed_pixels(
    offsets: Sequence[NDArray[Any]],
    bandwidths: Sequence[NDArray[Any]],
    seediness: NDArray[Any],
    threshold: float,
    box: Box,
    shape: Sequence[int],
) -> EmbeddedPixels:
    """Return the pixels of a box of the image that belong to instances.

    Parameters
    ----------
    offsets : sequence of ndarray
        Offset of each pixel to the center of its instance per axis, in pixels of the finest axis,
        all (y, x) or all (z, y, x).
    bandwidths : sequence of ndarray
        Logarithm of the radius of the cluster per axis, relative to `UNIT_RADIUS` pixels.
    seediness : ndarray of float
        Values from 0 to 1.
    threshold : float
        Pixels with a seediness above this belong to instances.
    box : Box
        Position of the maps in the image.
    shape : sequence of int
        Shape of the image, in pixels.
    """
    pixels = np.flatnonzero(seediness > threshold)
    at = np.unravel_index(pixels, seediness.shape)
    at_image = tuple(axis + part.start for axis, part in zip(at, box, strict=True))
    return EmbeddedPixels(
        np.ravel_multi_index(at_image, tuple(shape)).astype(np.int64),
        np.stack([plane.ravel()[pixels] for plane in offsets], axis=1).astype(np.float32),
        np.stack([plane.ravel()[pixels] for plane in bandwidths], axis=1).astype(np.float32),
        seediness.ravel()[pixels].astype(np.float32),
    )


def join_pixels(parts: Iterable[Mapping[str, NDArray[Any]]]) -> EmbeddedPixels:
    """Return the pixels of at least one part, from their fields by name."""
    columns = zip(*(astuple(EmbeddedPixels(**part)) for part in parts), strict=True)
    return EmbeddedPixels(*(np.concatenate(column) for column in columns))


def find_clusters(
    pixels: EmbeddedPixels,
    shape: Sequence[int],
    threshold: float,
    spacing: Sequence[float] | None = None,
) -> Clusters:
    """Return the clusters of all pixels of an image.

    Parameters
    ----------
    pixels : EmbeddedPixels
        Pixels in any order.
    shape : sequence of int
        Shape of the image, in pixels.
    threshold : float
        Smallest seediness of the first pixel of a cluster.
    spacing : sequence of float, optional
        Voxel size per axis.

    Notes
    -----
    Each pixel that is not in a cluster yet starts one, in the order of the seediness; of equal
    ones, in raster order. The cluster is accepted if more than half of its pixels are not in an
    earlier one. Embeddings are sorted in cubes, so that only those near the center are compared.

    References
    ----------
    M. Lalit, P. Tomancak, F. Jug, *EmbedSeg: embedding-based instance segmentation for biomedical
    microscopy data*, Medical Image Analysis 2022, section 3.
    """
    ndim = len(shape)
    order = np.lexsort((pixels.places, -pixels.seediness))
    candidates = order[pixels.seediness[order] >= threshold]
    if not len(candidates):
        return Clusters(np.zeros((0, ndim)), np.zeros((0, ndim)))
    points = _points(pixels, shape, spacing)
    logarithms = pixels.bandwidths[candidates].astype(np.float64)
    radii = UNIT_RADIUS * np.exp(logarithms.clip(-_MAX_BANDWIDTH, _MAX_BANDWIDTH))
    cells = (points // _SIDE).astype(np.int64)
    cubes = cells.max(axis=0) + 1
    flat = np.ravel_multi_index(tuple(cells.T), tuple(cubes))
    entries = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[entries], np.arange(int(cubes.prod()) + 1))
    is_accepted = np.zeros(len(candidates), np.bool_)
    compiled(_grow_clusters)(
        points, candidates, _in_3d(radii, 1.0), cubes, starts, entries, _SIDE, is_accepted
    )
    return Clusters(points[candidates[is_accepted], 3 - ndim :], radii[is_accepted])


def label_clusters(
    pixels: EmbeddedPixels,
    clusters: Clusters,
    box: Box,
    shape: Sequence[int],
    spacing: Sequence[float] | None = None,
) -> NDArray[np.int32]:
    """Return the number of the last cluster, from 1, that contains each pixel of a box.

    Parameters
    ----------
    pixels : EmbeddedPixels
        Result of `embed_pixels` for the box.
    clusters : Clusters
        Result of `find_clusters`.
    box : Box
        Box of the image.
    shape : sequence of int
        Shape of the image, in pixels.
    spacing : sequence of float, optional
        Voxel size per axis.
    """
    labels = np.zeros(shape_of(box), np.int32)
    if not len(pixels.places) or not len(clusters.centers):
        return labels
    points = _points(pixels, shape, spacing)
    corner = points.min(axis=0) // _SIDE
    cubes = (points.max(axis=0) // _SIDE - corner).astype(np.int64) + 1
    centers, radii = _in_3d(clusters.centers, 0.0), _in_3d(clusters.radii, 1.0)
    first = ((centers - radii) // _SIDE - corner).clip(0).astype(np.int64)
    last = np.minimum((centers + radii) // _SIDE - corner, cubes - 1).astype(np.int64)
    near = np.flatnonzero((first <= last).all(axis=1))
    starts = np.zeros(int(cubes.prod()) + 1, np.int64)
    numbers_of_cubes = compiled(_list_clusters)(near, first, last, cubes, starts)
    cells = (points // _SIDE - corner).astype(np.int64)
    flat = np.ravel_multi_index(tuple(cells.T), tuple(cubes))
    numbers = np.zeros(len(points), np.int32)
    compiled(_join_clusters)(points, flat, centers, radii, starts, numbers_of_cubes, numbers)
    at = np.unravel_index(pixels.places, tuple(shape))
    labels[tuple(axis - part.start for axis, part in zip(at, box, strict=True))] = numbers
    return labels


def _points(
    pixels: EmbeddedPixels, shape: Sequence[int], spacing: Sequence[float] | None
) -> NDArray[np.float64]:
    """Return the embeddings along z, y and x, in pixels of the finest axis, within the image."""
    sizes = relative_spacing(spacing, len(shape))
    at = np.stack(np.unravel_index(pixels.places, tuple(shape)), axis=1)
    points = at * sizes + pixels.offsets
    points.clip(0, (np.array(shape) - 1) * sizes, out=points)
    return _in_3d(points, 0.0)


def _in_3d(rows: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    """Return the rows with a first column of a value if they have two columns."""
    if rows.shape[1] == 3:
        return rows
    return np.concatenate([np.full((len(rows), 1), value), rows], axis=1)


def _grow_clusters(
    points: Any,
    candidates: Any,
    radii: Any,
    cubes: Any,
    starts: Any,
    entries: Any,
    side: Any,
    is_accepted: Any,
) -> None:
    """Mark the candidates whose cluster consists of new pixels, one after the other; compiled.

    Parameters
    ----------
    points : float64, (n, 3)
        Embeddings along z, y and x.
    candidates : int64, (m,)
        Pixels by descending seediness.
    radii : float64, (m, 3)
        Radii of the ellipsoids around the candidates.
    cubes : int64, (3,)
        Number of cubes per axis.
    starts : int64, (cubes + 1,)
        First entry of each cube in `entries`.
    entries : int64, (n,)
        Pixels, cube by cube.
    side : float
        Side of a cube.
    is_accepted : bool, (m,)
        False; the result.
    """
    is_used = np.zeros(len(points), np.bool_)
    members = np.empty(len(points), np.int64)
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for row in range(len(candidates)):
        candidate = candidates[row]
        if is_used[candidate]:
            continue
        for axis in range(3):
            first = (points[candidate, axis] - radii[row, axis]) // side
            last = (points[candidate, axis] + radii[row, axis]) // side
            low[axis] = max(0, int(first))
            high[axis] = min(cubes[axis] - 1, int(last))
        count, new = 0, 0
        for z in range(low[0], high[0] + 1):
            for y in range(low[1], high[1] + 1):
                line = (z * cubes[1] + y) * cubes[2]
                for entry in range(starts[line + low[2]], starts[line + high[2] + 1]):
                    pixel = entries[entry]
                    total = 0.0
                    for axis in range(3):
                        step = points[pixel, axis] - points[candidate, axis]
                        total += (step / radii[row, axis]) ** 2
                    if total < 1:
                        members[count] = pixel
                        count += 1
                        new += not is_used[pixel]
        is_accepted[row] = 2 * new > count
        for each in range(count):
            is_used[members[each]] = True


def _list_clusters(near: Any, first: Any, last: Any, cubes: Any, starts: Any) -> Any:
    """Return the clusters of each cube in ascending order; compiled.

    Parameters
    ----------
    near : int64, (m,)
        Clusters to list.
    first, last : int64, (clusters, 3)
        First and last cube of each cluster along z, y and x.
    cubes : int64, (3,)
        Number of cubes per axis.
    starts : int64, (cubes + 1,)
        Zeros; the first entry of each cube in the result.

    Returns
    -------
    int64, (entries,)
    """
    listed = np.zeros(0, np.int64)
    ends = starts
    for fill in range(2):  # the first pass counts the entries
        for cluster in near:
            for z in range(first[cluster, 0], last[cluster, 0] + 1):
                for y in range(first[cluster, 1], last[cluster, 1] + 1):
                    line = (z * cubes[1] + y) * cubes[2]
                    for x in range(first[cluster, 2], last[cluster, 2] + 1):
                        if fill:
                            listed[ends[line + x]] = cluster
                            ends[line + x] += 1
                        else:
                            starts[line + x + 1] += 1
        if not fill:
            for cube in range(1, len(starts)):
                starts[cube] += starts[cube - 1]
            ends = starts.copy()
            listed = np.zeros(starts[-1], np.int64)
    return listed


def _join_clusters(
    points: Any, cubes: Any, centers: Any, radii: Any, starts: Any, listed: Any, numbers: Any
) -> None:
    """Assign to each pixel the number of the last cluster that contains it; compiled.

    Parameters
    ----------
    points : float64, (n, 3)
        Embeddings along z, y and x.
    cubes : int64, (n,)
        Cube of each embedding.
    centers, radii : float64, (clusters, 3)
        Ellipsoids.
    starts, listed : int64
        See `_list_clusters`.
    numbers : int32, (n,)
        Zeros; the result.
    """
    for pixel in range(len(points)):
        for entry in range(starts[cubes[pixel] + 1] - 1, starts[cubes[pixel]] - 1, -1):
            cluster = listed[entry]
            total = 0.0
            for axis in range(3):
                step = points[pixel, axis] - centers[cluster, axis]
                total += (step / radii[cluster, axis]) ** 2
            if total < 1:
                numbers[pixel] = cluster + 1
                break
