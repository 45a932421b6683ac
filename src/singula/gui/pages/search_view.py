"""The part of the Tune page that searches thresholds on the validation images."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape

from nicegui import ui

from singula.errors import UserError
from singula.gui.pages.frame import (
    aside,
    button,
    error_state,
    guarded,
    note,
    score_row,
    score_table,
)
from singula.gui.results import Results
from singula.gui.search import Found, SearchView, start_search, stop_search, view_search
from singula.gui.station import Station

_EVERY = 1.0
_GOALS = {"pq": "Panoptic quality", "f1": "F1"}
_ROWS = {**_GOALS, "precision": "Precision", "recall": "Recall"}


class SearchPanel:
    """Starts `singula tune`, shows how far it is, and hands over what it found.

    It reads the search's files, so the page may be closed meanwhile.

    Parameters
    ----------
    station : Station
    results : Results
    use : callable
        Takes what a search found, when it ends or when the user asks for it.
    """

    def __init__(
        self, station: Station, results: Results, use: Callable[[Found], Awaitable[None]]
    ) -> None:
        self.station, self.results, self.use = station, results, use
        self.shown: SearchView | None = None
        note(
            "Tries some hundred settings on the images that the training validated on, as "
            "`singula tune` does. The test images stay unseen, so their scores stay honest."
        )
        with ui.element("div").classes("row-of search-goal"):
            self.metric = ui.select(_GOALS, value="pq", label="Best mean")
            self.metric.props("outlined dense options-dense")
            self.iou = ui.number("at IoU", value=0.5, min=0.05, max=1, step=0.05)
            self.iou.props("outlined dense")
            self.begin = button("Search", self._start)
        self.told = ui.element("div").props('aria-live="polite"')
        self.timer = ui.timer(_EVERY, self._refresh, active=False)
        self._show(view_search(results.files.tree))

    async def _start(self) -> None:
        try:
            await aside(
                start_search,
                self.results,
                self.station.guard,
                self.station.control.processes,
                metric=str(self.metric.value),
                iou=float(self.iou.value or 0),
            )
        except UserError as error:
            self.told.clear()
            with self.told:
                error_state(error, "The search was not started")
            return
        self._show(view_search(self.results.files.tree))

    async def _refresh(self) -> None:
        self.station.control.processes.reap()
        before, view = self.shown, view_search(self.results.files.tree)
        self._show(view)
        if before is not None and before.state == "running" and view.found is not None:
            await self._use(view.found)

    async def _use(self, found: Found) -> None:
        if found.values:
            await self.use(found)
            ui.notify("the sliders stand at what was found", type="positive")

    def _show(self, view: SearchView) -> None:
        if view == self.shown:
            return
        self.shown = view
        self.timer.active = view.state == "running"
        self.begin.set_enabled(view.state != "running")
        self.told.clear()
        with self.told:
            if view.state == "running":
                _progress(view)
                button("Cancel", guarded(self._stop), look="quiet")
            elif view.state == "stopped":
                note("Cancelled. What was predicted is kept for the next search.")
            elif view.state == "failed":
                error_state(view.error or "", "The search ended with an error")
            elif view.found is not None:
                self._show_found(view.found)

    def _show_found(self, found: Found) -> None:
        ui.html(_table(found), sanitize=False)
        if not found.values:
            note("Nothing is better there than what is configured.")
            return

        async def take() -> None:
            await self._use(found)

        button("Set the sliders to these", take, look="plain")

    def _stop(self) -> None:
        stop_search(self.results.files.tree)


def _progress(view: SearchView) -> None:
    note(view.words)
    if view.share is not None:
        done = round(100 * view.share)
        ui.html(
            f'<div class="done-bar" role="progressbar" aria-valuenow="{done}" aria-valuemin="0" '
            f'aria-valuemax="100" aria-label="{escape(view.words)}"><i style="width:{done}%"></i>'
            "</div>",
            sanitize=False,
        )


def _table(found: Found) -> str:
    """Mean scores of the validation images before and after, as HTML."""
    rows = [
        score_row(words, found.before[name], found.after[name]) for name, words in _ROWS.items()
    ]
    return score_table(f"Mean of validation at IoU {found.goal['iou']:g}", "found", rows)
