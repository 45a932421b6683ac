"""Maps that the network predicted, as pictures of the report and layers of the interface."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from singula.data.preprocess import resize_labels
from singula.report.pictures import MAX_SIDE, Panel, data_uri
from singula.representations.channel import Channel
from singula.representations.channel_table import CHANNELS, planes_in
from singula.representations.families import FAMILIES
from singula.runs.run import Run, Stage

Array = npt.NDArray[Any]
Scale = Literal["share", "distance", "signed", "values"]
_SAMPLE_PIXELS = 1_000_000
_MAX_PANELS = 8  # in the report
_MAX_VALUES = 1 << 29  # of all maps of an image
_PALETTES: dict[Scale, str] = {
    "share": "viridis", "distance": "viridis", "signed": "PuOr", "values": "viridis",
}  # fmt: skip


@dataclass(frozen=True)
class MapView:
    """A map of the network, or the mean of the maps of a family.

    Parameters
    ----------
    title : str
        Name in the list of maps.
    planes : tuple of int
        Positions in the stored array; the mean of several is shown.
    scale : str
        ``share``: values from 0 to 1; ``distance``: from 0; ``signed``: around 0; ``values``: any.
    is_detail : bool
        The map is one of several of a family, which their mean summarizes.
    """

    title: str
    planes: tuple[int, ...]
    scale: Scale
    is_detail: bool = False


def map_views(codes: Iterable[str], *, classes: bool = False) -> dict[str, MapView]:
    """Return the maps to choose from, by a short key; a family starts with its mean.

    Parameters
    ----------
    codes : iterable of str
        Keys of `CHANNELS` in the order of the stored array.
    classes : bool
        A map of classes follows the channels.
    """
    codes = tuple(codes)
    views: dict[str, MapView] = {}
    for position, code in enumerate(codes):
        channel = CHANNELS[code]
        if channel.family and channel.plane == 0 and (text := FAMILIES[channel.family].mean):
            members = planes_in(codes, channel.family)
            planes = tuple(codes.index(member) for member in members)
            title = f"{channel.family}: {text}"
            views[f"mean{channel.family}"] = MapView(title, planes, _scale(channel))
        text = channel.title if channel.family else f"{code}: {channel.describe}"
        is_detail = bool(channel.family and FAMILIES[channel.family].mean)
        views[str(position)] = MapView(text, (position,), _scale(channel), is_detail)
    if classes:
        views[str(len(codes))] = MapView("class", (len(codes),), "distance")
    return views


def _scale(channel: Channel) -> Scale:
    if channel.kind == "binary" or channel.is_share or channel.activation == "sigmoid":
        return "share"
    if channel.component or channel.activation == "tanh":
        return "signed"
    return "values" if channel.length else "distance"


@dataclass
class NetworkMaps:
    """Stored maps of an image, read when they are first shown.

    Parameters
    ----------
    views : dict of str to MapView
        Maps to choose from.
    read : callable
        Returns the array (y, x, c) or (z, y, x, c).
    """

    views: dict[str, MapView]
    read: Callable[[], Array]
    _array: Array | None = None
    _ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: Any = field(default_factory=Lock)

    @property
    def array(self) -> Array:
        """All maps, (y, x, c) or (z, y, x, c)."""
        with self._lock:
            if self._array is None:
                self._array = self.read()
            return self._array

    def values(self, key: str, place: tuple[Any, ...]) -> Array:
        """Return the values of a map at a slice or pixel.

        Parameters
        ----------
        key : str
            Key of `views`.
        place : tuple of int or slice
            Index of the spatial axes.
        """
        planes = self.views[key].planes
        part = self.array[place]
        if len(planes) == 1:
            return np.asarray(part[..., planes[0]])
        return np.asarray(part[..., planes[0] : planes[-1] + 1].mean(-1, dtype=np.float32))

    def limits(self, key: str) -> tuple[float, float]:
        """Return the values of a map that the first and last color show."""
        if key not in self._ranges:
            view, array = self.views[key], self.array
            flat = array.reshape(-1, array.shape[-1])
            sample = flat[:: max(1, len(flat) // _SAMPLE_PIXELS)]
            values = sample[:, list(view.planes)].mean(-1, dtype=np.float64)
            values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
            low, high = (float(value) for value in np.percentile(values, (0.2, 99.8)))
            if view.scale == "signed":
                low, high = -max(-low, high, 1e-6), max(-low, high, 1e-6)
            elif view.scale != "values":
                low, high = 0.0, 1.0 if view.scale == "share" and high <= 1.001 else high
            self._ranges[key] = low, high if high > low else low + 1.0
        return self._ranges[key]

    def codes(self, key: str, values: Array) -> Array:
        """Return the rows of `palette` that show values."""
        low, high = self.limits(key)
        share = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1)
        codes: Array = (1 + np.rint(254 * share)).astype(np.uint8)
        return codes

    def palette(self, key: str) -> Array:
        """Return the colors (256, 3) of a map; row 0 is not used."""
        from matplotlib import colormaps

        table = colormaps[_PALETTES[self.views[key].scale]](np.linspace(0, 1, 255))[:, :3]
        return np.concatenate([[[0, 0, 0]], np.rint(255 * table)]).astype(np.uint8)

    def turned(self, axes: tuple[int, ...]) -> NetworkMaps:
        """Return the maps with reordered spatial axes."""
        return replace(
            self,
            read=lambda: np.transpose(self.array, (*axes, len(axes))),
            _array=None,
            _lock=Lock(),
        )


def stored_maps(run: Run, name: str, stage: Stage, shape: tuple[int, ...]) -> NetworkMaps | None:
    """Return the stored maps of an image, which are read when they are shown.

    Parameters
    ----------
    run : Run
        Finished run.
    name : str
        Name of the image.
    stage : Stage
        Stage of the instances.
    shape : tuple of int
        Spatial shape of the image; maps of another shape are resized.

    Returns
    -------
    NetworkMaps or None
        None if the run did not store the maps, or if they are too large for the memory.
    """
    codes = [code for group in run.config.channel_groups for code in group]
    if not run.maps_file(name, stage).is_file() or math.prod(shape) * len(codes) > _MAX_VALUES:
        return None
    views = map_views(codes, classes=run.has_classes)

    def read() -> Array:
        stored: Array = run.read_maps(name, stage).array
        return stored if stored.shape[:-1] == shape else resize_labels(stored, shape)

    return NetworkMaps(views, read)


def draw_maps(maps: NetworkMaps, name: str, plane: int | None) -> list[Panel]:
    """Draw the maps of an image, of a family with a mean only the mean.

    Parameters
    ----------
    maps : NetworkMaps
        Maps of the image.
    name : str
        Name of the image.
    plane : int, optional
        Slice of a volume; None for an image.
    """
    panels = []
    for key in [key for key, view in maps.views.items() if not view.is_detail][:_MAX_PANELS]:
        values = maps.values(key, (slice(None),) if plane is None else (plane,))
        step = -(-max(values.shape) // MAX_SIDE)
        codes = maps.codes(key, values[step // 2 :: step, step // 2 :: step])
        picture = maps.palette(key)[codes]
        low, high = maps.limits(key)
        title = f"{maps.views[key].title} (dark {low:.3g}, bright {high:.3g})"
        height, width = codes.shape
        panels.append(Panel(title, f"{title}, {name}", data_uri(picture), (width, height)))
    return panels
