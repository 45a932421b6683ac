"""Overlap of two label images: a sparse table that can be summed over blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.labels.pair_counts import Pairs
from singula.util.arguments import items, label_image, of_class, same_shape

_PIECE = 1 << 16  # pixels that fit into the processor's cache


@dataclass(frozen=True, eq=False)
class Overlap:
    """Numbers of pixels of each pair of a true and a predicted id, including the background.

    Parameters
    ----------
    true, pred : ndarray of unsigned int, shape (pairs,)
        Ids, sorted by the true and then the predicted one; each pair occurs once.
    pixels : ndarray of int64, shape (pairs,)
        Number of pixels that have both ids.
    """

    true: np.ndarray
    pred: np.ndarray
    pixels: np.ndarray

    def __add__(self, other: Overlap) -> Overlap:
        """Return the overlap of two parts of an image."""
        return sum_overlaps((self, other))


def overlap(truth: np.ndarray, pred: np.ndarray) -> Overlap:
    """Count the pixels of each pair of labels.

    Parameters
    ----------
    truth, pred : ndarray of int
        Label images of the same shape, any number of axes and any integer dtype, 0 the background;
        ids need not be consecutive.

    Returns
    -------
    Overlap

    Raises
    ------
    TypeError, UserError
        Not label images, or label images of different shapes.

    Notes
    -----
    Only the runs of equal pixels are counted, in one piece of the image after the other.
    """
    truth, pred = label_image(truth, "truth", ndim=None), label_image(pred, "pred", ndim=None)
    same_shape(truth, pred, "truth and pred")
    true_ids, pred_ids = truth.ravel(), pred.ravel()
    pairs = Pairs()
    for start in range(0, truth.size, _PIECE):
        piece = slice(start, start + _PIECE)
        true, pred = true_ids[piece], pred_ids[piece]
        starts = _run_starts(true, pred)
        pairs.add(true[starts], pred[starts], np.diff(starts, append=len(true)))
    return _table(pairs, truth.dtype, pred.dtype)


def sum_overlaps(parts: Iterable[Overlap]) -> Overlap:
    """Return the sum of the overlaps of the blocks of an image.

    Parameters
    ----------
    parts : iterable of Overlap
        Overlaps of the blocks; each pixel belongs to one block.

    Raises
    ------
    TypeError
        Not overlaps.
    """
    blocks, pairs = items(parts, "parts", of_class(Overlap)), Pairs()
    for block in blocks:
        pairs.add(block.true, block.pred, block.pixels)
    types = [[getattr(b, side).dtype for b in blocks] or [np.uint8] for side in ("true", "pred")]
    return _table(pairs, *(np.result_type(*each) for each in types))


def _run_starts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    change = np.ones(first.size, bool)
    if first.size:
        np.not_equal(first[1:], first[:-1], out=change[1:])
        change[1:] |= second[1:] != second[:-1]
    return np.flatnonzero(change)


def _table(pairs: Pairs, true_type: np.dtype[Any], pred_type: np.dtype[Any]) -> Overlap:
    true, pred, pixels = pairs.table()
    return Overlap(true.astype(true_type), pred.astype(pred_type), pixels)
