"""Metadata of OME-Zarr (NGFF): axes, voxel sizes, units and pyramid levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from singula.io.units import (
    METERS,
    NAMES,
    UNCALIBRATED,
    VoxelSize,
    convert,
    unit_symbol,
    voxel_size,
)

VERSION = "0.5"
_MIN_PLANE = 256  # pixels along y and x below which no coarser level is made


# Names of axes in lower case
_AXIS_NAMES = {
    "T": ("t", "time", "times", "frame", "frames", "timepoint", "timepoints", "time_point", "tp"),
    "C": ("c", "channel", "channels", "ch", "band", "bands", "wavelength", "color", "colour"),
    "Z": ("z", "depth", "slice", "slices", "section", "sections", "plane", "planes"),
    "Y": ("y", "row", "rows", "height"),
    "X": ("x", "col", "cols", "column", "columns", "width"),
}


@dataclass(frozen=True)
class Level:
    """Level of a pyramid.

    Parameters
    ----------
    shape : tuple of int
        Size along the spatial axes, in pixels.
    steps : tuple of int
        Size of a pixel along each axis, in pixels of the first level.
    halved : tuple of bool
        True for axes along which it has half the pixels of the previous level, rounded up.
    """

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    halved: tuple[bool, ...]


def plan_levels(shape: Sequence[int], spacing: Sequence[float] | None = None) -> list[Level]:
    """Return the levels of a pyramid, up to a plane of at most 256 pixels along y and x.

    If slices are farther apart than pixels, the z axis is halved only after the pixels in the
    plane have reached a similar size.

    Parameters
    ----------
    shape : sequence of int
        Size along (y, x) or (z, y, x).
    spacing : sequence of float, optional
        Voxel size along each axis, in any unit; equal sizes by default.
    """
    ndim = len(shape)
    sizes = spacing or (1.0,) * ndim
    levels = [Level(tuple(shape), (1,) * ndim, (False,) * ndim)]
    while max(levels[-1].shape[-2:]) > _MIN_PLANE:
        last = levels[-1]
        pixel = [size * step for size, step in zip(sizes, last.steps, strict=True)]
        halved = tuple(
            size <= 1.5 * min(pixel[-2:]) and length > 1
            for size, length in zip(pixel, last.shape, strict=True)
        )
        if not any(halved):
            break
        factors = [2 if half else 1 for half in halved]
        levels.append(
            Level(
                tuple(-(-length // f) for length, f in zip(last.shape, factors, strict=True)),
                tuple(step * f for step, f in zip(last.steps, factors, strict=True)),
                halved,
            )
        )
    return levels


def multiscale(
    name: str,
    ndim: int,
    levels: Sequence[Level],
    spacing: Sequence[float] | None,
    unit: str | None,
    *,
    channels: bool,
    method: str,
) -> dict[str, Any]:
    """Return an entry of ``multiscales`` for arrays with the names 0, 1, ….

    Parameters
    ----------
    name : str
        Name of the image.
    ndim : {2, 3}
        Number of spatial axes.
    levels : sequence of Level
        Levels of the pyramid, finest first.
    spacing : sequence of float, optional
        Voxel size of the first level along each spatial axis, z first.
    unit : str, optional
        Unit of `spacing`, such as "µm".
    channels : bool
        The arrays have a channel axis, which is the first.
    method : str
        Method of downsampling, such as "mean".
    """
    axes: list[dict[str, str]] = [{"name": letter, "type": "space"} for letter in "zyx"[-ndim:]]
    symbol = unit_symbol(unit)
    if spacing is not None and symbol in METERS and symbol not in NAMES:
        spacing, symbol = [convert(size, symbol, "µm") for size in spacing], "µm"
    if symbol is not None:
        for axis in axes:
            axis["unit"] = NAMES.get(symbol, symbol)
    channel_scale = [1.0] * channels
    if channels:
        axes.insert(0, {"name": "c", "type": "channel"})
    datasets = []
    for number, level in enumerate(levels):
        sizes = spacing or (1.0,) * ndim
        scale = [float(size * step) for size, step in zip(sizes, level.steps, strict=True)]
        transform = {"type": "scale", "scale": channel_scale + scale}
        datasets.append({"path": str(number), "coordinateTransformations": [transform]})
    return {"name": name, "axes": axes, "datasets": datasets, "type": method}


@dataclass(frozen=True)
class Multiscale:
    """Metadata of the first level of an OME-Zarr image.

    Parameters
    ----------
    path : str
        Path of the array in the group of the image.
    axes : str
        One letter for each axis of the array.
    size : VoxelSize
        Voxel size of the array.
    channels : tuple of str
        Names of the channels; empty if the metadata do not describe them.
    """

    path: str
    axes: str | None
    size: VoxelSize = UNCALIBRATED
    channels: tuple[str, ...] = ()


def has_multiscales(attributes: Mapping[str, Any]) -> bool:
    """Return True if the attributes of a group describe an OME-Zarr image."""
    return bool(_ome(attributes).get("multiscales"))


def is_label_image(attributes: Mapping[str, Any]) -> bool:
    """Return True if the attributes of a group describe a label image."""
    return "image-label" in _ome(attributes)


def members(attributes: Mapping[str, Any]) -> list[str]:
    """Return the paths of the wells of a plate or the images of a well; empty for other groups."""
    ome = _ome(attributes)
    for kind, entry in (("plate", "wells"), ("well", "images")):
        group = ome.get(kind)
        listed = group.get(entry) if isinstance(group, Mapping) else None
        if isinstance(listed, Sequence) and not isinstance(listed, str):
            paths = [item.get("path") for item in listed if isinstance(item, Mapping)]
            return [path.strip("/") for path in paths if isinstance(path, str) and path.strip("/")]
    return []


def is_collection(attributes: Mapping[str, Any]) -> bool:
    """Return True if the attributes describe a collection of images from bioformats2raw."""
    return any("bioformats2raw.layout" in group for group in (attributes, _ome(attributes)))


def listed_series(attributes: Mapping[str, Any]) -> list[str]:
    """Return the paths of images in the attributes of the group ``OME`` of a collection."""
    series = _ome(attributes).get("series")
    if not isinstance(series, Sequence) or isinstance(series, str):
        return []
    return [str(path).strip("/") for path in series if str(path).strip("/")]


def listed_labels(attributes: Mapping[str, Any]) -> list[str]:
    """Return the names of label images in the attributes of the group ``labels``."""
    labels = _ome(attributes).get("labels") or attributes.get("labels")
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        return []
    return [str(name).strip("/") for name in labels if str(name).strip("/")]


def level_paths(attributes: Mapping[str, Any]) -> list[str]:
    """Return the paths of the arrays of an image in its group, the finest level first.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group of the image.

    Raises
    ------
    ValueError
        The metadata do not follow the format.
    """
    try:
        return [str(level["path"]) for level in _ome(attributes)["multiscales"][0]["datasets"]]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"its OME-Zarr metadata lack {error}") from error


def axis_letters(names: Sequence[object], types: Sequence[object] | None = None) -> str:
    """Return a letter of T, C, Z, Y, X for each axis, Q for an unknown one.

    Parameters
    ----------
    names : sequence
        Names of the axes, in any case: ``t``, ``T``, ``Time``.
    types : sequence, optional
        ``time``, ``channel``, ``space`` or None for each axis. The type takes precedence over the
        name, so an axis of type time is never read as another axis.
    """
    types = types or [None] * len(names)
    letters = [_letter(name, kind) for name, kind in zip(names, types, strict=True)]
    spatial = [axis for axis, kind in enumerate(types) if str(kind).lower() == "space"]
    # The format orders spatial axes z, y, x, whatever their names.
    if 2 <= len(spatial) <= 3 and all(letters[axis] == "Q" for axis in spatial):
        for axis, letter in zip(spatial, "ZYX"[-len(spatial) :], strict=True):
            letters[axis] = letter
    return "".join(letters)


def _letter(name: object, kind: object) -> str:
    by_type = {"time": "T", "channel": "C"}.get(str(kind).lower())
    if by_type is not None:
        return by_type
    word = str(name).strip().lower()
    letter = next((letter for letter, names in _AXIS_NAMES.items() if word in names), "Q")
    if str(kind).lower() == "space" and letter not in "ZYX":
        return "Q"
    return letter


def read_multiscale(attributes: Mapping[str, Any]) -> Multiscale:
    """Read the metadata of the first level of an image (versions 0.1 to 0.5).

    Parameters
    ----------
    attributes : mapping
        Attributes of the group of the image.

    Raises
    ------
    ValueError
        The metadata do not follow the format.
    """
    try:
        image = _ome(attributes)["multiscales"][0]
        first = image["datasets"][0]
        path = str(first["path"])
        axes = image.get("axes")
        if axes is None:
            return Multiscale(path, "TCZYX")  # before version 0.3
        names = [axis if isinstance(axis, str) else axis["name"] for axis in axes]
        types = [None if isinstance(axis, str) else axis.get("type") for axis in axes]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"its OME-Zarr metadata lack {error}") from error
    letters = axis_letters(names, types)
    try:
        scales = zip(_sizes(first, len(names)), _sizes(image, len(names)), strict=True)
        sizes = [of_level * of_image for of_level, of_image in scales]
        units = [None if isinstance(axis, str) else axis.get("unit") for axis in axes]
        size = spatial_sizes(list(letters.lower()), sizes, units)
    except (KeyError, TypeError, ValueError, IndexError):
        size = UNCALIBRATED  # an invalid transform does not make pixels unreadable
    return Multiscale(path, letters, size, _channel_names(attributes))


def _channel_names(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels of the channels in the metadata for viewers (``omero``)."""
    described = _ome(attributes).get("omero") or attributes.get("omero")
    channels = described.get("channels") if isinstance(described, Mapping) else None
    if not isinstance(channels, Sequence) or isinstance(channels, str):
        return ()
    return tuple(
        str(item.get("label") or "") if isinstance(item, Mapping) else "" for item in channels
    )


def spatial_sizes(
    names: Sequence[str], sizes: Sequence[object], units: Sequence[object]
) -> VoxelSize:
    """Return the voxel size, given the sizes and units of all axes.

    Parameters
    ----------
    names : sequence of str
        Names of the axes, in any case; axes other than z, y and x are ignored.
    sizes, units : sequence
        Size of a pixel along each axis, and its unit.
    """
    numbers = {name.lower(): number for number, name in enumerate(names)}
    spatial = {axis: numbers[axis] for axis in "zyx" if axis in numbers}
    return voxel_size(
        {axis: sizes[number] for axis, number in spatial.items()},
        {axis: units[number] for axis, number in spatial.items()},
    )


def _sizes(entry: Mapping[str, Any], count: int) -> list[float]:
    for transform in entry.get("coordinateTransformations") or ():
        if transform.get("type") == "scale":
            # An invalid size of one axis does not invalidate the other axes.
            return [size if _is_number(size) else math.nan for size in transform["scale"]]
    return [1.0] * count


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata: below ``ome`` since version 0.5, at the top before."""
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes
