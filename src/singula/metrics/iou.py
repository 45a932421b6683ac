"""Agreement of a predicted channel map with its target, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from singula.util.arguments import as_array, number, same_shape


@dataclass(frozen=True)
class Ratio:
    """Quotient of two sums over the pixels of a block or an image.

    Parameters
    ----------
    total : float
        Numerator; an exact integer if the summands are integers.
    count : int
        Denominator: a number of pixels.
    empty : float
        Value of the quotient if `count` is 0.
    """

    total: float
    count: int
    empty: float

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Return the quotient of the summed numerators and denominators of several blocks."""
        first, *others = parts
        return cls(
            first.total + sum(part.total for part in others),
            first.count + sum(part.count for part in others),
            first.empty,
        )

    @property
    def value(self) -> float:
        """Value of the quotient."""
        return float(self.total / self.count) if self.count else self.empty


def iou(truth: np.ndarray, pred: np.ndarray, threshold: float = 0.5) -> float:
    """Return the intersection over union (Jaccard index) of two binary maps.

    Parameters
    ----------
    truth, pred : ndarray
        Probabilities or {0, 1}, of the same shape, any number of axes.
    threshold : float
        Finite number; a pixel is foreground if its value is greater.

    Returns
    -------
    float
        In [0, 1]; 1 if both maps are empty.

    Raises
    ------
    TypeError, UserError
        Not arrays of the same shape, or not a threshold.
    """
    return iou_sums(truth, pred, threshold).value


def iou_sums(truth: np.ndarray, pred: np.ndarray, threshold: float = 0.5) -> Ratio:
    """Return the intersection and the union of two binary maps, which can be summed over blocks.

    Parameters
    ----------
    truth, pred : ndarray
        Probabilities or {0, 1}, of the same shape, any number of axes.
    threshold : float
        Finite number; a pixel is foreground if its value is greater.

    Raises
    ------
    TypeError, UserError
        Not arrays of the same shape, or not a threshold.
    """
    truth, pred = _maps(truth, pred)
    threshold = number(threshold, "threshold")
    in_truth, in_pred = truth > threshold, pred > threshold
    union = int(np.count_nonzero(in_truth | in_pred))
    return Ratio(int(np.count_nonzero(in_truth & in_pred)), union, empty=1.0)


def mae(truth: np.ndarray, pred: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Return the mean absolute error of a distance map, in the unit of the map.

    Parameters
    ----------
    truth, pred : ndarray
        Distances, of the same shape, any number of axes.
    mask : ndarray of bool, optional
        Pixels to compare, in the same shape; all by default.

    Returns
    -------
    float
        0 if there are no pixels to compare.

    Raises
    ------
    TypeError, UserError
        Not arrays of the same shape, or a mask that is not boolean.
    """
    return mae_sums(truth, pred, mask).value


def mae_sums(truth: np.ndarray, pred: np.ndarray, mask: np.ndarray | None = None) -> Ratio:
    """Return the sum of absolute errors and the number of pixels, which can be summed over blocks.

    Parameters
    ----------
    truth, pred : ndarray
        Distances, of the same shape, any number of axes.
    mask : ndarray of bool, optional
        Pixels to compare, in the same shape; all by default.

    Raises
    ------
    TypeError, UserError
        Not arrays of the same shape, or a mask that is not boolean.
    """
    truth, pred = _maps(truth, pred)
    if mask is not None:
        mask = as_array(mask, "mask", kinds="b")
        same_shape(truth, mask, "truth and mask")
        truth, pred = truth[mask], pred[mask]
    difference = np.subtract(truth, pred, dtype=np.float32)
    total = float(np.abs(difference, out=difference).sum(dtype=np.float64))
    return Ratio(total, truth.size, empty=0.0)


def _maps(truth: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, pred = as_array(truth, "truth"), as_array(pred, "pred")
    same_shape(truth, pred, "truth and pred")
    return truth, pred
