"""Help page: the documentation of the interface."""

from __future__ import annotations

from nicegui import ui

from singula.gui.manual import anchor, read_manual
from singula.gui.pages.frame import empty_state, frame, heading
from singula.gui.state import AppContext
from singula.report.html import escape


def add(_context: AppContext) -> None:
    """Register the route of the page."""

    @ui.page("/help", title="Help · Singula", response_timeout=60)
    def page() -> None:
        with frame("Help"):
            sections = read_manual()
            if not sections:
                empty_state(
                    "The documentation is not installed",
                    "Install Singula from its wheel, or open docs/gui.md of its repository.",
                )
                return
            heading("Help")
            with ui.element("article").classes("manual"):
                for title, text in sections:
                    ui.html(title, sanitize=escape, tag="h2").props(f'id="{anchor(title)}"')
                    ui.markdown(text, extras=["tables", "fenced-code-blocks"], sanitize=False)
