"""Results page: images with instances, ground truth and measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui
from nicegui.events import TableSelectionEventArguments

from singula.gui.pages.finished import ImageView, add_finished_page
from singula.gui.pages.frame import dropdown, fact_cards
from singula.gui.pages.viewer import Viewer
from singula.gui.pictures import Scene
from singula.gui.results import Results, Table, measurements
from singula.gui.state import AppContext
from singula.runs.run import Stage

_ROWS = 100


def add(context: AppContext) -> None:
    """Register the route of the page."""
    text = (
        "This page shows every test image with its objects, how they match your labels, and the "
        "size and shape of each object."
    )
    add_finished_page(context, "Results", text, _View)


class _View(ImageView[tuple[Scene, Table]]):
    """View of the results of a run."""

    page, other_page, failed = "results", "tune", "This image cannot be shown"

    def __init__(self, context: AppContext, folder: Path, results: Results, image: str) -> None:
        super().__init__(folder, results, image)
        self._head()
        self.notes = ui.element("div")
        self.problem = ui.element("div")
        with ui.element("div").classes("split") as self.content:
            with ui.element("div"):
                self.viewer = Viewer(context.scenes, on_pick=self._picked)
            with ui.element("div"):
                self.scores = ui.html("", sanitize=False)
                self.count = ui.label().classes("note")
                self.table = ui.table(
                    columns=[], rows=[], row_key="label", selection="single",
                    pagination={"rowsPerPage": _ROWS, "sortBy": "label"},
                    on_select=self._selected,
                ).classes("objects")  # fmt: skip
                self.table.props(
                    "dense flat color=primary binary-state-sort "
                    'no-data-label="No objects in this image" '
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
            run = self.results.run
            if len(run.stages) > 1:
                labels = {i: run.stage_label(stage) for i, stage in enumerate(run.stages)}
                choice = dropdown("Objects", labels, len(labels) - 1)
                choice.on_value_change(self._choose_stage)
            ui.link("Report", f"/report?run={quote(str(self.folder))}", new_tab=True).classes(
                "as-button secondary"
            )
            self.other_link = ui.link("Tune thresholds").classes("as-button secondary")

    async def _choose_stage(self, event: Any) -> None:
        self.stage = self.results.run.stages[int(event.value)]
        await self.load()

    def read(self, name: str, stage: Stage) -> tuple[Scene, Table]:
        """Return the image and its table."""
        instances = self.results.instances(name, stage)
        scene = self.results.scene(name, stage, instances.labels)
        return scene, measurements(replace(instances, image=scene.raw))

    async def present(self, name: str, stage: Stage, data: tuple[Scene, Table]) -> None:
        """Show image, table and scores."""
        scene, table = data
        self.viewer.show(scene, f"{name} with its objects")
        self._show_table(*table)
        self._show_scores(self.results.score(stage, name), len(table[1]))
        self.notes.clear()
        with self.notes:
            for note in self.results.images.notes:
                ui.label(note).classes("warning")

    def _show_table(self, columns: list[str], rows: list[dict[str, float | None]]) -> None:
        count = "voxels" if self.results.run.ndim == 3 else "pixels"
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
            # The viewer uses pixel coordinates.
            if not name.startswith("centroid_") or name.endswith("_px")
        ]
        self.table.rows = rows
        self.table.selected = []
        self.table.update()

    def _show_scores(self, score: dict[str, float], count: int) -> None:
        facts = [("objects", str(count))]
        if score:
            at = f"IoU {score['threshold']:g}"
            facts.append((f"F1 at {at}", f"{score['f1']:.3f}"))
            facts.append((f"panoptic quality at {at}", f"{score['panoptic_quality']:.3f}"))
            facts.append(("objects in your labels", f"{score['n_true']:.0f}"))
        self.scores.set_content(fact_cards(facts))
        self.count.set_text("Click a row or an object to mark it in the image and in the table.")

    def _selected(self, event: TableSelectionEventArguments) -> None:
        self.viewer.select(int(event.selection[0]["label"]) if event.selection else 0)

    def _clicked(self, event: Any) -> None:
        self._mark(int(event.args[1]["label"]))
        self.viewer.select(int(event.args[1]["label"]))

    def _picked(self, number: int) -> None:
        self._mark(number)
        if number:
            # Open the page of the row. Its position is known only if rows are sorted by id.
            ids = [row["label"] for row in self.table.rows]
            index = ids.index(number) if number in ids else 0
            pages = self.table.pagination if isinstance(self.table.pagination, dict) else {}
            if pages.get("sortBy") in (None, "label") and not pages.get("descending"):
                size = int(pages.get("rowsPerPage") or _ROWS)
                self.table.pagination = {**pages, "page": index // size + 1}
            ui.run_javascript(
                f"setTimeout(() => getHtmlElement({self.table.id}).querySelector('tr.selected')"
                "?.scrollIntoView({block: 'nearest'}), 150)"
            )

    def _mark(self, number: int) -> None:
        self.table.selected = [row for row in self.table.rows if row["label"] == number]
        self.table.update()
