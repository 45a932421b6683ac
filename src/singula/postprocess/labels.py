"""What every step on instances asks of a label image: is it one, what is where, take these away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from singula.arguments import as_array, flag, integer, items, label_image, same_shape
from singula.errors import UserError
from singula.postprocess.parts import HIGHEST, LOWEST, NOWHERE, TOTAL, Block, Table
from singula.runtime import compiled

_ALWAYS_DENSE = 1 << 16
_LARGEST = 1 << 63


def count_instances(labels: np.ndarray) -> int:
    """Number of ids but 0, with little memory beside the labels.

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
    there = np.zeros(last + 1, bool)
    for part in labels.reshape(-1, max(1, labels.shape[-1])):
        there[part] = True
    return int(np.count_nonzero(there[1:]))


@dataclass(frozen=True, eq=False)
class Extents(Table):
    """How large the instances of a block or of an image are, and where.

    Parameters
    ----------
    ids : ndarray of int64, shape (rows,)
        Those that occur, ascending, without the background.
    npixels : ndarray of int64, shape (rows,)
    sums : ndarray of float64, shape (rows, ndim)
        Of the coordinates of all pixels: whole numbers, so exact up to 2^53.
    low, high : ndarray of int64, shape (rows, ndim)
        Bounding box, `high` being the first pixel beyond it.
    """

    ids: np.ndarray
    npixels: np.ndarray = field(metadata=TOTAL)
    sums: np.ndarray = field(metadata=TOTAL)
    low: np.ndarray = field(metadata=LOWEST)
    high: np.ndarray = field(metadata=HIGHEST)

    @cached_property
    def centre(self) -> np.ndarray:
        """Centroid in pixels, shape (rows, ndim)."""
        centre: np.ndarray = self.sums / self.npixels[:, None]
        return centre


@dataclass(frozen=True, eq=False)
class Survey:
    """Where the instances of a label image are; the arrays have a row for each number of `index`.

    Parameters
    ----------
    index : ndarray of int
        The label image, in row numbers. The labels themselves unless they are too large for that.
    ids : ndarray of int64, shape (rows,)
        Label of each row, ascending; 0, the background, is row 0.
    npixels : ndarray of int64, shape (rows,)
        0 for a row that does not occur, and for the background.
    sums, low, high : ndarray, shape (rows, ndim)
        As of `Extents`; 0 where there are no pixels.
    """

    index: np.ndarray
    ids: np.ndarray
    npixels: np.ndarray
    sums: np.ndarray
    low: np.ndarray
    high: np.ndarray


def index_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn ids into the row numbers of a table.

    Parameters
    ----------
    labels : ndarray of unsigned int
        As `singula.arguments.label_image` returns them.

    Returns
    -------
    index : ndarray of int
        `labels` itself where the ids are small enough to be row numbers.
    ids : ndarray of int64
        The id of each row, ascending; row 0 is the background.
    """
    largest = int(labels.max(initial=0))
    if largest >= _LARGEST:
        raise UserError(f"labels hold the id {largest}; ids are below 2^63")
    if largest < max(_ALWAYS_DENSE, labels.size // 8):
        # NumPy takes no unsigned numbers of 64 bits as row numbers
        return labels.view(np.int64) if labels.itemsize == 8 else labels, np.arange(largest + 1)
    import fastremap

    met, rows = fastremap.renumber(labels, preserve_zero=True)
    places = np.fromiter(rows.values(), np.int64)
    ids = np.zeros(places.max() + 1, np.int64)
    ids[places] = np.fromiter(rows.keys(), np.int64)
    order = np.argsort(ids)
    rank = np.empty(len(ids), np.uint32)
    rank[order] = np.arange(len(ids))
    return look_up(rank, met), ids[order]


def survey(labels: np.ndarray, block: Block | None = None) -> Survey:
    """Count the pixels of all instances and find where they are, in one pass.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background, ids with gaps allowed.
    block : Block, optional
        Look at the core alone. Places are those in the image; `Survey.index` is of the array.

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
    low = np.full((rows, 3), NOWHERE)
    high = np.zeros((rows, 3), np.int64)
    core = np.ascontiguousarray(index[block.box(index)])
    if core.size:
        planes = core.reshape(-1, *core.shape[-2:])
        compiled(_survey)(planes, npixels, sums, low, high)
    there = npixels[:, None] > 0
    low[~there[:, 0]] = 0
    own, start = slice(3 - ndim, 3), np.array(block.start)
    return Survey(
        index,
        ids,
        npixels,
        sums[:, own] + start * npixels[:, None],
        low[:, own] + start * there,
        high[:, own] + start * there,
    )


def extents(labels: np.ndarray, block: Block | None = None) -> Extents:
    """Size and place of the instances of a block's core; merged, those of the image.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    block : Block, optional
        Where the labels lie; the whole image by default.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not its block.
    """
    found = survey(labels, block)
    rows = np.flatnonzero(found.npixels)
    columns = (found.ids, found.npixels, found.sums, found.low, found.high)
    return Extents(*(column[rows] for column in columns))


def remove(labels: np.ndarray, ids: Iterable[int]) -> np.ndarray:
    """Make the instances with these ids background; the others keep their ids.

    Parameters
    ----------
    labels : ndarray of int
    ids : iterable of int
        Those that do not occur change nothing.

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
    gone = np.unique(as_array(ids, "ids", ndim=1, kinds="iu", axes="(n,)"))
    return recode(labels, gone, np.zeros(len(gone), np.int64), keep=True)


def recode(
    labels: np.ndarray,
    ids: np.ndarray,
    values: np.ndarray,
    *,
    keep: bool = False,
) -> np.ndarray:
    """Put a value in the place of each instance.

    Parameters
    ----------
    labels : ndarray of int
        Of an image, or of a block: only the ids that occur cost time.
    ids : ndarray of int, shape (n,)
        Ascending, without the background.
    values : ndarray, shape (n,)
        Of each of them.
    keep : bool
        Whether other pixels keep their ids, as after a change of some instances; else they are 0.

    Returns
    -------
    ndarray
        A new array, of the dtype of `values`, or of `labels` if ids are kept.

    Raises
    ------
    TypeError, UserError
        Not a label image; ids that are not ascending integers; another number of values.
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
        met = ids[place] == rows
        new[met] = values[place[met]]
    return look_up(new, index)


def look_up(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Image with the value of each row in the place of its number."""
    result = np.empty(index.shape, values.dtype)
    for part, rows in zip(result, index, strict=True):  # NumPy widens the numbers: bit by bit
        np.take(values, rows, out=part, mode="clip")
    return result


def _survey(planes: Any, npixels: Any, sums: Any, low: Any, high: Any) -> None:
    """Add up the runs of equal pixels of all rows; compiled."""
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
