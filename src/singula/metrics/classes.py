"""The class of each instance, and the overlap of the instances of one class."""

from __future__ import annotations

import numpy as np

from singula.labels.overlap import Overlap, sum_overlaps
from singula.util.arguments import as_array, instance


def winning_classes(votes: Overlap) -> tuple[np.ndarray, np.ndarray]:
    """Return the most frequent class of the pixels of each instance, without the background.

    Parameters
    ----------
    votes : Overlap
        Overlap of the instances with the class map; for an image in blocks, the sum of all blocks.

    Returns
    -------
    ids : ndarray of unsigned int, shape (n,)
        Ids of all instances, ascending.
    classes : ndarray of unsigned int, shape (n,)
        Class of each instance: of equally frequent classes the lowest, and 0 for an instance
        without classified pixels.

    Raises
    ------
    TypeError
        Not an overlap.
    """
    votes = instance(votes, "votes", Overlap)
    dtype = np.min_scalar_type(int(votes.pred.max(initial=0)))
    ids = np.unique(votes.true[votes.true > 0])
    classes = np.zeros(len(ids), dtype)
    counts = (votes.true > 0) & (votes.pred > 0)
    voters, choices, pixels = votes.true[counts], votes.pred[counts], votes.pixels[counts]
    order = np.lexsort((choices, -pixels, voters))
    voters, first = np.unique(voters[order], return_index=True)
    classes[np.searchsorted(ids, voters)] = choices[order][first]
    return ids, classes


def overlap_among(table: Overlap, true_ids: np.ndarray, pred_ids: np.ndarray) -> Overlap:
    """Return the overlap of the given objects; all others become background.

    Pixels that are not annotated stay so.

    Parameters
    ----------
    table : Overlap
        Overlap of all objects.
    true_ids, pred_ids : ndarray of int, shape (n,)
        Ids of the true and of the predicted objects to keep.

    Raises
    ------
    TypeError, UserError
        Not an overlap, or not ids.
    """
    table = instance(table, "table", Overlap)
    true_ids = as_array(true_ids, "true_ids", ndim=1, kinds="iu", axes="(n,)")
    pred_ids = as_array(pred_ids, "pred_ids", ndim=1, kinds="iu", axes="(n,)")
    true = np.where(np.isin(table.true, true_ids) | (table.true < 0), table.true, 0)
    pred = np.where(np.isin(table.pred, pred_ids), table.pred, 0)
    return sum_overlaps([Overlap(true, pred, table.pixels)])
