"""New page: images to segment; a wizard with a few questions, then a form with all keys."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.entries import WizardEntries
from singula.gui.form import Form
from singula.gui.pages.form_view import FormView, stored_draft
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

_TITLE = "Settings of a training"


def add(context: AppContext) -> None:
    """Register the route of the page."""

    @ui.page("/new", title="New · Singula", response_timeout=60)
    async def page(config: str = "", data: str = "", start: str = "", draft: str = "") -> None:
        with frame("New"):
            if draft:
                content = ui.element("div")
                ui.timer(0, partial(_show_draft, context, content, config), once=True)
            elif config or data or start:
                _show(context, config)
            else:
                await _welcome(context)


def _show(context: AppContext, config: str) -> None:
    """Add the form of a file, or the wizard with the entries in the address."""
    if config:
        _form(context, config)
        return
    wizard = WizardView(context, _entries())
    ui.timer(0, wizard.restore, once=True)


async def _show_draft(context: AppContext, content: ui.element, config: str) -> None:
    """Add the form with unsaved entries that the browser stored, if there are any."""
    with content:
        draft = await stored_draft()
        if draft is None:
            _show(context, config)
            return
        heading(_TITLE, "Your unsaved entries were restored.")
        target = context.guard.check(draft.target) if context.guard.allows(draft.target) else None
        FormView(
            context, draft.form, target or Path(draft.target), replace=draft.replace,
            results=draft.results, address=_address(config),
        )  # fmt: skip


def _address(config: str) -> str:
    """Return the address of the page without the note that there are unsaved entries."""
    if config:
        return f"/new?config={quote(config)}"
    return _entries().address


def _entries() -> WizardEntries:
    """Return the entries of the wizard in the address of the page."""
    request = ui.context.client.request
    return WizardEntries.from_query(dict(request.query_params) if request is not None else {})


async def _welcome(context: AppContext) -> None:
    heading("New", "Segment images with a built-in model, or train a network on your labels.")
    start_card(context)
    subheading("Train on your labels")
    ui.label(
        "A few questions about your images lead to the settings of a training, which you can "
        "change, save and run. The command line reads the same file."
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
            subheading("Existing settings")
            ui.label("Open a file of settings (YAML) to change, save and run it.")
            file = path_input(context.guard, "File of the settings", suffixes=(".yaml", ".yml"))

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
    heading(_TITLE, "A bar at the left marks settings of the file.")
    try:
        path = context.guard.check(config)
        form, address = Form.of_file(path), f"/new?config={quote(config)}"
        FormView(context, form, path, replace=True, address=address, is_saved=True)
    except UserError as error:
        error_state(error, "This file cannot be opened")
        ui.link("Back", "/new").classes("as-button secondary")
