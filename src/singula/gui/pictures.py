"""Image, instances and truth as small PNG tiles, so that an image of any size can be looked at."""

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
from singula.evaluate import color_associations, match
from singula.report.overlay import label_colors, rescale

Array = npt.NDArray[Any]
Layer = Literal["image", "instances", "contours", "truth", "associations"]
TILE = 512
LAYERS: tuple[Layer, ...] = ("image", "instances", "contours", "truth", "associations")
_MOST_PLANES, _SAMPLE, _MOST_SCENES = 6, 1_000_000, 24
_LABELS_OF = {"instances": "instances", "contours": "instances", "truth": "truth"}
_TRUTH_COLOUR = (255, 255, 255)


@dataclass
class Scene:
    """One image with what belongs to it, drawn tile by tile.

    Parameters
    ----------
    raw : ndarray, optional
        (y, x, c) or (z, y, x, c).
    labels : dict of str to ndarray
        ``instances`` and ``truth``, each (y, x) or (z, y, x).
    threshold : float, optional
        IoU at which instances and truth are matched; None: they are not.

    Attributes
    ----------
    version : int
        Grows with every change of the instances; it is part of a tile's address, so that no
        browser shows an old one.
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
        """Refuse parts that do not lie on each other."""
        shapes = {name: array.shape for name, array in self.labels.items()}
        if self.raw is not None:
            shapes["image"] = self.raw.shape[:-1]
        if len(set(shapes.values())) != 1:
            raise UserError(f"the parts of the image differ in shape: {shapes or 'there is none'}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape, (y, x) or (z, y, x)."""
        first = self.raw.shape[:-1] if self.raw is not None else None
        return first or next(iter(self.labels.values())).shape

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[-2], self.shape[-1]

    @property
    def depth(self) -> int:
        """Number of slices; 1 for an image."""
        return self.shape[0] if len(self.shape) == 3 else 1

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return self.raw.shape[-1] if self.raw is not None else 0

    @property
    def levels(self) -> int:
        """How many times the image has to be halved to fit one tile, plus 1."""
        return max(1, int(np.ceil(np.log2(max(*self.size, 1) / TILE))) + 1)

    def layers(self) -> list[Layer]:
        """What can be drawn."""
        there: list[Layer] = ["image"] if self.raw is not None else []
        there += ["instances", "contours"] if "instances" in self.labels else []
        there += ["truth"] if "truth" in self.labels else []
        both = {"instances", "truth"} <= self.labels.keys() and self.threshold is not None
        return [*there, *(["associations"] if both else [])]  # type: ignore[list-item]

    def replace_instances(self, labels: Array) -> None:
        """Exchange the instances."""
        if labels.shape != self.shape:
            raise UserError(f"instances have shape {labels.shape}, the image {self.shape}")
        with self._lock:
            self.labels = {**self.labels, "instances": labels}
            self._matched = None
            self.version += 1

    def instance_at(self, z: int, y: int, x: int) -> int:
        """Id of the instance in a pixel; 0 for background and outside."""
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
            Slice.
        level : int
            0 for every pixel, 1 for every second …
        row, column : int
            Place of the tile at that level.
        channel : int
            Channel of the image; -1: three channels as colours, else their mean.

        Raises
        ------
        UserError
            There is no such tile.
        """
        step = 2**level if 0 <= level < 32 else 0
        height, width = self.size
        known = layer in self.layers() and 0 <= z < self.depth and -1 <= channel < self.channels + 1
        inside = step and 0 <= row * TILE * step < height and 0 <= column * TILE * step < width
        if not (known and inside):
            raise UserError(f"no tile {layer} {z} {level} {row} {column}")
        if layer == "image":
            return _png(self._image_tile(z, level, row, column, channel))
        if layer == "associations":
            found = self._associations()
            plane = found[z] if found.ndim == 3 else found
            part = _cut(plane, step, row, column)[1:-1, 1:-1]
            return _palette_png(part, _association_colours())
        part = _cut(self._label_plane(_LABELS_OF[layer], z), step, row, column)
        inner = part[1:-1, 1:-1]
        painted = ((inner.astype(np.uint32) + 254) % 255 + 1).astype(np.uint8)
        painted[inner == 0] = 0
        if layer != "instances":
            painted = np.where(_edges(part), painted, 0)
        if layer == "truth":
            return _palette_png(
                (painted > 0).astype(np.uint8), np.array([(0, 0, 0), _TRUTH_COLOUR])
            )
        return _palette_png(painted, label_colors(255))

    def _label_plane(self, name: str, z: int) -> Array:
        labels = self.labels[name]
        plane: Array = labels[z] if labels.ndim == 3 else labels
        return plane

    def _associations(self) -> Array:
        """Bits of each pixel: 1 missed, 2 matched, 4 false."""
        with self._lock:
            if self._matched is None:
                truth, found = self.labels["truth"], self.labels["instances"]
                pairs = match(truth, found, (self.threshold or 0.5,))[0]
                red, green, blue = np.moveaxis(color_associations(truth, found, pairs) > 0, -1, 0)
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
        """The slice as bytes at every level so far; of the last few slices."""
        if self.raw is None:
            raise UserError("there is no image")
        if (z, channel) not in self._planes:
            plane = self.raw[z] if self.raw.ndim == 4 else self.raw
            low, high = self._range(channel)
            scaled = rescale(_chosen(plane, channel), low, high)
            self._planes[z, channel] = [(255 * scaled).astype(np.uint8)]
            while len(self._planes) > _MOST_PLANES:
                self._planes.popitem(last=False)
        self._planes.move_to_end((z, channel))
        return self._planes[z, channel]

    def _range(self, channel: int) -> tuple[float, float]:
        """Values shown as black and white: the 1st and 99.8th percentile of the whole image."""
        if channel not in self._ranges and self.raw is not None:
            flat = self.raw.reshape(-1, self.raw.shape[-1])
            sample = flat[:: max(1, len(flat) // _SAMPLE)]
            low, high = np.percentile(_chosen(sample, channel), (1.0, 99.8))
            self._ranges[channel] = float(low), float(high)
        return self._ranges[channel]


def _chosen(values: Array, channel: int) -> Array:
    """One channel, three as colours, or the mean of any other number."""
    if 0 <= channel < values.shape[-1]:
        return values[..., channel]
    if values.shape[-1] == 3:
        return values
    mean: Array = values.mean(-1)
    return mean


def _halved(plane: Array) -> Array:
    """Mean of each 2 × 2 pixels; the last row and column stand for themselves where odd."""
    more = [(0, plane.shape[0] % 2), (0, plane.shape[1] % 2), *([(0, 0)] * (plane.ndim - 2))]
    wide = np.pad(plane, more, mode="edge").astype(np.uint16)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    halved: Array = ((total + 2) // 4).astype(np.uint8)
    return halved


def _cut(plane: Array, step: int, row: int, column: int) -> Array:
    """Every `step`-th pixel of a tile with one more around it, which repeats the image's edge."""
    rows = _places(plane.shape[0], step, row)
    columns = _places(plane.shape[1], step, column)
    cut: Array = plane.take(rows, 0).take(columns, 1)
    return cut


def _places(size: int, step: int, index: int) -> Array:
    count = -(-size // step)
    first, last = index * TILE, min((index + 1) * TILE, count)
    places = np.clip(np.arange(first - 1, last + 1), 0, count - 1) * step + step // 2
    return np.minimum(places, size - 1)


def _edges(part: Array) -> npt.NDArray[np.bool_]:
    """Pixels of objects with another object or background beside them, without the outer ring."""
    inner = part[1:-1, 1:-1]
    beside = (part[:-2, 1:-1], part[2:, 1:-1], part[1:-1, :-2], part[1:-1, 2:])
    edges: npt.NDArray[np.bool_] = inner != beside[0]
    for other in beside[1:]:
        edges |= inner != other
    return edges & (inner > 0)


def _association_colours() -> Array:
    bits = np.arange(8)[:, None] >> np.arange(3)
    return ((bits & 1) * 255).astype(np.uint8)


def _png(values: Array) -> bytes:
    from PIL import Image as Picture

    stream = BytesIO()
    Picture.fromarray(np.ascontiguousarray(values)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _palette_png(values: Array, table: Array) -> bytes:
    """Numbers 0 … 255 by their colour; 0 is clear."""
    from PIL import Image as Picture

    picture = Picture.fromarray(np.ascontiguousarray(values))
    picture.putpalette(np.asarray(table, np.uint8).tobytes())
    stream = BytesIO()
    picture.save(stream, "PNG", compress_level=1, transparency=0)
    return stream.getvalue()


class Scenes:
    """The images that pages show at present, by a name that nobody guesses."""

    def __init__(self) -> None:
        self._scenes: OrderedDict[str, Scene] = OrderedDict()

    def put(self, scene: Scene) -> str:
        """Keep a scene; the oldest goes when there are many."""
        name = secrets.token_urlsafe(9)
        self._scenes[name] = scene
        while len(self._scenes) > _MOST_SCENES:
            self._scenes.popitem(last=False)
        return name

    def get(self, name: str) -> Scene | None:
        """The scene of a name."""
        return self._scenes.get(name)

    def drop(self, name: str) -> None:
        """Forget a scene."""
        self._scenes.pop(name, None)


def thumbnail(image: Array, labels: Array | None = None, longest: int = 160) -> bytes:
    """A small PNG of an image, or of its fullest slice, with the outlines of its objects.

    Parameters
    ----------
    image : ndarray
        (y, x, c) or (z, y, x, c).
    labels : ndarray, optional
        (y, x) or (z, y, x).
    longest : int
        Pixels of the longer side.
    """
    from PIL import Image as Picture

    from singula.report.overlay import middle_plane, overlay, to_gray

    if image.ndim == 4:
        index = len(image) // 2 if labels is None else middle_plane(labels)
        image, labels = image[index], labels[index] if labels is not None else None
    shown = to_gray(image) if labels is None else overlay(image, labels)
    picture = Picture.fromarray(np.ascontiguousarray(shown))
    picture.thumbnail((longest, longest), Picture.Resampling.BOX)
    stream = BytesIO()
    picture.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def boxes(labels: Array) -> Mapping[int, tuple[tuple[int, int], ...]]:
    """First pixel and the one behind the last of each object, along every axis."""
    from scipy.ndimage import find_objects

    found = find_objects(labels.astype(np.int32, copy=False))
    return {
        number: tuple((s.start, s.stop) for s in slices)
        for number, slices in enumerate(found, start=1)
        if slices is not None
    }
