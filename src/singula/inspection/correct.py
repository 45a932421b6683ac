"""One label image put right: a piece an id, no holes, nothing tiny, one class an object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.evaluate import overlap
from singula.postprocess.holes import fill_holes
from singula.postprocess.labels import check_labels, index_labels, look_up

Array = npt.NDArray[Any]
_LARGEST_ID = 2**32 - 1


@dataclass(frozen=True)
class Corrected:
    """A corrected label image.

    Parameters
    ----------
    labels : ndarray of unsigned int
        The shape of what was given; the smallest type that holds the ids.
    pieces : int
        Ids that were given to pieces.
    tiny : int
        Pieces and objects that were dropped.
    filled : int
        Pixels of holes that were filled.
    """

    labels: Array
    pieces: int
    tiny: int
    filled: int


def correct_labels(labels: Array, smallest: int, *, semantic: bool = False) -> Corrected:
    """Correct what can be corrected without looking at the image.

    Parameters
    ----------
    labels : ndarray of unsigned int, (y, x, c) or (z, y, x, c)
        c is 1 (ids) or 2 (ids, class).
    smallest : int
        Pieces of fewer pixels are dropped.
    semantic : bool
        It is a mask: every connected region becomes an object.

    Notes
    -----
    The largest piece of an id keeps it, the others get new ones above the highest. Pieces touch at
    corners too, regions of a mask only at sides; these are numbered from 1. Then tiny ones are
    dropped, and after that holes filled: background that one object alone encloses. All pixels of
    an object get the class of most of those that have one, all others class 0. Doing it twice
    changes nothing more.
    """
    ids = check_labels(np.ascontiguousarray(labels[..., 0]))
    new, fresh, tiny = _one_id_a_piece(ids, smallest, semantic=semantic)
    before = int(np.count_nonzero(new))
    new = fill_holes(new)
    filled = int(np.count_nonzero(new)) - before
    index, rows = index_labels(new)
    channels = [new]
    if labels.shape[-1] > 1:
        channels.append(_one_class(index, len(rows), labels[..., 1]))
    whole = np.stack(channels, axis=-1)
    kept = whole.astype(np.min_scalar_type(int(whole.max(initial=0))))
    return Corrected(kept, fresh, tiny, filled)


def _one_id_a_piece(ids: Array, smallest: int, *, semantic: bool) -> tuple[Array, int, int]:
    """New ids, how many are new, and how many pieces were dropped."""
    import cc3d

    if ids.ndim == 2:
        parts, count = cc3d.connected_components(
            ids, connectivity=4 if semantic else 8, return_N=True
        )
    else:
        parts, count = cc3d.connected_components(
            ids, connectivity=6 if semantic else 26, return_N=True
        )
    size = np.bincount(parts.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, np.int64)
    owner[parts.ravel()] = ids.ravel()
    owner[0] = 0
    order = np.lexsort((np.arange(count + 1), -size, owner))
    first = np.zeros(count + 1, bool)
    first[order[np.diff(owner[order], prepend=-1) != 0]] = True  # the largest of each id
    kept = size >= smallest
    kept[0] = True
    extra = ~first & kept
    number = np.where(kept, owner, 0)
    number[extra] = int(owner.max()) + 1 + np.arange(int(extra.sum()))
    if semantic or int(number.max()) > _LARGEST_ID:
        number[number > 0] = 1 + np.arange(int((number > 0).sum()))
    return look_up(number, parts), int(extra.sum()), int((~kept).sum())


def _one_class(index: Array, rows: int, classes: Array) -> Array:
    """The class channel with one class for each row of `index`: the most frequent but 0."""
    table = overlap(check_labels(np.ascontiguousarray(index)), classes)
    real = (table.true > 0) & (table.pred > 0)
    row, kind = table.true[real].astype(np.int64), table.pred[real].astype(np.int64)
    order = np.lexsort((-kind, table.pixels[real], row))  # the last of a row wins
    chosen = np.zeros(rows, np.int64)
    chosen[row[order]] = kind[order]
    return look_up(chosen, index)
