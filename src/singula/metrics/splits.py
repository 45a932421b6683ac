"""Split true objects, and predicted objects that merge true objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from singula.labels.overlap import Overlap
from singula.util.arguments import instance


@dataclass(frozen=True, eq=False)
class Splits:
    """Ids of split true objects and of merging predicted objects; an object can be part of both.

    Parameters
    ----------
    split : ndarray of unsigned int
        True ids that two or more predicted objects cover.
    merging : ndarray of unsigned int
        Predicted ids that cover two or more true objects.
    """

    split: np.ndarray
    merging: np.ndarray


def splits(table: Overlap) -> Splits:
    """Find true objects that were split and predictions that merge true objects.

    Parameters
    ----------
    table : Overlap
        Result of `overlap`.

    Returns
    -------
    Splits

    Raises
    ------
    TypeError
        Not an overlap.

    Notes
    -----
    A true and a predicted object cover each other if they share more than half of the pixels of
    the smaller of the two. A small fragment of a true object therefore counts, but a neighbor that
    is only touched does not.
    """
    table = instance(table, "table", Overlap)
    all_true, true = np.unique(table.true, return_inverse=True)
    all_pred, pred = np.unique(table.pred, return_inverse=True)
    true_size = np.bincount(true, table.pixels, len(all_true))
    pred_size = np.bincount(pred, table.pixels, len(all_pred))
    covers = 2 * table.pixels > np.minimum(true_size[true], pred_size[pred])
    covers &= (table.true > 0) & (table.pred > 0)
    n_pred = np.bincount(true[covers], minlength=len(all_true))
    n_true = np.bincount(pred[covers], minlength=len(all_pred))
    return Splits(all_true[n_pred > 1], all_pred[n_true > 1])
