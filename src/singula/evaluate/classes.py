"""The class of each instance, and the overlap of the instances of one class."""

from __future__ import annotations

import numpy as np

from singula.arguments import as_array, instance
from singula.evaluate.overlap import Overlap, sum_overlaps


def winning_classes(votes: Overlap) -> tuple[np.ndarray, np.ndarray]:
    """Class of each instance: the one that most of its pixels have, background aside.

    Parameters
    ----------
    votes : Overlap
        Of the instances with the map of classes; merged, if they were looked at in blocks.

    Returns
    -------
    ids : ndarray of unsigned int
        Of all instances, ascending.
    classes : ndarray of uint8 or uint16
        Of equally frequent classes the lowest; 0 for an instance without any classified pixel.

    Raises
    ------
    TypeError
        Not an overlap.
    """
    votes = instance(votes, "votes", Overlap)
    dtype = np.uint8 if int(votes.pred.max(initial=0)) < 256 else np.uint16
    ids = np.unique(votes.true[votes.true > 0])
    classes = np.zeros(len(ids), dtype)
    counts = (votes.true > 0) & (votes.pred > 0)
    voters, choices, pixels = votes.true[counts], votes.pred[counts], votes.pixels[counts]
    order = np.lexsort((choices, -pixels, voters))
    voters, first = np.unique(voters[order], return_index=True)
    classes[np.searchsorted(ids, voters)] = choices[order][first]
    return ids, classes


def overlap_among(table: Overlap, true_ids: np.ndarray, pred_ids: np.ndarray) -> Overlap:
    """Overlap of these true and predicted objects, all others being background.

    Parameters
    ----------
    table : Overlap
    true_ids, pred_ids : ndarray of int, shape (n,)

    Raises
    ------
    TypeError, UserError
        Not an overlap, or not ids.
    """
    table = instance(table, "table", Overlap)
    true_ids = as_array(true_ids, "true_ids", ndim=1, kinds="iu", axes="(n,)")
    pred_ids = as_array(pred_ids, "pred_ids", ndim=1, kinds="iu", axes="(n,)")
    true = np.where(np.isin(table.true, true_ids), table.true, 0)
    pred = np.where(np.isin(table.pred, pred_ids), table.pred, 0)
    return sum_overlaps([Overlap(true, pred, table.pixels)])
