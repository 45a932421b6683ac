"""How two label images overlap: a sparse table, made in one pass and additive over blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.arguments import items, label_image, of_class, same_shape
from singula.postprocess.pairs import Pairs

_PIECE = 1 << 16  # pixels that stay in the processor's cache meanwhile


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
    TypeError, UserError
        Not label images, or label images of different shapes.

    Notes
    -----
    Label images are runs of equal pixels, and only the runs are counted, a piece of the image after
    the other.
    """
    truth, pred = label_image(truth, "truth", ndim=None), label_image(pred, "pred", ndim=None)
    same_shape(truth, pred, "truth and pred")
    true_ids, pred_ids = truth.ravel(), pred.ravel()
    pairs = Pairs()
    for start in range(0, truth.size, _PIECE):
        piece = slice(start, start + _PIECE)
        ours, theirs = true_ids[piece], pred_ids[piece]
        starts = _run_starts(ours, theirs)
        pairs.add(ours[starts], theirs[starts], np.diff(starts, append=len(ours)))
    return _table(pairs, truth.dtype, pred.dtype)


def sum_overlaps(parts: Iterable[Overlap]) -> Overlap:
    """Add the overlaps of the blocks that make up an image.

    Parameters
    ----------
    parts : iterable of Overlap

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
