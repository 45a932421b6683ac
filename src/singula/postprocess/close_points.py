"""Instances that were seeded twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.arguments import instance, label_image, number, same_shape
from singula.io.image import check_spacing
from singula.postprocess.labels import Extents, extents, remove


def remove_close_points(
    labels: np.ndarray,
    radius: float,
    *,
    seeds: np.ndarray | None = None,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Remove instances whose points are too near to the point of a larger instance.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background. Given the seeds themselves, before they are grown,
        this leaves one seed for each object.
    radius : float
        Points nearer to each other than this are one; in the unit of `spacing`.
    seeds : ndarray of int or bool, optional
        Image of the same shape. The point of an instance is the centroid of its pixels that are
        seed, whatever their number. Without seeds, or for an instance that has none, it is the
        centroid of the instance.
    spacing : sequence of float, optional
        Pixel size per axis, z first.

    Returns
    -------
    ndarray
        A new array of the same dtype; the other instances keep their ids.

    Raises
    ------
    TypeError, UserError
        Not a label image; a radius that is not a positive number; labels and seeds that differ in
        shape; a spacing that does not fit.

    Notes
    -----
    From the largest instance (of equals, the one with the lowest id) down, each is kept unless a
    kept one is too near. So no two that remain are too near, and each that went has a larger
    one beside it.
    """
    radius = number(radius, "radius (REMOVE_CLOSE_POINTS_RADIUS)", above=0)
    checked = label_image(labels)
    sizes = check_spacing(spacing, checked.ndim)
    found = extents(checked)
    seeded = None
    if seeds is not None:
        marks = label_image(seeds, "seeds")
        same_shape(checked, marks, "labels and seeds")
        seeded = extents(np.where(marks != 0, checked, 0))
    return remove(labels, close_ids(found, radius, seeded=seeded, spacing=sizes))


def close_ids(
    found: Extents,
    radius: float,
    *,
    seeded: Extents | None = None,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Ids of the instances whose points are too near to the point of a larger one.

    Parameters
    ----------
    found : Extents
        Of the image; merged, if it was looked at in blocks.
    radius, spacing
        As of `remove_close_points`.
    seeded : Extents, optional
        Of the pixels that are seed alone.

    Raises
    ------
    TypeError, UserError
        Not tables of extents, or a radius or spacing as of `remove_close_points`.
    """
    found = instance(found, "found", Extents)
    radius = number(radius, "radius", above=0)
    points = found.centre.copy()
    if seeded is not None:
        seeded = instance(seeded, "seeded", Extents)
        points[np.searchsorted(found.ids, seeded.ids)] = seeded.centre
    order = np.argsort(-found.npixels, kind="stable")
    sizes = np.array(check_spacing(spacing, points.shape[1]))
    gone = _too_near(points[order] * sizes, radius)
    ids: np.ndarray = found.ids[order[gone]]
    return ids


def _too_near(points: np.ndarray, radius: float) -> list[int]:
    """Indices of the points that lie nearer than `radius` to an earlier one that stays."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    distance = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    pairs = np.sort(pairs[distance < radius], axis=1)
    gone: set[int] = set()
    for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist():
        if first not in gone:
            gone.add(second)
    return sorted(gone)
