"""Typer applications, and options and functions that several commands use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from singula import __version__
from singula.errors import UserError
from singula.util.paths import PathKind, user_path
from singula.util.signals import INTERRUPTION
from singula.util.streams import print_line

REPEAT_HINT = "repeat the command to start again"
RESUME_HINT = "repeat the command with --resume to continue"
MODEL_GPU = "Device: 0, cuda:0, mps, or cpu [a GPU if available]."
PRINTING = ExitStack()
"""Open from the start of a command until `singula.cli.main` closes it: messages are printed."""
_SETTINGS = {"help_option_names": ["-h", "--help"]}
# Importing rich for the help pages would slow `--help` down.
app = typer.Typer(
    name="singula",
    help="Find every object in 2D and 3D microscopy images and give each its own id.",
    epilog="First steps: singula predict IMAGES -o OUT finds nuclei without training; singula demo "
    "shows this on drawn images, and then a training.",
    no_args_is_help=True,
    context_settings=_SETTINGS,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
run_app = typer.Typer(
    name="biapy",
    help="Same as `singula run`, under the name that BiaPy uses.",
    context_settings=_SETTINGS,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def begin_command(next_step: str) -> None:
    """Print the messages of the current command, and set the advice for an interruption.

    Parameters
    ----------
    next_step : str
        Advice that is printed if the command is interrupted.
    """
    from singula.util.messages import print_messages

    INTERRUPTION.next_step = next_step
    PRINTING.close()  # of an earlier command in this process
    PRINTING.enter_context(print_messages(print_line))


def path_option(*names: str, kind: PathKind, help: str) -> Any:
    """Declare an option that is a path: expanded and validated by `user_path`.

    Parameters
    ----------
    *names : str
        Names of the option; messages use the first.
    kind : str
        Kind of path, as for `user_path`.
    help : str
        Description for ``--help``, one line.
    """
    return typer.Option(*names, help=help, parser=_unchanged, callback=_path_check(names[0], kind))


def path_argument(name: str, *, kind: PathKind, help: str) -> Any:
    """Declare a positional argument that is a path: expanded and validated by `user_path`.

    Parameters
    ----------
    name : str
        Name for messages. In capitals, it also replaces the parameter's name in the help.
    kind : str
        Kind of path, as for `user_path`.
    help : str
        Description for ``--help``, one line.
    """
    return typer.Argument(
        metavar=name if name.isupper() else None,
        help=help,
        parser=_unchanged,
        callback=_path_check(name.strip("[]"), kind),
    )


def number_option(
    *names: str,
    kind: type[int | float],
    help: str,
    at_least: int | None = None,
    at_most: int | None = None,
    metavar: str | None = None,
) -> Any:
    """Declare an option that is a number; typer's own messages would be those of pydantic.

    Parameters
    ----------
    *names : str
        Names of the option; messages use the first.
    kind : type
        `int` or `float`.
    help : str
        Description for ``--help``, one line.
    at_least, at_most : int, optional
        Limits of the number.
    metavar : str, optional
        Placeholder of the value in the help. None: the name of `kind`.
    """

    def check(value: Any) -> Any:
        if value is None or isinstance(value, kind):
            return value
        noun = "an integer" if kind is int else "a number"
        try:
            number = kind(value)
        except ValueError:
            raise _number_error(names[0], value, noun) from None
        if at_least is not None and number < at_least:
            raise _number_error(names[0], value, f"{noun} ≥ {at_least}")
        if at_most is not None and number > at_most:
            raise _number_error(names[0], value, f"{noun} ≤ {at_most}")
        return number

    shown = metavar or f"<{kind.__name__}>"
    return typer.Option(*names, metavar=shown, help=help, parser=_unchanged, callback=check)


def _number_error(name: str, value: str, expected: str) -> UserError:
    return UserError(
        f"{name}: got {value!r}, expected {expected}",
        "correct the number; nothing was started",
        "cli.number",
    )


def _unchanged(value: Any) -> Any:
    """Return the text of a value unchanged; typer would replace a `UserError` of its parsers."""
    return value


_unchanged.__name__ = "path"  # the type in the help


def _path_check(name: str, kind: PathKind) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [user_path(item, name, kind) for item in value]
        return None if value is None else user_path(value, name, kind)

    return check


def complete_key(incomplete: str) -> list[str]:
    """Return the configuration keys, or the values of a key, that complete a text for the shell."""
    from singula.config.keys import completions

    return completions(incomplete)


def complete_from(module: str, table: str) -> Callable[[str], list[str]]:
    """Return a completion function for an option whose values are the keys of a table.

    Parameters
    ----------
    module : str
        Module of the table. It is imported only if the shell asks for a completion.
    table : str
        Name of a dictionary or another iterable of str in the module.
    """

    def complete(incomplete: str) -> list[str]:
        from importlib import import_module

        values = getattr(import_module(module), table)
        return [value for value in values if value.startswith(incomplete)]

    return complete


def _show_version(requested: bool) -> None:
    if requested:
        print_line(f"singula {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", "-v", callback=_show_version, is_eager=True, help="Show the version."
    ),
]

ChannelOption = Annotated[
    str | None,
    typer.Option(
        "--channel",
        metavar="NAME|N",
        help="Channel of images with several channels, by name or number from 0; of color "
        "images R, G or B [all].",
    ),
]
ExternalFilesOption = Annotated[
    bool,
    typer.Option(
        "--external-files",
        help="Allow images that refer to other files; only for images that you trust.",
    ),
]


@app.callback()
def _common(version: VersionOption = False) -> None:
    pass
