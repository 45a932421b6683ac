"""Channel `R`: distance to the border of the instance along rays, as in StarDist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channel import Channel
from singula.representations.channels.source import Source
from singula.util.process import compiled

_MOST_IDS = 1 << 24  # of 32 bits, 8 are for the distance


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
        Distances in pixels; 0 in the background, and outside of the box of the source. The image
        border ends a ray.

    References
    ----------
    U. Schmidt, M. Weigert, C. Broaddus, G. Myers, *Cell detection with star-convex polygons*,
    MICCAI 2018; M. Weigert et al., *Star-convex polyhedra for 3D object detection and
    segmentation in microscopy*, WACV 2020. A ray advances by steps of one pixel until it leaves the
    instance. As in the reference implementation, its length is measured to the border between two
    pixels in 2D, and to the center of the first voxel outside in 3D.
    """
    labels = np.ascontiguousarray(source.index)
    directions = ray_directions(count, labels.ndim, source.spacing)
    steps, lengths = _table_of_steps(directions, max(labels.shape))
    frame = int(np.abs(np.diff(steps, axis=1)).max())  # no step can jump over the frame
    padded = np.pad(labels, frame)
    pixels = _with_clearance(padded)
    strides = np.array([n // padded.itemsize for n in padded.strides], np.int64)
    result = np.zeros((count, *labels.shape), np.float32)
    in_volume = (1,) * (3 - labels.ndim) + labels.shape
    bounds = np.zeros((3, 3), np.int64)
    bounds[:, 1] = 1  # a single slice
    bounds[3 - labels.ndim :, 0] = [part.start for part in source.box]
    bounds[3 - labels.ndim :, 1] = [part.stop for part in source.box]
    bounds[3 - labels.ndim :, 2] = strides
    compiled(_march)(
        pixels.ravel(),
        np.ascontiguousarray(steps @ strides),
        lengths,
        bounds,
        frame * int(strides.sum()),
        result.reshape(count, *in_volume),
    )
    return result


def _table_of_steps(
    directions: NDArray[np.float64], longest: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pixel that each step of each ray reaches, and the length of a ray that ends there.

    Both are the same for all pixels from which a ray can start.

    Parameters
    ----------
    directions : ndarray of float64, shape (rays, ndim)
        Unit vectors.
    longest : int
        Longest side of the image. The last step is beyond it.

    Returns
    -------
    steps : ndarray of int64, shape (rays, steps, ndim)
        Offset of the pixel after 0, 1, 2, … steps.
    lengths : ndarray of float32, shape (rays, steps)
        Length of a ray of which this pixel is the first one outside of the instance.
    """
    rays, ndim = directions.shape
    single = directions.astype(np.float32)[:, None]
    largest = np.abs(single).max(axis=2, keepdims=True)
    count = 2 + int(np.ceil((longest + 1) / largest.min()))
    moved = np.zeros((rays, count, ndim), np.float32)
    # Rounded after each step, as in the reference implementation.
    np.cumsum(np.broadcast_to(single, (rays, count - 1, ndim)), axis=1, out=moved[:, 1:])
    steps = np.floor(moved + np.float64(0.5)).astype(np.int64)
    if ndim == 2:
        ends = moved - (1 - np.float32(0.5) / largest) * single
    else:
        ends = steps.astype(np.float32)
    return steps, np.sqrt((ends * ends).sum(axis=2))


def _with_clearance(labels: NDArray[Any]) -> NDArray[Any]:
    """Return 256 times the labels, plus the number of steps to the nearest pixel of another value.

    The steps include diagonal ones; a number above 255 is 255. A single array needs fewer accesses
    to memory than two.

    Parameters
    ----------
    labels : ndarray of unsigned int, (y, x) or (z, y, x)
        Instances in a frame of background, in which the result is 0.

    Returns
    -------
    ndarray of uint32, or of uint64 for large ids
        Same shape.
    """
    is_small = int(labels.max(initial=0)) < _MOST_IDS
    result: NDArray[Any] = np.left_shift(labels.astype(np.uint32 if is_small else np.uint64), 8)
    compiled(_sweep)(result if labels.ndim == 3 else result[None], labels.ndim == 2)
    return result


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


def _sweep(pixels: Any, is_flat: bool) -> None:
    """Add the chessboard distance to the nearest other value to each instance pixel; compiled.

    A forward and a backward pass compare each pixel with its neighbors before and after it.

    Parameters
    ----------
    pixels : unsigned int, (z, y, x)
        256 times the labels, in a frame of background, which are updated.
    is_flat : bool
        The image has a single slice, without a frame in front of it and behind it.
    """
    depth, height, width = pixels.shape
    reach = 0 if is_flat else 1
    for turn in range(2):
        step = 1 - 2 * turn
        for i in range(reach, depth - reach):
            z = i if turn == 0 else depth - 1 - i
            for j in range(1, height - 1):
                y = j if turn == 0 else height - 1 - j
                for k in range(1, width - 1):
                    x = k if turn == 0 else width - 1 - k
                    value = int(pixels[z, y, x])
                    if value == 0:
                        continue
                    instance = value >> 8
                    nearest = 254 if turn == 0 else (value & 255) - 1
                    for dz in range(-reach, 1):
                        for dy in range(-1, 2 if dz else 1):
                            for dx in range(-1, 2 if dz or dy else 0):
                                other = int(pixels[z + step * dz, y + step * dy, x + step * dx])
                                away = other & 255 if other >> 8 == instance else 0
                                nearest = min(nearest, away)
                    pixels[z, y, x] = (instance << 8) + nearest + 1


def _march(pixels: Any, offsets: Any, lengths: Any, bounds: Any, origin: int, result: Any) -> None:
    """Fill the distances along all rays of the instance pixels of a box; compiled.

    If the nearest pixel of another value is n steps from a pixel, a ray can advance by n steps from
    there: none of the pixels between is outside of the instance.

    Parameters
    ----------
    pixels : unsigned int, (pixels,)
        Result of `_with_clearance`.
    offsets : int64, (rays, steps)
        Offset in `pixels` of the pixel after each number of steps.
    lengths : float32, (rays, steps)
        Length of a ray of which this pixel is the first one outside.
    bounds : int64, (3, 3)
        Start and stop of the box along each axis, and distance of neighbors in `pixels`.
    origin : int
        Position in `pixels` of the first pixel of the image.
    result : float32, (rays, z, y, x)
        Distances, which are updated.
    """
    columns = np.empty(bounds[2, 1], np.int64)
    for z in range(bounds[0, 0], bounds[0, 1]):
        for y in range(bounds[1, 0], bounds[1, 1]):
            start = origin + z * bounds[0, 2] + y * bounds[1, 2]
            count = 0
            for x in range(bounds[2, 0], bounds[2, 1]):
                if pixels[start + x] != 0:
                    columns[count] = x
                    count += 1
            for ray in range(len(result)):
                offset, length, row = offsets[ray], lengths[ray], result[ray, z, y]
                for x in columns[:count]:
                    first = pixels[start + x]
                    step = int(first & 255)
                    reached = pixels[start + x + offset[step]]
                    while (reached ^ first) < 256:
                        step += int(reached & 255)
                        reached = pixels[start + x + offset[step]]
                    row[x] = length[step]
