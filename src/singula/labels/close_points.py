"""Removal of duplicates: instances whose center points are too close to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.io.image import check_spacing
from singula.labels.index import Extents, extents, remove
from singula.util.arguments import instance, label_image, number, same_shape


def remove_close_points(
    labels: np.ndarray,
    radius: float,
    *,
    seeds: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Remove instances whose points are too close to the point of a larger instance.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background. To keep one seed per object, pass the seeds as the
        labels, before they are grown.
    radius : float
        Minimum distance between two points, in the unit of `spacing`.
    seeds : ndarray of int or bool, optional
        Seed image with the shape of `labels`. The point of an instance is the centroid of its seed
        pixels. Without `seeds`, or for an instance without seed pixels, it is the centroid of the
        instance.
    spacing : sequence of float, optional
        Voxel size per axis, in the order of the axes; 1 by default.

    Returns
    -------
    ndarray
        A new array of the same dtype; the other instances keep their ids.

    Raises
    ------
    TypeError, UserError
        Not a label image; a radius that is not a positive number; labels and seeds of different
        shapes; an invalid spacing.

    Notes
    -----
    Instances are processed from the largest to the smallest (of equal sizes, the lowest id first).
    Each is kept unless it is too close to an instance that was kept. Therefore, no two remaining
    instances are too close, and each removed instance is close to a larger one that remains.
    """
    radius = number(radius, "radius (REMOVE_CLOSE_POINTS_RADIUS)", above=0)
    checked = label_image(labels)
    sizes = check_spacing(spacing, checked.ndim)
    instances = extents(checked)
    seed_points = None
    if seeds is not None:
        marks = label_image(seeds, "seeds")
        same_shape(checked, marks, "labels and seeds")
        seed_points = extents(np.where(marks != 0, checked, 0))
    return remove(labels, close_ids(instances, radius, seed_points=seed_points, spacing=sizes))


def close_ids(
    instances: Extents,
    radius: float,
    *,
    seed_points: Extents | None = None,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Return the ids of instances whose points are too close to the point of a larger instance.

    Parameters
    ----------
    instances : Extents
        Extents of the instances of the whole image; for an image in blocks, the merged table.
    radius : float
        Minimum distance between two points, in the unit of `spacing`.
    seed_points : Extents, optional
        Extents of the seed pixels of the same instances.
    spacing : sequence of float, optional
        Voxel size per axis, in the order of the axes; 1 by default.

    Returns
    -------
    ndarray of int64, shape (n,)
        Ids of the instances to remove, the largest instance first.

    Raises
    ------
    TypeError, UserError
        Not tables of extents; a radius that is not a positive number; an invalid spacing.
    """
    instances = instance(instances, "instances", Extents)
    radius = number(radius, "radius", above=0)
    points = instances.center.copy()
    if seed_points is not None:
        seed_points = instance(seed_points, "seed_points", Extents)
        points[np.searchsorted(instances.ids, seed_points.ids)] = seed_points.center
    order = np.argsort(-instances.npixels, kind="stable")
    sizes = np.array(check_spacing(spacing, points.shape[1]))
    removed = _too_near(points[order] * sizes, radius)
    ids: np.ndarray = instances.ids[order[removed]]
    return ids


def _too_near(points: np.ndarray, radius: float) -> list[int]:
    """Return the indices of points closer than `radius` to an earlier point that is kept."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    distance = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    pairs = np.sort(pairs[distance < radius], axis=1)
    removed: set[int] = set()
    for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist():
        if first not in removed:
            removed.add(second)
    return sorted(removed)
