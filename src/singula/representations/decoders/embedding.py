"""Instances from spatial embeddings: greedy clustering around the pixels of highest seediness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from singula.representations.decoders.offsets import relative_spacing
from singula.representations.families import UNIT_RADIUS
from singula.util.process import compiled

_SIDE = 8.0  # of the cubes in which embeddings are sorted, in pixels
_MAX_BANDWIDTH = 5.0


def cluster_embeddings(
    offsets: Sequence[np.ndarray],
    bandwidths: Sequence[np.ndarray],
    seediness: np.ndarray,
    *,
    foreground_threshold: float,
    seed_threshold: float,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Cluster pixels whose embeddings are near the embedding of a pixel of high seediness.

    Parameters
    ----------
    offsets : sequence of ndarray
        Offset of each pixel to the center of its instance per axis, in pixels of the finest axis,
        all (y, x) or all (z, y, x).
    bandwidths : sequence of ndarray
        Logarithm of the radius of the cluster per axis, relative to `UNIT_RADIUS` pixels.
    seediness : ndarray of float
        Values from 0 to 1.
    foreground_threshold : float
        Pixels with a seediness above this belong to instances.
    seed_threshold : float
        Smallest seediness of the first pixel of an instance.
    spacing : sequence of float, optional
        Voxel size per axis.

    Returns
    -------
    ndarray of int32
        Numbers from 1 in the order of the seediness of their first pixels; 0 is background.

    Notes
    -----
    A cluster consists of the pixels whose embedding lies in the ellipsoid around the embedding of
    its first pixel. Pixels of earlier clusters can change to a later one, unless these are half
    of it or more. Embeddings are sorted in cubes, so that only those near the center are compared.

    References
    ----------
    M. Lalit, P. Tomancak, F. Jug, *EmbedSeg: embedding-based instance segmentation for biomedical
    microscopy data*, Medical Image Analysis 2022, section 3.
    """
    shape = seediness.shape
    pixels = np.flatnonzero(seediness > foreground_threshold)
    labels = np.zeros(seediness.size, np.int32)
    if not len(pixels):
        return labels.reshape(shape)
    sizes = relative_spacing(spacing, len(shape))
    points = np.zeros((len(pixels), 3))
    radii = np.full((len(pixels), 3), 1.0)
    at = np.unravel_index(pixels, shape)
    for axis, (offset, bandwidth) in enumerate(zip(offsets, bandwidths, strict=True)):
        column = 3 - len(shape) + axis
        moved = at[axis] * sizes[axis] + offset.ravel()[pixels]
        points[:, column] = moved.clip(0, (shape[axis] - 1) * sizes[axis])
        logarithm = bandwidth.ravel()[pixels].astype(np.float64)
        radii[:, column] = UNIT_RADIUS * np.exp(logarithm.clip(-_MAX_BANDWIDTH, _MAX_BANDWIDTH))
    cells = (points // _SIDE).astype(np.int64)
    cubes = cells.max(axis=0) + 1
    flat = np.ravel_multi_index(tuple(cells.T), tuple(cubes))
    entries = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[entries], np.arange(int(cubes.prod()) + 1))
    strength = seediness.ravel()[pixels].astype(np.float32)
    candidates = np.argsort(-strength, kind="stable")
    candidates = candidates[strength[candidates] >= seed_threshold]
    numbers = np.zeros(len(pixels), np.int32)
    compiled(_grow_clusters)(points, radii, candidates, cubes, starts, entries, _SIDE, numbers)
    labels[pixels] = numbers
    return labels.reshape(shape)


def _grow_clusters(
    points: Any,
    radii: Any,
    candidates: Any,
    cubes: Any,
    starts: Any,
    entries: Any,
    side: Any,
    numbers: Any,
) -> None:
    """Assign numbers to the clusters of the candidates, one after the other; compiled.

    Parameters
    ----------
    points, radii : float64, (n, 3)
        Embeddings along z, y and x, and radii of the ellipsoids around them.
    candidates : int64, (m,)
        Pixels by descending seediness.
    cubes : int64, (3,)
        Number of cubes per axis.
    starts : int64, (cubes + 1,)
        First entry of each cube in `entries`.
    entries : int64, (n,)
        Pixels, cube by cube.
    side : float
        Side of a cube.
    numbers : int32, (n,)
        Zeros; the result.
    """
    is_used = np.zeros(len(points), np.bool_)
    members = np.empty(len(points), np.int64)
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    clusters = 0
    for candidate in candidates:
        if is_used[candidate]:
            continue
        for axis in range(3):
            first = (points[candidate, axis] - radii[candidate, axis]) // side
            last = (points[candidate, axis] + radii[candidate, axis]) // side
            low[axis] = max(0, int(first))
            high[axis] = min(cubes[axis] - 1, int(last))
        count, new = 0, 0
        for z in range(low[0], high[0] + 1):
            for y in range(low[1], high[1] + 1):
                row = (z * cubes[1] + y) * cubes[2]
                for entry in range(starts[row + low[2]], starts[row + high[2] + 1]):
                    pixel = entries[entry]
                    total = 0.0
                    for axis in range(3):
                        step = points[pixel, axis] - points[candidate, axis]
                        total += (step / radii[candidate, axis]) ** 2
                    if total < 1:
                        members[count] = pixel
                        count += 1
                        new += not is_used[pixel]
        is_new = 2 * new > count
        clusters += is_new
        for each in range(count):
            is_used[members[each]] = True
            if is_new:
                numbers[members[each]] = clusters
