"""Table of the objects of an image, coupled to the viewer."""

from __future__ import annotations

from typing import Any

from nicegui import ui
from nicegui.events import TableSelectionEventArguments

from singula.gui.pages.viewer import Viewer
from singula.gui.pictures import Scenes
from singula.gui.results import Table

_ROWS = 100
_HINT = "Click a row or an object to mark it in the image and in the table."


class ObjectTable:
    """Viewer and table of measurements, in which a click marks the object in both.

    Parameters
    ----------
    scenes : Scenes
        Images from which the server draws tiles.
    viewer_place, table_place : ui.element
        Containers of the viewer and of the table.
    """

    def __init__(self, scenes: Scenes, viewer_place: ui.element, table_place: ui.element) -> None:
        with viewer_place:
            self.viewer = Viewer(scenes, on_pick=self._picked)
        with table_place:
            self.facts = ui.html("", sanitize=False)
            self.hint = ui.label(_HINT).classes("note")
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

    def show(self, table: Table, *, ndim: int) -> None:
        """Show the measurements of an image.

        Parameters
        ----------
        table : Table
            Columns and rows from `singula.gui.results.measurements`.
        ndim : {2, 3}
            Number of spatial axes.
        """
        columns, rows = table
        count = "voxels" if ndim == 3 else "pixels"
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
