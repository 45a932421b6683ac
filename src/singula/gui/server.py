"""Web server of the interface: pages, image tiles and reports, with access control."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fastapi import Response
from fastapi.responses import FileResponse, RedirectResponse
from nicegui import app, background_tasks, ui

from singula.errors import UserError
from singula.gui.access import AccessMiddleware
from singula.gui.browser import BrowserStart
from singula.gui.guard import Guard
from singula.gui.pages import compare, correct, help, missing, new, results, run, segment, tune
from singula.gui.pages.frame import STYLE
from singula.gui.results import report_file
from singula.gui.run_search import finished_runs
from singula.gui.session import (
    Session,
    new_session,
    read_session,
    session_file,
    write_session,
)
from singula.gui.state import AppContext
from singula.util.streams import print_line

_log = logging.getLogger(__name__)
_QUEUE_SECONDS = 2.0
_RECONNECT_SECONDS = 30.0
# Status for an image that was dropped: the page has asked before it received the next image.
_DROPPED = 204
# Reports may contain scripts from the user's files, which must not run.
_REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def serve(roots: Iterable[Path], port: int | None, *, browser: bool) -> None:
    """Serve the interface until it is interrupted.

    Parameters
    ----------
    roots : iterable of Path
        Folders that the interface may open; if empty, the current folder.
    port : int, optional
        Port; by default, any free port.
    browser : bool
        Open the address in the user's browser.

    Raises
    ------
    UserError
        ``gui.root_missing``: a root is not a folder.
        ``gui.port``: the port is in use or invalid.
    """
    guard = Guard.of(roots)
    session = open_session(guard.roots, port)
    port = session.port
    address = f"http://127.0.0.1:{port}/?token={session.token}"
    browser_start = BrowserStart(address, port)
    build(AppContext(guard))
    app.add_middleware(AccessMiddleware, session=session, on_entry=browser_start.close)

    def announce() -> None:
        print_line(f"Singula runs at {address}")
        print_line(f"it may open: {', '.join(map(str, guard.roots))}")
        print_line("press Ctrl-C to stop it; runs that it started continue")
        if browser:
            browser_start.start()

    app.on_startup(announce)
    app.on_shutdown(browser_start.close)
    ui.run(
        host="127.0.0.1",
        port=port,
        title="Singula",
        favicon="🔬",
        language="en-US",
        reload=False,
        show=False,  # the arguments of the browser would contain the token
        show_welcome_message=False,
        tailwind=False,
        uvicorn_logging_level="error",
        access_log=False,
        # On a busy machine, a shorter time would load pages again, and end what they show.
        reconnect_timeout=_RECONNECT_SECONDS,
        # Compression only costs time on the same machine.
        gzip_middleware_factory=None,
    )


def build(context: AppContext) -> None:
    """Register the routes of pages, image tiles and reports.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    """
    ui.add_css(STYLE, shared=True)

    @app.get("/tile/{scene}/{version}/{layer}/{z}/{level}/{row}/{column}/{look}")
    def tile(
        scene: str,
        version: int,
        layer: str,
        z: int,
        level: int,
        row: int,
        column: int,
        look: str,
    ) -> Response:
        image = context.scenes.get(scene)
        if image is None:
            return Response(status_code=_DROPPED)
        try:
            picture = image.tile(layer, z, level, row, column, look)
        except UserError as error:
            return Response(str(error), status_code=404, media_type="text/plain")
        # The address of a tile contains its version, so its content never changes.
        headers = {"cache-control": "private, max-age=3600, immutable"}
        return Response(picture, media_type="image/png", headers=headers)

    @app.get("/value/{scene}/{z}/{y}/{x}")
    def value(scene: str, z: int, y: int, x: int, map: str = "") -> Response:
        image = context.scenes.get(scene)
        if image is None:
            return Response(status_code=_DROPPED)
        try:
            text = image.describe(z, y, x, map)
        except UserError as error:  # the maps cannot be read
            return Response(str(error), status_code=404, media_type="text/plain")
        return Response(text, media_type="text/plain; charset=utf-8")

    @app.get("/")
    def start() -> RedirectResponse:
        finished = bool(finished_runs(context.guard))
        return RedirectResponse("/results" if finished else "/new")

    @app.get("/report")
    def report(run: str) -> Response:
        try:
            path = report_file(run, context.guard)
        except UserError as error:
            code = 403 if error.code == "gui.outside" else 404
            return Response(str(error), status_code=code, media_type="text/plain")
        # Not named, since FileResponse would then offer a download.
        return FileResponse(
            path, media_type="text/html", headers={"content-security-policy": _REPORT_POLICY}
        )

    def start_queue() -> None:
        background_tasks.create(_start_waiting_jobs(context))

    if app.is_started:
        start_queue()
    else:
        app.on_startup(start_queue)
    for page in (new, segment, run, results, compare, correct, tune, help):
        page.add(context)
    missing.add()


def open_session(roots: Iterable[Path], port: int | None) -> Session:
    """Return the session of the last server for the same folders, or a new one.

    With the same port and secrets, pages that are still open continue after a restart.

    Parameters
    ----------
    roots : iterable of Path
        Resolved folders that the interface may open.
    port : int, optional
        Port; by default, the last one, or any free port.

    Raises
    ------
    UserError
        ``gui.port``: the port is in use or invalid.
    """
    try:
        file = session_file(roots)
    except RuntimeError:  # no home folder
        return new_session(_free_port(port))
    last = read_session(file)
    if last is not None and port in (None, last.port):
        try:
            return replace(last, port=_free_port(last.port))
        except UserError:
            if port is not None:
                raise
            # Another server has these folders open, or another program has the port.
            return new_session(_free_port(None))
    session = new_session(_free_port(port))
    write_session(file, session)
    return session


async def _start_waiting_jobs(context: AppContext) -> None:
    """Start each waiting job when the jobs before it have ended, until the server stops."""
    while True:
        try:
            context.control.processes.reap()
            await asyncio.to_thread(context.control.queue.start_next)
        except Exception:  # for example, a folder that cannot be read; the queue must continue
            _log.exception("cannot start the next job of the queue")
        await asyncio.sleep(_QUEUE_SECONDS)


def _free_port(requested: int | None) -> int:
    with socket.socket() as probe:
        # As the server does: allow an address that a closed connection still occupies.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", requested or 0))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--port: got {requested}, expected a free port ({error})",
                "choose another port, or omit --port to use any free port",
                "gui.port",
            ) from error
        port: int = probe.getsockname()[1]
    return port
