"""The Run page: start, watch, stop and resume."""

from __future__ import annotations

import html
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.control import last_lines, next_run_id
from singula.gui.guard import Guard
from singula.gui.pages.frame import (
    aside,
    button,
    empty_state,
    error_state,
    frame,
    guarded,
    heading,
    run_address,
    run_choice,
    subheading,
)
from singula.gui.pages.paths import path_input
from singula.gui.runs import RESUMABLE, WORDS, RunView, State, find_runs, state_of, view_run
from singula.gui.station import Station
from singula.report.run_sections import training_charts
from singula.workflow import Job

_EVERY, _LINES, _MOST = 1.5, 200, 100


def add(station: Station) -> None:
    """Serve the page."""

    @ui.page("/run", title="Run · Singula", response_timeout=60)
    async def page(run: str = "", config: str = "", results: str = "results") -> None:
        with frame("Run"):
            if run:
                await _show(station, run)
            else:
                heading("Run", "Train, predict and score, as a configuration file says.")
                _start_form(station, config, results)
                runs = await aside(_listed, station.guard)
                subheading("Runs so far")
                if runs:
                    _list(station, runs)
                else:
                    empty_state(
                        "No run yet",
                        "Choose a configuration above and start; or make one, which asks for your "
                        "images and writes the file.",
                        ("Make a configuration", "/new"),
                    )


def _listed(guard: Guard) -> list[tuple[Path, State | None]]:
    """Return every run, the latest first, with the states of those that are shown."""
    runs = find_runs(guard)
    states = [state_of(folder) for folder in runs[:_MOST]]
    return list(zip_longest(runs, states))


def _list(station: Station, runs: list[tuple[Path, State | None]]) -> None:
    """Show every run with its state, the latest first."""
    with ui.element("ul").classes("run-list"):
        for folder, state in runs:
            if state is None:
                continue
            with ui.element("li"):
                ui.link(folder.name, run_address("run", folder))
                ui.label(station.guard.short(folder.parent.parent)).classes("note place")
                ui.label(WORDS[state]).classes(f"state {state}")
    if len(runs) > _MOST:
        ui.label(f"{len(runs) - _MOST} older ones are not listed").classes("note")


def _start_form(station: Station, config: str, results_in: str) -> None:
    """Fields of the command line, and the button."""
    given = Path(config) if config else None
    with ui.element("section").classes("card"):

        def called() -> str:
            return (name.value or "").strip() or Path(path.value or "").stem

        def propose(_: object = None) -> None:
            if called():
                place = Path(results.value or ".")
                number.set_value(next_run_id(station.guard, place, called()))

        path = path_input(
            station.guard, "Configuration (YAML file)", config, suffixes=(".yaml", ".yml"),
            on_change=propose,
        )  # fmt: skip
        with ui.element("div").classes("row-of"):
            results = path_input(
                station.guard, "Folder for the results", results_in, folders=True,
                on_change=propose,
            )  # fmt: skip
            name = ui.input("Name", value=given.stem if given else "").props("outlined dense")
            name.on("change", propose)
            number = ui.number("Run number", value=1, min=0, step=1, format="%d")
            number.props("outlined dense")
            gpu = ui.input("GPU", placeholder="0").props(
                'outlined dense hint="empty: SYSTEM.DEVICE"'
            )
        propose()
        told = ui.element("div")

        async def start() -> None:
            told.clear()
            job = None
            try:
                if not path.value:
                    raise UserError("no configuration is chosen", "choose a YAML file")
                job = Job(
                    Path(path.value),
                    Path(results.value or "."),
                    called(),
                    int(number.value or 0),
                    (gpu.value or "").strip() or None,
                )
                folder = await aside(station.control.start, job)
            except UserError as error:
                with told:
                    error_state(error, "The run was not started")
                    with ui.element("div").classes("row-of"):
                        if job is not None:
                            await _earlier_link(station, job)
                        if path.value:
                            _change_link(path.value)
                return
            ui.navigate.to(run_address("run", folder))

        button("Start", start)


def _change_link(config: str) -> None:
    ui.link("Change the configuration", f"/new?config={quote(config)}").classes("as-button quiet")


async def _earlier_link(station: Station, job: Job) -> None:
    """Link to the run of this name and number, where there is one: there it is resumed."""
    try:
        folder = await aside(station.control.folder, job)
    except UserError:
        return
    if folder in await aside(find_runs, station.guard):
        words = "Resume" if await aside(state_of, folder) in RESUMABLE else "See"
        ui.link(f"{words} {folder.name}", run_address("run", folder)).classes("as-button quiet")


async def _show(station: Station, run: str) -> None:
    try:
        folder = station.guard.check(run)
        if not folder.is_dir():
            raise UserError(f"{run}: there is no such folder", "choose a run from the list")
        for path in folder.glob("*"):  # a link could lead outside
            station.guard.check(path)
    except UserError as error:
        heading("Run")
        error_state(error, "This run cannot be shown")
        return
    with ui.element("div").classes("head-row"):
        with ui.element("div"):
            heading(folder.name)
            ui.label(station.guard.short(folder)).classes("note")
        run_choice("run", await aside(find_runs, station.guard), folder, station.guard)
    await _Watch(station, folder).refresh()


class _Watch:
    """A run's page, drawn anew while it runs; only what changed is sent."""

    def __init__(self, station: Station, folder: Path) -> None:
        self.station = station
        self.folder = folder
        self.killing = False
        self.before: dict[str, object] = {}
        self.buttons = ui.element("div").classes("row-of buttons")
        self.error = ui.element("div").props('aria-live="assertive"')
        self.facts = ui.html("", sanitize=False).props('aria-live="polite"')
        subheading("Training")
        self.curves = ui.html("", sanitize=False)
        subheading("Log")
        self.log = ui.html("", sanitize=False).classes("log").props('tabindex="0" role="log"')
        ui.timer(_EVERY, self.refresh, immediate=False)

    async def refresh(self) -> None:
        """Read the files of the run in a thread, then show what has changed."""
        self.station.control.processes.reap()
        view = await aside(view_run, self.folder)
        self._changed("facts", _facts(view), self.facts.set_content)
        self._changed("curves", _curves(view), self.curves.set_content)
        log = html.escape(last_lines(view.log, _LINES)) or "nothing yet"
        self._changed("log", f"<pre>{log}</pre>", self.log.set_content)
        self._changed("error", (view.state, view.error), lambda _: self._set_error(view))
        self._changed("state", (view.state, self.killing), lambda _: self._set_buttons(view))

    def _changed(self, name: str, value: object, show: Callable[[Any], object]) -> None:
        if self.before.get(name, self) != value:
            self.before[name] = value
            show(value)

    def _set_error(self, view: RunView) -> None:
        self.error.clear()
        if view.error:
            failed = "The run ended with an error"
            with self.error:
                error_state(view.error, failed if view.state == "failed" else "Some images failed")

    def _set_buttons(self, view: RunView) -> None:
        self.buttons.clear()
        with self.buttons:
            if view.state == "running" and view.elsewhere:
                ui.label("It runs in a terminal; Ctrl-C there stops it.").classes("note")
            elif view.state == "running":
                words = "End at once" if self.killing else "Stop"
                button(words, guarded(self._stop), look="bad")
                if self.killing:
                    ui.label("Asked to stop; it finishes what it writes.").classes("note")
            elif view.state in ("finished", "incomplete"):
                ui.link("See results", run_address("results", self.folder)).classes("as-button")
                ui.link("Tune thresholds", run_address("tune", self.folder)).classes(
                    "as-button quiet"
                )
            if view.state in RESUMABLE:
                button("Resume", guarded(self._resume))
            if view.state == "failed" and view.record is not None:
                _change_link(self.station.guard.short(view.record.config))

    async def _stop(self) -> None:
        await aside(self.station.control.stop, self.folder, kill=self.killing)
        self.killing = True
        await self.refresh()

    async def _resume(self) -> None:
        self.killing = False
        await aside(self.station.control.resume, self.folder)
        await self.refresh()


def _facts(view: RunView) -> str:
    """State, progress and memory as HTML."""
    done = round(100 * view.progress.share)
    cards = [("State", f'<i class="state {view.state}">{WORDS[view.state]}</i>')]
    if view.progress.left:
        cards.append(("Time left in training", html.escape(view.progress.left)))
    if view.memory is not None:
        cards.append(("Memory now", f"{view.memory:,.0f} MiB".replace(",", "\u202f")))
    if view.history:
        last = view.history[-1]
        cards.append(("Epochs", f"{last['epoch']:.0f}"))
        if "val_loss" in last:
            cards.append(("Validation loss", f"{last['val_loss']:.4g}"))
    facts = "".join(
        f'<div class="fact"><span>{name}</span><b>{value}</b></div>' for name, value in cards
    )
    bar = (
        f'<div class="done-bar" role="progressbar" aria-valuenow="{done}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-label="{html.escape(view.progress.phase)}">'
        f'<i style="width:{done}%"></i></div>'
    )
    phase = f'<p class="note">{html.escape(view.progress.phase)}</p>'
    return f'<div class="cards">{facts}</div>{bar}{phase}'


def _curves(view: RunView) -> str:
    if not view.history:
        return '<p class="note">Curves appear after the first epoch.</p>'
    return f'<div class="charts">{"".join(training_charts(view.history))}</div>'
