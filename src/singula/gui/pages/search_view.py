"""Section of the Tune page that searches thresholds on the validation images."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from singula.errors import UserError
from singula.gui.pages.frame import (
    button,
    dropdown,
    error_state,
    note,
    notify_saved,
    progress_bar,
    run_in_thread,
    score_row,
    score_table,
    with_error_notice,
)
from singula.gui.pages.queue_view import waiting_controls
from singula.gui.results import Results
from singula.gui.search import (
    SEARCH,
    SearchResult,
    SearchView,
    start_search,
    stop_search,
    tests_on_validation,
    view_search,
    watch_search,
)
from singula.gui.state import AppContext

_REFRESH_SECONDS = 1.0
_UNSEEN = "The test images are not used, so their scores remain unbiased."
_NOTHING = (
    "No setting finds an object of your labels. Train longer, or check the labels: thresholds "
    "cannot improve this model."
)
_SAME = (
    "The test images of this run are its validation images: after the search, their scores are "
    "slightly too good. Test on other images to measure the quality."
)
_GOALS = {"pq": "Detection and outlines (panoptic quality)", "f1": "Detection score (F1)"}
_ROWS = {
    **_GOALS,
    "precision": "Found objects that are correct (precision)",
    "recall": "Your objects that were found (recall)",
}


class SearchPanel:
    """Panel that starts `singula tune` and shows its progress and result.

    The panel reads the files of the search, so the page may be closed during a search.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    results : Results
        Results of the run.
    use : callable
        Receives the result when the search ends, or when the user requests it.
    """

    def __init__(
        self, context: AppContext, results: Results, use: Callable[[SearchResult], Awaitable[None]]
    ) -> None:
        self.context, self.results, self.use = context, results, use
        self.shown: SearchView | None = None
        note(
            "Tries several hundred settings on the validation images of the training. "
            + (_SAME if tests_on_validation(results.run.config) else _UNSEEN)
        )
        with ui.element("div").classes("row-of search-goal"):
            self.metric = dropdown("Score to improve", _GOALS, "pq")
            self.iou = ui.number("at IoU", value=0.5, min=0.05, max=1, step=0.05)
            self.iou.props("outlined dense")
            self.begin = button("Find best settings", self._start)
        self.messages = ui.element("div").props('aria-live="polite"')
        self.timer = ui.timer(_REFRESH_SECONDS, self._refresh, active=False)
        self._show(view_search(results.run.tree))

    async def _start(self) -> None:
        try:
            await run_in_thread(
                start_search,
                self.results,
                self.context.guard,
                self.context.control.queue,
                metric=str(self.metric.value),
                iou=float(self.iou.value or 0),
            )
        except UserError as error:
            self.messages.clear()
            with self.messages:
                error_state(error, "The search was not started")
            return
        await self._refresh()

    def _view(self) -> SearchView:
        return watch_search(self.context.control.queue, self.results.run.tree)

    async def _refresh(self) -> None:
        self.context.control.processes.reap()
        previous, view = self.shown, await run_in_thread(self._view)
        self._show(view)
        if previous is not None and previous.state == "running" and view.result is not None:
            await self._use(view.result)

    async def _use(self, result: SearchResult) -> None:
        if result.values:
            await self.use(result)
            notify_saved("the sliders show the best settings")

    def _show(self, view: SearchView) -> None:
        if view == self.shown:
            return
        self.shown = view
        self.timer.active = view.state in ("waiting", "running")
        self.begin.set_enabled(not self.timer.active)
        self.messages.clear()
        with self.messages:
            if view.state == "running":
                ui.html(progress_bar(view.phase, view.share), sanitize=False)
                button("Cancel", with_error_notice(self._stop), look="secondary")
            elif view.state == "waiting":
                ui.html(progress_bar(view.phase, None), sanitize=False)
                waiting_controls(
                    self.context,
                    SEARCH,
                    self.results.run.tree.tuning,
                    started=self._refresh,
                    removed=self._refresh,
                )
            elif view.state == "stopped":
                note("Canceled. The next search continues with the stored predictions.")
            elif view.state == "failed":
                error_state(view.error or "", "The search ended with an error")
            elif view.result is not None:
                self._show_result(view.result)

    def _show_result(self, result: SearchResult) -> None:
        ui.html(_table(result), sanitize=False)
        if not result.values:
            nothing = not result.after[result.goal["metric"]]
            note(_NOTHING if nothing else "No setting is better than the present one.")
            return

        async def use() -> None:
            await self._use(result)

        button("Set the sliders to the best settings", use, look="plain")

    def _stop(self) -> None:
        stop_search(self.results.run.tree)


def _table(result: SearchResult) -> str:
    """Return the mean scores of the validation images before and after, as HTML."""
    rows = [
        score_row(label, result.before[name], result.after[name]) for name, label in _ROWS.items()
    ]
    title = f"Mean of the validation images at IoU {result.goal['iou']:g}"
    return score_table(title, "Best found", rows)
