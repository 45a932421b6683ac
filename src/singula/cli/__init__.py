"""The command line: arguments to the workflow, and errors as people read them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from singula.cli import runs  # isort: skip  # commands in the order of `singula --help`
from singula.cli import data
from singula.cli.app import app, complete_key, run_app
from singula.errors import UserError

__all__ = ["app", "complete_key", "data", "main", "run_app", "run_main", "runs"]


def _guarded(command: Callable[..., Any]) -> None:
    # A blank after a line's last backslash, easily copied, is an argument to a shell.
    sys.argv[1:] = [word for word in sys.argv[1:] if word.strip() or not word]
    try:
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
