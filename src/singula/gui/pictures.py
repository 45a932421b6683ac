"""PNG tiles of images, instances and ground truth, for images of any size."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.gui.looks import AUTO, ChannelLook, Look, automatic_look, look_from_text, paint
from singula.gui.tiles import TILE, Boxes, boxes, cut, halve, palette_png
from singula.metrics import color_associations, match
from singula.report.maps import NetworkMaps
from singula.report.matches import match_bits, match_codes, match_palette
from singula.report.overlay import (
    brightness_range,
    encode_png,
    label_colors,
    middle_plane,
)
from singula.representations.channels import find_contour

Array = npt.NDArray[Any]
Layer = Literal["image", "map", "instances", "contours", "truth", "associations"]
Side = Literal["xz", "yz"]
LAYERS: tuple[Layer, ...] = ("image", "map", "instances", "contours", "truth", "associations")
_MAX_PLANES, _SAMPLE_PIXELS, _MAX_SCENES = 12, 1_000_000, 48
_LAYER_LABELS = {"instances": "instances", "contours": "instances", "truth": "truth"}
_TRUTH_COLOR = (255, 255, 255)


@dataclass
class Scene:
    """Image with instances and ground truth, drawn as tiles.

    Parameters
    ----------
    raw : ndarray, optional
        Raw image, (y, x, c) or (z, y, x, c).
    labels : dict of str to ndarray
        Label images ``instances`` and ``truth``, each (y, x) or (z, y, x).
    threshold : float, optional
        IoU threshold for matching instances and ground truth; None disables the matching.
    version : int
        Number of changes of the instances. The address of a tile contains the version, so that the
        browser does not display a cached tile of an older version.
    maps : NetworkMaps, optional
        Maps that the network predicted.
    spacing : tuple of float, optional
        Pixel size along each axis, z first; None if it is unknown.
    unit : str
        Unit of `spacing`.

    Raises
    ------
    UserError
        ``gui.shape_mismatch``: the arrays differ in their spatial shape.
    """

    raw: Array | None
    labels: dict[str, Array]
    threshold: float | None = 0.5
    version: int = 0
    maps: NetworkMaps | None = None
    spacing: tuple[float, ...] | None = None
    unit: str = "px"
    _planes: OrderedDict[tuple[int, int], list[Array]] = field(default_factory=OrderedDict)
    _ranges: dict[int, tuple[float, float]] = field(default_factory=dict)
    _matched: Array | None = None
    _matched_later: Callable[[], Array] | None = None
    _visible: Array | None = None
    _boxes: Boxes | None = None
    _middle: int | None = None
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Check that all arrays have the same spatial shape."""
        shapes = {name: array.shape for name, array in self.labels.items()}
        if self.raw is not None:
            shapes["image"] = self.raw.shape[:-1]
        if len(set(shapes.values())) != 1:
            raise UserError(
                f"got different shapes {shapes}, expected one image with labels of the same shape",
                "check the files of this image",
                "gui.shape_mismatch",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape, (y, x) or (z, y, x)."""
        first = self.raw.shape[:-1] if self.raw is not None else None
        return first or next(iter(self.labels.values())).shape

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.shape[-2], self.shape[-1]

    @property
    def depth(self) -> int:
        """Number of slices; 1 for an image."""
        return self.shape[0] if len(self.shape) == 3 else 1

    @property
    def channels(self) -> int:
        """Number of channels of the image; 0 without an image."""
        return self.raw.shape[-1] if self.raw is not None else 0

    @property
    def levels(self) -> int:
        """Number of resolution levels; the coarsest level fits into one tile."""
        return max(1, int(np.ceil(np.log2(max(*self.size, 1) / TILE))) + 1)

    def layers(self) -> list[Layer]:
        """Return the names of the layers that can be drawn."""
        layers: list[Layer] = ["image"] if self.raw is not None else []
        layers += ["map"] if self.maps is not None else []
        layers += ["instances", "contours"] if "instances" in self.labels else []
        layers += ["truth"] if "truth" in self.labels else []
        both = {"instances", "truth"} <= self.labels.keys() and self.threshold is not None
        return [*layers, *(["associations"] if both else [])]  # type: ignore[list-item]

    def replace_instances(self, labels: Array) -> None:
        """Replace the instances.

        Parameters
        ----------
        labels : ndarray of int
            Label image, (y, x) or (z, y, x).

        Raises
        ------
        UserError
            ``gui.shape_mismatch``: the shape differs from that of the image.
        """
        if labels.shape != self.shape:
            raise UserError(
                f"instances: got shape {labels.shape}, expected {self.shape}",
                "check the files of this image",
                "gui.shape_mismatch",
            )
        with self._lock:
            self.labels = {**self.labels, "instances": labels}
            self._matched = self._visible = self._boxes = None
            self.version += 1

    def instance_at(self, z: int, y: int, x: int) -> int:
        """Return the id of the instance at a pixel; 0 in the background and outside."""
        height, width = self.size
        if not (0 <= y < height and 0 <= x < width and 0 <= z < self.depth):
            return 0
        return int(self._label_plane("instances", z)[y, x])

    def boxes(self) -> Boxes:
        """Return the bounding box of each instance by its id; the first call reads all labels."""
        with self._lock:
            if self._boxes is None:
                self._boxes = boxes(self.labels["instances"])
            return self._boxes

    def middle_slice(self) -> int:
        """Return the slice with the most objects; the first call reads all labels of a volume."""
        if self.depth == 1 or "instances" not in self.labels:
            return self.depth // 2
        with self._lock:
            if self._middle is None:
                self._middle = middle_plane(self.labels.get("truth"), self.labels["instances"])
            return self._middle

    @property
    def is_filtered(self) -> bool:
        """True if some instances may be hidden."""
        return self._visible is not None

    def show_only(self, ids: Collection[int] | None) -> None:
        """Hide the instances whose ids are not listed; None shows all."""
        visible = None
        if ids is not None:
            largest = int(self.labels["instances"].max(initial=0))
            visible = np.zeros(largest + 1, bool)
            visible[list(ids)] = True
        with self._lock:
            self._visible = visible
            self.version += 1

    def describe(self, z: int, y: int, x: int, map_key: str = "") -> str:
        """Return the values at a pixel as text; empty outside of the image.

        Parameters
        ----------
        z, y, x : int
            Slice, row and column.
        map_key : str
            Key of the shown map, if any.
        """
        height, width = self.size
        if not (0 <= y < height and 0 <= x < width and 0 <= z < self.depth):
            return ""
        place = (z, y, x) if len(self.shape) == 3 else (y, x)
        parts = []
        if self.raw is not None:
            parts.append("value " + ", ".join(f"{v:.6g}" for v in self.raw[place].tolist()))
        if self.maps is not None and map_key in self.maps.views:
            parts.append(f"map {float(self.maps.values(map_key, place)):.3g}")
        for name, text in (("instances", "object"), ("truth", "your label")):
            if name in self.labels and self.labels[name][place]:
                parts.append(f"{text} {self.labels[name][place]}")
        return "  ".join(parts)

    def turned(self, side: Side) -> Scene:
        """Return a volume as seen from the side, without copying it.

        Parameters
        ----------
        side : {"xz", "yz"}
            ``xz``: slices along y, with z downwards; ``yz``: slices along x, with z to the right.
        """
        axes = (1, 0, 2) if side == "xz" else (2, 1, 0)
        raw = None if self.raw is None else np.transpose(self.raw, (*axes, 3))
        labels = {name: np.transpose(array, axes) for name, array in self.labels.items()}
        sizes = self.spacing
        return Scene(
            raw,
            labels,
            self.threshold,
            self.version,
            self.maps.turned(axes) if self.maps is not None else None,
            None if sizes is None else tuple(sizes[axis] for axis in axes),
            self.unit,
            _ranges=self._ranges,
            _matched_later=lambda: np.transpose(self._associations(), axes),
            _visible=self._visible,
        )

    def look(self) -> dict[int, ChannelLook]:
        """Return the default display of the channels."""
        ranges = [self.limits(channel) for channel in range(self.channels)]
        if len(ranges) == 3:  # a color image
            ranges = [(min(low for low, _ in ranges), max(high for _, high in ranges))] * 3
        return automatic_look(ranges)

    def limits(self, channel: int) -> tuple[float, float]:
        """Return the values of a channel of the whole image that are shown as black and white."""
        if channel not in self._ranges and self.raw is not None:
            values = self._sample(channel)
            self._ranges[channel] = brightness_range(values) if len(values) else (0.0, 1.0)
        return self._ranges[channel]

    def extremes(self, channel: int) -> tuple[float, float]:
        """Return the smallest and largest value of a channel, in a sample of a large image."""
        values = self._sample(channel)
        return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)

    def _sample(self, channel: int) -> Array:
        if self.raw is None:
            return np.zeros(0)
        flat = self.raw.reshape(-1, self.raw.shape[-1])
        sample = flat[:: max(1, len(flat) // _SAMPLE_PIXELS), channel]
        finite: Array = sample[np.isfinite(sample)]
        return finite

    def tile(
        self, layer: str, z: int, level: int, row: int, column: int, look: str = AUTO
    ) -> bytes:
        """Draw a tile of at most 512 × 512 pixels as PNG.

        Parameters
        ----------
        layer : str
            One of `layers`.
        z : int
            Index of the slice.
        level : int
            Resolution level: every ``2**level``-th pixel along y and x is drawn.
        row, column : int
            Position of the tile in the grid of tiles at this level.
        look : str
            Of the image, its display as written by `look_to_text`, or ``auto``; of the network's
            maps, the key of a map; of other layers, ignored.

        Raises
        ------
        UserError
            ``gui.no_tile``: the layer, slice, level, position or display does not exist.
        """
        step = 2**level if 0 <= level < 32 else 0
        height, width = self.size
        exists = layer in self.layers() and 0 <= z < self.depth
        if layer == "map":
            exists = exists and self.maps is not None and look in self.maps.views
        inside = step and 0 <= row * TILE * step < height and 0 <= column * TILE * step < width
        if not (exists and inside):
            raise _no_tile(layer, z, level, row, column, look)
        if layer == "image":
            try:
                chosen = self.look() if look == AUTO else look_from_text(look, self.channels)
            except ValueError:
                raise _no_tile(layer, z, level, row, column, look) from None
            return encode_png(self._image_tile(z, level, row, column, chosen), compress_level=1)
        if layer == "map" and self.maps is not None:
            values = self.maps.values(look, (z,) if len(self.shape) == 3 else (slice(None),))
            part = cut(values, step, row, column)[1:-1, 1:-1]
            return palette_png(self.maps.codes(look, part), self.maps.palette(look))
        if layer == "associations":
            bits = self._associations()
            plane = bits[z] if bits.ndim == 3 else bits
            part = cut(plane, step, row, column)[1:-1, 1:-1]
            return palette_png(match_codes(part, (row * TILE, column * TILE)), match_palette())
        return self._label_tile(layer, z, step, row, column)

    def _label_tile(self, layer: str, z: int, step: int, row: int, column: int) -> bytes:
        part = cut(self._label_plane(_LAYER_LABELS[layer], z), step, row, column)
        inner = part[1:-1, 1:-1]
        painted = ((inner.astype(np.uint32) + 254) % 255 + 1).astype(np.uint8)
        painted[inner == 0] = 0
        visible = self._visible  # another thread may replace it
        if visible is not None and layer != "truth":
            painted[~visible[inner]] = 0
        if layer != "instances":
            painted = np.where(find_contour(part, "inner")[1:-1, 1:-1], painted, 0)
        if layer == "truth":
            return palette_png((painted > 0).astype(np.uint8), np.array([(0, 0, 0), _TRUTH_COLOR]))
        return palette_png(painted, label_colors(255))

    def _label_plane(self, name: str, z: int) -> Array:
        labels = self.labels[name]
        plane: Array = labels[z] if labels.ndim == 3 else labels
        return plane

    def _associations(self) -> Array:
        """Return the bits of `MatchKind` for each pixel."""
        with self._lock:
            if self._matched is None and self._matched_later is not None:
                self._matched = self._matched_later()
            if self._matched is None:
                truth, prediction = self.labels["truth"], self.labels["instances"]
                pairs = match(truth, prediction, (self.threshold or 0.5,))[0]
                self._matched = match_bits(color_associations(truth, prediction, pairs))
            return self._matched

    def _image_tile(self, z: int, level: int, row: int, column: int, look: Look) -> Array:
        y, x = row * TILE, column * TILE
        height, width = (-(-size // 2**level) for size in self.size)
        if not look:
            return np.zeros((min(TILE, height - y), min(TILE, width - x)), np.uint8)
        parts = {}
        for channel in look:
            with self._lock:
                pyramid = self._pyramid(z, channel)
                while len(pyramid) <= level:
                    pyramid.append(halve(pyramid[-1]))
            parts[channel] = pyramid[level][y : y + TILE, x : x + TILE]
        return paint(parts, look)

    def _pyramid(self, z: int, channel: int) -> list[Array]:
        """Return a channel of a slice at all levels computed so far; recent ones are cached."""
        if self.raw is None:
            raise UserError(
                "this run has instances without an image", "show another layer", "gui.no_tile"
            )
        if (z, channel) not in self._planes:
            plane = self.raw[z] if self.raw.ndim == 4 else self.raw
            self._planes[z, channel] = [plane[..., channel]]
            while len(self._planes) > max(_MAX_PLANES, 2 * self.channels):
                self._planes.popitem(last=False)
        self._planes.move_to_end((z, channel))
        return self._planes[z, channel]


def _no_tile(*parts: object) -> UserError:
    return UserError(f"no tile {' '.join(map(str, parts))}", "reload the page", "gui.no_tile")


class Scenes:
    """Images that pages display, by a random name."""

    def __init__(self) -> None:
        self._scenes: OrderedDict[str, Scene] = OrderedDict()

    def put(self, scene: Scene) -> str:
        """Add a scene and return its name; drop the oldest scene if there are too many."""
        name = secrets.token_urlsafe(9)
        self._scenes[name] = scene
        while len(self._scenes) > _MAX_SCENES:
            self._scenes.popitem(last=False)
        return name

    def get(self, name: str) -> Scene | None:
        """Return a scene by its name; None if it was dropped."""
        return self._scenes.get(name)

    def set(self, name: str, scene: Scene) -> None:
        """Replace a scene, for example after a change of its instances."""
        if name in self._scenes:
            self._scenes[name] = scene

    def drop(self, name: str) -> None:
        """Drop a scene, if it exists."""
        self._scenes.pop(name, None)
