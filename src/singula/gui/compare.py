"""Scores of two runs side by side, and the agreement of their objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from singula.gui.results import Results
from singula.metrics import match
from singula.metrics.summary import MEAN

Array = npt.NDArray[Any]
_TITLES = {
    "f1": "detection score (F1)",
    "panoptic_quality": "panoptic quality",
    "n_true": "objects in your labels",
    "n_pred": "objects found",
    "fn": "missed",
    "fp": "not in your labels",
}
_COUNTS = {"n_true", "n_pred", "fn", "fp"}
# Fewer missed and false objects are better.
_SIGNS = {"f1": 1, "panoptic_quality": 1, "fn": -1, "fp": -1}


@dataclass(frozen=True)
class ScoreLine:
    """A score of two runs.

    Parameters
    ----------
    title : str
        Name of the score.
    first, second : str
        Scores of both runs as text; empty if there is none.
    gain : float
        Positive if the second run is better, negative if it is worse.
    """

    title: str
    first: str
    second: str
    gain: float


def common_images(first: Results, second: Results) -> list[str]:
    """Return the names of the images of both runs, the worst of the second run first."""
    names = set(first.run.image_names(first.run.final_stage))
    return [n for n in second.run.image_names(second.run.final_stage) if n in names]


def compare_scores(first: Results, second: Results, image: str | None = None) -> list[ScoreLine]:
    """Return the scores of two runs at all IoU thresholds of both.

    Parameters
    ----------
    first, second : Results
        The runs.
    image : str, optional
        Name of an image; by default, the mean over all images.
    """
    lines = []
    stages = [results.run.final_stage.key for results in (first, second)]
    scores = [results.run.scores for results in (first, second)]
    thresholds = [each.thresholds(stage) for each, stage in zip(scores, stages, strict=True)]
    shared = [t for t in thresholds[0] if t in thresholds[1]]
    reference = first.run.threshold(first.run.final_stage)
    for threshold in shared:
        rows = [
            each.row(stage, image or MEAN, threshold)
            for each, stage in zip(scores, stages, strict=True)
        ]
        names = ["f1"] if threshold != reference else list(_TITLES)
        for name in names:
            a, b = (row.get(name) for row in rows)
            if a is None and b is None:
                continue
            at = "" if name in ("n_true", "n_pred") else f" at IoU {threshold:g}"
            gain = 0.0 if a is None or b is None else _SIGNS.get(name, 0) * round(b - a, 3)
            lines.append(ScoreLine(_TITLES[name] + at, _text(name, a), _text(name, b), gain))
    return lines


def _text(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if name in _COUNTS else f"{value:.3f}"


def compare_objects(first: Array, second: Array) -> dict[str, int]:
    """Count the objects of two label images that match at an IoU of at least 0.5.

    Parameters
    ----------
    first, second : ndarray of int
        Label images of the same shape.

    Returns
    -------
    dict
        ``both``, ``first`` and ``second``: objects of both images, and of only one.
    """
    pairs = match(first, second, (0.5,))[0]
    return {"both": pairs.tp, "first": pairs.fn, "second": pairs.fp}
