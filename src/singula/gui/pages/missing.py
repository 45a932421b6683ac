"""Page of an unknown address."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.exception_handlers import http_exception_handler
from nicegui import Client, app, ui
from starlette.exceptions import HTTPException

from singula.gui.pages.frame import empty_state, frame


def add() -> None:
    """Register the page for addresses that no other page has."""

    @app.exception_handler(404)
    async def missing(request: Request, error: Exception) -> Response:
        endpoint = request.scope.get("endpoint")
        if endpoint not in (None, app) and isinstance(error, HTTPException):
            return await http_exception_handler(request, error)  # a file of the framework
        client = Client(ui.page("", title="Not found · Singula"), request=request)
        with client, frame(""):
            empty_state(
                "This page does not exist",
                f"There is no page at {request.url.path}. Your runs and results are not lost: "
                "choose a page above.",
                ("Start page", "/new"),
                ("Runs", "/run"),
                ("Results", "/results"),
            )
        return client.build_response(request, 404)
