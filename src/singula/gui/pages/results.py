"""The Results page: images with instances, truth and measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui
from nicegui.events import TableSelectionEventArguments

from singula.errors import UserError
from singula.gui.pages.finished import finished_run
from singula.gui.pages.frame import aside, error_state, link_to, run_address, show_address
from singula.gui.pages.viewer import Viewer
from singula.gui.results import Results
from singula.gui.station import Station
from singula.report.run_files import Stage

_ROWS = 100


def add(station: Station) -> None:
    """Serve the page."""

    @ui.page("/results", title="Results · Singula", response_timeout=60)
    def page(run: str = "", image: str = "") -> None:
        nothing = (
            "No results yet",
            "Here you see every test image with its instances, what was matched with the "
            "truth, and the size and shape of each object.",
        )
        finished_run(
            station,
            "Results",
            run,
            nothing,
            lambda folder, results: _View(station, folder, results, image),
        )


class _View:
    """One run's results."""

    def __init__(self, station: Station, folder: Path, results: Results, image: str) -> None:
        self.folder, self.results = folder, results
        self.stage: Stage = results.stages[-1]
        names = results.names(self.stage)
        self.name = image if image in names else names[0]
        self._head(folder, names)
        self.notes = ui.element("div")
        self.problem = ui.element("div")
        with ui.element("div").classes("split") as self.whole:
            with ui.element("div"):
                self.viewer = Viewer(station.scenes, on_pick=self._picked)
            with ui.element("div"):
                self.scores = ui.element("div").classes("cards")
                self.count = ui.label().classes("note")
                self.table = ui.table(
                    columns=[], rows=[], row_key="label", selection="single",
                    pagination={"rowsPerPage": _ROWS, "sortBy": "label"},
                    on_select=self._selected,
                ).classes("objects")  # fmt: skip
                self.table.props(
                    "dense flat color=primary binary-state-sort "
                    'no-data-label="No instances in this image" '
                    ':rows-per-page-options="[50,100,500]"'
                )
                self.table.add_slot(
                    "body-selection",
                    '<q-checkbox v-model="props.selected" dense '
                    """:aria-label="'object ' + props.row.label" />""",
                )
                self.table.on("rowClick", self._clicked, [None, ["label"], None])
        ui.timer(0, self._load, once=True)

    def _head(self, folder: Path, names: list[str]) -> None:
        with ui.element("div").classes("row-of tools"):
            label = "Image (worst first)" if self._scored else "Image"
            choice = ui.select(names, value=self.name, label=label, with_input=len(names) > 8)
            choice.props("outlined dense options-dense").classes("run-choice")
            choice.on_value_change(self._choose)
            if len(self.results.stages) > 1:
                words = {i: self.results.words(s) for i, s in enumerate(self.results.stages)}
                ui.select(words, value=len(words) - 1, label="Instances",
                          on_change=self._choose_stage).props(
                    "outlined dense options-dense")  # fmt: skip
            ui.link("Report", f"/report?run={quote(str(folder))}", new_tab=True).classes(
                "as-button quiet"
            )
            self.other = ui.link("Tune thresholds").classes("as-button quiet")

    @property
    def _scored(self) -> bool:
        return bool(self.results.score(self.stage))

    async def _choose(self, event: Any) -> None:
        self.name = str(event.value)
        await self._load()

    async def _choose_stage(self, event: Any) -> None:
        self.stage = self.results.stages[int(event.value)]
        await self._load()

    async def _load(self) -> None:
        """Read image and table off the loop that serves all pages."""
        show_address(run_address("results", self.folder, self.name))
        link_to(self.other, run_address("tune", self.folder, self.name))
        self.problem.clear()
        try:
            scene = await aside(self.results.scene, self.name, self.stage)
            columns, rows = await aside(self.results.table, self.name, self.stage)
        except UserError as error:
            self.whole.set_visibility(False)  # it is of another image
            with self.problem:
                error_state(error, "This image cannot be shown")
            return
        self.whole.set_visibility(True)
        self.viewer.show(scene, f"{self.name} with its instances")
        self._show_table(columns, rows)
        self._show_scores(len(rows))
        self.notes.clear()
        with self.notes:
            for note in self.results.sources.notes:
                ui.label(note).classes("warning")

    def _show_table(self, columns: list[str], rows: list[dict[str, float | None]]) -> None:
        count = "voxels" if self.results.files.ndim == 3 else "pixels"
        labels = {"label": "id", "npixels": count, "bounding_box_diameter_px": "diameter px"}
        self.table.columns = [
            {
                "name": name,
                "field": name,
                "label": labels.get(name, name.removeprefix("centroid_").replace("_", " ")),
                "sortable": True,
                "align": "right",
                "headerStyle": "white-space: normal",
            }
            for name in columns
            # The picture counts in pixels.
            if not name.startswith("centroid_") or name.endswith("_px")
        ]
        self.table.rows = rows
        self.table.selected = []
        self.table.update()

    def _show_scores(self, count: int) -> None:
        score = self.results.score(self.stage, self.name)
        self.scores.clear()
        with self.scores:
            _fact("instances", str(count))
            if score:
                at = f"IoU {score['threshold']:g}"
                _fact(f"F1 at {at}", f"{score['f1']:.3f}")
                _fact(f"panoptic quality at {at}", f"{score['panoptic_quality']:.3f}")
                _fact("true objects", f"{score['n_true']:.0f}")
        self.count.set_text("Click a row or an object: it is marked in both.")

    def _selected(self, event: TableSelectionEventArguments) -> None:
        self.viewer.select(int(event.selection[0]["label"]) if event.selection else 0)

    def _clicked(self, event: Any) -> None:
        self._mark(int(event.args[1]["label"]))
        self.viewer.select(int(event.args[1]["label"]))

    def _picked(self, number: int) -> None:
        self._mark(number)
        if number:
            # Bring the row's page up: sorted by id it is where its number says.
            order = [row["label"] for row in self.table.rows]
            place = order.index(number) if number in order else 0
            now = self.table.pagination if isinstance(self.table.pagination, dict) else {}
            if now.get("sortBy") in (None, "label") and not now.get("descending"):
                size = int(now.get("rowsPerPage") or _ROWS)
                self.table.pagination = {**now, "page": place // size + 1}
            ui.run_javascript(
                f"setTimeout(() => getHtmlElement({self.table.id}).querySelector('tr.selected')"
                "?.scrollIntoView({block: 'nearest'}), 150)"
            )

    def _mark(self, number: int) -> None:
        self.table.selected = [row for row in self.table.rows if row["label"] == number]
        self.table.update()


def _fact(words: str, value: str) -> None:
    with ui.element("div").classes("fact"):
        ui.label(words).classes("note")
        ui.html(f"<b>{value}</b>", sanitize=False)
