"""The command line: arguments to the workflow, and errors as people read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from singula.cli import runs  # isort: skip  # commands in the order of `singula --help`
from singula.cli import data
from singula.cli.app import app, complete_key, run_app
from singula.errors import UserError

__all__ = [
    "app",
    "complete_key",
    "data",
    "main",
    "refuse_blank_arguments",
    "run_app",
    "run_main",
    "runs",
]


# An empty value of these would start a run under default names, or in the current folder.
_NAMES = ("--name", "-name", "--result_dir", "-rdir")


def refuse_blank_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments that consist of white space, and empty names of jobs and folders.

    A shell passes a blank after the last backslash of a line as an argument. It then runs the
    following lines as separate commands, so the options on those lines are lost. A variable of the
    shell that was never set becomes an empty argument.

    Raises
    ------
    UserError
        With the place of the first such argument.
    """
    for number, word in enumerate(arguments, start=1):
        before = arguments[number - 2] if number > 1 else ""
        option, equals, value = word.partition("=")
        if (before if not word else option if equals and not value else "") in _NAMES:
            raise UserError(
                f"argument {number}: got an empty value of {option or before}, expected a name",
                f"set the shell variable that {option or before} uses, or leave out the option to "
                "use its default. Nothing was started",
                "cli.empty_argument",
            )
        if word and not word.strip():
            after = f" after {before!r}" if before else ""
            raise UserError(
                f"argument {number}: got {word!r}{after}, which is only white space, expected an "
                "option or a value",
                "remove the white space at the end of a line that ends in a backslash: a line "
                "continues only when the backslash is its last character, and the options on the "
                "following lines were not passed to this command. Nothing was started",
                "cli.blank_argument",
            )


def _guarded(command: Callable[..., Any]) -> None:
    try:
        refuse_blank_arguments(sys.argv[1:])
        command()
    except UserError as error:
        rank = int(os.environ.get("RANK", "0"))
        print(f"error: {f'[process {rank}] ' if rank else ''}{error}", file=sys.stderr)
        raise SystemExit(2) from None


def main() -> None:
    """Entry point of ``singula``."""
    _guarded(app)


def run_main() -> None:
    """Entry point of ``biapy``."""
    _guarded(run_app)
