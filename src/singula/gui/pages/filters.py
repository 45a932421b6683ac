"""Filters of objects by their measurements."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from nicegui import ui

from singula.gui.objects import Limits, ObjectData
from singula.gui.pages.display import Range
from singula.gui.pages.frame import button, dropdown

_STEPS = 200


class Filters:
    """Ranges of measurements; objects outside of a range are hidden.

    Parameters
    ----------
    on_change : callable
        Called after each change.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change
        self.limits: dict[str, Limits] = {}
        self.data: ObjectData | None = None
        with ui.element("div").classes("display-rows"):
            self.adding = dropdown("Add a filter for", {}, None)
            self.adding.on_value_change(self._add)
            self.place = ui.element("div").classes("display-rows")

    def show(self, data: ObjectData) -> None:
        """Offer the measurements of an image; filters of the previous image are kept."""
        self.data = data
        labels = data.labels
        self.limits = {name: value for name, value in self.limits.items() if name in labels}
        self.adding.set_options({n: text for n, text in labels.items() if n != "label"})
        self._build()

    def set_limits(self, limits: dict[str, Limits]) -> None:
        """Add or replace filters."""
        self.limits |= limits
        self._build()
        self.on_change()

    def _add(self, event: Any) -> None:
        if event.value and self.data is not None:
            name = str(event.value)
            self.adding.set_value(None)
            if name not in self.limits:
                self.set_limits({name: self.data.limits(name)})

    def _build(self) -> None:
        self.place.clear()
        if self.data is None:
            return
        with self.place:
            for name, (low, high) in self.limits.items():
                smallest, largest = self.data.limits(name)
                smallest, largest = min(smallest, low), max(largest, high)
                step = 10.0 ** math.floor(math.log10((largest - smallest) / _STEPS or 1.0))
                title = self.data.labels[name]
                with ui.element("div").classes("display-row"):
                    ui.label(title).classes("display-name")
                    with ui.element("div").classes("display-slider"):
                        text = ui.label(_text(low, high)).classes("key-name")
                        bar = Range(
                            min=smallest, max=largest, step=step, value={"min": low, "max": high}
                        ).props("dense")
                        bar.props["aria-label"] = f"Filter: {title}"
                        bar.on_value_change(partial(self._move, name, text))
                    remove = button("✕", partial(self._remove, name), look="plain")
                    remove.props["aria-label"] = f"Remove the filter: {title}"

    def _move(self, name: str, text: ui.label, event: Any) -> None:
        low, high = float(event.value["min"]), float(event.value["max"])
        self.limits[name] = low, high
        text.set_text(_text(low, high))
        self.on_change()

    def _remove(self, name: str) -> None:
        self.limits.pop(name, None)
        self._build()
        self.on_change()


def _text(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"
