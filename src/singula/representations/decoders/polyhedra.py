"""Non-maximum suppression of star-convex polyhedra, by the voxels that they share.

A polyhedron consists of tetrahedra, each with the center and a face. A voxel is in the tetrahedron
of the face through which the direction to the voxel passes. In the base of the three unit rays of
this face, the voxel has non-negative coordinates. It is inside if the sum of its coordinates, each
divided by the length of the ray, is at most 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from singula.util.process import compiled

_TABLE = 32  # faces of the directions to voxels up to this distance along each axis are stored


def suppress_polyhedra(
    points: NDArray[np.int64],
    distances: NDArray[np.float32],
    vertices: NDArray[Any],
    faces: NDArray[Any],
    max_overlap: float,
) -> NDArray[np.bool_]:
    """Return True for each polyhedron that overlaps with no remaining one before it.

    Parameters
    ----------
    points : ndarray of int64, shape (count, 3)
        Voxels from which the rays start.
    distances : ndarray of float32, shape (count, rays)
        Lengths of the rays above 0, in pixels.
    vertices : ndarray of float, shape (rays, 3)
        Directions of the rays.
    faces : ndarray of int, shape (faces, 3)
        Rays of the corners of each face.
    max_overlap : float
        Largest allowed number of common voxels, as a fraction of those of the smaller polyhedron.

    Notes
    -----
    The package ``stardist`` has the same criterion, and intersects convex hulls before it
    counts voxels.
    """
    directions = np.ascontiguousarray(vertices, np.float64)
    corners = np.ascontiguousarray(faces, np.int64)
    bases = np.ascontiguousarray(np.linalg.inv(directions[corners].transpose(0, 2, 1)))
    table = _faces_of_directions(bases.tobytes())
    reach = np.empty((len(points), 2, 3), np.int64)
    for axis in range(3):
        ends = distances * directions[:, axis].astype(np.float32)
        reach[:, 0, axis] = np.floor(ends.min(axis=1)).clip(max=0)
        reach[:, 1, axis] = np.ceil(ends.max(axis=1)).clip(min=0)
    # A polyhedron can reach forward from its point, and another one backward from a later point.
    sides = reach[:, 1].max(axis=0) - reach[:, 0].min(axis=0) + 1
    cells = (points - points.min(axis=0)) // sides
    survives = np.zeros(len(points), np.bool_)
    inverse = 1 / distances.astype(np.float64)
    compiled(_suppress)(points, inverse, reach, cells, bases, corners, table, max_overlap, survives)
    return survives


@lru_cache(maxsize=2)
def _faces_of_directions(bases: bytes) -> NDArray[np.int16]:
    """Return the face of the direction to each voxel of a cube around the center.

    Parameters
    ----------
    bases : bytes
        Float64 matrices, (faces, 3, 3), from a direction to its coordinates in the base of each
        face.
    """
    rows = np.frombuffer(bases).reshape(-1, 3)
    axis = np.arange(-_TABLE, _TABLE + 1)
    table = np.empty((len(axis),) * 3, np.int16)
    for row, z in enumerate(axis):
        plane = np.stack(np.meshgrid([z], axis, axis, indexing="ij"), -1).reshape(-1, 3)
        inner = (rows @ plane.T).reshape(len(rows) // 3, 3, -1).min(axis=1)
        table[row] = inner.argmax(axis=0).reshape(len(axis), -1)
    return table


@register_jitable
def _find_face(z: Any, y: Any, x: Any, bases: Any, table: Any) -> Any:
    """Return the face through which the direction to a voxel passes; compiled.

    Parameters
    ----------
    z, y, x : int
        Voxel relative to the center.
    bases, table
        As for `_suppress`.
    """
    half = table.shape[0] // 2
    far = max(abs(z), abs(y), abs(x))
    if far <= half:
        return table[z + half, y + half, x + half]
    scale = half / far
    nearest = round(z * scale), round(y * scale), round(x * scale)
    face = table[nearest[0] + half, nearest[1] + half, nearest[2] + half]
    if _depth(face, z, y, x, bases) < 0:
        best = -np.inf
        for other in range(len(bases)):
            depth = _depth(other, z, y, x, bases)
            if depth > best:
                face, best = other, depth
    return face


@register_jitable
def _is_inside(z: Any, y: Any, x: Any, planes: Any, bases: Any, table: Any) -> Any:
    """Return True if a voxel relative to the center is inside a polyhedron; compiled."""
    face = _find_face(z, y, x, bases, table)
    return planes[face, 0] * z + planes[face, 1] * y + planes[face, 2] * x <= 1


@register_jitable
def _set_planes(inverse: Any, bases: Any, corners: Any, planes: Any) -> None:
    """Set the normal of the plane of each face, whose product with a point of it is 1; compiled.

    Parameters
    ----------
    inverse : float64, (rays,)
        1 divided by the length of each ray.
    bases, corners
        As for `_suppress`.
    planes : float64, (faces, 3)
        The result.
    """
    for face in range(len(bases)):
        for axis in range(3):
            total = 0.0
            for k in range(3):
                total += bases[face, k, axis] * inverse[corners[face, k]]
            planes[face, axis] = total


@register_jitable
def _depth(face: Any, z: Any, y: Any, x: Any, bases: Any) -> Any:
    """Return the smallest coordinate of a voxel in the base of a face; compiled."""
    least = np.inf
    for k in range(3):
        part = bases[face, k, 0] * z + bases[face, k, 1] * y + bases[face, k, 2] * x
        least = min(least, part)
    return least


@register_jitable
def _list_voxels(reach: Any, planes: Any, bases: Any, table: Any, voxels: Any) -> Any:
    """Return the number of voxels of a polyhedron, and an array that begins with them; compiled.

    Parameters
    ----------
    reach : int64, (2, 3)
        First and last voxel of the bounding box, relative to the center.
    planes : float64, (faces, 3)
        Result of `_set_planes`.
    bases, table
        As for `_suppress`.
    voxels : int32, (n, 3)
        Array for the voxels, relative to the center; a larger one is returned if it is too small.
    """
    count = 0
    for z in range(reach[0, 0], reach[1, 0] + 1):
        for y in range(reach[0, 1], reach[1, 1] + 1):
            for x in range(reach[0, 2], reach[1, 2] + 1):
                if not _is_inside(z, y, x, planes, bases, table):
                    continue
                if count == len(voxels):
                    larger = np.empty((2 * count, 3), np.int32)
                    larger[:count] = voxels
                    voxels = larger
                voxels[count, 0], voxels[count, 1], voxels[count, 2] = z, y, x
                count += 1
    return count, voxels


@register_jitable
def _share_more(
    limit: Any, voxels: Any, step: Any, reach: Any, planes: Any, bases: Any, table: Any
) -> Any:
    """Return True if more voxels than a limit are inside a polyhedron; compiled.

    Parameters
    ----------
    limit : float
    voxels : int32, (n, 3)
        Voxels of another polyhedron, relative to its center.
    step : (int, int, int)
        Step from the center of the polyhedron to that of the other one.
    reach : int64, (2, 3)
        First and last voxel of the bounding box, relative to the center.
    planes : float64, (faces, 3)
        Result of `_set_planes`.
    bases, table
        As for `_suppress`.
    """
    common, first, last = 0, reach[0], reach[1]
    for entry in range(len(voxels)):
        z, y, x = voxels[entry, 0] + step[0], voxels[entry, 1] + step[1], voxels[entry, 2] + step[2]
        if (
            first[0] <= z <= last[0]
            and first[1] <= y <= last[1]
            and first[2] <= x <= last[2]
            and _is_inside(z, y, x, planes, bases, table)
        ):
            common += 1
        if common > limit:
            return True
        if common + len(voxels) - entry <= limit:
            return False
    return False


def _suppress(
    points: Any,
    inverse: Any,
    reach: Any,
    cells: Any,
    bases: Any,
    corners: Any,
    table: Any,
    max_overlap: Any,
    survives: Any,
) -> None:
    """Compare each polyhedron with the remaining ones in the cells around it; compiled.

    Parameters
    ----------
    points : int64, (n, 3)
    inverse : float64, (n, rays)
        1 divided by the length of each ray.
    reach : int64, (n, 2, 3)
        First and last voxel of the bounding box, relative to the point.
    cells : int64, (n, 3)
        Cell of each point; polyhedra in cells that do not touch do not overlap.
    bases : float64, (faces, 3, 3)
        Matrices from a direction to its coordinates in the base of each face.
    corners : int64, (faces, 3)
        Rays of each face.
    table : int16, (side, side, side)
        Face of each direction.
    max_overlap : float
    survives : bool, (n,)
        False; the result.
    """
    sizes = cells[:, 0].max() + 3, cells[:, 1].max() + 3, cells[:, 2].max() + 3
    last_in_cell = np.full(sizes, -1, np.int64)
    previous = np.full(len(points), -1, np.int64)
    volumes = np.zeros(len(points), np.int64)
    voxels, planes = np.empty((1024, 3), np.int32), np.empty((len(bases), 3))
    for row in range(len(points)):
        _set_planes(inverse[row], bases, corners, planes)
        volume, voxels = _list_voxels(reach[row], planes, bases, table, voxels)
        volumes[row], survives[row] = volume, True
        # Polyhedra around the point are the most likely ones to overlap.
        for trial in range(54):
            place = (
                cells[row, 0] + trial // 9 % 3,
                cells[row, 1] + trial // 3 % 3,
                cells[row, 2] + trial % 3,
            )
            other = last_in_cell[place]
            while other >= 0 and survives[row]:
                dz = points[row, 0] - points[other, 0]
                dy = points[row, 1] - points[other, 1]
                dx = points[row, 2] - points[other, 2]
                first, last = reach[other, 0], reach[other, 1]
                low, high = reach[row, 0], reach[row, 1]
                touch = (
                    first[0] <= high[0] + dz
                    and low[0] + dz <= last[0]
                    and first[1] <= high[1] + dy
                    and low[1] + dy <= last[1]
                    and first[2] <= high[2] + dx
                    and low[2] + dx <= last[2]
                )
                if touch:
                    face = _find_face(dz, dy, dx, bases, table)
                    total = 0.0
                    for k in range(3):
                        part = bases[face, k, 0] * dz + bases[face, k, 1] * dy
                        part += bases[face, k, 2] * dx
                        total += part * inverse[other, corners[face, k]]
                    touch = (trial < 27) == (total <= 1)
                if touch:
                    _set_planes(inverse[other], bases, corners, planes)
                    limit = max_overlap * min(volume, volumes[other])
                    inside = voxels[:volume]
                    survives[row] = not _share_more(
                        limit, inside, (dz, dy, dx), reach[other], planes, bases, table
                    )
                other = previous[other]
        if survives[row]:
            place = cells[row, 0] + 1, cells[row, 1] + 1, cells[row, 2] + 1
            previous[row] = last_in_cell[place]
            last_in_cell[place] = row
