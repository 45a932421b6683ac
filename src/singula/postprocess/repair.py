"""Large instances that were seeded more than once are put together again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from singula.errors import UserError
from singula.postprocess.labels import Survey, look_up, survey

_CHUNK = 1 << 20
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
    rows = np.int64(len(large))
    outline = np.zeros(rows, np.int64)
    codes, counts = [], []
    for one, two in _borders(index):
        np.add.at(outline, one, 1)
        np.add.at(outline, two, 1)
        for own, other in ((one, two), (two, one)):
            kept = large[own] & (other > 0)
            code, count = np.unique(own[kept] * rows + other[kept], return_counts=True)
            codes.append(code)
            counts.append(count)
    code, inverse = np.unique(np.concatenate(codes), return_inverse=True)
    faces = np.bincount(inverse, np.concatenate(counts), len(code)).astype(np.int64)
    return code // rows, code % rows, faces, outline


def _borders(image: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both numbers at every face between pixels that differ, some slices at a time."""
    step = max(1, _CHUNK * len(image) // max(1, image.size))
    yield np.zeros(0, np.int64), np.zeros(0, np.int64)
    for start in range(0, len(image), step):
        for axis in range(image.ndim):
            block = image[start : start + step + (axis == 0)]
            one = block[(slice(None),) * axis + (slice(None, -1),)]
            two = block[(slice(None),) * axis + (slice(1, None),)]
            differ = one != two
            yield one[differ].astype(np.int64), two[differ].astype(np.int64)


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
    rows = len(repaired)
    picture = index.astype(np.min_scalar_type(rows + count))
    np.add(gaps, rows, out=picture, where=index == 0, casting="unsafe")
    for one, two in _borders(picture):
        for gap, label in ((one, two), (two, one)):
            beside = gap > rows
            np.minimum.at(lowest, gap[beside] - rows, label[beside])
            np.maximum.at(highest, gap[beside] - rows, label[beside])
    enclosed = (lowest == highest) & repaired[highest]
    for axis in range(index.ndim):
        for end in (0, -1):
            enclosed[np.unique(gaps.take(end, axis))] = False
    enclosed[0] = False
    fill = np.where(enclosed, highest, 0).astype(index.dtype)
    np.copyto(index, look_up(fill, gaps), where=index == 0)
