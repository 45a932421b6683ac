"""Pieces that touch across the face of two blocks are one: a union of what each block numbered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from singula.scaleout.grid import Grid

LOW, HIGH = 0, -1
_ROWS = 2**20


@dataclass(frozen=True)
class Face:
    """The labelled pixels of one side of a block.

    Parameters
    ----------
    places : ndarray of int64
        Flat places in the side, ascending.
    labels : ndarray of int
        Numbers within the block.
    """

    places: np.ndarray
    labels: np.ndarray


def face_of(labels: np.ndarray, axis: int, end: int) -> Face:
    """The outermost layer of a block's labels: `LOW` or `HIGH` along an axis."""
    layer = labels.take(end, axis).reshape(-1)
    places = np.flatnonzero(layer)
    return Face(places, layer[places])


def touching_pairs(low: Face, high: Face) -> np.ndarray:
    """Pairs of numbers that touch, shape (pairs, 2), of a block and of the one behind it.

    Parameters
    ----------
    low : Face
        The upper side of the first block.
    high : Face
        The lower side of the block that follows.
    """
    _, one, two = np.intersect1d(low.places, high.places, assume_unique=True, return_indices=True)
    pairs = np.stack([low.labels[one], high.labels[two]], axis=1).astype(np.int64)
    return np.unique(pairs, axis=0)


def join(counts: Sequence[int], pairs: Iterable[tuple[int, int, np.ndarray]]) -> np.ndarray:
    """Which component each piece of each block belongs to.

    Parameters
    ----------
    counts : sequence of int
        Pieces of each block.
    pairs : iterable of (int, int, ndarray)
        Two blocks, and the numbers within them that touch (see `touching_pairs`).

    Returns
    -------
    ndarray of int64, shape (sum of counts,)
        For each piece, those of the blocks one after the other, the place of the one that stands
        for its component.
    """
    from bioimage_cpp.utils import UnionFind

    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    sets = UnionFind(int(offsets[-1]))
    places = (
        np.stack([offsets[first] + found[:, 0], offsets[second] + found[:, 1]], axis=1) - 1
        for first, second, found in pairs
    )
    for edges in _together(places):
        sets.merge(edges.astype(np.uint64))
    result: np.ndarray = sets.element_labeling().view(np.int64)
    return result


def _together(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows of small tables as few larger ones; all of them at once may not fit into memory."""
    held: list[np.ndarray] = []
    rows = 0
    for part in parts:
        held.append(part)
        rows += len(part)
        if rows >= _ROWS:
            yield np.concatenate(held)
            held, rows = [], 0
    if held:
        yield np.concatenate(held)


def number_by_first(
    component: np.ndarray, first: np.ndarray, kept: np.ndarray | None = None
) -> np.ndarray:
    """Ids from 1 in order of the first pixel of each component, as an image in memory has them.

    Parameters
    ----------
    component : ndarray of int64
        Of each piece, as `join` gives it.
    first : ndarray of int64
        Place of the first pixel of each piece.
    kept : ndarray of bool, optional
        Which components get an id; the others get 0.

    Returns
    -------
    ndarray of int64
        Id of each piece.
    """
    count = int(component.max(initial=-1)) + 1
    none = np.iinfo(np.int64).max
    lowest = np.full(count, none)
    np.minimum.at(lowest, component, first)
    there = lowest != none
    if kept is not None:
        there &= kept
    wanted = np.flatnonzero(there)
    order = wanted[np.argsort(lowest[wanted])]
    del wanted
    lowest[:] = 0
    lowest[order] = np.arange(1, len(order) + 1)
    result: np.ndarray = lowest[component]
    return result


def sum_over(component: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Add up a number of each piece over the components."""
    total = np.zeros(int(component.max(initial=-1)) + 1, values.dtype)
    np.add.at(total, component, values)
    return total


def face_pairs(
    grid: Grid, face: Callable[[int, int, int], Face]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Pairs over all faces of a grid, as `join` takes them.

    Parameters
    ----------
    grid : Grid
    face : callable
        From a block, an axis and an end to that side of the block.
    """
    for number in range(len(grid)):
        for axis, behind in grid.following(number):
            low = face(number, axis, HIGH)
            if not len(low.places):
                continue
            high = face(behind, axis, LOW)
            if len(high.places):
                yield number, behind, touching_pairs(low, high)
