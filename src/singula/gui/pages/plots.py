"""Histogram and scatter plot of the measurements of objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from singula.gui.objects import Limits, ObjectData, histogram, initial_columns, scatter
from singula.gui.pages.frame import dropdown, note
from singula.util.format import counted

_HINT = (
    "Click a bar, or drag over the plot, to filter the objects. Click a point to select its object."
)


class ObjectPlot(ui.element, component="object_plot.js"):
    """Plot, implemented in ``object_plot.js``."""


class Plots:
    """Histogram of one measurement, or scatter plot of two.

    Parameters
    ----------
    on_choose : callable
        Receives the id of an object.
    on_limits : callable
        Receives limits by measurement.
    """

    def __init__(
        self, on_choose: Callable[[int], None], on_limits: Callable[[dict[str, Limits]], None]
    ) -> None:
        self.on_limits = on_limits
        self.data: ObjectData | None = None
        self.ids: list[int] | None = None
        self.is_open = False
        with ui.element("div").classes("display-rows"):
            with ui.element("div").classes("row-of"):
                self.x = dropdown("Measurement", {}, None).classes("plot-choice")
                self.y = dropdown("Against", {"": "number of objects"}, "").classes("plot-choice")
            self.plot = ObjectPlot()
            note(_HINT)
        for choice in (self.x, self.y):
            choice.on_value_change(self._draw)
        self.plot.on("choose", lambda event: on_choose(int(event.args)))
        self.plot.on("limits", self._limit)

    def activate(self, *, is_open: bool) -> None:
        """Draw the plot when it is unfolded."""
        self.is_open = is_open
        self._draw()

    def show(self, data: ObjectData, ids: list[int] | None) -> None:
        """Show the objects of an image.

        Parameters
        ----------
        data : ObjectData
            Measurements.
        ids : list of int, optional
            Objects that pass the filters; None: all.
        """
        is_new = self.data is None or self.data.columns != data.columns
        self.data, self.ids = data, ids
        if is_new:
            options = {name: text for name, text in data.labels.items() if name != "label"}
            first = next((n for n in initial_columns(list(options)) if n != "class"), None)
            self.x.set_options(options, value=self.x.value if self.x.value in options else first)
            self.y.set_options(
                {"": "number of objects", **options},
                value=self.y.value if self.y.value in options else "",
            )
        self._draw()

    def select(self, number: int) -> None:
        """Mark an object."""
        self.plot.props["selected"] = number
        self.plot.update()

    def _draw(self) -> None:
        data, x, y = self.data, self.x.value, self.y.value
        if data is None or not self.is_open or x not in data.labels:
            return
        labels, props = data.labels, self.plot.props
        props["xlabel"] = labels[x] + (f"; up: {labels[y]}" if y else "")
        number = counted(len(data.rows), "object")
        props["label"] = f"Plot of {labels[x]} of {number}" + (f" against {labels[y]}" if y else "")
        props["bars"] = None if y else histogram(data, x, self.ids)
        props["cloud"] = scatter(data, x, y, self.ids) if y else None
        self.plot.update()

    def _limit(self, event: Any) -> None:
        names = [name for name in (self.x.value, self.y.value) if name]
        limits = {n: (float(a), float(b)) for n, (a, b) in zip(names, event.args, strict=False)}
        self.on_limits(limits)
