"""Channel `R`: distance to the border of the instance along rays, as in StarDist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channel import Channel
from singula.representations.channels.source import Source
from singula.util.process import compiled


def encode_ray(source: Source, channel: Channel) -> NDArray[np.float32]:
    """Return the distances along one of the rays; see `encode_rays`.

    Parameters
    ----------
    source : Source
        Labels, (y, x) or (z, y, x).
    channel : Channel
        Plane of the family ``R``, such as ``R32.0``.
    """
    name = channel.list_code
    if name not in source.shared:
        source.shared[name] = encode_rays(source, int(name.removeprefix("R")))
    ray: NDArray[np.float32] = source.shared[name][channel.plane]
    return ray


def encode_rays(source: Source, count: int) -> NDArray[np.float32]:
    """Return the distances of instance pixels to the outside of their instance along rays.

    Parameters
    ----------
    source : Source
        Labels, (y, x) or (z, y, x).
    count : int
        Number of rays.

    Returns
    -------
    ndarray of float32, shape (count, [z,] y, x)
        Distances in pixels; 0 in the background. The image border ends a ray.

    References
    ----------
    U. Schmidt, M. Weigert, C. Broaddus, G. Myers, *Cell detection with star-convex polygons*,
    MICCAI 2018; M. Weigert et al., *Star-convex polyhedra for 3D object detection and
    segmentation in microscopy*, WACV 2020. A ray advances by steps of one pixel until it leaves the
    instance. As in the reference implementation, its length is measured to the border between two
    pixels in 2D, and to the center of the first voxel outside in 3D.
    """
    labels = np.ascontiguousarray(source.index)
    volume = labels if labels.ndim == 3 else labels[None]
    directions = ray_directions(count, labels.ndim, source.spacing)
    if labels.ndim == 2:
        directions = np.concatenate([np.zeros((count, 1)), directions], axis=1)
    result = np.zeros((count, *volume.shape), np.float32)
    compiled(_march)(volume, directions.astype(np.float32), labels.ndim == 2, result)
    return result.reshape(count, *labels.shape)


def ray_directions(
    count: int, ndim: int, spacing: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Return unit vectors in pixels: equal angles in 2D, a golden spiral in 3D.

    Parameters
    ----------
    count : int
        Number of rays.
    ndim : int
        2 or 3.
    spacing : sequence of float, optional
        Voxel size per axis, with which rays of a volume are evenly spaced in physical units. The
        sizes of y and x are replaced by their mean, so that rotated patches have the same rays.

    Returns
    -------
    ndarray of float64, shape (count, ndim)
        Vectors in the order of the axes.
    """
    if ndim == 2:
        angles = 2 * np.pi * np.arange(count) / count
        return np.stack([np.sin(angles), np.cos(angles)], axis=1)
    angles = (3 - np.sqrt(5)) * np.pi * np.arange(count)
    z = np.linspace(-1, 1, count)
    radius = np.sqrt(np.maximum(0, 1 - z**2))
    vectors = np.stack([z, radius * np.sin(angles), radius * np.cos(angles)], axis=1)
    vectors /= anisotropy(spacing)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float64] = vectors / lengths
    return unit


def anisotropy(spacing: Sequence[float] | None) -> tuple[float, float, float]:
    """Return the voxel size of a volume relative to the geometric mean of y and x."""
    if spacing is None:
        return 1.0, 1.0, 1.0
    depth, *in_plane = spacing
    return float(depth / np.sqrt(np.prod(in_plane))), 1.0, 1.0


def _march(labels: Any, directions: Any, to_border: bool, result: Any) -> None:
    """Fill the distances along all rays of all instance pixels; compiled.

    Parameters
    ----------
    labels : unsigned int, (z, y, x)
    directions : float32, (rays, 3)
        Unit vectors.
    to_border : bool
        Measure to the border between two pixels, else to the center of the first pixel outside.
    result : float32, (rays, z, y, x)
        Distances, which are updated.
    """
    depth, height, width = labels.shape
    for ray in range(len(directions)):
        dz, dy, dx = directions[ray]
        largest = max(abs(dz), abs(dy), abs(dx))
        overshoot = np.float32(1) - np.float32(0.5) / largest
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    value = labels[z, y, x]
                    if value == 0:
                        continue
                    oz, oy, ox = np.float32(0), np.float32(0), np.float32(0)
                    while True:
                        oz += dz
                        oy += dy
                        ox += dx
                        i = int(np.floor(z + oz + np.float32(0.5)))
                        j = int(np.floor(y + oy + np.float32(0.5)))
                        k = int(np.floor(x + ox + np.float32(0.5)))
                        inside = 0 <= i < depth and 0 <= j < height and 0 <= k < width
                        if not inside or labels[i, j, k] != value:
                            break
                    if to_border:
                        oz -= overshoot * dz
                        oy -= overshoot * dy
                        ox -= overshoot * dx
                    else:
                        oz, oy, ox = np.float32(i - z), np.float32(j - y), np.float32(k - x)
                    result[ray, z, y, x] = np.sqrt(oz * oz + oy * oy + ox * ox)
