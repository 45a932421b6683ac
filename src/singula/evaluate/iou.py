"""Agreement of a predicted channel map with its target, before any instance is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from singula.errors import UserError


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
    return iou_sums(truth, pred, threshold).value


def iou_sums(truth: np.ndarray, pred: np.ndarray, threshold: float = 0.5) -> Ratio:
    """What `iou` divides, for blocks of maps."""
    _same_shape(truth, pred)
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
    UserError
        If the shapes differ.
    """
    return mae_sums(truth, pred, mask).value


def mae_sums(truth: np.ndarray, pred: np.ndarray, mask: np.ndarray | None = None) -> Ratio:
    """What `mae` divides, for blocks of maps."""
    _same_shape(truth, pred)
    if mask is not None:
        _same_shape(truth, mask)
        truth, pred = truth[mask], pred[mask]
    difference = np.subtract(truth, pred, dtype=np.float32)
    total = float(np.abs(difference, out=difference).sum(dtype=np.float64))
    return Ratio(total, truth.size, empty=0.0)


def _same_shape(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape != second.shape:
        raise UserError(f"maps of shapes {first.shape} and {second.shape} cannot be compared")
