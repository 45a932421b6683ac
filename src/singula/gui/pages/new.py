"""The New page: a few questions, then every key in a form."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.form import Form
from singula.gui.pages.form_view import FormView
from singula.gui.pages.frame import aside, button, error_state, frame, guarded, heading, subheading
from singula.gui.pages.paths import path_input
from singula.gui.pages.wizard_view import WizardView
from singula.gui.station import Station
from singula.gui.wizard import make_example


def add(station: Station) -> None:
    """Serve the page."""

    @ui.page("/new", title="New · Singula", response_timeout=60)
    def page(config: str = "", data: str = "", start: str = "") -> None:
        with frame("New"):
            if config:
                _form(station, config)
            elif data or start:
                WizardView(station, data)
            else:
                _welcome(station)


def _welcome(station: Station) -> None:
    heading(
        "New",
        "A run needs one file, the configuration. It is made here from your images, and is the "
        "same file that the command line takes.",
    )
    with ui.element("div").classes("choices"):
        with ui.element("section").classes("card"):
            subheading("Your images")
            ui.label("The folder with images and label images, for example with train/x, train/y.")
            folder = path_input(station.guard, "Folder of the data set", folders=True)
            button(
                "Begin", lambda: ui.navigate.to(f"/new?start=1&data={quote(folder.value or '')}")
            )
        with ui.element("section").classes("card"):
            subheading("A configuration that you have")
            ui.label("Open a YAML file in the form, change it, save it, run it.")
            file = path_input(station.guard, "YAML file", suffixes=(".yaml", ".yml"))

            def open_file() -> None:
                if not file.value:
                    raise UserError("no file is chosen", "choose a YAML file")
                ui.navigate.to(f"/new?config={quote(file.value)}")

            button("Open", guarded(open_file), look="quiet")
        with ui.element("section").classes("card"):
            subheading("No images at hand?")
            ui.label("Synthetic nuclei to practise with; they are written into a folder here.")
            with ui.element("div").classes("row-of"):
                for ndim in (2, 3):
                    button(
                        f"Make {ndim}D example data",
                        partial(_example, station, ndim),
                        look="quiet",
                    )


async def _example(station: Station, ndim: int) -> None:
    name = f"example_{ndim}d"
    if not station.guard.check(name).is_dir():
        try:
            await aside(make_example, station.guard, ndim)
        except UserError as error:
            ui.notify(str(error), type="negative")
            return
    ui.navigate.to(f"/new?start=1&data={quote(name)}")


def _form(station: Station, config: str) -> None:
    heading(
        "Configuration", "Every key of the file. What is marked at its left is set in the file."
    )
    try:
        path = station.guard.check(config)
        FormView(station.guard, Form.of_file(path), path, replace=True)
    except UserError as error:
        error_state(error, "This file cannot be opened")
        ui.link("Back", "/new").classes("as-button quiet")
