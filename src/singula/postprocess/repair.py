"""Large instances that were seeded more than once are put together again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from singula.arguments import as_array, instance, integer, label_image
from singula.postprocess.holes import fill_holes
from singula.postprocess.labels import Extents, extents, index_labels, recode
from singula.postprocess.pairs import Pairs
from singula.postprocess.parts import TOTAL, Block, Table
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
    TypeError, UserError
        Not a label image, or not a size of 0 or more.

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
    size = integer(size, "size (REPARE_LARGE_BLOBS_SIZE)", at_least=0)
    found = extents(labels)
    large = found.ids[found.npixels > size]
    if not len(large):
        return np.array(labels)
    plan = plan_repair(found, contacts(labels, large), size)
    merged = recode(labels, plan.ids, plan.targets, keep=True)
    return fill_holes(merged, plan.repaired)


@dataclass(frozen=True, eq=False)
class Contacts(Table):
    """Faces between pixels of a block or of an image, by what they part.

    Parameters
    ----------
    first, second : ndarray of int64, shape (rows,)
        Two instances, the lower id first. A row with 0 is of the whole outline of the second: its
        faces to anything else within the image.
    faces : ndarray of int64, shape (rows,)
    """

    first: np.ndarray
    second: np.ndarray
    faces: np.ndarray = field(metadata=TOTAL)


@dataclass(frozen=True, eq=False)
class Repair:
    """What is to be done with the instances of an image.

    Parameters
    ----------
    ids, targets : ndarray of int64
        Instances that become part of another one, ascending, and of which; see `recode`.
    repaired : ndarray of int64
        Instances whose holes are then filled; see `enclosed`.
    """

    ids: np.ndarray
    targets: np.ndarray
    repaired: np.ndarray


def contacts(labels: np.ndarray, large: np.ndarray, block: Block | None = None) -> Contacts:
    """Count the faces that large instances share with others, and the outlines of all.

    Parameters
    ----------
    labels : ndarray of int
        Of the block and one pixel after it along each axis.
    large : ndarray of int
        Ids of the large instances of the image, ascending.
    block : Block, optional
        Where it lies; the whole image by default.

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
    met = np.empty((2, _CHUNK + 3 * size[2]), np.int64)
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


def plan_repair(found: Extents, contacts: Contacts, size: int) -> Repair:
    """Tell from the merged tables of all blocks which instances become one.

    Parameters
    ----------
    found : Extents
        Of the image.
    contacts : Contacts
        Of its instances of more than `size` pixels.
    size : int
        As of `repair_large`.

    Raises
    ------
    TypeError, UserError
        Not these tables, or not a size of 0 or more.
    """
    found = instance(found, "found", Extents)
    contacts = instance(contacts, "contacts", Contacts)
    size = integer(size, "size", at_least=0)
    large = found.npixels > size
    first, second = _merges(found, large, contacts)
    target = _targets(found, first, second)
    moved = np.flatnonzero(target != np.arange(len(target)))
    repaired = np.unique(found.ids[target[large]])
    return Repair(found.ids[moved], found.ids[target[moved]], repaired)


def _merges(found: Extents, large: np.ndarray, contacts: Contacts) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pairs of a large instance and a neighbour that are to be one."""
    whole = contacts.first == 0
    outline = np.zeros(len(large), np.int64)
    outline[np.searchsorted(found.ids, contacts.second[whole])] = contacts.faces[whole]
    low, high = (np.searchsorted(found.ids, c[~whole]) for c in (contacts.first, contacts.second))
    own, other = np.r_[low, high], np.r_[high, low]  # of two large ones, for both
    kept = large[own]
    own, other, faces = own[kept], other[kept], np.tile(contacts.faces[~whole], 2)[kept]
    shared = np.bincount(own, faces, len(large))
    order = np.lexsort((other, -faces, own))  # of each large instance, the main neighbour first
    main = np.zeros(len(own), bool)
    main[order[np.diff(own[order], prepend=-1) != 0]] = True
    splinter = 2 * faces > outline[other]
    wanted = main | splinter | (_MAIN_SHARE * faces >= shared[own])
    return own[wanted], other[wanted]


def _count_faces(volume: Any, size: Any, large: Any, place: Any, outline: Any, met: Any) -> int:
    """Look at the faces between pixels from `place` (slice, row) on; compiled.

    Faces are those of the first `size` slices, rows and columns to the pixels after them. Both
    sides of a face are put into `met`, the lower number first, where a large instance meets another
    one. Stops after a row that has filled it; returns how many there are.
    """
    depth, height, width = volume.shape
    own_width = size[2]
    count = 0
    while place[0] < size[0] and count + 3 * own_width <= met.shape[1]:
        z, y = place
        for x in range(own_width):
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
        if place[1] == size[1]:
            place[0], place[1] = z + 1, 0
    return count


def _targets(found: Extents, first: np.ndarray, second: np.ndarray) -> np.ndarray:
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
