"""Who was matched with whom: table rows and a coloured picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from singula.arguments import instance, label_image, same_shape
from singula.evaluate.matching import Match
from singula.runtime import compiled

_DENSE_LOOKUP = 1 << 24


def gt_columns(match: Match) -> dict[str, np.ndarray]:
    """Columns of ``<image>_th_<t>_gt_assoc.csv``: every true object, in order of its id.

    Parameters
    ----------
    match : Match

    Returns
    -------
    dict of str to ndarray
        ``gt_id``, ``pred_id`` and ``iou`` (None for a missed object), ``tag`` (TP or FN).

    Raises
    ------
    TypeError
        Not a match.
    """
    match = instance(match, "match", Match)
    ids = np.concatenate([match.true_ids, match.missed])
    pred, iou = np.full((2, len(ids)), None)
    pred[: match.tp], iou[: match.tp] = match.pred_ids, match.ious.astype(float)
    tag = np.repeat(["TP", "FN"], [match.tp, match.fn])
    order = np.argsort(ids, kind="stable")  # two that are sorted are merged
    columns = {"gt_id": ids, "pred_id": pred, "iou": iou, "tag": tag}
    return {name: values[order] for name, values in columns.items()}


def fp_columns(match: Match) -> dict[str, np.ndarray]:
    """Columns of ``<image>_th_<t>_fp.csv``: the predicted objects without partner, by id."""
    return {"pred_id": instance(match, "match", Match).extra}


def colour_associations(truth: np.ndarray, pred: np.ndarray, match: Match) -> np.ndarray:
    """Paint matched predictions green, missed objects red, false predictions blue.

    Parameters
    ----------
    truth, pred : ndarray of int
        The label images that were matched, (y, x) or (z, y, x), or one block of both.
    match : Match

    Returns
    -------
    ndarray of uint8
        RGB, shape (y, x, 3) or (z, y, x, 3). Colours add up where objects overlap: magenta is a
        missed object under a false one, yellow a missed object under a matched prediction.
        Pixels of a matched true object that its prediction does not cover stay black.

    Raises
    ------
    TypeError, UserError
        Not label images of one shape, or not a match.
    """
    truth, pred = label_image(truth, "truth"), label_image(pred, "pred")
    same_shape(truth, pred, "truth and pred")
    match = instance(match, "match", Match)
    true_rows, red = _colour_table(truth, {0: match.missed})
    pred_rows, green_blue = _colour_table(pred, {1: match.pred_ids, 2: match.extra})
    picture = np.empty((truth.size, 3), np.uint8)
    compiled(_paint)(true_rows.ravel(), pred_rows.ravel(), red, green_blue, picture)
    return picture.reshape((*truth.shape, 3))


def _colour_table(
    labels: np.ndarray, ids_of: Mapping[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as row numbers, and the colour of each row: the given ids, in their planes."""
    largest = int(labels.max(initial=0))
    if largest >= _DENSE_LOOKUP:
        import fastremap

        labels, rows = fastremap.renumber(labels, preserve_zero=True)
        met = np.fromiter(rows.keys(), np.uint64)
        number = np.fromiter(rows.values(), np.intp)
        ids_of = {p: number[np.isin(met, i.astype(np.uint64))] for p, i in ids_of.items()}
        largest = len(rows)
    colours = np.zeros((largest + 1, 3), np.uint8)
    for plane, ids in ids_of.items():
        colours[ids[ids <= largest], plane] = 255
    return labels, colours


def _paint(truth: Any, pred: Any, red: Any, green_blue: Any, picture: Any) -> None:
    """Put the colours of both labels into each pixel; compiled."""
    for pixel in range(len(truth)):
        one, two = truth[pixel], pred[pixel]
        picture[pixel, 0] = red[one, 0]
        picture[pixel, 1] = green_blue[two, 1]
        picture[pixel, 2] = green_blue[two, 2]
