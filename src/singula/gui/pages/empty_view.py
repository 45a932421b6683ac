"""Message of a run without objects, with the maps of the network."""

from __future__ import annotations

import base64
from pathlib import Path

from nicegui import ui

from singula.errors import UserError
from singula.gui.empty import EmptyRun, explain_empty, has_no_objects
from singula.gui.pages.frame import run_address, run_in_thread
from singula.gui.results import Results, open_results
from singula.gui.state import AppContext
from singula.report.html import join, tag


async def show_empty(context: AppContext, folder: Path, results: Results | None = None) -> None:
    """Add the message if a finished run has no objects.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    folder : Path
        Folder of the run.
    results : Results, optional
        Results of the run; by default, they are opened.
    """
    try:
        if results is None:
            results = await run_in_thread(open_results, folder, context.guard)
        if not has_no_objects(results):
            return
        explanation = await run_in_thread(explain_empty, results)
    except UserError:
        return  # the page of the run shows the error
    _show(folder, explanation)


def _show(folder: Path, explanation: EmptyRun) -> None:
    with ui.element("section").classes("warning empty-run").props('role="alert"'):
        ui.label("No objects in any image").classes("finding-title")
        ui.label("What you can try, the most likely remedy first:")
        items = join(tag("li", text) for text in explanation.advice)
        ui.html(tag("ol", items), sanitize=False)
        if explanation.pictures:
            ui.label(f"What the network predicts in {explanation.image}:")
            figures = [
                tag(
                    "figure",
                    tag("img", alt=picture.title, src=_data(picture.png)),
                    tag("figcaption", picture.title),
                    class_="thumb",
                )
                for picture in explanation.pictures
            ]
            ui.html(join(figures), sanitize=False).classes("thumbs")
        with ui.element("div").classes("row-of"):
            ui.link("Tune thresholds", run_address("tune", folder)).classes("as-button")


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
