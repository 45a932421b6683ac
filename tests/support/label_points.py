"""Objects and points of a label image that a user corrects."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

Point = tuple[float, float]


def ids_of(labels: np.ndarray) -> set[int]:
    return set(np.unique(labels).tolist()) - {0}


def inner_point(mask: np.ndarray) -> Point:
    """Return the pixel of an object with the largest distance to its border."""
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), mask.shape)
    return float(y), float(x)


def nearest_pair(labels: np.ndarray, allowed: set[int]) -> tuple[int, int]:
    """Return two of the allowed objects with the smallest gap."""
    best = (np.inf, 0, 0)
    for number in sorted(allowed):
        distance = ndimage.distance_transform_edt(labels != number)
        is_other = np.isin(labels, sorted(allowed - {number}))
        place = int(np.where(is_other, distance, np.inf).argmin())
        best = min(best, (float(distance.flat[place]), number, int(labels.flat[place])))
    return best[1], best[2]


def two_parts(mask: np.ndarray) -> tuple[Point, Point]:
    """Return a pixel near each end of the longest axis of an object."""
    points = np.argwhere(mask)
    centered = points - points.mean(0)
    axis = np.linalg.eigh(centered.T @ centered)[1][:, -1]
    order = points[np.argsort(centered @ axis)]
    ends = []
    for side in (order[: len(order) // 3], order[-(len(order) // 3) :]):
        part = np.zeros_like(mask)
        part[tuple(side.T)] = True
        ends.append(inner_point(part))
    return ends[0], ends[1]


def free_square(labels: np.ndarray) -> list[Point]:
    """Return the corners of a square without objects, of at most 12 pixels."""
    distance = ndimage.distance_transform_cdt(np.pad(labels == 0, 1), "chessboard")[1:-1, 1:-1]
    height, width = labels.shape
    distance[:, int(0.75 * width) :] = 0  # the buttons of the viewer
    y, x = np.unravel_index(int(distance.argmax()), labels.shape)
    half = min(6, int(distance.max()) - 1)
    assert half >= 2, f"no free square: {height, width}"
    sides = ((-half, -half), (-half, half), (half, half), (half, -half))
    return [(float(y + dy), float(x + dx)) for dy, dx in sides]
