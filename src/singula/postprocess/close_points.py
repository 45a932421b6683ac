"""Instances that were seeded twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.errors import UserError
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
    UserError
        For a radius that is not positive, labels and seeds that differ in shape, or a spacing
        that does not fit.

    Notes
    -----
    From the largest instance (of equals, the one with the lowest id) down, each is kept unless a
    kept one is too near. So no two that remain are too near, and each that went has a larger
    one beside it.
    """
    if not radius > 0:
        raise UserError(
            f"REMOVE_CLOSE_POINTS_RADIUS is {radius}; it must be a positive number",
            hint="give the distance below which two points are one object",
        )
    sizes = check_spacing(spacing, np.ndim(labels))
    found = extents(labels)
    seeded = None
    if seeds is not None:
        marks = np.asarray(seeds)
        if marks.shape != np.shape(labels):
            raise UserError(f"labels have the shape {np.shape(labels)}, their seeds {marks.shape}")
        seeded = extents(np.where(marks != 0, labels, 0))
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
    """
    points = found.centre.copy()
    if seeded is not None:
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
