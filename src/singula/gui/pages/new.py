"""New page: images to segment; a wizard with a few questions, then a form with all keys."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.form import Form
from singula.gui.pages.form_view import FormView
from singula.gui.pages.frame import (
    button,
    error_state,
    frame,
    heading,
    run_in_thread,
    subheading,
    with_error_notice,
)
from singula.gui.pages.paths import path_input
from singula.gui.pages.segment import list_earlier, start_card
from singula.gui.pages.wizard_view import WizardView
from singula.gui.state import AppContext
from singula.gui.wizard import make_example


def add(context: AppContext) -> None:
    """Register the route of the page."""

    @ui.page("/new", title="New · Singula", response_timeout=60)
    async def page(config: str = "", data: str = "", start: str = "") -> None:
        with frame("New"):
            if config:
                _form(context, config)
            elif data or start:
                WizardView(context, data)
            else:
                await _welcome(context)


async def _welcome(context: AppContext) -> None:
    heading("New", "Segment images with a built-in model, or train a network on your labels.")
    start_card(context)
    subheading("Train on your labels")
    ui.label(
        "A run needs a configuration file. This page creates it from your images; the command "
        "line uses the same file."
    ).classes("lead")
    with ui.element("div").classes("choices"):
        with ui.element("section").classes("card"):
            subheading("Your images")
            ui.label(
                "Choose the folder with images and label images, for example train/x and train/y."
            )
            folder = path_input(context.guard, "Folder of the data set", folders=True)
            button(
                "Continue", lambda: ui.navigate.to(f"/new?start=1&data={quote(folder.value or '')}")
            )
        with ui.element("section").classes("card"):
            subheading("Existing configuration")
            ui.label("Open a YAML file in the form to edit, save and run it.")
            file = path_input(context.guard, "YAML file", suffixes=(".yaml", ".yml"))

            def open_file() -> None:
                if not file.value:
                    raise UserError("no file is chosen", "choose a YAML file", "gui.no_file")
                ui.navigate.to(f"/new?config={quote(file.value)}")

            button("Open", with_error_notice(open_file), look="secondary")
        with ui.element("section").classes("card"):
            subheading("Example images")
            ui.label("Practice with images of synthetic nuclei, written to a new folder.")
            with ui.element("div").classes("row-of"):
                for ndim in (2, 3):
                    button(
                        f"Create {ndim}D example data",
                        with_error_notice(partial(_example, context, ndim)),
                        look="secondary",
                    )
    await list_earlier(context)


async def _example(context: AppContext, ndim: int) -> None:
    name = f"example_{ndim}d"
    if not context.guard.check(name).is_dir():
        await run_in_thread(make_example, context.guard, ndim)
    ui.navigate.to(f"/new?start=1&data={quote(name)}")


def _form(context: AppContext, config: str) -> None:
    heading("Configuration", "All keys. A bar at the left marks keys that are set in the file.")
    try:
        path = context.guard.check(config)
        FormView(context.guard, Form.of_file(path), path, replace=True)
    except UserError as error:
        error_state(error, "This file cannot be opened")
        ui.link("Back", "/new").classes("as-button secondary")
