"""The command line: arguments to the workflow, and errors as people read them."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer

from singula.cli import runs  # isort: skip  # commands in the order of `singula --help`
from singula.cli import data
from singula.cli.app import app, complete_key, run_app
from singula.errors import ExitCode, UserError, refuse_if_out_of_memory
from singula.signals import INTERRUPTION
from singula.streams import printable, tolerant_output

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


def _exit_with_code_of(command: Callable[..., Any]) -> NoReturn:
    """Run a command line program, and exit with one of `ExitCode`."""
    with tolerant_output() as output:
        code = _code_of(command)
        sys.stdout.flush()
        if output is not None and output.error is not None:
            code = code or ExitCode.INCOMPLETE
            lost = f"standard output: could not be written ({output.error.strerror})"
            print(f"error: {lost}", file=sys.stderr)
    raise SystemExit(int(code))


def _code_of(command: Callable[..., Any]) -> int:
    """Run a command line program, print its error, and return the exit code."""
    code: int = ExitCode.DONE
    error: BaseException | None = None
    try:
        with INTERRUPTION.in_progress():
            refuse_blank_arguments(sys.argv[1:])
            with refuse_if_out_of_memory():
                command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.__context__, typer.Abort):  # typer prints "Aborted!" for an EOFError
            error = end.__context__.__cause__
    except KeyboardInterrupt:
        INTERRUPTION.received = INTERRUPTION.received or signal.SIGINT
    except BaseException as raised:
        error = raised
    if INTERRUPTION.received is not None:  # other errors are its consequences
        INTERRUPTION.announce()
        return INTERRUPTION.exit_code
    if isinstance(error, UserError):
        rank = os.environ.get("RANK") or "0"
        process = f"[process {rank}] " if rank != "0" else ""
        print(printable(f"error: {process}{error}"), file=sys.stderr)
        return ExitCode.USER_ERROR
    if error is not None:
        traceback.print_exception(error)
        return ExitCode.INTERNAL_ERROR
    return code


def main() -> NoReturn:
    """Entry point of ``singula``."""
    _exit_with_code_of(app)


def run_main() -> NoReturn:
    """Entry point of ``biapy``."""
    _exit_with_code_of(run_app)
