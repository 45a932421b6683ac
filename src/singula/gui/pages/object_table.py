"""Table of the objects of an image, coupled to the viewer, with filters and plots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from singula.gui.objects import ObjectData, initial_columns
from singula.gui.pages.filters import Filters
from singula.gui.pages.frame import dropdown
from singula.gui.pages.plots import Plots
from singula.gui.pages.viewer import Viewer
from singula.gui.pictures import Scenes
from singula.gui.results import Table
from singula.runs.corrections import OBJECTS
from singula.util.format import counted

_HINT = "Click a row or an object to mark it in the image and in the table."


def objects_choice(on_change: Callable[..., Any]) -> ui.select:
    """Add the choice between corrected and predicted objects, hidden until there are corrections.

    Parameters
    ----------
    on_change : callable
        Called after a choice.
    """
    choice = dropdown("Show", OBJECTS, "corrected")
    choice.on_value_change(on_change)
    choice.set_visibility(False)
    return choice


class ObjectGrid(ui.element, component="object_grid.js"):
    """Table, implemented in ``object_grid.js``."""


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
        self.data = ObjectData(["label"], [], 2)
        self.columns: list[str] = []
        with viewer_place:
            self.viewer = Viewer(scenes, on_pick=self._picked)
        with table_place:
            self.facts = ui.html("", sanitize=False)
            with ui.expansion("Filter by size, shape, intensity").classes("panel").props("dense"):
                self.filters = Filters(self._filtered)
            with ui.expansion("Plots").classes("panel").props("dense") as unfolded:
                self.plots = Plots(self._chosen, self.filters.set_limits)
            unfolded.on_value_change(lambda event: self.plots.activate(is_open=bool(event.value)))
            with ui.element("div").classes("row-of table-head"):
                self.hint = ui.label(_HINT).classes("note grow")
                self.choice = ui.select([], multiple=True, label="Columns").props(
                    "outlined dense options-dense"
                )
                self.choice.classes("column-choice").on_value_change(self._choose_columns)
            self.table = ObjectGrid()
            self.table.props["empty"] = "No objects in this image"
            self.table.on("choose", lambda event: self._chosen(int(event.args)))

    def show(self, table: Table, *, ndim: int) -> None:
        """Show the measurements of an image.

        Parameters
        ----------
        table : Table
            Columns and rows from `singula.gui.results.measurements`.
        ndim : {2, 3}
            Number of spatial axes.
        """
        self.data = ObjectData(*table, ndim)
        labels = self.data.labels
        names = [name for name in self.columns if name in labels]
        self.columns = names if len(names) > 1 else initial_columns(list(labels))
        options = {name: text for name, text in labels.items() if name != "label"}
        self.choice.set_options(options, value=[n for n in self.columns if n != "label"])
        self.filters.show(self.data)
        self._send_rows()
        self._apply(self.data.passing(self.filters.limits))

    def _send_rows(self) -> None:
        labels = self.data.labels
        self.table.props["columns"] = [{"name": n, "label": labels[n]} for n in self.columns]
        self.table.props["rows"] = [[row[n] for n in self.columns] for row in self.data.rows]
        self.table.props["selected"] = 0
        self.table.update()

    def _choose_columns(self, event: Any) -> None:
        chosen = set(event.value or ())
        columns = ["label", *(n for n in self.data.labels if n in chosen and n != "label")]
        if columns != self.columns:
            self.columns = columns
            self._send_rows()

    def _filtered(self) -> None:
        self._apply(self.data.passing(self.filters.limits))

    def _apply(self, ids: list[int] | None) -> None:
        """Show the objects that pass the filters in the image, in the table and in the plots."""
        scene = self.viewer.scene
        if scene is not None and (ids is not None or scene.is_filtered):
            scene.show_only(ids)
            self.viewer.refresh()
        self.table.props["shown"] = ids
        self.table.update()
        total = len(self.data.rows)
        self.hint.set_text(
            _HINT if ids is None else f"{len(ids)} of {counted(total, 'object')} pass the filters."
        )
        self.plots.show(self.data, ids)

    def _chosen(self, number: int) -> None:
        self._mark(number)
        self.viewer.select(number)

    def _picked(self, number: int) -> None:
        self._mark(number)

    def _mark(self, number: int) -> None:
        self.table.props["selected"] = number
        self.table.update()
        self.plots.select(number)
