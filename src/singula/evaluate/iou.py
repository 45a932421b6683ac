"""Agreement of a predicted channel map with its target, before any instance is made."""

from __future__ import annotations

import numpy as np

from singula.errors import UserError


def iou(truth: np.ndarray, pred: np.ndarray, threshold: float = 0.5) -> float:
    """Intersection over union (Jaccard index) of two binary maps.

    Parameters
    ----------
    truth, pred : ndarray
        Of one shape, any number of axes: probabilities or {0, 1}.
    threshold : float
        A pixel belongs to a map where its value is above this.

    Returns
    -------
    float
        In [0, 1]; 1 where both maps are empty.

    Raises
    ------
    UserError
        If the shapes differ.
    """
    _same_shape(truth, pred)
    in_truth, in_pred = truth > threshold, pred > threshold
    union = np.count_nonzero(in_truth | in_pred)
    return float(np.count_nonzero(in_truth & in_pred) / union) if union else 1.0


def mae(truth: np.ndarray, pred: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean absolute error of a distance map, in its own units.

    Parameters
    ----------
    truth, pred : ndarray
        Of one shape.
    mask : ndarray of bool, optional
        Pixels to look at; all by default.

    Returns
    -------
    float
        0 where there is no pixel to look at.

    Raises
    ------
    UserError
        If the shapes differ.
    """
    _same_shape(truth, pred)
    if mask is not None:
        _same_shape(truth, mask)
        truth, pred = truth[mask], pred[mask]
    if truth.size == 0:
        return 0.0
    difference = np.subtract(truth, pred, dtype=np.float32)
    return float(np.abs(difference, out=difference).mean(dtype=np.float64))


def _same_shape(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape != second.shape:
        raise UserError(f"maps of shapes {first.shape} and {second.shape} cannot be compared")
