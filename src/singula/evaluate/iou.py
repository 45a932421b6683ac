"""Agreement of a predicted channel map with its target, before any instance is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from singula.arguments import as_array, number, same_shape


@dataclass(frozen=True)
class Ratio:
    """A score that is a quotient of two sums over pixels, of a block or of an image.

    Parameters
    ----------
    total : float
        What is summed up; whole numbers stay whole.
    count : int
        Pixels that it is divided by.
    empty : float
        The score where there are none.
    """

    total: float
    count: int
    empty: float

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """The sums of several blocks."""
        first, *others = parts
        return cls(
            first.total + sum(part.total for part in others),
            first.count + sum(part.count for part in others),
            first.empty,
        )

    @property
    def value(self) -> float:
        """The score."""
        return float(self.total / self.count) if self.count else self.empty


def iou(truth: np.ndarray, pred: np.ndarray, threshold: float = 0.5) -> float:
    """Intersection over union (Jaccard index) of two binary maps.

    Parameters
    ----------
    truth, pred : ndarray
        Of one shape, any number of axes: probabilities or {0, 1}.
    threshold : float
        A pixel belongs to a map where its value is above this, a finite number.

    Returns
    -------
    float
        In [0, 1]; 1 where both maps are empty.

    Raises
    ------
    TypeError, UserError
        Not arrays of one shape, or not a threshold.
    """
    return iou_sums(truth, pred, threshold).value


def iou_sums(truth: np.ndarray, pred: np.ndarray, threshold: float = 0.5) -> Ratio:
    """What `iou` divides, for blocks of maps; arguments and errors as of `iou`."""
    truth, pred = _maps(truth, pred)
    threshold = number(threshold, "threshold")
    in_truth, in_pred = truth > threshold, pred > threshold
    union = int(np.count_nonzero(in_truth | in_pred))
    return Ratio(int(np.count_nonzero(in_truth & in_pred)), union, empty=1.0)


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
    TypeError, UserError
        Not arrays of one shape, or a mask of another type than bool.
    """
    return mae_sums(truth, pred, mask).value


def mae_sums(truth: np.ndarray, pred: np.ndarray, mask: np.ndarray | None = None) -> Ratio:
    """What `mae` divides, for blocks of maps; arguments and errors as of `mae`."""
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
