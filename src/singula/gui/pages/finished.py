"""What pages of finished runs share: the choice of a run and of an image of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from nicegui import ui

from singula.errors import UserError
from singula.gui.pages.frame import (
    aside,
    asked,
    empty_state,
    error_state,
    frame,
    heading,
    link_to,
    run_address,
    run_choice,
    show_address,
)
from singula.gui.results import Results, open_results
from singula.gui.runs import finished_runs
from singula.gui.station import Station
from singula.report.run_files import Stage

T = TypeVar("T")


async def finished_run(
    station: Station,
    page: str,
    run: str,
    nothing: tuple[str, str],
    show: Callable[[Path, Results], object],
) -> None:
    """Show a finished run, which may be chosen from a list.

    Parameters
    ----------
    station : Station
    page : str
        Name of the page in the bar.
    run : str
        The folder that is asked for; empty: the one that changed last.
    nothing : tuple of str
        Title and words while there is no finished run.
    show : callable
        Takes the run's folder and results that hold instances of at least one image.
    """
    with frame(page):
        runs = await aside(finished_runs, station.guard)
        folder = asked(run, station.guard) if run else next(iter(runs), None)
        with ui.element("div").classes("head-row"):
            with ui.element("div"):
                heading(page)
            if runs:
                run_choice(page.lower(), runs, folder, station.guard)
        if folder is None:
            empty_state(*nothing, ("Make a configuration", "/new"), ("Start a run", "/run"))
            return
        try:
            results = await aside(open_results, folder, station.guard)
            if not results.stages or not results.names(results.stages[-1]):
                raise UserError(
                    f"{folder.name} holds no instances: it was not tested, or their files are gone",
                    "run it with TEST.ENABLE: True and a folder of test images",
                )
            show(folder, results)
        except UserError as error:
            error_state(error, "This run cannot be shown here")


class ImageView(ABC, Generic[T]):
    """What a page shows of one image; another can be chosen at any time.

    Parameters
    ----------
    folder : Path
        The run.
    results : Results
    image : str
        The image that is asked for; the first one where the run has none of that name.
    """

    page: ClassVar[str]
    other_page: ClassVar[str]
    failed: ClassVar[str]
    problem: ui.element
    whole: ui.element
    other: ui.link

    def __init__(self, folder: Path, results: Results, image: str) -> None:
        self.folder, self.results = folder, results
        self.stage: Stage = results.stages[-1]
        self.names = results.names(self.stage)
        self.name = image if image in self.names else self.names[0]
        self.loads = 0

    def image_choice(self, label: str) -> None:
        """Build the list of images."""
        many = len(self.names) > 8
        choice = ui.select(self.names, value=self.name, label=label, with_input=many)
        choice.props("outlined dense options-dense").classes("run-choice")
        choice.on_value_change(self._choose)

    async def _choose(self, event: Any) -> None:
        self.name = str(event.value)
        await self.load()

    async def load(self) -> None:
        """Read the image off the loop that serves all pages, then show it.

        Nothing of a load is shown when a newer one has begun meanwhile: it is of another image.
        """
        self.loads += 1
        mine, name, stage = self.loads, self.name, self.stage
        show_address(run_address(self.page, self.folder, name))
        link_to(self.other, run_address(self.other_page, self.folder, name))
        try:
            found = await aside(self.read, name, stage)
        except UserError as error:
            if mine == self.loads:
                self.problem.clear()
                self.whole.set_visibility(False)  # it is of another image
                with self.problem:
                    error_state(error, self.failed)
            return
        if mine == self.loads:
            self.problem.clear()
            self.whole.set_visibility(True)
            await self.present(name, stage, found)

    @abstractmethod
    def read(self, name: str, stage: Stage) -> T:
        """Everything that is shown of an image; called in a thread."""

    @abstractmethod
    async def present(self, name: str, stage: Stage, found: T) -> None:
        """Show what was read."""
