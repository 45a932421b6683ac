"""Browser interface, `singula gui`: the only package that imports a web framework.

The logic is in plain modules, which are tested without a browser; ``pages`` only displays it. The
interface keeps its results in files that the command line reads: configurations and run folders.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from singula.errors import UserError
from singula.util.format import install_command


def start(roots: Iterable[Path], port: int | None, *, browser: bool) -> None:
    """Serve the interface until it is interrupted.

    Parameters
    ----------
    roots, port, browser
        As for `singula.gui.server.serve`.

    Raises
    ------
    UserError
        ``gui.library_missing``: the extra ``gui`` is not installed.
        Any error of `serve`.
    """
    if find_spec("nicegui") is None:
        raise UserError(
            "the graphical interface is not installed",
            install_command("gui"),
            "gui.library_missing",
        )
    from singula.gui.server import serve

    serve(roots, port, browser=browser)
