"""Command line: commands, their arguments, error messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer

from singula.cli import predict, runs  # isort: skip  # commands in the order of `singula --help`
from singula.cli import sweep  # isort: skip
from singula.cli import finished  # isort: skip
from singula.cli import data
from singula.cli.app import PRINTING, app, complete_key, run_app
from singula.errors import ExitCode, UserError, refuse_if_out_of_memory
from singula.util.signals import INTERRUPTION
from singula.util.streams import printable, tolerant_output

__all__ = [
    "app",
    "complete_key",
    "data",
    "finished",
    "main",
    "predict",
    "refuse_blank_arguments",
    "run_app",
    "run_main",
    "runs",
    "sweep",
]


# Empty values of these options would start a run with the default name or in the current folder.
_NAMES = ("--name", "-name", "--result_dir", "-rdir")


def refuse_blank_arguments(arguments: Sequence[str]) -> None:
    """Raise an error for arguments of white space, and for empty names of jobs and folders.

    A shell passes a blank after the last backslash of a line as an argument. It then runs the
    following lines as separate commands, so their options are lost. A shell variable that was
    never set becomes an empty argument.

    Parameters
    ----------
    arguments : sequence of str
        Arguments as on the command line, without the program's name.

    Raises
    ------
    UserError
        ``cli.blank_argument``: an argument consists of white space.
        ``cli.empty_argument``: the name of the job or of the results folder is empty.
    """
    for number, word in enumerate(arguments, start=1):
        previous = arguments[number - 2] if number > 1 else ""
        option, equals, value = word.partition("=")
        if (previous if not word else option if equals and not value else "") in _NAMES:
            raise UserError(
                f"argument {number}: got an empty value of {option or previous}, expected a name",
                f"set the shell variable that {option or previous} uses, or omit the option to use "
                "its default. Nothing was started",
                "cli.empty_argument",
            )
        if word and not word.strip():
            after = f" after {previous!r}" if previous else ""
            raise UserError(
                f"argument {number}: got {word!r}{after}, which is only white space, expected an "
                "option or a value",
                "remove the white space at the end of a line that ends in a backslash: a line "
                "continues only when the backslash is its last character, and the options on the "
                "following lines were not passed to this command. Nothing was started",
                "cli.blank_argument",
            )


def _exit_with_code_of(command: Callable[..., Any]) -> NoReturn:
    """Run a command line program and exit with its `ExitCode`."""
    with tolerant_output() as output:
        code = _code_of(command)
        sys.stdout.flush()
        if output is not None and output.error is not None:
            code = code or ExitCode.INCOMPLETE
            reason = f"standard output: could not be written ({output.error.strerror})"
            print(f"error: {reason}", file=sys.stderr)
    raise SystemExit(int(code))


def _code_of(command: Callable[..., Any]) -> int:
    """Run a command line program, print its error and return the exit code."""
    code: int = ExitCode.DONE
    error: BaseException | None = None
    try:
        with INTERRUPTION.in_progress(), PRINTING:
            refuse_blank_arguments(sys.argv[1:])
            with refuse_if_out_of_memory():
                command()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.__context__, typer.Abort):  # typer replaces an EOFError
            error = end.__context__.__cause__
    except KeyboardInterrupt:
        INTERRUPTION.received = INTERRUPTION.received or signal.SIGINT
    except BaseException as raised:
        error = raised
    if INTERRUPTION.received is not None:  # it caused any other error
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
    """Run ``singula``, and exit."""
    _exit_with_code_of(app)


def run_main() -> NoReturn:
    """Run ``biapy``, and exit."""
    _exit_with_code_of(run_app)
