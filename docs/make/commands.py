"""Page of the documentation that describes all commands, generated from the command line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from configuration import as_text
from typer.main import get_command

from singula.cli import app

_INTRODUCTION = """\
# Commands

This page lists all commands with their options. `singula COMMAND --help` prints the same text, and
`singula -v` the version. All commands use the same [exit codes](troubleshooting.md#exit-codes).

The shell can complete commands, options and, after `--set`, configuration keys:

```sh
singula --install-completion        # bash, zsh, fish, PowerShell; then open a new terminal
```

`biapy` is another name of `singula run`, for scripts written for BiaPy; it also accepts `-h`, `-v`
and `--version`.

An argument that consists of white space only is an error. The usual cause is a space after the
backslash at the end of a line: the shell then treats the following lines as separate commands, and
their options are lost.
"""


def commands_page() -> str:
    """Return the page as Markdown."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    return "\n".join([_INTRODUCTION, *(_section(*item) for item in commands.items())])


def _section(name: str, command: Any) -> str:
    context = typer.Context(command)
    usage = f"singula {name} {' '.join(_usage(command, context))}".strip()
    rows = "".join(_row(param, context) for param in command.params)
    table = f"| option | meaning |\n|---|---|\n{rows}" if rows else ""
    return f"## {name}\n\n```sh\n{usage}\n```\n\n{_help(command)}\n\n{table}"


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _usage(command: Any, context: typer.Context) -> Iterator[str]:
    for param in command.params:
        if _is_argument(param) or param.required:
            shown: str = param.get_help_record(context)[0].rpartition(", ")[2]
            yield shown.partition(" ")[0] if _is_argument(param) else shown
    if any(not param.required and not _is_argument(param) for param in command.params):
        yield "[OPTIONS]"


def _help(command: Any) -> str:
    """Return the help text with its examples as code."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(_with_code(" ".join(part.split())) for part in paragraphs)


def _with_code(line: str) -> str:
    start = re.search(r"singula \w+ ", line)
    if start is None:
        return as_text(line)
    return f"{as_text(line[: start.start()])}`{line[start.start() :]}`"


def _row(param: Any, context: typer.Context) -> str:
    names, about = param.get_help_record(context)
    if _is_argument(param):
        names = names.partition(" ")[0]
    return f"| `{names}` | {as_text(about)} |\n"
