"""List of the built-in models and of the runs below a folder, for `singula models`."""

from __future__ import annotations

import logging
from pathlib import Path

from singula.errors import UserError
from singula.metrics.summary import MEAN
from singula.runs.run import SUMMARY, Run, open_run
from singula.util.format import counted
from singula.util.paths import user_path
from singula.zoo.models import BuiltInModel, built_in_models

_log = logging.getLogger(__name__)
_MAX_DEPTH = 6  # of a run below the folder


def model_lines(folder: Path | None = None) -> list[str]:
    """Describe the built-in models, and the runs below a folder.

    Parameters
    ----------
    folder : Path, optional
        Folder of runs; None for built-in models only. A run that cannot be read is skipped, with a
        warning.

    Returns
    -------
    list of str
        For each model its name, training data, object size, scores and license.
    """
    lines = [line for model in built_in_models().values() for line in _built_in_lines(model)]
    if folder is None:
        return lines
    folder = user_path(folder, "FOLDER", "folder")
    depths = range(_MAX_DEPTH + 1)
    runs = sorted(p.parent for depth in depths for p in folder.glob("*/" * depth + SUMMARY))
    if not runs:
        return [*lines, f"no finished run in {folder}"]
    for path in runs:
        try:
            lines += _run_lines(open_run(path))
        except UserError as error:
            _log.warning(f"{path}: is skipped: {error.message}")
    return lines


def _built_in_lines(model: BuiltInModel) -> list[str]:
    card = model.card
    scores = ", ".join(f"{name} {value:.3f}" for name, value in card.scores.items())
    return [
        f"{model.name}: {card.title}",
        f"  images: {card.images}",
        f"  trained on: {card.training_data}",
        f"  object size: {card.object_size:g} pixels (median diameter)",
        f"  scores on {card.scored_on}: {scores or 'not measured'}",
        f"  license: {card.license}",
    ]


def _run_lines(run: Run) -> list[str]:
    configuration = run.summary.configuration
    stage = run.stages[-1] if run.stages else None
    threshold = None if stage is None else run.threshold(stage)
    score = "not measured"
    if stage is not None and threshold is not None:
        f1 = run.scores.row(stage.key, MEAN, threshold).get("f1")
        images = counted(len(run.scores.images(stage.key)), "test image")
        if f1 is not None:
            score = f"F1 {f1:.3f} at IoU {threshold:g}, mean over {images}"
    return [
        f"{run.tree.run}",
        f"  trained on: {configuration.get('DATA.TRAIN.PATH', 'unknown')}",
        f"  object size: {_object_size(run)}",
        f"  scores: {score}",
    ]


def _object_size(run: Run) -> str:
    """Return the object size that is stored in the checkpoint of a run."""
    from singula.inference import find_model
    from singula.pipeline.object_size import TrainedObjects
    from singula.training.checkpoint import load_checkpoint

    try:
        size = TrainedObjects.of(load_checkpoint(find_model(run.tree.run)).description).size
    except UserError:
        return "unknown (the run has no checkpoint)"
    if size is None:
        return "unknown"
    return f"{size[-1]:.3g} pixels (median diameter)"
