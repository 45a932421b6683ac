"""How two label images overlap: a sparse table, made in one pass and additive over blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from singula.errors import UserError


@dataclass(frozen=True, eq=False)
class Overlap:
    """Pixels shared by each pair of a true and a predicted id that meet, background 0 included.

    Parameters
    ----------
    true, pred : ndarray of unsigned int, shape (pairs,)
        Ids, in order of the true and then of the predicted one; no pair occurs twice.
    pixels : ndarray of int64, shape (pairs,)
    """

    true: np.ndarray
    pred: np.ndarray
    pixels: np.ndarray

    def __add__(self, other: Overlap) -> Overlap:
        """Overlap of two parts of an image together."""
        return sum_overlaps((self, other))


def overlap(truth: np.ndarray, pred: np.ndarray) -> Overlap:
    """Count the pixels of each pair of labels.

    Parameters
    ----------
    truth, pred : ndarray of int
        Label images of one shape, any integer dtype, any ids, gaps allowed; 0 is background.

    Returns
    -------
    Overlap

    Raises
    ------
    UserError
        If the shapes differ, or labels are negative or no integers.

    Notes
    -----
    Label images are runs of equal pixels; only the runs are sorted.
    """
    truth, pred = check_labels(truth, "truth"), check_labels(pred, "prediction")
    if truth.shape != pred.shape:
        raise UserError(f"truth has the shape {truth.shape}, the prediction {pred.shape}")
    true_ids, pred_ids = truth.ravel(), pred.ravel()
    starts = _run_starts(true_ids, pred_ids)
    lengths = np.diff(starts, append=true_ids.size)
    return _collapse(true_ids[starts], pred_ids[starts], lengths)


def sum_overlaps(parts: Iterable[Overlap]) -> Overlap:
    """Add the overlaps of the blocks that make up an image."""
    blocks = list(parts)
    if not blocks:
        empty = np.zeros(0, np.uint8)
        return Overlap(empty, empty, np.zeros(0, np.int64))
    return _collapse(
        np.concatenate([b.true for b in blocks]),
        np.concatenate([b.pred for b in blocks]),
        np.concatenate([b.pixels for b in blocks]),
    )


def check_labels(labels: np.ndarray, name: str) -> np.ndarray:
    """Return labels as an array of unsigned integers, or refuse them."""
    array = np.asarray(labels)
    if array.dtype == bool:
        return array.view(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(
            f"the labels of the {name} are {array.dtype}; labels are integers",
            hint="convert them with labels.astype('uint32')",
        )
    if np.issubdtype(array.dtype, np.signedinteger):
        if array.min(initial=0) < 0:
            raise UserError(f"the {name} holds the label {array.min()}; labels are 0 or more")
        return array.view(f"u{array.dtype.itemsize}")
    return array


def _run_starts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    change = np.ones(first.size, bool)
    if first.size:
        np.not_equal(first[1:], first[:-1], out=change[1:])
        change[1:] |= second[1:] != second[:-1]
    return np.flatnonzero(change)


def _collapse(true: np.ndarray, pred: np.ndarray, pixels: np.ndarray) -> Overlap:
    if true.size == 0:
        return Overlap(true, pred, pixels.astype(np.int64))
    order = np.lexsort((pred, true))
    true, pred, pixels = true[order], pred[order], pixels[order]
    starts = _run_starts(true, pred)
    return Overlap(true[starts], pred[starts], np.add.reduceat(pixels, starts, dtype=np.int64))
