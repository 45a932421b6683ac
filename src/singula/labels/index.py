"""Counting, bounding boxes, removal and relabeling of the instances of label images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.labels.block_table import HIGHEST, LOWEST, NO_PIXEL, TOTAL, Block, Table
from singula.util.arguments import as_array, flag, integer, items, label_image, same_shape
from singula.util.process import compiled

_ALWAYS_DENSE = 1 << 16
_ID_LIMIT = 1 << 63


def count_instances(labels: np.ndarray) -> int:
    """Return the number of instances, with little additional memory.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.

    Raises
    ------
    TypeError, UserError
        Not a label image.
    """
    labels = label_image(labels)
    last = int(labels.max(initial=0))
    if last > labels.size + _ALWAYS_DENSE:
        return int(np.count_nonzero(np.unique(labels)))
    occurs = np.zeros(last + 1, bool)
    for row in labels.reshape(-1, max(1, labels.shape[-1])):
        occurs[row] = True
    return int(np.count_nonzero(occurs[1:]))


@dataclass(frozen=True, eq=False)
class Extents(Table):
    """Sizes, coordinate sums and bounding boxes of the instances of a block or an image.

    Parameters
    ----------
    ids : ndarray of int64, shape (rows,)
        Ids that occur, in ascending order, without the background.
    npixels : ndarray of int64, shape (rows,)
        Number of pixels of each instance.
    sums : ndarray of float64, shape (rows, ndim)
        Sums of the pixel coordinates. They are whole numbers, exact up to 2^53.
    low, high : ndarray of int64, shape (rows, ndim)
        Bounding boxes; `high` is the first coordinate after the box.
    """

    ids: np.ndarray
    npixels: np.ndarray = field(metadata=TOTAL)
    sums: np.ndarray = field(metadata=TOTAL)
    low: np.ndarray = field(metadata=LOWEST)
    high: np.ndarray = field(metadata=HIGHEST)

    @cached_property
    def center(self) -> np.ndarray:
        """Centroids in pixels, shape (rows, ndim)."""
        center: np.ndarray = self.sums / self.npixels[:, None]
        return center


@dataclass(frozen=True, eq=False)
class Survey:
    """Extents of the instances of a label image; the arrays have a row per value of `index`.

    Parameters
    ----------
    index : ndarray of int
        The label image with row numbers instead of ids. If the ids are small enough to be row
        numbers, these are the labels themselves.
    ids : ndarray of int64, shape (rows,)
        Id of each row, ascending; row 0 is the background, 0.
    npixels : ndarray of int64, shape (rows,)
        Number of pixels; 0 for the background and for rows that do not occur.
    sums, low, high : ndarray, shape (rows, ndim)
        See `Extents`; 0 for rows without pixels.
    """

    index: np.ndarray
    ids: np.ndarray
    npixels: np.ndarray
    sums: np.ndarray
    low: np.ndarray
    high: np.ndarray


def index_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace ids by the row numbers of a table.

    Parameters
    ----------
    labels : ndarray of unsigned int
        A label image as returned by `singula.util.arguments.label_image`.

    Returns
    -------
    index : ndarray of int
        The row number of each pixel: `labels` itself if the ids are small enough.
    ids : ndarray of int64, shape (rows,)
        The id of each row, ascending; row 0 is the background.

    Raises
    ------
    UserError
        ``labels.large_ids``: an id of 2^63 or more.
    """
    max_id = int(labels.max(initial=0))
    if max_id >= _ID_LIMIT:
        raise UserError(
            f"labels: got the id {max_id}, expected ids below 2^63",
            "number the instances from 1",
            "labels.large_ids",
        )
    if max_id < max(_ALWAYS_DENSE, labels.size // 8):
        # NumPy does not accept uint64 as an index
        return labels.view(np.int64) if labels.itemsize == 8 else labels, np.arange(max_id + 1)
    import fastremap

    renumbered, rows = fastremap.renumber(labels, preserve_zero=True)
    places = np.fromiter(rows.values(), np.int64)
    ids = np.zeros(places.max() + 1, np.int64)
    ids[places] = np.fromiter(rows.keys(), np.int64)
    order = np.argsort(ids)
    rank = np.empty(len(ids), np.uint32)
    rank[order] = np.arange(len(ids))
    return look_up(rank, renumbered), ids[order]


def survey(labels: np.ndarray, block: Block | None = None) -> Survey:
    """Return the sizes, coordinate sums and bounding boxes of all instances, in one pass.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background; ids need not be consecutive.
    block : Block, optional
        Position of `labels` in the image; by default, the whole image. Only the core is measured.
        Coordinates refer to the image, `Survey.index` to the array.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not its block.
    """
    labels = label_image(labels)
    block = Block.of(block, labels)
    index, ids = index_labels(labels)
    ndim, rows = labels.ndim, len(ids)
    npixels = np.zeros(rows, np.int64)
    sums = np.zeros((rows, 3))
    low = np.full((rows, 3), NO_PIXEL)
    high = np.zeros((rows, 3), np.int64)
    core = np.ascontiguousarray(index[block.box(index)])
    if core.size:
        planes = core.reshape(-1, *core.shape[-2:])
        compiled(_survey)(planes, npixels, sums, low, high)
    occurs = npixels[:, None] > 0
    low[~occurs[:, 0]] = 0
    axes, start = slice(3 - ndim, 3), np.array(block.start)
    return Survey(
        index,
        ids,
        npixels,
        sums[:, axes] + start * npixels[:, None],
        low[:, axes] + start * occurs,
        high[:, axes] + start * occurs,
    )


def extents(labels: np.ndarray, block: Block | None = None) -> Extents:
    """Return the sizes and bounding boxes of the instances of a block's core.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    block : Block, optional
        Position of `labels` in the image; by default, the whole image.

    Returns
    -------
    Extents
        `Extents.merge` of the tables of all blocks gives the table of the image.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not its block.
    """
    instances = survey(labels, block)
    rows = np.flatnonzero(instances.npixels)
    columns = (instances.ids, instances.npixels, instances.sums, instances.low, instances.high)
    return Extents(*(column[rows] for column in columns))


def remove(labels: np.ndarray, ids: Iterable[int]) -> np.ndarray:
    """Set the instances with the given ids to background; the others keep their ids.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    ids : iterable of int
        Ids to remove; ids that do not occur are ignored.

    Returns
    -------
    ndarray
        A new array of the dtype of `labels`.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not ids.
    """
    if not hasattr(ids, "__array__"):
        ids = np.array(items(ids, "ids", integer), np.int64)
    removed = np.unique(as_array(ids, "ids", ndim=1, kinds="iu", axes="(n,)"))
    return recode(labels, removed, np.zeros(len(removed), np.int64), keep=True)


def recode(
    labels: np.ndarray,
    ids: np.ndarray,
    values: np.ndarray,
    *,
    keep: bool = False,
) -> np.ndarray:
    """Replace the id of each instance by a value.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background. The time depends on the ids that occur, so that
        `ids` may be those of a larger image.
    ids : ndarray of int, shape (n,)
        Ids in ascending order, without the background.
    values : ndarray, shape (n,)
        The new value of each id.
    keep : bool
        Keep the ids of other pixels; otherwise they become 0.

    Returns
    -------
    ndarray
        A new array with the dtype of `values`, or with the dtype of `labels` if `keep`.

    Raises
    ------
    TypeError, UserError
        Not a label image; ids that are not ascending integers; a different number of values.
    """
    keep = flag(keep, "keep")
    ids = as_array(ids, "ids", ndim=1, kinds="iu", axes="(n,)")
    values = as_array(values, "values", ndim=1, axes="(n,)")
    same_shape(ids, values, "ids and values")
    if not (ids[1:] > ids[:-1]).all():
        raise UserError(
            "ids: got ids that are not in ascending order",
            "sort ids, and values with them",
            "arguments.order",
        )
    index, rows = index_labels(label_image(labels))
    new = rows.astype(np.asarray(labels).dtype) if keep else np.zeros(len(rows), values.dtype)
    if len(ids):
        ids = ids.astype(np.int64)
        place = np.minimum(np.searchsorted(ids, rows), len(ids) - 1)
        matches = ids[place] == rows
        new[matches] = values[place[matches]]
    return look_up(new, index)


def look_up(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return ``values[index]``, row by row, for integer indices of any dtype."""
    result = np.empty(index.shape, values.dtype)
    for part, rows in zip(result, index, strict=True):  # NumPy copies the indices to int64
        np.take(values, rows, out=part, mode="clip")
    return result


def _survey(planes: Any, npixels: Any, sums: Any, low: Any, high: Any) -> None:
    """Add up the sizes, coordinates and bounding boxes of all labels; compiled.

    A run of equal pixels of a row is added at once.

    Parameters
    ----------
    planes : int, (z, y, x)
        Row number of each pixel.
    npixels : int64, (rows,)
        Zeros; receives the number of pixels.
    sums : float64, (rows, 3)
        Zeros; receives the sums of the coordinates z, y, x.
    low, high : int64, (rows, 3)
        Initial values of the bounding boxes, which are updated.
    """
    depth, height, width = planes.shape
    for z in range(depth):
        for y in range(height):
            row = planes[z, y]
            start = 0
            while start < width:
                label = row[start]
                end = start + 1
                while end < width and row[end] == label:
                    end += 1
                if label != 0:
                    length = end - start
                    npixels[label] += length
                    sums[label, 0] += length * z
                    sums[label, 1] += length * y
                    sums[label, 2] += length * (start + end - 1) / 2
                    low[label, 0] = min(low[label, 0], z)
                    low[label, 1] = min(low[label, 1], y)
                    low[label, 2] = min(low[label, 2], start)
                    high[label, 0] = max(high[label, 0], z + 1)
                    high[label, 1] = max(high[label, 1], y + 1)
                    high[label, 2] = max(high[label, 2], end)
                start = end
