"""Models of the Segment page: built-in models and the runs of the user."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.run_list import describe_run
from singula.gui.run_search import find_runs
from singula.inference.load_model import find_model
from singula.zoo.models import built_in_models

_MAX_RUNS = 100


def model_choices() -> dict[str, str]:
    """Return the built-in models with their descriptions; the empty name chooses by the image."""
    titles = {name: f"{name}: {m.card.title}" for name, m in built_in_models().items()}
    return {"": "Automatic, by the kind of each image", **titles}


def run_choices(guard: Guard) -> dict[str, str]:
    """Return the trained models of the runs inside of the roots, the most recent first.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.

    Returns
    -------
    dict of str to str
        Descriptions by folder; archived runs are omitted.
    """
    choices = {}
    for folder in find_runs(guard)[:_MAX_RUNS]:
        with suppress(UserError):
            checked_model(guard, str(folder))
            row = describe_run(folder)
            if row.archived:
                continue
            scores = row.scores
            f1 = f", F1 {scores.f1:.3f}" if scores is not None and scores.f1 is not None else ""
            name = f" ({folder.name})" if row.title != folder.name else ""
            choices[str(folder)] = f"Your model: {row.title}{name}{f1}"
    return choices


def checked_model(guard: Guard, model: str) -> str:
    """Return the value of ``--model`` after a check.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    model : str
        Name of a built-in model, or folder of a run; empty for the choice by the image.

    Raises
    ------
    UserError
        ``gui.unknown_model``: neither a built-in model nor a run with a trained model;
        ``gui.outside``: the run or its checkpoint is outside of the roots.
    """
    if model in model_choices():
        return model
    folder = guard.check(model)
    if not folder.is_dir():
        raise UserError(
            f"the model {model!r} does not exist", "choose a model of the list", "gui.unknown_model"
        )
    try:
        guard.check(find_model(folder))
    except UserError as error:
        if error.code == "gui.outside":
            raise
        raise UserError(
            f"{guard.short(folder)}: has no trained model",
            "choose another model of the list",
            "gui.unknown_model",
        ) from error
    return str(folder)


def model_name(guard: Guard, model: str) -> str:
    """Return the name of a model for the page of its results.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    model : str
        Value of ``--model``; empty for the choice by the image.
    """
    if model in model_choices():
        return model or "chosen by the kind of each image"
    return describe_run(Path(model)).title if guard.allows(model) else Path(model).name
