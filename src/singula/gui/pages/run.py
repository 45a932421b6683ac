"""Run page: start, monitor, stop and resume runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.control import last_lines, next_run_id, run_number
from singula.gui.pages.empty_view import show_empty
from singula.gui.pages.frame import (
    Look,
    button,
    error_state,
    fact_cards,
    frame,
    heading,
    on_text_change,
    progress_bar,
    run_address,
    run_choice,
    run_in_thread,
    segment_address,
    subheading,
    with_error_notice,
)
from singula.gui.pages.paths import path_input
from singula.gui.pages.queue_view import QueuePanel, waiting_controls
from singula.gui.pages.run_list import RunTable, edit_notes
from singula.gui.preview import TrainingPreview, read_preview
from singula.gui.run_list import describe_run
from singula.gui.run_search import find_runs
from singula.gui.runs import (
    FINISHED,
    RESUMABLE,
    STATE_LABELS,
    RunView,
    read_record,
    state_of,
    trains,
    view_run,
)
from singula.gui.state import AppContext
from singula.pipeline.run import Job
from singula.report.html import Markup, join, tag
from singula.report.run_sections import training_charts
from singula.util.format import grouped

_REFRESH_SECONDS, _MAX_LINES = 1.5, 200
_PREVIEW = (
    "Each map is a prediction of the network: bright pixels have large values. During the "
    "training, gray pixels disappear and the maps become sharp."
)


def add(context: AppContext) -> None:
    """Register the route of the page."""

    @ui.page("/run", title="Run · Singula", response_timeout=60)
    async def page(run: str = "", config: str = "", results: str = "results") -> None:
        with frame("Run"):
            if run:
                await _show(context, run)
            else:
                heading(
                    "Run", "Train a model, segment the test images, and compare with your labels."
                )
                _start_form(context, config, results)
                await QueuePanel(context).refresh()
                subheading("Runs")
                await RunTable(context).load()


def _start_form(context: AppContext, config: str, result_dir: str) -> None:
    """Add the form that starts a run."""
    config_path = Path(config) if config else None
    with ui.element("section").classes("card"):

        def job_name() -> str:
            return (name.value or "").strip() or Path(path.value or "").stem

        numbers = {"proposed": "1"}

        def propose(_: object = None) -> None:
            # A number that the user typed is not replaced.
            if job_name() and number.value == numbers["proposed"]:
                folder = Path(results.value or ".")
                numbers["proposed"] = str(next_run_id(context.guard, folder, job_name()))
                number.set_value(numbers["proposed"])

        def fault(text: str) -> str | None:
            try:
                run_number(text)
            except UserError as error:
                return error.message
            return None

        path = path_input(
            context.guard, "Configuration (YAML file)", config, suffixes=(".yaml", ".yml"),
            on_change=propose,
        )  # fmt: skip
        with ui.element("div").classes("row-of"):
            results = path_input(
                context.guard, "Folder for the results", result_dir, folders=True,
                on_change=propose,
            )  # fmt: skip
            name = ui.input("Name", value=config_path.stem if config_path else "").props(
                "outlined dense"
            )
            on_text_change(name, propose)
            number = ui.input("Run number", value="1", validation=fault)
            number.props("outlined dense inputmode=numeric")
            # Typing replaces the proposed number: otherwise, 1 typed behind 1 would be 11.
            number.on("focus", js_handler="event => event.target.select()")
            gpu = ui.input("GPU", placeholder="0").props(
                'outlined dense hint="empty: as in the configuration"'
            )
        propose()

        async def start() -> None:
            messages.clear()
            job = None
            try:
                if not path.value:
                    raise UserError(
                        "no configuration is chosen", "choose a YAML file", "gui.no_file"
                    )
                job = Job(
                    Path(path.value),
                    Path(results.value or "."),
                    job_name(),
                    run_number(number.value),
                    (gpu.value or "").strip() or None,
                )
                folder = await run_in_thread(context.control.start, job)
            except UserError as error:
                with messages:
                    error_state(error, "The run was not started")
                    with ui.element("div").classes("row-of"):
                        if job is not None:
                            await _earlier_link(context, job)
                        if path.value:
                            _change_link(path.value)
                return
            ui.navigate.to(run_address("run", folder))

        button("Start", start)
        messages = ui.element("div").classes("below").props('aria-live="assertive"')


def _change_link(config: str, *, main: bool = False) -> None:
    link = ui.link("Edit the configuration", f"/new?config={quote(config)}")
    link.classes("as-button" if main else "as-button secondary")


async def _earlier_link(context: AppContext, job: Job) -> None:
    """Add a link to the existing run with this name and number, if there is one."""
    try:
        folder = await run_in_thread(context.control.folder, job)
    except UserError:
        return
    if folder in await run_in_thread(find_runs, context.guard):
        verb = "Resume" if await run_in_thread(state_of, folder) in RESUMABLE else "Show"
        ui.link(f"{verb} {folder.name}", run_address("run", folder)).classes("as-button secondary")


async def _show(context: AppContext, run: str) -> None:
    try:
        folder = context.guard.check_entries(Path(run))
        if not folder.is_dir():
            raise UserError(
                f"{run}: does not exist", "choose a run from the list", "gui.run_missing"
            )
    except UserError as error:
        heading("Run")
        error_state(error, "This run cannot be shown")
        return
    with ui.element("div").classes("head-row"):
        with ui.element("div"):
            await _title(context, folder)
        run_choice("run", await run_in_thread(find_runs, context.guard), folder, context.guard)
    await _Watch(context, folder).refresh()


async def _title(context: AppContext, folder: Path) -> None:
    """Add title and note of a run, with a button to change them."""
    place = ui.element("div")

    async def show() -> None:
        row = await run_in_thread(describe_run, folder)
        place.clear()
        with place:
            heading(row.title)
            ui.label(context.guard.short(folder)).classes("note place")
            if row.note:
                ui.label(row.note).classes("run-note")
            edit = button("Rename or annotate", lambda: edit_notes(context, row, show))
            edit.classes(replace="as-button plain")

    await show()


class _Watch:
    """Page of a run, refreshed while the run is running; only changes are sent."""

    def __init__(self, context: AppContext, folder: Path) -> None:
        self.context = context
        self.folder = folder
        self.killing = False
        self.previous: dict[str, object] = {}
        self.buttons = ui.element("div").classes("row-of buttons")
        self.error = ui.element("div").props('aria-live="assertive"')
        self.empty = ui.element("div")
        self.facts = ui.html("", sanitize=False).props('aria-live="polite"')
        self.trains = trains(folder, read_record(folder))
        if self.trains:
            subheading("Training")
        self.curves = ui.html("", sanitize=False)
        self.preview = ui.html("", sanitize=False)
        subheading("Log")
        self.log = ui.html("", sanitize=False).classes("log").props('tabindex="0" role="log"')
        ui.timer(_REFRESH_SECONDS, self.refresh, immediate=False)

    async def refresh(self) -> None:
        """Read the files of the run in a thread, then show the changes."""
        self.context.control.processes.reap()
        view = await run_in_thread(self._view)
        self._changed("facts", _facts(view), self.facts.set_content)
        self._changed("curves", _curves(view, trains=self.trains), self.curves.set_content)
        preview = await run_in_thread(read_preview, self.folder)
        shown = preview if view.state not in FINISHED else None
        self._changed("preview", shown, lambda new: self.preview.set_content(_preview(new)))
        log = tag("pre", last_lines(view.log, _MAX_LINES) or "The log is empty.")
        self._changed("log", log, self.log.set_content)
        self._changed("error", (view.state, view.error), lambda _: self._set_error(view))
        self._changed("state", (view.state, self.killing), lambda _: self._set_buttons(view))
        if self.previous.get("ended") != view.state:
            self.previous["ended"] = view.state
            self.empty.clear()
            with self.empty:
                if view.state == "empty":
                    await show_empty(self.context, self.folder)

    def _view(self) -> RunView:
        view = view_run(self.folder)
        control = self.context.control
        if view.state == "waiting":
            phase = control.queue.describe(control.runs, self.folder)
            return replace(view, progress=replace(view.progress, phase=phase))
        failed_start = control.queue.error(control.runs, self.folder)
        return replace(view, error=failed_start) if failed_start and not view.error else view

    def _changed(self, name: str, value: object, show: Callable[[Any], object]) -> None:
        if self.previous.get(name, self) != value:
            self.previous[name] = value
            show(value)

    def _set_error(self, view: RunView) -> None:
        self.error.clear()
        if view.error:
            titles = {"failed": "The run ended with an error", "incomplete": "Some images failed"}
            with self.error:
                error_state(view.error, titles.get(view.state, "The run did not start"))

    def _set_buttons(self, view: RunView) -> None:
        self.buttons.clear()
        with self.buttons:
            if view.state == "running" and view.elsewhere:
                ui.label(
                    "This run was started in a terminal; press Ctrl-C there to stop it."
                ).classes("note")
            elif view.state == "waiting":
                waiting_controls(
                    self.context,
                    self.context.control.runs,
                    self.folder,
                    started=self.refresh,
                    removed=self._removed,
                )
            elif view.state == "running":
                verb = "Kill" if self.killing else "Stop"
                button(verb, with_error_notice(self._stop), look="bad")
                if self.killing:
                    ui.label("Stopping: the run completes the files that it is writing.").classes(
                        "note"
                    )
            elif view.state in FINISHED:
                ui.link("Show results", run_address("results", self.folder)).classes("as-button")
                ui.link("Tune thresholds", run_address("tune", self.folder)).classes(
                    "as-button secondary"
                )
                other = segment_address(str(self.folder))
                ui.link("Segment other images", other).classes("as-button secondary")
            editable = view.state == "failed" and view.record is not None
            # Without progress, the configuration must be corrected first.
            edit_first = editable and not view.has_progress
            if edit_first and view.record is not None:
                _change_link(self.context.guard.short(view.record.config), main=True)
            if view.state in RESUMABLE:
                verb = "Start again" if edit_first else "Resume"
                look: Look = "secondary" if edit_first else "main"
                button(verb, with_error_notice(self._resume), look=look)
            if editable and not edit_first and view.record is not None:
                _change_link(self.context.guard.short(view.record.config))

    async def _stop(self) -> None:
        await run_in_thread(self.context.control.stop, self.folder, kill=self.killing)
        self.killing = True
        await self.refresh()

    async def _removed(self) -> None:
        if self.folder.is_dir():
            await self.refresh()
        else:
            ui.navigate.to("/run")

    async def _resume(self) -> None:
        self.killing = False
        await run_in_thread(self.context.control.resume, self.folder)
        await self.refresh()


def _facts(view: RunView) -> Markup:
    """Return state, progress and memory as HTML."""
    facts: list[tuple[str, object]] = [
        ("State", tag("i", STATE_LABELS[view.state], class_=f"state {view.state}"))
    ]
    if view.progress.remaining:
        facts.append(("Remaining training time", view.progress.remaining))
    if view.memory is not None:
        facts.append(("Memory", f"{grouped(round(view.memory))} MiB"))
    if view.history:
        last = view.history[-1]
        facts.append(("Epochs", f"{last['epoch']:.0f}"))
        if "val_loss" in last:
            facts.append(("Validation loss", f"{last['val_loss']:.4g}"))
    return join((fact_cards(facts), progress_bar(view.progress.phase, view.progress.share)))


def _preview(preview: TrainingPreview | None) -> Markup:
    """Return the picture of the prediction during the training as HTML."""
    if preview is None:
        return Markup()
    title = f"Prediction after epoch {preview.epoch}, in a part of one image"
    image = tag("img", src=preview.address, alt=f"{title}: {', '.join(preview.titles)}")
    panels = tag("div", *(tag("span", text) for text in preview.titles), class_="preview-titles")
    text = tag("p", _PREVIEW, class_="note")
    return tag("figure", tag("h3", title), image, panels, text, class_="preview")


def _curves(view: RunView, *, trains: bool) -> Markup:
    if not trains and not view.history:
        text = "This run does not train: it segments images with a trained model."
        return tag("p", text, class_="note")
    if not view.history:
        return tag("p", "Curves appear after the first epoch.", class_="note")
    return tag("div", *training_charts(view.history), class_="charts")
