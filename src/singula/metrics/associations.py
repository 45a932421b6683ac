"""Matched, missed and false objects, as table columns and as a color image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from singula.metrics.matching import Match
from singula.util.arguments import as_array, instance, label_image, same_shape
from singula.util.process import compiled
from singula.util.sparse_labels import without_unannotated

_DENSE_LOOKUP = 1 << 24


def gt_columns(match: Match) -> dict[str, np.ndarray]:
    """Return the columns of ``<image>_th_<t>_gt_assoc.csv``: the true objects, sorted by id.

    Parameters
    ----------
    match : Match
        Matched objects of an image.

    Returns
    -------
    dict of str to ndarray
        ``gt_id``, ``pred_id`` and ``iou`` (both None for a missed object), ``tag`` (TP or FN).

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
    order = np.argsort(ids, kind="stable")  # both halves are sorted, so this merges them
    columns = {"gt_id": ids, "pred_id": pred, "iou": iou, "tag": tag}
    return {name: values[order] for name, values in columns.items()}


def fp_columns(match: Match) -> dict[str, np.ndarray]:
    """Return the column of ``<image>_th_<t>_fp.csv``: the false positives, sorted by id.

    Parameters
    ----------
    match : Match
        Matched objects of an image.

    Returns
    -------
    dict of str to ndarray
        ``pred_id``.

    Raises
    ------
    TypeError
        Not a match.
    """
    return {"pred_id": instance(match, "match", Match).extra}


def color_associations(truth: np.ndarray, pred: np.ndarray, match: Match) -> np.ndarray:
    """Color matched predictions green, missed objects red, and false predictions blue.

    Parameters
    ----------
    truth, pred : ndarray of int
        The label images that were matched, (y, x) or (z, y, x), or the same block of both.
    match : Match
        Matched objects of the images.

    Returns
    -------
    ndarray of uint8
        RGB, shape (y, x, 3) or (z, y, x, 3). Colors are added where objects overlap: magenta is a
        missed object that overlaps a false one, yellow a missed object that overlaps a matched
        prediction. Pixels of a matched true object outside of its prediction stay black.

    Raises
    ------
    TypeError, UserError
        Not label images of the same shape, or not a match.
    """
    truth, pred = without_unannotated(as_array(truth, "truth")), label_image(pred, "pred")
    truth = label_image(truth, "truth")
    same_shape(truth, pred, "truth and pred")
    match = instance(match, "match", Match)
    true_rows, red = _color_table(truth, {0: match.missed})
    pred_rows, green_blue = _color_table(pred, {1: match.pred_ids, 2: match.extra})
    picture = np.empty((truth.size, 3), np.uint8)
    compiled(_paint)(true_rows.ravel(), pred_rows.ravel(), red, green_blue, picture)
    return picture.reshape((*truth.shape, 3))


def _color_table(
    labels: np.ndarray, ids_of: Mapping[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as row numbers, and the color of each row.

    `ids_of` contains the ids to color in each color plane.
    """
    max_id = int(labels.max(initial=0))
    if max_id >= _DENSE_LOOKUP:
        import fastremap

        labels, rows = fastremap.renumber(labels, preserve_zero=True)
        original = np.fromiter(rows.keys(), np.uint64)
        number = np.fromiter(rows.values(), np.intp)
        ids_of = {p: number[np.isin(original, i.astype(np.uint64))] for p, i in ids_of.items()}
        max_id = len(rows)
    colors = np.zeros((max_id + 1, 3), np.uint8)
    for plane, ids in ids_of.items():
        colors[ids[ids <= max_id], plane] = 255
    return labels, colors


def _paint(truth: Any, pred: Any, red: Any, green_blue: Any, picture: Any) -> None:
    """Write the colors of both labels into each pixel; compiled.

    Parameters
    ----------
    truth, pred : unsigned int, (pixels,)
        Row numbers of the colors.
    red, green_blue : uint8, (rows, 3)
        Colors of the true and of the predicted objects.
    picture : uint8, (pixels, 3)
        Result.
    """
    for pixel in range(len(truth)):
        true_row, pred_row = truth[pixel], pred[pixel]
        picture[pixel, 0] = red[true_row, 0]
        picture[pixel, 1] = green_blue[pred_row, 1]
        picture[pixel, 2] = green_blue[pred_row, 2]
