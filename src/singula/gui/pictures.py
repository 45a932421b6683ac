"""PNG tiles of images, instances and ground truth, for images of any size."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.metrics import color_associations, match
from singula.report.overlay import (
    brightness_range,
    encode_png,
    label_colors,
    pair_panels,
    rescale,
    shown_channels,
)
from singula.representations.channels import find_contour

Array = npt.NDArray[Any]
Layer = Literal["image", "instances", "contours", "truth", "associations"]
TILE = 512
LAYERS: tuple[Layer, ...] = ("image", "instances", "contours", "truth", "associations")
_MAX_PLANES, _SAMPLE_PIXELS, _MAX_SCENES = 6, 1_000_000, 24
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

    Attributes
    ----------
    version : int
        Number of changes of the instances. The address of a tile contains the version, so that the
        browser does not display a cached tile of an older version.

    Raises
    ------
    UserError
        ``gui.shape_mismatch``: the arrays differ in their spatial shape.
    """

    raw: Array | None
    labels: dict[str, Array]
    threshold: float | None = 0.5
    version: int = 0
    _planes: OrderedDict[tuple[int, int], list[Array]] = field(default_factory=OrderedDict)
    _ranges: dict[int, tuple[float, float]] = field(default_factory=dict)
    _matched: Array | None = None
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
            self._matched = None
            self.version += 1

    def instance_at(self, z: int, y: int, x: int) -> int:
        """Return the id of the instance at a pixel; 0 in the background and outside."""
        height, width = self.size
        if not (0 <= y < height and 0 <= x < width and 0 <= z < self.depth):
            return 0
        return int(self._label_plane("instances", z)[y, x])

    def tile(
        self, layer: str, z: int, level: int, row: int, column: int, channel: int = -1
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
        channel : int
            Channel of the image; -1 draws three channels as colors, or the mean of another number.

        Raises
        ------
        UserError
            ``gui.no_tile``: the layer, slice, level or position does not exist.
        """
        step = 2**level if 0 <= level < 32 else 0
        height, width = self.size
        exists = (
            layer in self.layers() and 0 <= z < self.depth and -1 <= channel < self.channels + 1
        )
        inside = step and 0 <= row * TILE * step < height and 0 <= column * TILE * step < width
        if not (exists and inside):
            raise UserError(
                f"no tile {layer} {z} {level} {row} {column}",
                "reload the page",
                "gui.no_tile",
            )
        if layer == "image":
            return encode_png(self._image_tile(z, level, row, column, channel), compress_level=1)
        if layer == "associations":
            bits = self._associations()
            plane = bits[z] if bits.ndim == 3 else bits
            part = _cut(plane, step, row, column)[1:-1, 1:-1]
            return _palette_png(part, _association_colors())
        part = _cut(self._label_plane(_LAYER_LABELS[layer], z), step, row, column)
        inner = part[1:-1, 1:-1]
        painted = ((inner.astype(np.uint32) + 254) % 255 + 1).astype(np.uint8)
        painted[inner == 0] = 0
        if layer != "instances":
            painted = np.where(find_contour(part, "inner")[1:-1, 1:-1], painted, 0)
        if layer == "truth":
            return _palette_png((painted > 0).astype(np.uint8), np.array([(0, 0, 0), _TRUTH_COLOR]))
        return _palette_png(painted, label_colors(255))

    def _label_plane(self, name: str, z: int) -> Array:
        labels = self.labels[name]
        plane: Array = labels[z] if labels.ndim == 3 else labels
        return plane

    def _associations(self) -> Array:
        """Return the sum of 1 (missed), 2 (matched) and 4 (false positive) for each pixel."""
        with self._lock:
            if self._matched is None:
                truth, prediction = self.labels["truth"], self.labels["instances"]
                pairs = match(truth, prediction, (self.threshold or 0.5,))[0]
                red, green, blue = np.moveaxis(
                    color_associations(truth, prediction, pairs) > 0, -1, 0
                )
                self._matched = (red + 2 * green + 4 * blue).astype(np.uint8)
            return self._matched

    def _image_tile(self, z: int, level: int, row: int, column: int, channel: int) -> Array:
        with self._lock:
            pyramid = self._pyramid(z, channel)
            while len(pyramid) <= level:
                pyramid.append(_halved(pyramid[-1]))
        y, x = row * TILE, column * TILE
        return pyramid[level][y : y + TILE, x : x + TILE]

    def _pyramid(self, z: int, channel: int) -> list[Array]:
        """Return a slice as uint8 at all levels computed so far; recent slices are cached."""
        if self.raw is None:
            raise UserError(
                "this run has instances without an image", "show another layer", "gui.no_tile"
            )
        if (z, channel) not in self._planes:
            plane = self.raw[z] if self.raw.ndim == 4 else self.raw
            low, high = self._range(channel)
            scaled = rescale(shown_channels(plane, channel), low, high)
            self._planes[z, channel] = [(255 * scaled).astype(np.uint8)]
            while len(self._planes) > _MAX_PLANES:
                self._planes.popitem(last=False)
        self._planes.move_to_end((z, channel))
        return self._planes[z, channel]

    def _range(self, channel: int) -> tuple[float, float]:
        """Return the brightness range of the whole image."""
        if channel not in self._ranges and self.raw is not None:
            flat = self.raw.reshape(-1, self.raw.shape[-1])
            sample = flat[:: max(1, len(flat) // _SAMPLE_PIXELS)]
            self._ranges[channel] = brightness_range(shown_channels(sample, channel))
        return self._ranges[channel]


def _halved(plane: Array) -> Array:
    """Return the mean of blocks of 2 × 2 pixels; an odd last row or column is repeated."""
    padding = [(0, plane.shape[0] % 2), (0, plane.shape[1] % 2), *([(0, 0)] * (plane.ndim - 2))]
    wide = np.pad(plane, padding, mode="edge").astype(np.uint16)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    halved: Array = ((total + 2) // 4).astype(np.uint8)
    return halved


def _cut(plane: Array, step: int, row: int, column: int) -> Array:
    """Return every `step`-th pixel of a tile and a ring around it; image edges are repeated."""
    rows = _indices(plane.shape[0], step, row)
    columns = _indices(plane.shape[1], step, column)
    cut: Array = plane.take(rows, 0).take(columns, 1)
    return cut


def _indices(size: int, step: int, index: int) -> Array:
    count = -(-size // step)
    first, last = index * TILE, min((index + 1) * TILE, count)
    indices = np.clip(np.arange(first - 1, last + 1), 0, count - 1) * step + step // 2
    return np.minimum(indices, size - 1)


def _association_colors() -> Array:
    bits = np.arange(8)[:, None] >> np.arange(3)
    return ((bits & 1) * 255).astype(np.uint8)


def _palette_png(values: Array, table: Array) -> bytes:
    """Encode values 0 to 255 with a color table as PNG; 0 is transparent."""
    from PIL import Image as Picture

    picture = Picture.fromarray(np.ascontiguousarray(values))
    picture.putpalette(np.asarray(table, np.uint8).tobytes())
    stream = BytesIO()
    picture.save(stream, "PNG", compress_level=1, transparency=0)
    return stream.getvalue()


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

    def drop(self, name: str) -> None:
        """Drop a scene, if it exists."""
        self._scenes.pop(name, None)


def thumbnail(image: Array, labels: Array | None = None, max_side: int = 160) -> bytes:
    """Return a small PNG of an image, with the outlines of its objects.

    For a volume, the slice with the most labeled pixels is drawn.

    Parameters
    ----------
    image : ndarray
        Raw image, (y, x, c) or (z, y, x, c).
    labels : ndarray, optional
        Label image, (y, x) or (z, y, x).
    max_side : int
        Length of the longer side, pixels.
    """
    shown = [] if labels is None else [labels]
    panels = pair_panels(image, *shown, min_side=max_side)
    return encode_png(panels[-1], max_side, compress_level=6)


def boxes(labels: Array) -> Mapping[int, tuple[tuple[int, int], ...]]:
    """Return the bounding box of each object by its id.

    Parameters
    ----------
    labels : ndarray of int
        Label image, (y, x) or (z, y, x).

    Returns
    -------
    mapping of int to tuple
        For each axis, the first index and the last index plus 1.
    """
    from scipy.ndimage import find_objects

    objects = find_objects(labels.astype(np.int32, copy=False))
    return {
        number: tuple((s.start, s.stop) for s in slices)
        for number, slices in enumerate(objects, start=1)
        if slices is not None
    }
