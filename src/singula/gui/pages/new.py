"""Placeholder."""

from nicegui import ui

from singula.gui.pages.frame import frame
from singula.gui.station import Station


def add(station: Station) -> None:
    """Serve."""

    @ui.page("/new")
    def page() -> None:
        with frame("New"):
            ui.label("x")
