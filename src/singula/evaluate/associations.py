"""Who was matched with whom: table rows and a coloured picture."""

from __future__ import annotations

import numpy as np

from singula.errors import UserError
from singula.evaluate.matching import Match
from singula.evaluate.overlap import check_labels

GT_COLUMNS = ("gt_id", "pred_id", "iou", "tag")
FP_COLUMNS = ("pred_id",)
_DENSE_LOOKUP = 1 << 24


def gt_rows(match: Match) -> list[dict[str, object]]:
    """Rows of ``<image>_th_<t>_gt_assoc.csv``: every true object, in order of its id.

    Parameters
    ----------
    match : Match

    Returns
    -------
    list of dict
        ``gt_id``, ``pred_id`` and ``iou`` (None for a missed object), ``tag`` (TP or FN).
    """
    partners = zip(match.pred_ids.tolist(), match.ious.tolist(), strict=True)
    found = dict(zip(match.true_ids.tolist(), partners, strict=True))
    rows: list[dict[str, object]] = []
    for gt in sorted([*found, *match.missed.tolist()]):
        pred, iou = found.get(gt, (None, None))
        rows.append({"gt_id": gt, "pred_id": pred, "iou": iou, "tag": "TP" if pred else "FN"})
    return rows


def fp_rows(match: Match) -> list[dict[str, object]]:
    """Rows of ``<image>_th_<t>_fp.csv``: the predicted objects without partner, by id."""
    return [{"pred_id": pred} for pred in match.extra.tolist()]


def colour_associations(truth: np.ndarray, pred: np.ndarray, match: Match) -> np.ndarray:
    """Paint matched predictions green, missed objects red, false predictions blue.

    Parameters
    ----------
    truth, pred : ndarray of int
        The label images that were matched, (y, x) or (z, y, x).
    match : Match

    Returns
    -------
    ndarray of uint8
        RGB, shape (y, x, 3) or (z, y, x, 3). Colours add up where objects overlap: magenta is a
        missed object under a false one, yellow a missed object under a matched prediction.
        Pixels of a matched true object that its prediction does not cover stay black.

    Raises
    ------
    UserError
        If the images differ in shape or hold no labels.
    """
    truth, pred = check_labels(truth, "truth"), check_labels(pred, "prediction")
    if truth.shape != pred.shape:
        raise UserError(f"truth has the shape {truth.shape}, the prediction {pred.shape}")
    picture = np.empty((*truth.shape, 3), np.uint8)
    picture[..., 0] = _paint(truth, match.missed)
    picture[..., 1] = _paint(pred, match.pred_ids)
    picture[..., 2] = _paint(pred, match.extra)
    return picture


def _paint(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    largest = int(labels.max(initial=0))
    if largest >= _DENSE_LOOKUP:
        import fastremap

        labels, new_ids = fastremap.renumber(labels, preserve_zero=True)
        ids = np.array([new_ids[i] for i in ids.tolist() if i in new_ids], np.intp)
        largest = len(new_ids)
    lookup = np.zeros(largest + 1, np.uint8)
    lookup[ids] = 255
    return np.take(lookup, labels)
