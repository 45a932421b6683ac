"""Base of the pages of finished runs: choice of a run and of an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from nicegui import ui

from singula.errors import UserError
from singula.gui.pages.empty_view import show_empty
from singula.gui.pages.frame import (
    dropdown,
    empty_state,
    error_state,
    frame,
    heading,
    link_to,
    requested_folder,
    run_address,
    run_choice,
    run_in_thread,
    show_address,
    waiting,
)
from singula.gui.results import Results, check_instances, open_results
from singula.gui.run_search import finished_runs, is_run
from singula.gui.state import AppContext
from singula.runs.run import Stage

T = TypeVar("T")


def add_finished_page(
    context: AppContext,
    name: str,
    text: str,
    view: Callable[[AppContext, Path, Results, str], object],
) -> None:
    """Register the route of a page that shows a finished run and a list of runs.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    name : str
        Name of the page in the title bar; in lower case, its address.
    text : str
        Text of the page if there is no finished run.
    view : callable
        Builds the page of a run with instances of at least one image, from the context, the folder,
        the results and the name of an image, which may be empty.
    """

    @ui.page(f"/{name.lower()}", title=f"{name} · Singula", response_timeout=60)
    async def page(run: str = "", image: str = "") -> None:
        with frame(name):
            runs = await run_in_thread(finished_runs, context.guard)
            folder = requested_folder(run, context.guard) if run else next(iter(runs), None)
            with ui.element("div").classes("head-row"):
                with ui.element("div"):
                    heading(name)
                if runs:
                    run_choice(name.lower(), runs, folder, context.guard)
            if folder is None:
                links = ("Create a configuration", "/new"), ("Start a run", "/run")
                empty_state("No results yet", text, *links)
                return
            try:
                results = await run_in_thread(open_results, folder, context.guard)
                check_instances(results)
                if name == "Results":
                    await show_empty(context, folder, results)
                view(context, folder, results, image)
            except UserError as error:
                error_state(error, "This run cannot be shown")
                if await run_in_thread(is_run, folder, context.guard):
                    link = ui.link("Open the page of this run", run_address("run", folder))
                    link.classes("as-button secondary")


class ImageView(ABC, Generic[T]):
    """Base class of views of one image, with a list to choose another image.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    results : Results
        Results of the run.
    image : str
        Name of the requested image; the first image is shown if it does not exist.
    """

    page: ClassVar[str]
    other_page: ClassVar[str]
    failed: ClassVar[str]
    problem: ui.element
    content: ui.element
    other_link: ui.link

    def __init__(self, folder: Path, results: Results, image: str) -> None:
        self.folder, self.results = folder, results
        self.stage: Stage = results.run.final_stage
        self.names = results.run.image_names(self.stage)
        self.name = image if image in self.names else self.names[0]
        self.loads = 0

    def image_choice(self, label: str) -> None:
        """Add the list of images."""
        choice = dropdown(label, self.names, self.name).classes("run-choice")
        choice.on_value_change(self._choose)

    async def _choose(self, event: Any) -> None:
        self.name = str(event.value)
        await self.load()

    def load_first(self) -> None:
        """Hide the empty content, and load the image after the page was sent."""
        self.content.set_visibility(False)
        ui.timer(0, self.load, once=True)

    def address(self) -> str:
        """Return the address of the page with this image."""
        return run_address(self.page, self.folder, self.name)

    async def load(self) -> None:
        """Read the image in a thread, then show it.

        The result is discarded if the user has chosen another image in the meantime.
        """
        self.loads += 1
        number, name, stage = self.loads, self.name, self.stage
        show_address(self.address())
        link_to(self.other_link, run_address(self.other_page, self.folder, name))
        self.problem.clear()
        with self.problem:
            waiting(f"Reading {name} …")
        try:
            data = await run_in_thread(self.read, name, stage)
        except UserError as error:
            if number == self.loads:
                self.problem.clear()
                self.content.set_visibility(False)  # it shows the previous image
                with self.problem:
                    error_state(error, self.failed)
            return
        if number == self.loads:
            self.problem.clear()
            self.content.set_visibility(True)
            await self.present(name, stage, data)

    @abstractmethod
    def read(self, name: str, stage: Stage) -> T:
        """Return all data of an image; called in a thread."""

    @abstractmethod
    async def present(self, name: str, stage: Stage, data: T) -> None:
        """Show the data of an image."""
