"""Merge the connected components of blocks into those of the image.

Each block numbers its components from 1. Components of two blocks that touch across a common face
belong to the same component of the image; a union-find merges them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from singula.blocks.grid import Grid

LOW, HIGH = 0, -1
_MAX_ROWS, _MAX_TABLES = 2**20, 2**12  # of a batch of pairs


@dataclass(frozen=True)
class Face:
    """The labeled pixels of a face of a block.

    Parameters
    ----------
    places : ndarray of int64, shape (n,)
        Flat indices of the pixels in the face, ascending.
    labels : ndarray of int, shape (n,)
        Label of each pixel within the block.
    """

    places: np.ndarray
    labels: np.ndarray


def face_of(labels: np.ndarray, axis: int, end: int) -> Face:
    """Return the labels of a face of a block.

    Parameters
    ----------
    labels : ndarray of int
        Labels of the block, (y, x) or (z, y, x).
    axis : int
        Axis to which the face is perpendicular.
    end : int
        `LOW` or `HIGH`: the first or the last layer along the axis.
    """
    layer = labels.take(end, axis).reshape(-1)
    places = np.flatnonzero(layer)
    return Face(places, layer[places])


def touching_pairs(low: Face, high: Face) -> np.ndarray:
    """Return the pairs of labels that touch across the common face of two blocks.

    Parameters
    ----------
    low : Face
        The `HIGH` face of the first block.
    high : Face
        The `LOW` face of the next block along the axis.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Label in the first and in the second block; no pair occurs twice.
    """
    _, in_low, in_high = np.intersect1d(
        low.places, high.places, assume_unique=True, return_indices=True
    )
    pairs = np.stack([low.labels[in_low], high.labels[in_high]], axis=1).astype(np.int64)
    return np.unique(pairs, axis=0)


def union_components(
    counts: Sequence[int], pairs: Iterable[tuple[int, int, np.ndarray]]
) -> np.ndarray:
    """Return the component of the image to which each component of a block belongs.

    Parameters
    ----------
    counts : sequence of int
        Number of components of each block.
    pairs : iterable of (int, int, ndarray)
        Numbers of two blocks, and the labels within them that touch (see `touching_pairs`).

    Returns
    -------
    ndarray of int64, shape (sum of counts,)
        For each component of a block, in order of blocks and labels, the index of the
        representative of its component of the image. Not every index occurs.
    """
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return union_edges(int(offsets[-1]), edges_of(offsets, pairs))


def edges_of(
    offsets: Sequence[int] | np.ndarray, pairs: Iterable[tuple[int, int, np.ndarray]]
) -> Iterator[np.ndarray]:
    """Yield the pairs of touching components as indices among the components of all blocks.

    Parameters
    ----------
    offsets : sequence of int
        Number of components before each block. It may grow while the pairs are read, if it has
        the blocks of a pair in time.
    pairs : iterable of (int, int, ndarray)
        See `union_components`.

    Yields
    ------
    ndarray of int64, shape (n, 2)
        Few large tables: the pairs of many faces together.
    """
    return _batched(
        np.stack([offsets[first] + labels[:, 0], offsets[second] + labels[:, 1]], axis=1) - 1
        for first, second, labels in pairs
    )


def union_edges(count: int, edges: Iterable[np.ndarray]) -> np.ndarray:
    """Return the representative of each component of a block; see `union_components`.

    Parameters
    ----------
    count : int
        Number of components of all blocks.
    edges : iterable of ndarray
        Tables of `edges_of`.
    """
    from bioimage_cpp.utils import UnionFind

    sets = UnionFind(count)
    for table in edges:
        sets.merge(table.astype(np.uint64))
    result: np.ndarray = sets.element_labeling().view(np.int64)
    return result


def _batched(tables: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the rows of many small tables as few large tables.

    All rows at once may not fit into memory.
    """
    batch: list[np.ndarray] = []
    rows = 0
    for table in tables:
        batch.append(table)
        rows += len(table)
        if rows >= _MAX_ROWS or len(batch) >= _MAX_TABLES:
            yield np.concatenate(batch)
            batch, rows = [], 0
    if batch:
        yield np.concatenate(batch)


def label_in_raster_order(
    component: np.ndarray, first: np.ndarray, keep: np.ndarray | None = None
) -> np.ndarray:
    """Return labels from 1 in raster order of the first pixel of each component.

    An image in memory is labeled in the same order.

    Parameters
    ----------
    component : ndarray of int64, shape (n,)
        Component of the image for each component of a block, from `union_components`.
    first : ndarray of int64, shape (n,)
        Flat index in the image of the first pixel of each component of a block.
    keep : ndarray of bool, optional
        False to remove a component of the image (label 0), at the index of its representative.

    Returns
    -------
    ndarray of int64, shape (n,)
        Label of each component of a block.
    """
    count = int(component.max(initial=-1)) + 1
    unused = np.iinfo(np.int64).max
    lowest = np.full(count, unused)
    np.minimum.at(lowest, component, first)
    selected = lowest != unused
    if keep is not None:
        selected &= keep
    numbers = np.flatnonzero(selected)
    order = numbers[np.argsort(lowest[numbers])]
    del numbers  # to save memory: an image may have 10⁹ components
    lowest[:] = 0
    lowest[order] = np.arange(1, len(order) + 1)
    result: np.ndarray = lowest[component]
    return result


def sum_over(component: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum the values of components of blocks for each component of the image.

    Parameters
    ----------
    component : ndarray of int64, shape (n,)
        Result of `union_components`.
    values : ndarray, shape (n,)
        A value for each component of a block.

    Returns
    -------
    ndarray
        Sum for each component of the image, at the index of its representative.
    """
    total = np.zeros(int(component.max(initial=-1)) + 1, values.dtype)
    np.add.at(total, component, values)
    return total


def face_pairs(
    grid: Grid, faces: Iterable[Callable[[int, int], Face]]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield the touching labels at all faces between blocks, for `union_components`.

    The faces of one layer of blocks are in memory at the same time.

    Parameters
    ----------
    grid : Grid
        Blocks of the image.
    faces : iterable of callable
        For each block in the order of the numbers, a function that returns a face from an axis and
        `LOW` or `HIGH`. It is called before the next block is requested.
    """
    waiting: dict[tuple[int, int], tuple[int, Face]] = {}
    for number, face in enumerate(faces):
        for axis in range(len(grid.shape)):
            before = waiting.pop((number, axis), None)
            if before is None:
                continue
            low = face(axis, LOW)
            if len(low.places):
                yield before[0], number, touching_pairs(before[1], low)
        for axis, following in grid.next_blocks(number):
            high = face(axis, HIGH)
            if len(high.places):
                waiting[following, axis] = number, high
