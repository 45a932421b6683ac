"""The graphical interface, `singula gui`: the only room that imports a web framework.

Logic stands in plain modules that are tested without a browser; ``pages`` only shows it. What the
interface does is written to files that the command line reads: a YAML file, a run's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from singula.errors import UserError
from singula.words import install_command


def start(
    roots: Iterable[Path], port: int | None, *, browser: bool, notify: Callable[[str], None]
) -> None:
    """Show the interface until it is interrupted; see `singula.gui.server.serve`.

    Raises
    ------
    UserError
        The extra ``gui`` is not installed; as `serve` does.
    """
    if find_spec("nicegui") is None or find_spec("psutil") is None:
        raise UserError(
            "the graphical interface is not installed",
            install_command("gui"),
            "gui.library_missing",
        )
    from singula.gui.server import serve

    serve(roots, port, browser=browser, notify=notify)
