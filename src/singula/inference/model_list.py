"""List of the built-in models and of the runs below a folder."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from singula.errors import UserError
from singula.inference.load_model import find_model
from singula.metrics.summary import MEAN
from singula.pipeline.object_size import TrainedObjects
from singula.pipeline.thresholds import apply_tuned
from singula.runs.run import SUMMARY, Run, open_run
from singula.training.checkpoint import load_checkpoint
from singula.util.format import counted
from singula.util.paths import user_path
from singula.zoo.models import BuiltInModel, built_in_models

_log = logging.getLogger(__name__)
_MAX_DEPTH = 6  # of a run below the folder
_WIDTH, _INDENT = 79, 15  # characters of a line, and of the names of the fields


@dataclass(frozen=True, repr=False)
class ModelInfo:
    """Description of a built-in model or a run.

    Parameters
    ----------
    name : str
        Name for `singula.load` and ``--model``: of a built-in model, or the folder of a run.
    title : str
        What the model finds; empty for a run.
    images : str
        Images that the model is made for; empty for a run.
    training_data : str
        Training images; the folder for a run.
    object_size : float, optional
        Median diameter of the training objects, in pixels; None if it is unknown.
    scores : dict of str to float
        Scores by name, such as ``F1 at IoU 0.5, mean over images``; empty if not measured.
    scored_on : str
        Images of the scores.
    license : str
        License of a built-in model; empty for a run.
    """

    name: str
    title: str = ""
    images: str = ""
    training_data: str = "unknown"
    object_size: float | None = None
    scores: dict[str, float] | None = None
    scored_on: str = ""
    license: str = ""

    def __repr__(self) -> str:
        """Return the description as lines of at most 79 characters."""
        size = "unknown"
        if self.object_size is not None:
            size = f"{self.object_size:.3g} pixels (median diameter)"
        scores = [f"{value:.3f}  {name}" for name, value in (self.scores or {}).items()]
        fields = {
            "images": [self.images],
            "trained on": [self.training_data],
            "object size": [size],
            "scored on": [self.scored_on],
            "scores": scores or ["not measured"],
            "license": [self.license],
        }
        lines = [f"{self.name}: {self.title}" if self.title else self.name]
        for name, values in fields.items():
            texts = [line for value in values for line in _wrapped(value)]
            for number, text in enumerate(texts):
                lines.append(f"  {name if number == 0 else '':{_INDENT - 2}}{text}")
        return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return wrap(text, _WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False)


class ModelList(list[ModelInfo]):
    """List of models, which is displayed as a table."""

    def __repr__(self) -> str:
        """Return the descriptions of all models."""
        return "\n\n".join(map(repr, self))


def list_models(folder: Path | str | None = None) -> ModelList:
    """List the built-in models, and the finished runs below a folder.

    Parameters
    ----------
    folder : Path or str, optional
        Folder of runs; by default, only built-in models are listed. Hidden folders, such as the
        trash of the interface, are skipped. A run that cannot be read is skipped, with a warning.

    Returns
    -------
    list of ModelInfo
        Built-in models, then runs sorted by depth and name. The list is displayed as text.

    Raises
    ------
    TypeError, UserError
        `folder` is not a path, or cannot be used.

    Examples
    --------
    >>> import singula
    >>> models = singula.list_models()
    >>> [model.name for model in models][0]
    'nuclei'
    """
    models = ModelList(describe_built_in(model) for model in built_in_models().values())
    if folder is None:
        return models
    folder = user_path(folder, "folder", "folder")
    depths = range(_MAX_DEPTH + 1)
    for path in sorted(p.parent for depth in depths for p in folder.glob("*/" * depth + SUMMARY)):
        if any(part[0] == "." for part in path.relative_to(folder).parts):
            continue  # deleted in the interface
        try:
            models.append(describe_run(open_run(path)))
        except UserError as error:
            _log.warning(f"{path}: is skipped: {error.message}")
    return models


def describe_built_in(model: BuiltInModel) -> ModelInfo:
    """Return the description of a built-in model."""
    card = model.card
    return ModelInfo(
        model.name,
        card.title,
        card.images,
        card.training_data,
        card.object_size,
        card.scores,
        card.scored_on,
        card.license,
    )


def describe_run(run: Run) -> ModelInfo:
    """Return the description of a finished run."""
    data = str(run.summary.configuration.get("DATA.TRAIN.PATH", "unknown"))
    scores, scored_on = {}, ""
    stage = run.final_stage if run.stages else None
    threshold = None if stage is None else run.threshold(stage)
    if stage is not None and threshold is not None:
        f1 = run.scores.row(stage.key, MEAN, threshold).get("f1")
        if f1 is not None:
            scores = {f"F1 at IoU {threshold:g}, mean over images": f1}
            scored_on = counted(len(run.scores.images(stage.key)), "test image")
    size, is_scored = _read_checkpoint(run)
    if scored_on and not is_scored:
        scored_on += ", with other thresholds than the model has now"
    return ModelInfo(
        str(run.tree.run),
        training_data=data,
        object_size=size,
        scores=scores,
        scored_on=scored_on,
    )


def _read_checkpoint(run: Run) -> tuple[float | None, bool]:
    """Read the checkpoint of a run, if possible.

    Parameters
    ----------
    run : Run
        Finished run.

    Returns
    -------
    size : float, optional
        Size of the training objects in pixels; None if it is unknown.
    is_scored : bool
        False if the thresholds in the checkpoint differ from those of the run.
    """
    size, is_scored = None, True
    with suppress(UserError):
        description = load_checkpoint(find_model(run.tree.run)).description
        is_scored = not apply_tuned(run.config, description, always=True)[1]
        size = TrainedObjects.of(description).size
    return None if size is None else float(size[-1]), is_scored
