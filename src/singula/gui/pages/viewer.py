"""The picture with zoom and pan, and the switches of its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments, ValueChangeEventArguments

from singula.gui.pages.frame import Slider
from singula.gui.pictures import Scene, Scenes, boxes

WORDS = {
    "image": "Image",
    "instances": "Instances",
    "contours": "Outlines",
    "truth": "Truth",
    "associations": "Matches",
}
_OPACITY = {"image": 1.0, "instances": 0.35, "contours": 1.0, "truth": 1.0, "associations": 0.55}
_MATCHES = (
    ("#00d000", "matched"),
    ("#f00", "missed"),
    ("#22f", "not in the truth; mixed where they overlap"),
)
_SHOWN = {"image", "instances", "contours"}


class Canvas(ui.element, component="viewer.js"):
    """The drawing surface; see ``viewer.js``."""


class Viewer:
    """An image that can be zoomed and panned, with switches for layers, slices and channels.

    Parameters
    ----------
    scenes : Scenes
        Where the server finds the tiles.
    on_pick : callable, optional
        Takes the id of the instance that was clicked; 0 for background.
    """

    def __init__(self, scenes: Scenes, on_pick: Callable[[int], None] | None = None) -> None:
        self.scenes = scenes
        self.on_pick = on_pick
        self.scene: Scene | None = None
        self.name = ""
        self.slice = 0
        self.picked = 0
        self._boxes: tuple[int, Any] = (-1, {})
        self.shown = {name: name in _SHOWN for name in WORDS}
        with ui.element("div").classes("viewer-frame"):
            self.controls = ui.element("div").classes("viewer-controls")
            self.canvas = Canvas().classes("viewer-host")
            self.legend = ui.element("div").classes("legend")
        self.canvas.on("pick", self._pick)
        self.canvas.on("step", lambda event: self.go_to_slice(self.slice + int(event.args)))
        ui.context.client.on_delete(self.close)

    def close(self) -> None:
        """Let the server forget the image."""
        self.scenes.drop(self.name)

    def show(self, scene: Scene, label: str) -> None:
        """Show another image."""
        self.scenes.drop(self.name)
        self.scene, self.picked = scene, 0
        self.name = self.scenes.put(scene)
        self.slice = scene.depth // 2
        if scene.depth > 1 and "instances" in scene.labels:
            from singula.report.overlay import middle_plane

            known = scene.labels.get("truth", scene.labels["instances"])
            self.slice = middle_plane(known if known.any() else scene.labels["instances"])
        height, width = scene.size
        self._set(
            source=f"/tile/{self.name}", width=width, height=height, levels=scene.levels,
            slice=self.slice, channel=-1, version=scene.version, box=[], label=label,
        )  # fmt: skip
        self._send_layers()
        self._build_controls()

    def refresh(self) -> None:
        """Draw the instances anew after they were exchanged."""
        if self.scene is not None:
            self._set(version=self.scene.version, box=[])

    def select(self, number: int, *, centre: bool = True) -> None:
        """Mark an instance, and bring it into the middle."""
        self.picked = number
        if self.scene is None:
            return
        if self._boxes[0] != self.scene.version or not self._boxes[1]:
            self._boxes = self.scene.version, boxes(self.scene.labels["instances"])
        box = self._boxes[1].get(number)
        if box is None:
            self._set(box=[])
            return
        if len(box) == 3 and not box[0][0] <= self.slice < box[0][1]:
            self.go_to_slice((box[0][0] + box[0][1]) // 2)
        (top, bottom), (left, right) = box[-2:]
        self._set(box=[top, left, bottom, right])
        if centre:
            size = max(bottom - top, right - left)
            self.canvas.run_method("centre", (top + bottom) / 2, (left + right) / 2, size)

    def go_to_slice(self, number: int) -> None:
        """Show another slice of a volume."""
        if self.scene is None:
            return
        self.slice = min(max(0, number), self.scene.depth - 1)
        self._set(slice=self.slice)
        if self.scene.depth > 1:
            self.slider.set_value(self.slice)
            self.slice_words.set_text(f"slice {self.slice + 1} of {self.scene.depth}")

    def _set(self, **values: Any) -> None:
        for key, value in values.items():
            self.canvas.props[key] = value
        self.canvas.update()

    def _send_layers(self) -> None:
        there = self.scene.layers() if self.scene is not None else []
        self._set(
            layers=[
                {"name": name, "opacity": _OPACITY[name], "shown": self._drawn(name)}
                for name in there
            ]
        )

    def _drawn(self, name: str) -> bool:
        """Two tints above each other would be neither; that of the matches is the one asked for."""
        return self.shown[name] and not (name == "instances" and self.shown["associations"])

    def _build_controls(self) -> None:
        scene = self.scene
        if scene is None:
            return
        self.controls.clear()
        with self.controls:
            for name in scene.layers():
                ui.checkbox(
                    WORDS[name],
                    value=self.shown[name],
                    on_change=lambda event, name=name: self._switch(name, bool(event.value)),
                ).props("dense")
            if scene.channels > 1:
                every = "Colours" if scene.channels == 3 else "Mean"
                options = {-1: every, **{i: f"Channel {i + 1}" for i in range(scene.channels)}}
                ui.select(
                    options, value=-1, label="Show", on_change=lambda e: self._set(channel=e.value)
                ).props("dense outlined options-dense").classes("channel-choice")
            if scene.depth > 1:
                with ui.element("div").classes("slice-choice"):
                    self.slice_words = ui.label(f"slice {self.slice + 1} of {scene.depth}")
                    self.slider = Slider(
                        min=0, max=scene.depth - 1, step=1, value=self.slice,
                        on_change=self._slid,
                    ).props('dense aria-label="Slice"')  # fmt: skip
        self._build_legend()

    def _build_legend(self) -> None:
        self.legend.clear()
        there = self.scene.layers() if self.scene is not None else []
        with self.legend:
            if "associations" in there and self.shown["associations"]:
                for colour, words in _MATCHES:
                    ui.html(
                        f'<i style="background:{colour}"></i>{words}', sanitize=False, tag="span"
                    )
            if "truth" in there and self.shown["truth"]:
                ui.html('<i style="background:#fff"></i>true outline', sanitize=False, tag="span")

    def _switch(self, name: str, shown: bool) -> None:
        self.shown[name] = shown
        self._send_layers()
        self._build_legend()

    def _slid(self, event: ValueChangeEventArguments[Any]) -> None:
        if event.value is not None and int(event.value) != self.slice:
            self.go_to_slice(int(event.value))

    def _pick(self, event: GenericEventArguments) -> None:
        if self.scene is None or "instances" not in self.scene.labels:
            return
        number = self.scene.instance_at(self.slice, int(event.args["y"]), int(event.args["x"]))
        self.select(number, centre=False)
        if self.on_pick is not None:
            self.on_pick(number)
