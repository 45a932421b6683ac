"""Placeholder."""

from nicegui import ui

from singula.gui.pages.frame import frame
from singula.gui.station import Station


def add(station: Station) -> None:
    """Serve."""

    @ui.page("/tune")
    def page() -> None:
        with frame("Tune"):
            ui.label("x")
