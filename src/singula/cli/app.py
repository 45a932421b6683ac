"""The program, and functions that all commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from singula import __version__
from singula.paths import PathKind, user_path
from singula.signals import INTERRUPTION
from singula.streams import printable

AGAIN = "the same command begins again"
RESUME = "the same command with --resume continues"
_SETTINGS = {"help_option_names": ["-h", "--help"]}
# Without rich's help pages `--help` answers at once.
app = typer.Typer(
    name="singula",
    help="Find every object in microscopy images, 2D or 3D, and give each its own id.",
    epilog="First steps: singula demo",
    no_args_is_help=True,
    context_settings=_SETTINGS,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
run_app = typer.Typer(
    name="biapy",
    help="The same as `singula run`, under the name that the configuration format knows.",
    context_settings=_SETTINGS,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def say(line: str) -> None:
    """Print a line at once."""
    print(printable(line), flush=True)


def after_interruption(next_step: str) -> None:
    """Set what the line about an interruption of the current command proposes."""
    INTERRUPTION.next_step = next_step


def path_option(*names: str, kind: PathKind, help: str) -> Any:
    """Declare an option that is a path: expanded and validated by `user_path`.

    Parameters
    ----------
    *names : str
        The option's names, the one for messages first.
    kind : str
        As for `user_path`.
    help : str
        One line.
    """
    return typer.Option(*names, help=help, parser=_path_parser(names[0], kind))


def path_argument(name: str, *, kind: PathKind, help: str) -> Any:
    """Declare an argument that is a path, as `path_option` does for options.

    A name in capitals replaces the parameter's name in the help.
    """
    return typer.Argument(
        metavar=name if name.isupper() else None,
        help=help,
        parser=_path_parser(name.strip("[]"), kind),
    )


def _path_parser(name: str, kind: PathKind) -> Callable[[Any], Path]:
    def path(value: Any) -> Path:
        return user_path(value, name, kind)

    return path


def complete_key(incomplete: str) -> list[str]:
    """Keys and their words for the shell."""
    from singula.config.keys import completions

    return completions(incomplete)


def words_of(module: str, table: str) -> Callable[[str], list[str]]:
    """What an option takes, for the shell: the keys of a table, read when the shell asks."""

    def complete(incomplete: str) -> list[str]:
        from importlib import import_module

        known = getattr(import_module(module), table)
        return [word for word in known if word.startswith(incomplete)]

    return complete


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"singula {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", "-v", callback=_show_version, is_eager=True, help="Show the version."
    ),
]

ExternalFilesOption = Annotated[
    bool,
    typer.Option(
        "--external-files", help="Read images that refer to other files; only if you trust them."
    ),
]


@app.callback()
def _common(version: VersionOption = False) -> None:
    pass
