"""Segment page: find objects with a built-in model or a run, and show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import ui

from singula.errors import UserError
from singula.gui.compare import describe_prediction, earlier_segmentation
from singula.gui.control import last_lines
from singula.gui.pages.frame import (
    button,
    dropdown,
    error_state,
    frame,
    heading,
    progress_bar,
    run_address,
    run_in_thread,
    segment_address,
    subheading,
    with_error_notice,
)
from singula.gui.pages.paths import path_input
from singula.gui.pages.queue_view import waiting_controls
from singula.gui.pages.segmented import SegmentedView
from singula.gui.run_search import search_runs
from singula.gui.segment import open_segmentation
from singula.gui.segment_models import model_choices, model_name, run_choices
from singula.gui.segment_process import (
    PREDICTION,
    SegmentView,
    propose_images,
    propose_output,
    read_prediction,
    resume_segmentation,
    start_segmentation,
    stop_segmentation,
    watch_segmentation,
)
from singula.gui.state import AppContext
from singula.report.html import tag
from singula.util.format import counted

_ACTIVE = ("waiting", "running")
_REFRESH_SECONDS, _MAX_LINES, _MAX_LISTED = 1.0, 60, 20


def add(context: AppContext) -> None:
    """Register the route of the page."""

    @ui.page("/segment", title="Segment · Singula", response_timeout=60)
    async def page(run: str = "", model: str = "", images: str = "") -> None:
        with frame("Segment"):
            if not run:
                heading("Segment images")
                start_card(context, model, images)
                await list_earlier(context)
                return
            try:
                record = await run_in_thread(read_prediction, context.guard, run)
            except UserError as error:
                heading("Segment images")
                error_state(error, "These results cannot be shown")
                ui.link("Back", "/new").classes("as-button secondary")
                return
            folder = context.guard.check(run)
            used = await run_in_thread(model_name, context.guard, record.model)
            heading(
                f"Segmented images: {folder.name}",
                f"{context.guard.short(record.images)} → {context.guard.short(folder)}\n"
                f"Model: {used}",
            )
            other = segment_address(
                record.model, propose_images(context.guard, Path(record.images))
            )
            await _Watch(context, folder, other).refresh()


def start_card(context: AppContext, model: str = "", images: str = "") -> None:
    """Add the form that starts a prediction.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    model : str
        Built-in model or folder of a run that is chosen first; empty for the automatic choice.
    images : str
        Path that the form proposes; empty for none.
    """
    with ui.element("div").classes("choices"), ui.element("section").classes("card"):
        subheading("Segment images without training")
        ui.label(
            "A model finds the objects in your images: a built-in model for nuclei in fluorescence "
            "images or stained tissue, or a model that you trained. Label images, tables and "
            "pictures are written to a new folder."
        )
        _StartForm(context, model, images)


class _StartForm:
    """Fields that start a prediction."""

    def __init__(self, context: AppContext, model: str, images: str) -> None:
        self.context, self.guard = context, context.guard
        self.proposed = propose_output(self.guard, "")
        self.images = path_input(
            self.guard,
            "Image, or folder of images",
            folders=True,
            files=True,
            on_change=self._propose,
        )
        if self.guard.allows(images):
            self.images.set_value(images)
        with ui.element("div").classes("row-of"):
            choices = model_choices()
            if model:  # until its scores are read
                choices.setdefault(model, f"Your model: {Path(model).name}")
            self.model = dropdown("Model", choices, model).classes("model-choice")
            self.channel = ui.input("Channel, if images have several").props("outlined dense")
        self.output = path_input(
            self.guard, "New folder for the results", self.proposed, folders=True
        )
        self.begin = button("Segment", self._start)
        self.messages = ui.element("div").props('aria-live="polite"').classes("grow")
        # The search for runs must not delay the page.
        ui.timer(0, self._add_runs, once=True)

    async def _add_runs(self) -> None:
        choices = {**model_choices(), **await run_in_thread(run_choices, self.guard)}
        if choices != self.model.options:
            chosen = str(self.model.value or "")
            self.model.set_options(choices, value=chosen if chosen in choices else "")

    def _propose(self, path: str) -> None:
        if self.output.value in ("", self.proposed):
            self.proposed = propose_output(self.guard, path)
            self.output.set_value(self.proposed)

    async def _start(self) -> None:
        self.messages.clear()
        self.begin.disable()
        try:
            folder = await run_in_thread(
                start_segmentation,
                self.guard,
                self.context.control.queue,
                images=self.images.value or "",
                output=self.output.value or "",
                model=str(self.model.value or ""),
                channel=self.channel.value or "",
            )
        except UserError as error:
            with self.messages:
                error_state(error, "The images were not segmented")
            return
        finally:
            self.begin.enable()
        ui.navigate.to(run_address("segment", folder))


async def list_earlier(context: AppContext) -> None:
    """Add links to the results of earlier predictions, if there are any."""
    search = await run_in_thread(search_runs, context.guard)
    folders = list(search.predictions)
    if folders:
        subheading("Segmented images")
        place = ui.element("ul").classes("run-list pairs")
    if search.notice:
        ui.label(search.notice).classes("warning")
    if not folders:
        return
    guard = context.guard
    texts = await run_in_thread(
        lambda: {f: describe_prediction(guard, f) or guard.short(f) for f in folders}
    )

    def show_more() -> None:
        with place:
            for folder in folders[:_MAX_LISTED]:
                with ui.element("li"):
                    ui.link(folder.name, run_address("segment", folder))
                    ui.label(texts[folder]).classes("note place")
        del folders[:_MAX_LISTED]
        more.set_text(f"Show {counted(min(_MAX_LISTED, len(folders)), 'earlier folder')}")
        more.set_visibility(bool(folders))

    more = button("", show_more, look="plain")
    show_more()


class _Watch:
    """Progress of a prediction, refreshed while it is running, then its results.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    folder : Path
        Folder of the results.
    other : str
        Address of the form for other images.
    """

    def __init__(self, context: AppContext, folder: Path, other: str) -> None:
        self.context, self.folder, self.other = context, folder, other
        self.previous: dict[str, object] = {}
        self.stopping = False
        self.progress = ui.html("", sanitize=False).props('aria-live="polite"')
        self.buttons = ui.element("div").classes("row-of buttons")
        self.error = ui.element("div").props('aria-live="assertive"')
        self.results = ui.element("div")
        with ui.expansion("Messages").classes("elsewhere"):
            self.log = ui.html("", sanitize=False).classes("log").props('tabindex="0" role="log"')
        self.timer = ui.timer(_REFRESH_SECONDS, self.refresh, immediate=False)

    async def refresh(self) -> None:
        """Read the files of the prediction in a thread, then show the changes."""
        self.context.control.processes.reap()
        try:
            queue = self.context.control.queue
            view = await run_in_thread(watch_segmentation, queue, self.folder)
        except UserError as error:  # the folder was deleted
            self.timer.deactivate()
            with self.error:
                error_state(error, "These results cannot be shown")
            return
        self.timer.active = view.state in _ACTIVE
        bar = progress_bar(view.phase, view.share) if view.state != "finished" else ""
        self._changed("progress", bar, self.progress.set_content)
        log = tag("pre", last_lines(view.log, _MAX_LINES) or "The log is empty.")
        self._changed("log", log, self.log.set_content)
        self._changed("state", (view.state, self.stopping), lambda _: self._set_buttons(view))
        if self.previous.get("shown") != view.state:
            self.previous["shown"] = view.state
            await self._show_results(view)

    def _changed(self, name: str, value: object, show: Callable[[Any], object]) -> None:
        if self.previous.get(name, self) != value:
            self.previous[name] = value
            show(value)

    def _set_buttons(self, view: SegmentView) -> None:
        self.buttons.clear()
        self.error.clear()
        with self.buttons:
            if view.state == "running":
                verb = "Kill" if self.stopping else "Stop"
                button(verb, with_error_notice(self._stop), look="bad")
            elif view.state == "waiting":
                waiting_controls(
                    self.context,
                    PREDICTION,
                    self.folder,
                    started=self.refresh,
                    removed=lambda: ui.navigate.to("/segment"),
                )
            elif view.state != "finished":
                button("Continue", with_error_notice(self._resume))
            if view.state not in _ACTIVE:
                ui.link("Segment other images", self.other).classes("as-button secondary")
        with self.error:
            if view.error:
                title = "Some images could not be segmented"
                failed = view.state == "failed"
                error_state(view.error, "The images were not segmented" if failed else title)

    async def _show_results(self, view: SegmentView) -> None:
        self.results.clear()
        if view.state in _ACTIVE:
            return
        try:
            opened = await run_in_thread(open_segmentation, self.context.guard, self.folder)
        except UserError as error:
            if view.state == "finished":  # else, the error of the command is shown
                with self.results:
                    error_state(error, "The results cannot be shown")
            return
        earlier = await run_in_thread(earlier_segmentation, self.context.guard, opened)
        with self.results:
            shown = SegmentedView(self.context, opened, earlier)
            await shown.show_all()
            await shown.load()

    async def _stop(self) -> None:
        await run_in_thread(stop_segmentation, self.folder)
        self.stopping = True
        await self.refresh()

    async def _resume(self) -> None:
        self.stopping = False
        await run_in_thread(
            resume_segmentation, self.context.guard, self.context.control.queue, self.folder
        )
        await self.refresh()
