"""Image viewer with zoom, pan and layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments, ValueChangeEventArguments

from singula.gui.pages.frame import Slider, dropdown
from singula.gui.pictures import Scene, Scenes, boxes
from singula.report.overlay import middle_plane

LABELS = {
    "image": "Image",
    "instances": "Objects",
    "contours": "Outlines",
    "truth": "Your labels",
    "associations": "Matches",
}
_OPACITY = {"image": 1.0, "instances": 0.35, "contours": 1.0, "truth": 1.0, "associations": 0.55}
_MATCHES = (
    ("#00d000", "matched"),
    ("#f00", "missed"),
    ("#22f", "not in your labels; colors mix where objects overlap"),
)
_INITIAL_LAYERS = {"image", "instances", "contours"}


class Canvas(ui.element, component="viewer.js"):
    """Canvas, implemented in ``viewer.js``."""


class Viewer:
    """Image viewer with zoom and pan, and controls for layers, slices and channels.

    Parameters
    ----------
    scenes : Scenes
        Images from which the server draws tiles.
    on_pick : callable, optional
        Receives the id of the clicked instance; 0 for background.
    """

    def __init__(self, scenes: Scenes, on_pick: Callable[[int], None] | None = None) -> None:
        self.scenes = scenes
        self.on_pick = on_pick
        self.scene: Scene | None = None
        self.name = ""
        self.slice = 0
        self.picked = 0
        self._boxes: tuple[int, Any] = (-1, {})
        self.shown = {name: name in _INITIAL_LAYERS for name in LABELS}
        with ui.element("div").classes("viewer-frame"):
            self.controls = ui.element("div").classes("viewer-controls")
            self.canvas = Canvas().classes("viewer-host")
            self.legend = ui.element("div").classes("legend")
        self.canvas.on("pick", self._pick)
        self.canvas.on("step", lambda event: self.go_to_slice(self.slice + int(event.args)))
        ui.context.client.on_delete(self.close)

    def close(self) -> None:
        """Drop the image on the server."""
        self.scenes.drop(self.name)

    def show(self, scene: Scene, label: str) -> None:
        """Show an image.

        Parameters
        ----------
        scene : Scene
            The image.
        label : str
            Description for screen readers.
        """
        self.scenes.drop(self.name)
        self.scene, self.picked = scene, 0
        self.name = self.scenes.put(scene)
        self.slice = scene.depth // 2
        if scene.depth > 1 and "instances" in scene.labels:
            self.slice = middle_plane(scene.labels.get("truth"), scene.labels["instances"])
        height, width = scene.size
        self._set(
            source=f"/tile/{self.name}", width=width, height=height, levels=scene.levels,
            slice=self.slice, channel=-1, version=scene.version, box=[], label=label,
        )  # fmt: skip
        self._send_layers()
        self._build_controls()

    def refresh(self) -> None:
        """Redraw the instances after a change."""
        if self.scene is not None:
            self._set(version=self.scene.version, box=[])

    def select(self, number: int, *, center: bool = True) -> None:
        """Mark an instance.

        Parameters
        ----------
        number : int
            Id of the instance; 0 removes the mark.
        center : bool
            Move the instance to the center of the view.
        """
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
        if center:
            size = max(bottom - top, right - left)
            self.canvas.run_method("center", (top + bottom) / 2, (left + right) / 2, size)

    def go_to_slice(self, number: int) -> None:
        """Show a slice of a volume; `number` is limited to the existing slices."""
        if self.scene is None:
            return
        self.slice = min(max(0, number), self.scene.depth - 1)
        self._set(slice=self.slice)
        if self.scene.depth > 1:
            self.slider.set_value(self.slice)
            self.slice_label.set_text(f"slice {self.slice + 1} of {self.scene.depth}")

    def _set(self, **values: Any) -> None:
        for key, value in values.items():
            self.canvas.props[key] = value
        self.canvas.update()

    def _send_layers(self) -> None:
        layers = self.scene.layers() if self.scene is not None else []
        self._set(
            layers=[
                {"name": name, "opacity": _OPACITY[name], "shown": self._drawn(name)}
                for name in layers
            ]
        )

    def _drawn(self, name: str) -> bool:
        """Return True if a layer is drawn; the matches hide the instances, as colors would mix."""
        return self.shown[name] and not (name == "instances" and self.shown["associations"])

    def _build_controls(self) -> None:
        scene = self.scene
        if scene is None:
            return
        self.controls.clear()
        with self.controls:
            for name in scene.layers():
                ui.checkbox(
                    LABELS[name],
                    value=self.shown[name],
                    on_change=lambda event, name=name: self._switch(name, bool(event.value)),
                ).props("dense")
            if scene.channels > 1:
                combined = "Colors" if scene.channels == 3 else "Mean"
                options = {-1: combined, **{i: f"Channel {i + 1}" for i in range(scene.channels)}}
                choice = dropdown("Show", options, -1).classes("channel-choice")
                choice.on_value_change(lambda event: self._set(channel=event.value))
            if scene.depth > 1:
                with ui.element("div").classes("slice-choice"):
                    self.slice_label = ui.label(f"slice {self.slice + 1} of {scene.depth}")
                    self.slider = Slider(
                        min=0, max=scene.depth - 1, step=1, value=self.slice,
                        on_change=self._slider_moved,
                    ).props('dense aria-label="Slice"')  # fmt: skip
        self._build_legend()

    def _build_legend(self) -> None:
        self.legend.clear()
        layers = self.scene.layers() if self.scene is not None else []
        with self.legend:
            if "associations" in layers and self.shown["associations"]:
                for color, text in _MATCHES:
                    ui.html(f'<i style="background:{color}"></i>{text}', sanitize=False, tag="span")
            if "truth" in layers and self.shown["truth"]:
                ui.html(
                    '<i style="background:#fff"></i>outline in your labels',
                    sanitize=False,
                    tag="span",
                )

    def _switch(self, name: str, shown: bool) -> None:
        self.shown[name] = shown
        self._send_layers()
        self._build_legend()

    def _slider_moved(self, event: ValueChangeEventArguments[Any]) -> None:
        if event.value is not None and int(event.value) != self.slice:
            self.go_to_slice(int(event.value))

    def _pick(self, event: GenericEventArguments) -> None:
        if self.scene is None or "instances" not in self.scene.labels:
            return
        number = self.scene.instance_at(self.slice, int(event.args["y"]), int(event.args["x"]))
        self.select(number, center=False)
        if self.on_pick is not None:
            self.on_pick(number)
