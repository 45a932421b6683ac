"""Images, steps and results of a search of thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from singula.metrics import Match, Score
from singula.util.arguments import choice, number

Array = npt.NDArray[Any]
Maps = Mapping[str, Array]
Spacing = tuple[float, ...] | None
METRICS = {"pq": "panoptic_quality", "f1": "f1"}


@dataclass(frozen=True)
class Example:
    """Image with ground truth.

    Parameters
    ----------
    name : str
        Name of the image.
    shape : tuple of int
        Spatial shape, (y, x) or (z, y, x).
    read : callable
        Function that returns the predicted maps by channel name, and the ground truth, in which -1
        is not annotated.
    spacing : tuple of float, optional
        Configured size of a pixel, for morphology.
    sizes : tuple of float, optional
        Size of a pixel, from the configuration or else from the image.
    weight : float
        Weight of the image in the objective of the search.
    training : bool
        The network was trained on the image. It counts in the objective of the search, but not in
        the reported scores.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], tuple[Maps, Array]]
    spacing: Spacing = None
    sizes: Spacing = None
    weight: float = 1.0
    training: bool = False


@dataclass(frozen=True)
class Steps:
    """Steps before and after the watershed; None omits a step.

    Parameters
    ----------
    seeds : callable, optional
        Function from (seeds, size of a pixel) to the filtered seeds.
    instances : callable, optional
        Function from (labels, maps, size of a pixel) to the final labels.
    """

    seeds: Callable[[Array, Spacing], Array] | None = None
    instances: Callable[[Array, Maps, Spacing], Array] | None = None


@dataclass(frozen=True)
class Trial:
    """Thresholds with their scores.

    Parameters
    ----------
    thresholds : dict
        Thresholds by key without prefix, such as ``{"TH_CONTOUR": 0.5, "REMOVE_SMALL_OBJ": 20}``.
    value : float
        Objective of the search: weighted mean over the images with annotated pixels.
    score : Score
        Mean scores of the images that the network was not trained on.
    images : tuple of Match
        Scores of each image.
    """

    thresholds: dict[str, Any]
    value: float
    score: Score
    images: tuple[Match, ...] = field(repr=False)


def check_goal(metric: str, iou: float) -> None:
    """Validate the objective of a search.

    Parameters
    ----------
    metric : {"pq", "f1"}
        Panoptic quality or F1.
    iou : float
        Minimum IoU of a true positive.

    Raises
    ------
    TypeError, UserError
        The metric is unknown, or the IoU is not a number in (0, 1].
    """
    choice(metric, "--metric", METRICS)
    number(iou, "--iou", above=0, at_most=1)
