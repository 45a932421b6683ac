"""The web server of the interface: pages, tiles, reports, all behind the gate."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from fastapi import Response
from fastapi.responses import FileResponse, RedirectResponse
from nicegui import app, ui

from singula.errors import UserError
from singula.gui.access import Gate, new_token
from singula.gui.browser import BrowserStart
from singula.gui.guard import Guard
from singula.gui.pages import new, results, run, tune
from singula.gui.pages.frame import STYLE
from singula.gui.runs import finished_runs
from singula.gui.station import Station

# A report is a page of the user's files: it may show itself, and run nothing.
_REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def serve(
    roots: Iterable[Path], port: int | None, *, browser: bool, notify: Callable[[str], None]
) -> None:
    """Show the interface until it is interrupted.

    Parameters
    ----------
    roots : iterable of Path
        Folders that it may open; the current one where there is none.
    port : int, optional
        A free one where none is given.
    browser : bool
        Open the address in the user's browser.
    notify : callable
        Takes each line for the terminal.

    Raises
    ------
    UserError
        A root is no folder; the port is taken.
    """
    guard = Guard.of(roots)
    port = _free_port(port)
    token = new_token()
    address = f"http://127.0.0.1:{port}/?token={token}"
    started = BrowserStart(address, port)
    build(Station(guard))
    app.add_middleware(Gate, token=token, port=port, on_entry=started.close)

    def tell() -> None:
        notify(f"Singula is at {address}")
        notify(f"it may open: {', '.join(map(str, guard.roots))}")
        notify("Ctrl-C ends it; runs that it started go on")
        if browser:
            started.start()

    app.on_startup(tell)
    app.on_shutdown(started.close)
    ui.run(
        host="127.0.0.1",
        port=port,
        title="Singula",
        favicon="🔬",
        language="en-US",
        reload=False,
        show=False,  # it would put the token into the arguments of the browser
        show_welcome_message=False,
        tailwind=False,
        uvicorn_logging_level="error",
        access_log=False,
        # Nothing leaves this machine: packing would only take time.
        gzip_middleware_factory=None,
    )


def build(station: Station) -> None:
    """Put pages and files where the browser finds them."""
    ui.add_css(STYLE, shared=True)

    @app.get("/tile/{scene}/{version}/{layer}/{z}/{level}/{row}/{column}/{channel}")
    def tile(
        scene: str,
        version: int,
        layer: str,
        z: int,
        level: int,
        row: int,
        column: int,
        channel: int,
    ) -> Response:
        shown = station.scenes.get(scene)
        if shown is None:
            return Response(status_code=404)
        try:
            picture = shown.tile(layer, z, level, row, column, channel)
        except UserError as error:
            return Response(str(error), status_code=404, media_type="text/plain")
        # A tile of a version never changes.
        keep = {"cache-control": "private, max-age=3600, immutable"}
        return Response(picture, media_type="image/png", headers=keep)

    @app.get("/")
    def start() -> RedirectResponse:
        finished = bool(finished_runs(station.guard))
        return RedirectResponse("/results" if finished else "/new")

    @app.get("/report")
    def report(run: str) -> Response:
        try:
            path = station.guard.check(station.guard.check(run) / "report.html")
        except UserError as error:
            return Response(str(error), status_code=403, media_type="text/plain")
        if not path.is_file():
            return Response("this run has no report.html", status_code=404)
        # FileResponse would offer it under its own name.
        return FileResponse(
            path, media_type="text/html", headers={"content-security-policy": _REPORT_POLICY}
        )

    for page in (new, run, results, tune):
        page.add(station)


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        # As the server does: an address that a closed connection still holds may be taken again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--port: {wanted} cannot be used ({error})",
                "give another one, or leave it out for any free one",
            ) from error
        port: int = probe.getsockname()[1]
    return port
