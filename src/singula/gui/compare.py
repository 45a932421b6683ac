"""Two results side by side: scores or numbers of objects, and the agreement of the objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy.typing as npt

from singula.errors import UserError
from singula.exports.sources import label_image_files
from singula.exports.tables import calibration
from singula.gui.guard import Guard
from singula.gui.overview import summarize_images
from singula.gui.pictures import Scene
from singula.gui.results import Results, check_instances, open_results
from singula.gui.run_search import PREDICTION_RECORD, search_runs
from singula.gui.segment import SegmentedImages, open_segmentation
from singula.gui.segment_models import model_name
from singula.gui.segment_process import read_prediction
from singula.io.formats.table import stem_of
from singula.metrics import match
from singula.metrics.summary import MEAN
from singula.runs.run import is_finished

Array = npt.NDArray[Any]
Compared = Results | SegmentedImages
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


def comparable_folders(guard: Guard) -> list[Path]:
    """Return the folders of finished runs and of predictions, the most recent of each first."""
    search = search_runs(guard)
    return [*filter(is_finished, search.runs), *search.predictions]


def open_compared(guard: Guard, folder: Path) -> Compared:
    """Open a finished run, or a prediction that the interface started.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the run, or of the label images.

    Raises
    ------
    UserError
        As for `open_results`, `check_instances` and `open_segmentation`.
    """
    if guard.allows(folder) and (folder / PREDICTION_RECORD).is_file():
        return open_segmentation(guard, folder)
    results = open_results(folder, guard)
    check_instances(results)
    return results


def describe_prediction(guard: Guard, folder: Path) -> str:
    """Return the name of a prediction with that of its model; empty for a run.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the label images, or of a run.
    """
    try:
        model = read_prediction(guard, folder).model
    except UserError:
        return ""
    return f"{guard.short(folder)}  (model: {model_name(guard, model)})"


def earlier_segmentation(guard: Guard, images: SegmentedImages) -> Path | None:
    """Return the most recent other prediction with an image of the same name, or None.

    Only names of files are compared, because reading the headers of all predictions takes long.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    images : SegmentedImages
        The prediction.
    """
    for other in search_runs(guard).predictions:
        try:
            if other != images.folder and any(
                stem_of(file) in images.sources for file in label_image_files(other)
            ):
                return other
        except UserError:  # without label images
            continue
    return None


def image_names(compared: Compared) -> list[str]:
    """Return the names of all images; those of a run begin with the worst."""
    if isinstance(compared, SegmentedImages):
        return list(compared.sources)
    return compared.run.image_names(compared.run.final_stage)


def common_images(first: Compared, second: Compared) -> list[str]:
    """Return the names of the images of both results, in the order of the second one."""
    names = set(image_names(first))
    return [name for name in image_names(second) if name in names]


def read_scene(compared: Compared, name: str) -> Scene:
    """Return an image with its objects.

    Parameters
    ----------
    compared : Results or SegmentedImages
        The results.
    name : str
        Name of the image.
    """
    if isinstance(compared, SegmentedImages):
        return compared.read(name)[0]
    stage = compared.run.final_stage
    instances = compared.instances(name, stage)
    return compared.scene(name, stage, instances.labels, calibration(instances))


def compare_counts(first: Compared, second: Compared) -> list[ScoreLine]:
    """Return the number and the median size of the objects of two predictions.

    Parameters
    ----------
    first, second : Results or SegmentedImages
        The results; without measurements of both, there are no lines.
    """
    if not (isinstance(first, SegmentedImages) and isinstance(second, SegmentedImages)):
        return []
    names = set(common_images(first, second))
    counts, sizes = [], []
    for each in (first, second):
        tables = {name: table for name, table in each.tables().items() if name in names}
        summaries = summarize_images(tables)
        if not summaries or any(summary.objects is None for summary in summaries):
            return []
        counts.append(sum(summary.objects or 0 for summary in summaries))
        areas = [area for summary in summaries for area in summary.sizes]
        sizes.append(f"{median(areas):.4g}" if areas else "")
    return [
        ScoreLine("objects found", str(counts[0]), str(counts[1]), 0.0),
        ScoreLine("median size of the objects (px)", sizes[0], sizes[1], 0.0),
    ]


def compare_scores(first: Compared, second: Compared, image: str | None = None) -> list[ScoreLine]:
    """Return the scores of two runs at all IoU thresholds of both; none for a prediction.

    Parameters
    ----------
    first, second : Results or SegmentedImages
        The results.
    image : str, optional
        Name of an image; by default, the mean over all images.
    """
    if isinstance(first, SegmentedImages) or isinstance(second, SegmentedImages):
        return []
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
