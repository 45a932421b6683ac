"""Matching of true and predicted objects, and the resulting scores.

The results equal those of StarDist's ``matching`` and ``matching_dataset`` (M. Weigert et al.,
2020), but are computed from a sparse table. As in StarDist, IoUs, their sums and
``mean_true_score`` have single precision. One difference: if neither the truth nor the prediction
contains objects, every score is 1, not 0.

An image without annotated pixels has no scores: its rates are NaN, and data sets leave it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import overload

import numpy as np

from singula.errors import UserError
from singula.labels.overlap import Overlap, annotated_part, overlap
from singula.util.arguments import (
    flag,
    instance,
    items,
    label_image,
    number,
    of_class,
    same_shape,
)
from singula.util.sparse_labels import sparse_label_image

RATES = (
    "precision",
    "recall",
    "accuracy",
    "f1",
    "panoptic_quality",
    "mean_matched_score",
    "mean_true_score",
)
COUNTS = ("tp", "fp", "fn", "n_true", "n_pred")


@dataclass(frozen=True, kw_only=True)
class Score:
    """Scores at one IoU threshold, of an image or a data set.

    Parameters
    ----------
    threshold : float
        Minimum IoU of a matched pair.
    tp, fp, fn : int
        Numbers of true positives (matched pairs), false positives (unmatched predicted objects) and
        false negatives (unmatched true objects).
    n_true, n_pred : int
        Numbers of true and of predicted objects.
    precision, recall, f1 : float
        ``tp / (tp + fp)``, ``tp / (tp + fn)``, ``2 tp / (2 tp + fp + fn)``.
    accuracy : float
        ``tp / (tp + fp + fn)``, also known as average precision.
    panoptic_quality : float
        ``sum of matched IoUs / (tp + fp / 2 + fn / 2)`` (A. Kirillov et al., CVPR 2019, eq. 1).
    mean_matched_score, mean_true_score : float
        Sum of matched IoUs divided by `tp`, and by `n_true`.
    n_images : int
        Number of annotated images. For an image without annotated pixels, it is 0, and all rates
        are NaN.
    """

    threshold: float
    tp: int
    fp: int
    fn: int
    n_true: int
    n_pred: int
    precision: float
    recall: float
    accuracy: float
    f1: float
    panoptic_quality: float
    mean_matched_score: float
    mean_true_score: float
    n_images: int


@dataclass(frozen=True, kw_only=True)
class Match(Score):
    """Scores of one image with its matched and unmatched objects.

    Parameters
    ----------
    true_ids, pred_ids, ious : ndarray, shape (tp,)
        The matched pairs, sorted by true id.
    missed : ndarray of int, shape (fn,)
        Unmatched true ids.
    extra : ndarray of int, shape (fp,)
        Unmatched predicted ids.
    """

    true_ids: np.ndarray = field(compare=False, repr=False)
    pred_ids: np.ndarray = field(compare=False, repr=False)
    ious: np.ndarray = field(compare=False, repr=False)
    missed: np.ndarray = field(compare=False, repr=False)
    extra: np.ndarray = field(compare=False, repr=False)


@overload
def match(y_true: np.ndarray, y_pred: np.ndarray, thresholds: float) -> Match: ...
@overload
def match(
    y_true: np.ndarray, y_pred: np.ndarray, thresholds: Sequence[float] = ...
) -> list[Match]: ...
def match(
    y_true: np.ndarray, y_pred: np.ndarray, thresholds: float | Sequence[float] = (0.3, 0.5, 0.75)
) -> Match | list[Match]:
    """Match the objects of two label images one to one and score the result.

    Parameters
    ----------
    y_true, y_pred : ndarray of int
        Ground truth and prediction: label images of the same shape, any number of axes, 0 the
        background; ids need not be consecutive. Pixels with -1 in `y_true` are not annotated, if 0
        occurs too: they are excluded, and so are predicted objects of which at least half of the
        pixels are excluded.
    thresholds : float or sequence of float
        Minimum IoU of a matched pair, in (0, 1].

    Returns
    -------
    Match or list of Match
        One match for a single threshold, a list for a sequence.

    Raises
    ------
    TypeError, UserError
        Not label images of the same shape, or not thresholds.

    Notes
    -----
    The number of pairs is maximal and, among all such matchings, the total IoU.

    Examples
    --------
    >>> import numpy as np, singula
    >>> y_true = np.array([[1, 1, 1, 1, 0, 2, 2, 0]])
    >>> y_pred = np.array([[5, 5, 5, 0, 0, 0, 7, 7]])
    >>> result = singula.match(y_true, y_pred, 0.5)
    >>> result.tp, result.fp, result.fn, result.f1
    (1, 1, 1, 0.5)
    >>> result.true_ids.tolist(), result.pred_ids.tolist(), result.ious.tolist()
    ([1], [5], [0.75])
    >>> [round(each.f1, 2) for each in singula.match(y_true, y_pred, (0.3, 0.5, 0.75))]
    [1.0, 0.5, 0.5]
    """
    y_true = sparse_label_image(y_true, "y_true", ndim=None)
    y_pred = label_image(y_pred, "y_pred", ndim=None)
    same_shape(y_true, y_pred, "y_true and y_pred")
    single = isinstance(thresholds, Real) or getattr(thresholds, "shape", None) == ()
    checked = _thresholds([thresholds] if single else thresholds)
    matches = match_overlap(overlap(y_true, y_pred), checked)
    return matches[0] if single else matches


def match_overlap(table: Overlap, thresholds: Sequence[float] = (0.3, 0.5, 0.75)) -> list[Match]:
    """Match the objects of an overlap table, such as the sum over blocks; see `match`.

    Parameters
    ----------
    table : Overlap
        Overlap of the true and the predicted objects; only its `annotated_part` is matched.
    thresholds : sequence of float
        Minimum IoU of a matched pair, in (0, 1].

    Raises
    ------
    TypeError, UserError
        Not an overlap, or not thresholds.
    """
    n_images = int(instance(table, "table", Overlap).is_annotated)
    table, thresholds = annotated_part(table), _thresholds(thresholds)
    all_true, true = np.unique(table.true, return_inverse=True)
    all_pred, pred = np.unique(table.pred, return_inverse=True)
    true_size = np.bincount(true, table.pixels, len(all_true))
    pred_size = np.bincount(pred, table.pixels, len(all_pred))
    real = (table.true > 0) & (table.pred > 0)
    true, pred, shared = true[real], pred[real], table.pixels[real]
    iou = (shared / (true_size[true] + pred_size[pred] - shared)).astype(np.float32)
    n_true, n_pred = int(np.count_nonzero(all_true)), int(np.count_nonzero(all_pred))

    matches = []
    for threshold in thresholds:
        chosen = _assign(true, pred, iou, np.float32(threshold), min(n_true, n_pred))
        missed, extra = all_true > 0, all_pred > 0
        missed[true[chosen]] = False
        extra[pred[chosen]] = False
        tp = len(chosen)
        matches.append(
            Match(
                threshold=float(threshold),
                tp=tp,
                fp=n_pred - tp,
                fn=n_true - tp,
                n_true=n_true,
                n_pred=n_pred,
                n_images=n_images,
                **_rates(tp, n_pred - tp, n_true - tp, np.sum(iou[chosen]), n_images),
                true_ids=all_true[true[chosen]],
                pred_ids=all_pred[pred[chosen]],
                ious=iou[chosen],
                missed=all_true[missed],
                extra=all_pred[extra],
            )
        )
    return matches


def _thresholds(values: object) -> tuple[float, ...]:
    return items(values, "thresholds", partial(number, above=0, at_most=1))


def match_dataset(matches: Iterable[Sequence[Score]], by_image: bool = False) -> list[Score]:
    """Return the scores of a data set.

    Parameters
    ----------
    matches : iterable of sequence of Score
        Results of `match` for each image, all at the same thresholds. Images without annotated
        pixels (`n_images` is 0) are left out.
    by_image : bool
        True: rates are means over images. False: rates are computed from the objects of all images.

    Returns
    -------
    list of Score
        One per threshold. Counts are sums over images in both cases.

    Raises
    ------
    TypeError
        Not scores.
    UserError
        ``evaluate.no_image``: no images; ``evaluate.thresholds``: different thresholds.
    """
    images = items(matches, "matches", partial(items, check=of_class(Score)))
    by_image = flag(by_image, "by_image")
    if not images:
        raise UserError(
            "matches: got no image to score", "pass at least one image", "evaluate.no_image"
        )
    thresholds = [score.threshold for score in images[0]]
    if any([score.threshold for score in image] != thresholds for image in images):
        raise UserError(
            "matches: got images that were matched at different thresholds",
            "match all images at the same thresholds",
            "evaluate.thresholds",
        )
    result = []
    for threshold, of_images in zip(thresholds, zip(*images, strict=True), strict=True):
        scores = [score for score in of_images if score.n_images]
        tp, fp, fn = (sum(getattr(s, name) for s in scores) for name in COUNTS[:3])
        if by_image and scores:
            rates = {name: _mean([getattr(s, name) for s in scores], name) for name in RATES}
        else:
            sums = [np.float32(s.mean_true_score) * np.float32(s.n_true) for s in scores]
            rates = _rates(tp, fp, fn, _single_sum(sums), len(scores))
        result.append(
            Score(
                threshold=threshold,
                tp=tp,
                fp=fp,
                fn=fn,
                n_true=tp + fn,
                n_pred=tp + fp,
                n_images=len(scores),
                **rates,
            )
        )
    return result


def _assign(
    true: np.ndarray, pred: np.ndarray, iou: np.ndarray, threshold: np.float32, n_matchable: int
) -> np.ndarray:
    """Return the indices of the chosen pairs, sorted by true id.

    The optimum is that of StarDist: the largest number of pairs that reach the threshold, then the
    largest total IoU of all assigned pairs, including those below the threshold. Pairs whose
    objects have no other candidate are settled. Of the other pairs, only connected groups that
    contain a pair above the threshold matter.
    """
    good = iou >= threshold
    n_true, n_pred = true.max(initial=-1) + 1, pred.max(initial=-1) + 1
    rivals_true = np.bincount(true[good], minlength=n_true)
    rivals_pred = np.bincount(pred[good], minlength=n_pred)
    settled = good & (rivals_true[true] == 1) & (rivals_pred[pred] == 1)
    if np.array_equal(settled, good):
        return np.flatnonzero(good)
    free_true, free_pred = np.ones(n_true, bool), np.ones(n_pred, bool)
    free_true[true[settled]] = False
    free_pred[pred[settled]] = False
    rest = np.flatnonzero(free_true[true] & free_pred[pred])
    rest = rest[_in_contested_group(true[rest], pred[rest], good[rest])]
    gain = good[rest] + (iou[rest] / (2 * n_matchable)).astype(np.float64)
    picked = rest[_best_assignment(true[rest], pred[rest], gain)]
    return np.sort(np.concatenate([np.flatnonzero(settled), picked[good[picked]]]))


def _in_contested_group(true: np.ndarray, pred: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Return a mask of the pairs in connected groups that contain a pair above the threshold."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_true, size = true.max() + 1, true.max() + pred.max() + 2
    graph = coo_array((np.ones(len(true), bool), (true, n_true + pred)), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    contested = np.zeros(size, bool)
    contested[group[true[good]]] = True
    mask: np.ndarray = contested[group[true]]
    return mask


def _best_assignment(true: np.ndarray, pred: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return the indices of the one-to-one pairs with the largest total gain (each below 2)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, row = np.unique(true, return_inverse=True)
    columns, column = np.unique(pred, return_inverse=True)
    n, m = len(rows), len(columns)
    # An additional column per row represents "no partner", without gain.
    pairs = (np.r_[row, np.arange(n)], np.r_[column, m + np.arange(n)])
    cost = csr_array((np.r_[2 - gain, np.full(n, 2.0)], pairs), shape=(n, m + n))
    _, partner = min_weight_full_bipartite_matching(cost)
    chosen: np.ndarray = np.flatnonzero(partner[row] == column)
    return chosen


def _rates(tp: int, fp: int, fn: int, iou_sum: np.float32, n_images: int) -> dict[str, float]:
    if not n_images:
        return dict.fromkeys(RATES, math.nan)
    if tp + fp + fn == 0:
        return dict.fromkeys(RATES, 1.0)
    return {
        "precision": tp / (tp + fp) if tp else 0.0,
        "recall": tp / (tp + fn) if tp else 0.0,
        "accuracy": tp / (tp + fp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "panoptic_quality": float(iou_sum) / (tp + fp / 2 + fn / 2),
        "mean_matched_score": float(iou_sum) / tp if tp else 0.0,
        "mean_true_score": float(np.float32(iou_sum / (tp + fn))) if tp else 0.0,
    }


def _mean(values: list[float], name: str) -> float:
    if name == "mean_true_score":
        return float(_single_sum(values) / np.float32(len(values)))
    return sum(values) / len(values)


def _single_sum(values: Sequence[float | np.float32]) -> np.float32:
    """Return the sum in single precision, image by image in order, as in StarDist."""
    return np.float32(np.cumsum(np.asarray([0, *values], np.float32))[-1])
