"""Controls for the display of an image: channels, contrast, opacity, maps and side views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from nicegui import ui

from singula.gui.looks import COLORS, ChannelLook
from singula.gui.pages.frame import Slider, button, dropdown
from singula.gui.pictures import Scene

LABELS = {
    "image": "Image",
    "map": "Network's map",
    "instances": "Objects",
    "contours": "Outlines",
    "truth": "My labels",
    "associations": "Compare",
}
"""Names of the layers."""
_STEPS = 500  # of a contrast slider


class Range(ui.range):
    """Range slider that keeps its position while the server is busy."""

    LOOPBACK = False


class ChannelControls:
    """Controls for color, contrast and gamma of each channel of an image.

    Parameters
    ----------
    on_change : callable
        Called after each change.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change
        self.looks: dict[int, ChannelLook] = {}
        self.hidden: set[int] = set()
        self.chosen: dict[int, ChannelLook] = {}
        self.scene: Scene | None = None
        self.place = ui.element("div").classes("display-rows")

    def show(self, scene: Scene) -> None:
        """Use the default display of an image, with the user's changes to other images."""
        count = self.scene.channels if self.scene is not None else scene.channels
        if count != scene.channels:
            self.hidden, self.chosen = set(), {}
        self.scene = scene
        self.looks = {}
        self.place.clear()

    def current(self) -> dict[int, ChannelLook] | None:
        """Return the display of the shown channels; None for the default display."""
        if not self.hidden and not self.chosen:
            return None
        self._complete()
        return {index: look for index, look in self.looks.items() if index not in self.hidden}

    def build(self) -> None:
        """Add the controls."""
        self._complete()
        self.place.clear()
        with self.place:
            for index in self.looks:
                self._row(index)
            if self.looks:
                button("Automatic contrast", self._reset, look="plain")

    def show_channel(self, channel: int) -> None:
        """Show a single channel; -1 for all."""
        count = self.scene.channels if self.scene is not None else 0
        self.hidden = set() if channel < 0 else set(range(count)) - {channel}
        self.on_change()

    def _complete(self) -> None:
        if not self.looks and self.scene is not None:
            self.looks = self.scene.look() | self.chosen

    def _row(self, index: int) -> None:
        if self.scene is None:
            return
        look = self.looks[index]
        low, high = self.scene.extremes(index)
        low, high = min(low, look.low), max(high, look.high)
        name = f"Channel {index + 1}" if self.scene.channels > 1 else "Image"
        options = list(COLORS)
        color = next((n for n in options if COLORS[n] == look.color), options[0])
        with ui.element("div").classes("display-row"):
            ui.label(name).classes("display-name")
            title = f"Color {index + 1}" if self.scene.channels > 1 else "Color"
            select = dropdown(title, options, color)
            select.on_value_change(lambda e: self._change(index, color=COLORS[e.value]))
            step = (high - low) / _STEPS or 1.0
            with ui.element("div").classes("display-slider"):
                text = ui.label(_range_text(look)).classes("key-name")
                bar = Range(
                    min=low, max=high, step=step, value={"min": look.low, "max": look.high}
                ).props(f'dense aria-label="Contrast of {name}"')
                bar.on_value_change(partial(self._contrast, index, text))
            with ui.element("div").classes("display-slider short-slider"):
                gamma_text = ui.label(f"gamma {look.gamma:g}").classes("key-name")
                gamma = Slider(min=0.2, max=3, step=0.05, value=look.gamma)
                gamma.props(f'dense aria-label="Gamma of {name}"')
                gamma.on_value_change(partial(self._gamma, index, gamma_text))

    def _contrast(self, index: int, text: ui.label, event: Any) -> None:
        low, high = float(event.value["min"]), float(event.value["max"])
        self._change(index, low=low, high=high)
        text.set_text(_range_text(self.looks[index]))

    def _gamma(self, index: int, text: ui.label, event: Any) -> None:
        self._change(index, gamma=float(event.value))
        text.set_text(f"gamma {event.value:g}")

    def _change(self, index: int, **values: Any) -> None:
        self.looks[index] = self.chosen[index] = replace(self.looks[index], **values)
        self.on_change()

    def _reset(self) -> None:
        self.chosen, self.looks = {}, {}
        self.build()
        self.on_change()


def _range_text(look: ChannelLook) -> str:
    return f"black {look.low:.4g} · white {look.high:.4g}"
