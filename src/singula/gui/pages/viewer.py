"""Image viewer with zoom, pan and layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments, ValueChangeEventArguments

from singula.errors import UserError
from singula.gui.looks import AUTO, look_to_text
from singula.gui.pages.display import LABELS, ChannelControls
from singula.gui.pages.frame import Slider, dropdown, run_in_thread, show_error
from singula.gui.pictures import Scene, Scenes, Side
from singula.report.html import Markup, tag
from singula.report.matches import MATCH_KINDS, swatch_style

_OPACITY = {
    "image": 1.0, "map": 0.85, "instances": 0.35, "contours": 1.0, "truth": 1.0,
    "associations": 0.75,
}  # fmt: skip
_INITIAL_LAYERS = {"image", "instances", "contours"}
_SIDES: tuple[Side, ...] = ("xz", "yz")


class Canvas(ui.element, component="viewer.js", esm={"singula-viewer": "viewer"}):
    """Canvas, implemented in ``viewer.js`` and the modules in ``viewer``."""


class Viewer:
    """Image viewer with zoom and pan, and controls for layers, slices and channels.

    Parameters
    ----------
    scenes : Scenes
        Images from which the server draws tiles.
    on_pick : callable, optional
        Receives the id of the clicked instance; 0 for background.
    on_slice : callable, optional
        Receives the number of the shown slice after a change.
    group : str
        Viewers of a page with the same group, if any, show the same part of their images.
    """

    def __init__(
        self,
        scenes: Scenes,
        on_pick: Callable[[int], None] | None = None,
        on_slice: Callable[[int], None] | None = None,
        group: str = "",
    ) -> None:
        self.scenes = scenes
        self.on_pick, self.on_slice = on_pick, on_slice
        self.scene: Scene | None = None
        self.name = ""
        self.slice = 0
        self.picked = 0
        self.map_key = ""
        self._sides: dict[Side, tuple[Canvas, str]] = {}
        self.shown = {name: name in _INITIAL_LAYERS for name in LABELS}
        self.opacity = dict(_OPACITY)
        with ui.element("div").classes("viewer-frame"):
            self.controls = ui.element("div").classes("viewer-controls")
            self.display = ui.expansion("Contrast, colors, opacity").classes("viewer-display")
            self.display.props("dense")
            with self.display:
                self.channels = ChannelControls(self._look_changed)
                self.more = ui.element("div").classes("display-rows")
            with ui.element("div").classes("viewer-views"):
                self.canvas = Canvas().classes("viewer-host")
                self.side_views = ui.element("div").classes("viewer-sides")
            self.legend = ui.element("div").classes("legend")
        self.side_views.set_visibility(False)
        self.display.on_value_change(self._build_display)
        self.canvas.props["group"] = group
        self.canvas.on("pick", self._pick)
        self.canvas.on("step", lambda event: self.go_to_slice(self.slice + int(event.args)))
        ui.context.client.on_delete(self.close)

    def close(self) -> None:
        """Drop the image on the server."""
        for name in (self.name, *(name for _, name in self._sides.values())):
            self.scenes.drop(name)

    def show(self, scene: Scene, label: str, file: str = "") -> None:
        """Show an image.

        Parameters
        ----------
        scene : Scene
            The image.
        label : str
            Description for screen readers.
        file : str
            Name of a downloaded picture without its ending; by default, `label`.

        Notes
        -----
        Call `Scene.middle_slice` in the thread that reads a volume, since it takes long.
        """
        self.close()
        self._sides = {}
        self.side_views.clear()
        self.side_views.set_visibility(False)
        self.scene, self.picked = scene, 0
        self.name = self.scenes.put(scene)
        self.slice = scene.middle_slice()
        if self.shown["associations"] and "associations" not in scene.layers():
            self.shown |= {"associations": False, "instances": True}
        if scene.maps is not None and self.map_key not in scene.maps.views:
            self.map_key = next(iter(scene.maps.views))
        self.channels.show(scene)
        self._set(**_source(scene, self.name), slice=self.slice, map=self.map_key, box=[],
                  label=label, file=file or label, guides=None)  # fmt: skip
        self._look_changed()
        self._send_layers()
        self._build_controls()
        self._build_display()

    def refresh(self) -> None:
        """Redraw the instances after a change."""
        if self.scene is None:
            return
        self._set(version=self.scene.version, box=[])
        for side, (canvas, name) in self._sides.items():
            turned = self.scene.turned(side)
            self.scenes.set(name, turned)
            _set_props(canvas, version=turned.version)

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
        box = self.scene.boxes().get(number)
        if box is None:
            self._set(box=[])
            return
        if len(box) == 3 and not box[0][0] <= self.slice < box[0][1]:
            self.go_to_slice((box[0][0] + box[0][1]) // 2)
        (top, bottom), (left, right) = box[-2:]
        self._set(box=[top, left, bottom, right])
        if self._sides and center:
            self._go_to((top + bottom) // 2, (left + right) // 2)
        if center:
            size = max(bottom - top, right - left)
            self.canvas.run_method("center", (top + bottom) / 2, (left + right) / 2, size)

    def go_to_slice(self, number: int) -> None:
        """Show a slice of a volume; `number` is limited to the existing slices."""
        if self.scene is None:
            return
        before, self.slice = self.slice, min(max(0, number), self.scene.depth - 1)
        self._set(slice=self.slice)
        if self.scene.depth > 1:
            self.slider.set_value(self.slice)
            self.slice_label.set_text(f"slice {self.slice + 1} of {self.scene.depth}")
        if self._sides:
            self._update_guides()
        if self.on_slice is not None and before != self.slice:
            self.on_slice(self.slice)

    def _set(self, **values: Any) -> None:
        _set_props(self.canvas, **values)

    def _set_all(self, **values: Any) -> None:
        for canvas in (self.canvas, *(canvas for canvas, _ in self._sides.values())):
            _set_props(canvas, **values)

    def _send_layers(self) -> None:
        layers = self.scene.layers() if self.scene is not None else []
        self._set_all(
            layers=[
                {"name": name, "opacity": self.opacity[name], "shown": self.shown[name]}
                for name in layers
            ]
        )

    def _look_changed(self) -> None:
        look = self.channels.current()
        self._set_all(look=AUTO if look is None else look_to_text(look))

    def _build_controls(self) -> None:
        scene = self.scene
        if scene is None:
            return
        self.controls.clear()
        with self.controls:
            self.switches = {
                name: ui.checkbox(
                    LABELS[name],
                    value=self.shown[name],
                    on_change=lambda event, name=name: self._switch(name, bool(event.value)),
                ).props("dense")
                for name in scene.layers()
            }
            if scene.channels > 1:
                options = {-1: "All", **{i: f"Channel {i + 1}" for i in range(scene.channels)}}
                hidden = self.channels.hidden
                left = set(range(scene.channels)) - hidden
                choice = dropdown("Channels", options, min(left) if hidden and left else -1)
                choice.classes("channel-choice")
                choice.on_value_change(lambda event: self.channels.show_channel(int(event.value)))
            if scene.depth > 1:
                ui.checkbox("Side views", on_change=self._switch_sides).props("dense")
                with ui.element("div").classes("slice-choice"):
                    self.slice_label = ui.label(f"slice {self.slice + 1} of {scene.depth}")
                    self.slider = Slider(
                        min=0, max=scene.depth - 1, step=1, value=self.slice,
                        on_change=self._slider_moved,
                    ).props('dense aria-label="Slice"')  # fmt: skip
        self._build_legend()

    def _build_display(self) -> None:
        """Add the controls of the display, if they are unfolded."""
        self.more.clear()
        scene = self.scene
        if not self.display.value or scene is None:
            return
        self.channels.build()
        with self.more:
            if scene.maps is not None:
                titles = {key: view.title for key, view in scene.maps.views.items()}
                choice = dropdown("Network's map", titles, self.map_key).classes("map-choice")
                choice.on_value_change(self._choose_map)
            for name in scene.layers():
                with ui.element("div").classes("display-row"):
                    ui.label(f"Opacity: {LABELS[name]}").classes("display-name")
                    bar = Slider(min=0, max=1, step=0.05, value=self.opacity[name])
                    bar.props(f'dense aria-label="Opacity: {LABELS[name]}"')
                    bar.on_value_change(partial(self._set_opacity, name))

    def _set_opacity(self, name: str, event: Any) -> None:
        self.opacity[name] = float(event.value)
        self._send_layers()

    async def _choose_map(self, event: Any) -> None:
        self.map_key = str(event.value)
        self._set_all(map=self.map_key)
        if self.shown["map"]:
            await self._legend_of_map()
        else:
            self.switches["map"].set_value(True)

    def _build_legend(self, colors: Markup | None = None) -> None:
        self.legend.clear()
        layers = self.scene.layers() if self.scene is not None else []
        with self.legend:
            if colors is not None:
                ui.html(colors, sanitize=False, tag="span").classes("map-legend")
            if "associations" in layers and self.shown["associations"]:
                for kind in MATCH_KINDS:
                    swatch = tag("i", style=swatch_style(kind))
                    ui.html(swatch + Markup(kind.label), sanitize=False, tag="span")
            if "truth" in layers and self.shown["truth"]:
                swatch = tag("i", style="background:#fff")
                ui.html(swatch + Markup("outline in my labels"), sanitize=False, tag="span")

    async def _legend_of_map(self) -> None:
        """Add the colors of the map, for which its values are read."""
        scene, key = self.scene, self.map_key
        if scene is None or scene.maps is None:
            return
        try:
            limits = await run_in_thread(scene.maps.limits, key)
        except UserError as error:
            show_error(error)
            return
        if scene is self.scene and key == self.map_key and self.shown["map"]:
            colors = [f"rgb{tuple(row.tolist())}" for row in scene.maps.palette(key)[1::32]]
            bar = tag("i", style=f"background:linear-gradient(90deg,{','.join(colors)})")
            low, high = (f"{value:.3g}" for value in limits)
            self._build_legend(tag("span", f"{scene.maps.views[key].title}: {low} ", bar, high))

    async def _switch(self, name: str, shown: bool) -> None:
        self.shown[name] = shown
        # The colors of objects and matches would mix.
        other = {"associations": "instances", "instances": "associations"}.get(name)
        if shown and other in self.switches and self.shown[other]:
            self.switches[other].set_value(False)
        elif name == "associations" and not shown and not self.shown["instances"]:
            self.switches["instances"].set_value(True)
        self._send_layers()
        self._build_legend()
        if self.shown["map"]:
            await self._legend_of_map()

    def _switch_sides(self, event: ValueChangeEventArguments[Any]) -> None:
        for _, name in self._sides.values():
            self.scenes.drop(name)
        self._sides = {}
        self.side_views.clear()
        self.side_views.set_visibility(bool(event.value))
        if self.scene is None or not event.value:
            self._set(guides=None)
            return
        for side in _SIDES:
            turned = self.scene.turned(side)
            name = self.scenes.put(turned)
            with self.side_views:
                canvas = Canvas().classes("viewer-side")
            canvas.props["label"] = f"view from the side, {side}"
            canvas.on("pick", partial(self._pick_side, side))
            self._sides[side] = canvas, name
            _set_props(canvas, **_source(turned, name), map=self.map_key)
        height, width = self.scene.size
        self.row, self.column = height // 2, width // 2
        self._go_to(self.row, self.column)
        self._send_layers()
        self._look_changed()

    def _go_to(self, row: int, column: int) -> None:
        """Show the side views through a pixel."""
        self.row, self.column = row, column
        for side, (canvas, _) in self._sides.items():
            _set_props(canvas, slice=row if side == "xz" else column)
        self._update_guides()

    def _update_guides(self) -> None:
        self._set(guides=[self.row, self.column])
        for side, (canvas, _) in self._sides.items():
            guides = [self.slice, self.column] if side == "xz" else [self.row, self.slice]
            _set_props(canvas, guides=guides)

    def _pick_side(self, side: Side, event: GenericEventArguments) -> None:
        if self.scene is None:
            return
        first, second = int(event.args["y"]), int(event.args["x"])
        z, row, column = (first, self.row, second) if side == "xz" else (second, first, self.column)
        height, width = self.scene.size
        if 0 <= z < self.scene.depth and 0 <= row < height and 0 <= column < width:
            self.go_to_slice(z)
            self._go_to(row, column)
            self._pick_at(row, column)

    def _slider_moved(self, event: ValueChangeEventArguments[Any]) -> None:
        if event.value is not None and int(event.value) != self.slice:
            self.go_to_slice(int(event.value))

    def _pick(self, event: GenericEventArguments) -> None:
        row, column = int(event.args["y"]), int(event.args["x"])
        if self._sides and self.scene is not None:
            height, width = self.scene.size
            self._go_to(min(max(0, row), height - 1), min(max(0, column), width - 1))
        self._pick_at(row, column)

    def _pick_at(self, row: int, column: int) -> None:
        if self.scene is None or "instances" not in self.scene.labels:
            return
        number = self.scene.instance_at(self.slice, row, column)
        self.select(number, center=False)
        if self.on_pick is not None:
            self.on_pick(number)


def _set_props(canvas: Canvas, **values: Any) -> None:
    for key, value in values.items():
        canvas.props[key] = value
    canvas.update()


def _source(scene: Scene, name: str) -> dict[str, Any]:
    """Return the properties of a canvas that depend on the size of an image."""
    height, width = scene.size
    sizes = scene.spacing[-2:] if scene.spacing is not None else (1.0, 1.0)
    return {
        "source": f"/tile/{name}", "width": width, "height": height, "levels": scene.levels,
        "version": scene.version, "aspect": sizes[0] / sizes[1],
        "pixel_size": {"size": sizes[1], "unit": scene.unit},
    }  # fmt: skip
