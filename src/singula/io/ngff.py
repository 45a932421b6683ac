"""The words of OME-Zarr (NGFF): axes, voxel sizes, units, levels of a pyramid."""

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
_SMALLEST = 256  # no coarser level once the plane is this small


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
    """One level of a pyramid.

    Parameters
    ----------
    shape : tuple of int
        Of its spatial axes.
    steps : tuple of int
        Size of its pixels along each axis, in pixels of the first level.
    halved : tuple of bool
        Axes along which it has half the pixels of the level before it, rounded up.
    """

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    halved: tuple[bool, ...]


def plan_levels(shape: Sequence[int], spacing: Sequence[float] | None = None) -> list[Level]:
    """Levels of a pyramid, until a plane is small enough to be shown whole.

    An axis whose pixels are larger than those of the plane will be waits for the others, so slices
    farther apart than pixels are wide are kept until the pixels are as large.

    Parameters
    ----------
    shape : sequence of int
        (y, x) or (z, y, x).
    spacing : sequence of float, optional
        Size of a pixel along each axis.
    """
    ndim = len(shape)
    sizes = spacing or (1.0,) * ndim
    levels = [Level(tuple(shape), (1,) * ndim, (False,) * ndim)]
    while max(levels[-1].shape[-2:]) > _SMALLEST:
        last = levels[-1]
        now = [size * step for size, step in zip(sizes, last.steps, strict=True)]
        halved = tuple(
            size <= 1.5 * min(now[-2:]) and length > 1
            for size, length in zip(now, last.shape, strict=True)
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
    """One entry of ``multiscales``; the arrays are named 0, 1, …, the channel axis is the first.

    Parameters
    ----------
    name : str
    ndim : int
        Spatial axes.
    levels : sequence of Level
    spacing : sequence of float, optional
        Size of a pixel of the first level.
    unit : str, optional
        Of `spacing`, such as "µm".
    channels : bool
        Whether there is a channel axis.
    method : str
        How coarser levels are made.
    """
    axes: list[dict[str, str]] = [{"name": one, "type": "space"} for one in "zyx"[-ndim:]]
    symbol = unit_symbol(unit)
    if spacing is not None and symbol in METERS and symbol not in NAMES:
        spacing, symbol = [convert(size, symbol, "µm") for size in spacing], "µm"
    if symbol is not None:
        for axis in axes:
            axis["unit"] = NAMES.get(symbol, symbol)
    before = [1.0] * channels
    if channels:
        axes.insert(0, {"name": "c", "type": "channel"})
    datasets = []
    for number, level in enumerate(levels):
        sizes = spacing or (1.0,) * ndim
        scale = [float(size * step) for size, step in zip(sizes, level.steps, strict=True)]
        transform = {"type": "scale", "scale": before + scale}
        datasets.append({"path": str(number), "coordinateTransformations": [transform]})
    return {"name": name, "axes": axes, "datasets": datasets, "type": method}


@dataclass(frozen=True)
class Multiscale:
    """What the metadata of an OME-Zarr image say of its first level.

    Parameters
    ----------
    path : str
        Of the array, from the image's group.
    axes : str
        One letter for each axis of the array.
    size : VoxelSize
    """

    path: str
    axes: str | None
    size: VoxelSize = UNCALIBRATED


def has_multiscales(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes of a group are those of an OME-Zarr image."""
    return bool(_ome(attributes).get("multiscales"))


def is_label_image(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes of a group say that the image holds labels."""
    return "image-label" in _ome(attributes)


def members(attributes: Mapping[str, Any]) -> list[str]:
    """List the wells of a plate, or the images of a well, by path; empty for any other group."""
    ome = _ome(attributes)
    for kind, entry in (("plate", "wells"), ("well", "images")):
        group = ome.get(kind)
        listed = group.get(entry) if isinstance(group, Mapping) else None
        if isinstance(listed, Sequence) and not isinstance(listed, str):
            paths = [one.get("path") for one in listed if isinstance(one, Mapping)]
            return [path.strip("/") for path in paths if isinstance(path, str) and path.strip("/")]
    return []


def is_collection(attributes: Mapping[str, Any]) -> bool:
    """Return True if the attributes are those of a collection as bioformats2raw writes it."""
    return any("bioformats2raw.layout" in one for one in (attributes, _ome(attributes)))


def listed_series(attributes: Mapping[str, Any]) -> list[str]:
    """List the images that the group ``OME`` of a collection names."""
    series = _ome(attributes).get("series")
    if not isinstance(series, Sequence) or isinstance(series, str):
        return []
    return [str(path).strip("/") for path in series if str(path).strip("/")]


def axis_letters(names: Sequence[object], types: Sequence[object] | None = None) -> str:
    """Return a letter of T, C, Z, Y, X for each axis, Q for an unknown one.

    Parameters
    ----------
    names : sequence
        Of the axes, in any case: ``t``, ``T``, ``Time``.
    types : sequence, optional
        ``time``, ``channel``, ``space`` or None for each axis. The type takes precedence over the
        name, so an axis of type time is never read as another axis.
    """
    types = types or [None] * len(names)
    letters = [_letter(name, kind) for name, kind in zip(names, types, strict=True)]
    spatial = [place for place, kind in enumerate(types) if str(kind).lower() == "space"]
    # The format orders spatial axes z, y, x, so that their names can be anything.
    if 2 <= len(spatial) <= 3 and all(letters[place] == "Q" for place in spatial):
        for place, letter in zip(spatial, "ZYX"[-len(spatial) :], strict=True):
            letters[place] = letter
    return "".join(letters)


def _letter(name: object, kind: object) -> str:
    by_type = {"time": "T", "channel": "C"}.get(str(kind).lower())
    if by_type is not None:
        return by_type
    word = str(name).strip().lower()
    letter = next((one for one, words in _AXIS_NAMES.items() if word in words), "Q")
    if str(kind).lower() == "space" and letter not in "ZYX":
        return "Q"
    return letter


def read_multiscale(attributes: Mapping[str, Any]) -> Multiscale:
    """What the attributes of a group (versions 0.1 to 0.5) say of the first level.

    Raises
    ------
    ValueError
        Metadata that do not follow the format.
    """
    try:
        found = _ome(attributes)["multiscales"][0]
        first = found["datasets"][0]
        path = str(first["path"])
        axes = found.get("axes")
        if axes is None:
            return Multiscale(path, "TCZYX")  # before version 0.3
        names = [axis if isinstance(axis, str) else axis["name"] for axis in axes]
        types = [None if isinstance(axis, str) else axis.get("type") for axis in axes]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"its OME-Zarr metadata lack {error}") from error
    letters = axis_letters(names, types)
    try:
        both = zip(_sizes(first, len(names)), _sizes(found, len(names)), strict=True)
        sizes = [own * common for own, common in both]
        units = [None if isinstance(axis, str) else axis.get("unit") for axis in axes]
        size = spatial_sizes(list(letters.lower()), sizes, units)
    except (KeyError, TypeError, ValueError, IndexError):
        size = UNCALIBRATED  # a transform that cannot be understood does not make pixels unreadable
    return Multiscale(path, letters, size)


def spatial_sizes(
    names: Sequence[str], sizes: Sequence[object], units: Sequence[object]
) -> VoxelSize:
    """Return the voxel size out of the sizes and units of all axes.

    Parameters
    ----------
    names : sequence of str
        Names of the axes, in any case; others than z, y and x are ignored.
    sizes, units : sequence
        One for each axis.
    """
    found = {name.lower(): place for place, name in enumerate(names)}
    space = {axis: found[axis] for axis in "zyx" if axis in found}
    return voxel_size(
        {axis: sizes[place] for axis, place in space.items()},
        {axis: units[place] for axis, place in space.items()},
    )


def _sizes(entry: Mapping[str, Any], count: int) -> list[float]:
    for transform in entry.get("coordinateTransformations") or ():
        if transform.get("type") == "scale":
            # An axis without a number is the concern of that axis alone.
            return [size if _is_number(size) else math.nan for size in transform["scale"]]
    return [1.0] * count


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the metadata are: since 0.5 below ``ome``, before that at the top."""
    inner = attributes.get("ome")
    return inner if isinstance(inner, Mapping) else attributes
