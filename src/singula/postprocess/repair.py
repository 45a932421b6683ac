"""Large instances that were seeded more than once are put together again."""

from __future__ import annotations

from typing import Any

import numpy as np

from singula.errors import UserError
from singula.postprocess.labels import Survey, look_up, survey
from singula.postprocess.pairs import Pairs
from singula.runtime import compiled

_CHUNK = 1 << 14
_MAIN_SHARE = 3


def repair_large(labels: np.ndarray, size: int) -> np.ndarray:
    """Merge large instances with their main neighbours and fill their holes.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    size : int
        Instances of more pixels are large (``REPARE_LARGE_BLOBS_SIZE``).

    Returns
    -------
    ndarray
        A new array of the same dtype; ids keep, and a merged instance has the id of its largest
        part (of equals, the lowest).

    Raises
    ------
    UserError
        If it is no label image or the size is negative.

    Notes
    -----
    Boundary is counted in faces between pixels. A large instance is merged with

    - the instance that it shares most boundary with (of equals, the one with the lowest id);
    - every other instance with which it shares at least a third of the boundary that it has with
      instances: pieces of an object that was seeded four times may meet in its middle;
    - every instance that has more than half of its whole boundary, with the background too, with
      the large one: a splinter.

    Boundaries are those of `labels`, so the order in which instances are looked at plays no
    part, and what is merged with the same instance is merged with each other. Then every piece of
    background that touches a large or merged instance, but neither another one nor the image
    border, becomes part of it.
    """
    if size < 0:
        raise UserError(f"REPARE_LARGE_BLOBS_SIZE is {size}; give pixels, or -1 for no repair")
    found = survey(labels)
    large = found.npixels > size
    if not large.any():
        return np.array(labels)
    first, second = _merges(found, large)
    target = _targets(found, first, second)
    repaired = np.zeros(len(large), bool)
    repaired[target[large]] = True
    merged = look_up(target.astype(found.index.dtype), found.index)
    fill_holes(merged, repaired)
    if len(found.ids) == found.ids[-1] + 1:  # the ids are the row numbers
        return merged.astype(np.asarray(labels).dtype, copy=False)
    return look_up(found.ids.astype(np.asarray(labels).dtype), merged)


def _merges(found: Survey, large: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a large instance and a neighbour that are to be one."""
    own, other, faces, outline = _contacts(found.index, large)
    shared = np.bincount(own, faces, len(large))
    order = np.lexsort((other, -faces, own))  # of each large instance, the main neighbour first
    main = np.zeros(len(own), bool)
    main[order[np.diff(own[order], prepend=-1) != 0]] = True
    splinter = 2 * faces > outline[other]
    wanted = main | splinter | (_MAIN_SHARE * faces >= shared[own])
    return own[wanted], other[wanted]


def _contacts(
    index: np.ndarray, large: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Faces that each large instance shares with each other instance, and outline of all.

    Returns
    -------
    own, other, faces : ndarray of int64, shape (contacts,)
        A contact of two large instances is listed for both.
    outline : ndarray of int64, shape (rows,)
        Faces of each instance to anything else within the image.
    """
    pairs, outline = Pairs(), np.zeros(len(large), np.int64)
    volume = index.reshape(-1, *index.shape[-2:])
    met = np.empty((2, _CHUNK + 3 * index.shape[-1]), np.int64)
    place = np.zeros(2, np.int64)
    while place[0] < len(volume):
        count = compiled(_count_faces)(volume, large, place, outline, met)
        pairs.add(met[0, :count], met[1, :count], np.ones(count, np.int64))
    low, high, faces = (column.astype(np.int64) for column in pairs.table())
    own, other, faces = np.r_[low, high], np.r_[high, low], np.r_[faces, faces]
    kept = large[own]
    return own[kept], other[kept], faces[kept], outline


def _count_faces(volume: Any, large: Any, place: Any, outline: Any, met: Any) -> int:
    """Look at the faces between pixels from `place` (slice, row) on; compiled.

    Both sides of a face are put into `met`, the lower number first, where a large instance meets
    another one. Stops after a row that has filled it; returns how many there are.
    """
    depth, height, width = volume.shape
    count = 0
    while place[0] < depth and count + 3 * width <= met.shape[1]:
        z, y = place
        for x in range(width):
            own = volume[z, y, x]
            for axis in range(3):
                other = own
                if axis == 0 and x + 1 < width:
                    other = volume[z, y, x + 1]
                elif axis == 1 and y + 1 < height:
                    other = volume[z, y + 1, x]
                elif axis == 2 and z + 1 < depth:
                    other = volume[z + 1, y, x]
                if own == other:
                    continue
                outline[own] += 1
                outline[other] += 1
                if own != 0 and other != 0 and (large[own] or large[other]):
                    met[0, count], met[1, count] = min(own, other), max(own, other)
                    count += 1
        place[1] += 1
        if place[1] == height:
            place[0], place[1] = z + 1, 0
    return count


def _targets(found: Survey, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Row of the instance that each instance becomes part of."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(found.npixels)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(rows, rows))
    groups, group = connected_components(graph, directed=False)
    target = np.empty(groups, np.int64)
    order = np.lexsort((-np.arange(rows), found.npixels))
    target[group[order]] = order  # the last to write is the largest
    result: np.ndarray = target[group]
    return result


def fill_holes(index: np.ndarray, repaired: np.ndarray) -> None:
    """Fill, in place, the background that a repaired instance alone encloses.

    Parameters
    ----------
    index : ndarray of int
        (y, x) or (z, y, x), in row numbers as of `index_labels`; changed.
    repaired : ndarray of bool, shape (rows,)
        The instances whose holes are filled.
    """
    import cc3d

    gaps, count = cc3d.connected_components(
        index == 0,
        connectivity=4 if index.ndim == 2 else 6,
        out_dtype=np.uint32,
        return_N=True,
    )
    lowest = np.full(count + 1, np.iinfo(np.int64).max)
    highest = np.zeros(count + 1, np.int64)
    shape = (-1, *index.shape[-2:])
    compiled(_look_around)(index.reshape(shape), gaps.reshape(shape), lowest, highest)
    enclosed = (lowest == highest) & repaired[highest]
    for axis in range(index.ndim):
        for end in (0, -1):
            enclosed[np.unique(gaps.take(end, axis))] = False
    enclosed[0] = False
    fill = np.where(enclosed, highest, 0).astype(index.dtype)
    for row, gap in zip(index, gaps, strict=True):  # there is a gap where the index is 0
        row += np.take(fill, gap)


def _look_around(index: Any, gaps: Any, lowest: Any, highest: Any) -> None:
    """Find the lowest and the highest number beside each gap; compiled."""
    depth, height, width = index.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                own = index[z, y, x]
                for axis in range(3):
                    far, low, right = z + (axis == 2), y + (axis == 1), x + (axis == 0)
                    if far == depth or low == height or right == width:
                        continue
                    other = index[far, low, right]
                    if (own == 0) != (other == 0):
                        gap = max(gaps[z, y, x], gaps[far, low, right])
                        lowest[gap] = min(lowest[gap], max(own, other))
                        highest[gap] = max(highest[gap], max(own, other))
