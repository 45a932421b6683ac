"""Option that takes one or several models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

MODEL_NAMES = ("--model", "-m")
_FILES = (".pth", ".zip")  # checkpoints and model packages
_PARTS = ("run.json", "checkpoints")  # of the folder of a run, and of a job


class ModelCommand(TyperCommand):
    """Command whose option ``--model`` takes all models that follow it, as ``--model A B C``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line, with one ``--model`` for each model."""
        return super().parse_args(ctx, repeat_option(args, MODEL_NAMES, is_model))


def repeat_option(
    arguments: Sequence[str], names: Sequence[str], is_value: Callable[[str], bool]
) -> list[str]:
    """Write an option with several values as one option for each value.

    Images are positional arguments and may follow the option, so only certain words are values.

    Parameters
    ----------
    arguments : sequence of str
        Command line.
    names : sequence of str
        Names of the option.
    is_value : callable
        Return True if a word after the first value is another value.

    Examples
    --------
    >>> line = ["--model", "a.pth", "b.pth", "cells.tif"]
    >>> repeat_option(line, ["--model"], lambda word: word.endswith(".pth"))
    ['--model', 'a.pth', '--model', 'b.pth', 'cells.tif']
    """
    result: list[str] = []
    option, expects_value = "", False
    for number, word in enumerate(arguments):
        if word == "--":
            return [*result, *arguments[number:]]
        name, equals, _ = word.partition("=")
        if expects_value:
            expects_value = False
        elif name in names:
            option, expects_value = name, not equals
        elif option and not word.startswith("-") and is_value(word):
            result.append(option)
        else:
            option = ""
        result.append(word)
    return result


def is_model(word: str) -> bool:
    """Return True if a word is a built-in model, a model file, or the folder of a run or job."""
    from singula.zoo.models import built_in_models

    path = Path(word).expanduser()
    if word in built_in_models() and not path.exists():
        return True
    return path.suffix in _FILES or any((path / part).exists() for part in _PARTS)
