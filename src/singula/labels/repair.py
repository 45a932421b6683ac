"""Merging of large instances that were split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from singula.labels.block_table import TOTAL, Block, Table
from singula.labels.holes import fill_holes
from singula.labels.index import Extents, extents, index_labels, recode
from singula.labels.pair_counts import Pairs
from singula.util.arguments import as_array, instance, integer, label_image
from singula.util.process import compiled

_CHUNK = 1 << 14
_MAIN_SHARE = 3


def repair_large(labels: np.ndarray, size: int) -> np.ndarray:
    """Merge large instances with their main neighbors and fill their holes.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    size : int
        Instances with more pixels are large (``REPARE_LARGE_BLOBS_SIZE``).

    Returns
    -------
    ndarray
        A new array with the dtype of `labels`. A merged instance has the id of its largest part
        (of equal sizes, the lowest id); the other instances keep their ids.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not a size of 0 or more.

    Notes
    -----
    The shared boundary is measured in faces between pixels. A large instance is merged with

    - the instance that shares most of its boundary (of equals, the one with the lowest id);
    - every other instance that shares at least a third of the boundary that it has with
      instances: four fragments of an object may meet in its center;
    - every instance that shares more than half of its own boundary, including the boundary to the
      background, with the large one: a splinter.

    Boundaries are measured once, in `labels`. The result therefore does not depend on the order of
    the instances, and instances that are merged with the same instance are merged with each other.
    Then every background component that touches a single instance, which is large or merged, and
    not the image border, becomes part of that instance.
    """
    size = integer(size, "size (REPARE_LARGE_BLOBS_SIZE)", at_least=0)
    instances = extents(labels)
    large = instances.ids[instances.npixels > size]
    if not len(large):
        return np.array(labels)
    plan = plan_repair(instances, contacts(labels, large), size)
    merged = recode(labels, plan.ids, plan.targets, keep=True)
    return fill_holes(merged, plan.repaired)


@dataclass(frozen=True, eq=False)
class Contacts(Table):
    """Numbers of faces between the pixels of two instances, in a block or an image.

    Parameters
    ----------
    first, second : ndarray of int64, shape (rows,)
        Ids of the two instances, the lower id first. If `first` is 0, the row counts the faces of
        `second` to any other instance and to the background.
    faces : ndarray of int64, shape (rows,)
        Number of faces within the image.
    """

    first: np.ndarray
    second: np.ndarray
    faces: np.ndarray = field(metadata=TOTAL)


@dataclass(frozen=True, eq=False)
class Repair:
    """Merges of the instances of an image.

    Parameters
    ----------
    ids, targets : ndarray of int64, shape (n,)
        Ids of instances that become part of another one, in ascending order, and the ids of the
        latter; see `recode`.
    repaired : ndarray of int64, shape (m,)
        Ids of the instances whose holes are filled afterwards; see `enclosed`.
    """

    ids: np.ndarray
    targets: np.ndarray
    repaired: np.ndarray


def contacts(labels: np.ndarray, large: np.ndarray, block: Block | None = None) -> Contacts:
    """Count the faces that large instances share with others, and all faces of each instance.

    Parameters
    ----------
    labels : ndarray of int
        Labels of the block and of one pixel after it along each axis, (y, x) or (z, y, x).
    large : ndarray of int, shape (n,)
        Ids of the large instances of the image, in ascending order.
    block : Block, optional
        Position of `labels` in the image; by default, the whole image.

    Raises
    ------
    TypeError, UserError
        Not a label image, not its block, or not ids.
    """
    checked = label_image(labels)
    large = as_array(large, "large", ndim=1, kinds="iu", axes="(n,)")
    block = Block.of(block, checked)
    near = np.ascontiguousarray(checked[block.box(checked, 0, 1)])
    index, ids = index_labels(near)
    is_large = np.isin(ids, large)
    pairs, outline = Pairs(), np.zeros(len(ids), np.int64)
    volume = index if index.ndim == 3 else index[None]
    size = (1, *np.subtract(block.stop, block.start).tolist())[-3:]
    met = np.empty((2, _CHUNK + 3 * size[2]), np.int64)  # the last row may exceed the chunk
    place = np.zeros(2, np.int64)
    while place[0] < size[0] and volume.size:
        count = compiled(_count_faces)(volume, size, is_large, place, outline, met)
        pairs.add(met[0, :count], met[1, :count], np.ones(count, np.int64))
    low, high, faces = (column.astype(np.int64) for column in pairs.table())
    rows = np.flatnonzero(outline)
    rows = rows[rows > 0]
    return Contacts(
        np.r_[np.zeros(len(rows), np.int64), ids[low]],
        np.r_[ids[rows], ids[high]],
        np.r_[outline[rows], faces],
    )


def plan_repair(instances: Extents, contacts: Contacts, size: int) -> Repair:
    """Decide which instances are merged, from the merged tables of all blocks.

    Parameters
    ----------
    instances : Extents
        Extents of the instances of the whole image.
    contacts : Contacts
        Contacts of the instances with more than `size` pixels.
    size : int
        Instances with more pixels are large.

    Raises
    ------
    TypeError, UserError
        Not these tables, or not a size of 0 or more.
    """
    instances = instance(instances, "instances", Extents)
    contacts = instance(contacts, "contacts", Contacts)
    size = integer(size, "size", at_least=0)
    large = instances.npixels > size
    first, second = _merges(instances, large, contacts)
    target = _targets(instances, first, second)
    moved = np.flatnonzero(target != np.arange(len(target)))
    repaired = np.unique(instances.ids[target[large]])
    return Repair(instances.ids[moved], instances.ids[target[moved]], repaired)


def _merges(
    instances: Extents, large: np.ndarray, contacts: Contacts
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of large instances and of the neighbors to merge them with."""
    whole = contacts.first == 0
    outline = np.zeros(len(large), np.int64)
    outline[np.searchsorted(instances.ids, contacts.second[whole])] = contacts.faces[whole]
    low, high = (
        np.searchsorted(instances.ids, c[~whole]) for c in (contacts.first, contacts.second)
    )
    row, other = np.r_[low, high], np.r_[high, low]  # both directions
    selected = large[row]
    row, other = row[selected], other[selected]
    faces = np.tile(contacts.faces[~whole], 2)[selected]
    shared = np.bincount(row, faces, len(large))
    order = np.lexsort((other, -faces, row))  # the main neighbor of each large instance first
    main = np.zeros(len(row), bool)
    main[order[np.diff(row[order], prepend=-1) != 0]] = True
    splinter = 2 * faces > outline[other]
    merged = main | splinter | (_MAIN_SHARE * faces >= shared[row])
    return row[merged], other[merged]


def _count_faces(volume: Any, size: Any, large: Any, place: Any, outline: Any, met: Any) -> int:
    """Count faces between pixels, from a row on until the buffer is full; compiled.

    Parameters
    ----------
    volume : int, (z, y, x)
        Row number of each pixel, with one pixel after the core along each axis.
    size : tuple of int
        Shape of the core, (z, y, x). Faces after its pixels are counted.
    large : bool, (rows,)
        True for large instances.
    place : int64, (2,)
        Slice and row to begin with; receives those of the next call.
    outline : int64, (rows,)
        Number of faces of each instance, which is updated.
    met : int64, (2, n)
        Result: for each face between a large and another instance, the two row numbers, the lower
        one first.

    Returns
    -------
    int
        Number of columns of `met` in use.
    """
    depth, height, width = volume.shape
    core_width = size[2]
    count = 0
    while place[0] < size[0] and count + 3 * core_width <= met.shape[1]:
        z, y = place
        for x in range(core_width):
            label = volume[z, y, x]
            for axis in range(3):
                other = label
                if axis == 0 and x + 1 < width:
                    other = volume[z, y, x + 1]
                elif axis == 1 and y + 1 < height:
                    other = volume[z, y + 1, x]
                elif axis == 2 and z + 1 < depth:
                    other = volume[z + 1, y, x]
                if label == other:
                    continue
                outline[label] += 1
                outline[other] += 1
                if label != 0 and other != 0 and (large[label] or large[other]):
                    met[0, count], met[1, count] = min(label, other), max(label, other)
                    count += 1
        place[1] += 1
        if place[1] == size[1]:
            place[0], place[1] = z + 1, 0
    return count


def _targets(instances: Extents, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the row of the instance that each instance is merged into."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(instances.npixels)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(rows, rows))
    groups, group = connected_components(graph, directed=False)
    target = np.empty(groups, np.int64)
    order = np.lexsort((-np.arange(rows), instances.npixels))
    target[group[order]] = order  # the largest instance is assigned last
    result: np.ndarray = target[group]
    return result
