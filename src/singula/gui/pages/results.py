"""The Results page: images with instances, truth and measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui
from nicegui.events import TableSelectionEventArguments

from singula.gui.pages.finished import ImageView, finished_run
from singula.gui.pages.viewer import Viewer
from singula.gui.pictures import Scene
from singula.gui.results import Results
from singula.gui.station import Station
from singula.report.run_files import Stage

_ROWS = 100
Rows = list[dict[str, float | None]]


def add(station: Station) -> None:
    """Serve the page."""

    @ui.page("/results", title="Results · Singula", response_timeout=60)
    async def page(run: str = "", image: str = "") -> None:
        nothing = (
            "No results yet",
            "Here you see every test image with its instances, what was matched with the "
            "truth, and the size and shape of each object.",
        )
        await finished_run(
            station,
            "Results",
            run,
            nothing,
            lambda folder, results: _View(station, folder, results, image),
        )


class _View(ImageView[tuple[Scene, list[str], Rows]]):
    """One run's results."""

    page, other_page, failed = "results", "tune", "This image cannot be shown"

    def __init__(self, station: Station, folder: Path, results: Results, image: str) -> None:
        super().__init__(folder, results, image)
        self._head()
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
        ui.timer(0, self.load, once=True)

    def _head(self) -> None:
        with ui.element("div").classes("row-of tools"):
            scored = bool(self.results.score(self.stage))
            self.image_choice("Image (worst first)" if scored else "Image")
            if len(self.results.stages) > 1:
                words = {i: self.results.words(s) for i, s in enumerate(self.results.stages)}
                ui.select(words, value=len(words) - 1, label="Instances",
                          on_change=self._choose_stage).props(
                    "outlined dense options-dense")  # fmt: skip
            ui.link("Report", f"/report?run={quote(str(self.folder))}", new_tab=True).classes(
                "as-button quiet"
            )
            self.other = ui.link("Tune thresholds").classes("as-button quiet")

    async def _choose_stage(self, event: Any) -> None:
        self.stage = self.results.stages[int(event.value)]
        await self.load()

    def read(self, name: str, stage: Stage) -> tuple[Scene, list[str], Rows]:
        """Picture and table."""
        return self.results.scene(name, stage), *self.results.table(name, stage)

    async def present(self, name: str, stage: Stage, found: tuple[Scene, list[str], Rows]) -> None:
        """Show picture, table and scores."""
        scene, columns, rows = found
        self.viewer.show(scene, f"{name} with its instances")
        self._show_table(columns, rows)
        self._show_scores(self.results.score(stage, name), len(rows))
        self.notes.clear()
        with self.notes:
            for note in self.results.sources.notes:
                ui.label(note).classes("warning")

    def _show_table(self, columns: list[str], rows: Rows) -> None:
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

    def _show_scores(self, score: dict[str, float], count: int) -> None:
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
