"""Read CZI files of Zeiss (ZEN): scenes, channels, time points, mosaics."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from singula.io.formats.acquisition import (
    Acquisition,
    choose_acquisition,
    list_acquisitions,
    stored_acquisition,
)
from singula.io.formats.containers import library
from singula.io.image import AnyArray, ArrayPlace, Series, StoredArray
from singula.io.units import round_significant
from singula.util.boxes import Box
from singula.util.format import counted

# Type and number of color samples by pixel type
_PIXELS = {
    "Gray8": (np.uint8, 1), "Gray16": (np.uint16, 1), "Gray32Float": (np.float32, 1),
    "Bgr24": (np.uint8, 3), "Bgr48": (np.uint16, 3), "Bgr96Float": (np.float32, 3),
}  # fmt: skip
# Axes that count planes, slowest first: rotation, illumination, phase, view, block, then the usual
_PLANE_AXES = "RIHVBTCZ"
# Bytes of the file header, of the header of the list of tiles, of an entry and of an axis in it
_HEADER, _HEADER_OF_LIST, _ENTRY, _AXIS = 544, 160, 32, 20
_AXIS_LETTERS, _MAX_AXES, _MAX_SIDE = b"XYMS" + _PLANE_AXES.encode(), 16, 1 << 24


def open_czi(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open a scene of a CZI file without reading its pixels.

    The tiles of a mosaic are placed at their stored positions; where tiles overlap, the last one
    is used, and places without a tile are 0. Levels of a pyramid are not used.

    Parameters
    ----------
    path : Path
        CZI file.
    place : ArrayPlace
        Number of the scene; without one, the first scene.
    labels : bool
        Not used.

    Raises
    ------
    UserError
        ``io.library_missing``: pylibCZIrw is not installed; ``io.no_such_series``.
    ValueError
        The channels have different kinds of pixels, or a kind that is not supported.
    """
    reader = _open(path)
    scenes = _scenes(reader)
    number, others = choose_acquisition(path, place, [title for title, _, _ in scenes])
    _, scene, area = scenes[number]
    tiles: dict[tuple[tuple[str, int], ...], int] = {}  # number of tiles by plane
    sides: list[tuple[int, int]] = []

    def note(_: int, block: Any) -> bool:
        coordinates: dict[str, int] = block.coordinate.to_dict()
        if scene is None or coordinates.get("S", scene) == scene:
            plane = tuple((axis, coordinates[axis]) for axis in _PLANE_AXES if axis in coordinates)
            tiles[plane] = tiles.get(plane, 0) + 1
            sides.append((block.logicalRect.h, block.logicalRect.w))
        return True

    reader.enumerate_subblocks_subset(note, only_layer0=True)
    if not tiles:
        raise ValueError("the scene holds no pixels")
    ranges = _ranges(list(tiles))
    dtype, samples = _pixels(reader, ranges.get("C", range(1)))
    lead = [axis for axis, values in ranges.items() if len(values) > 1]

    def read(position: tuple[int, ...], box: Box) -> AnyArray:
        plane = {axis: values[0] for axis, values in ranges.items()}
        plane |= {axis: ranges[axis][n] for axis, n in zip(lead, position, strict=True)}
        if tuple(plane.items()) not in tiles:
            where = ", ".join(f"{axis} {n}" for axis, n in zip(lead, position, strict=True))
            raise ValueError(f"the plane {where} is not stored: the acquisition was interrupted")
        rows, columns = box[:2]
        corner = (area.x + columns.start, area.y + rows.start)
        roi = (*corner, columns.stop - columns.start, rows.stop - rows.start)
        pixels: AnyArray = reader.read(roi=roi, plane=plane, scene=scene)
        # The library stores blue first.
        return pixels[..., 0] if samples == 1 else pixels[..., ::-1][..., box[2]]

    sizes, names = _metadata(reader)
    most = max(tiles.values())
    notes = [f"a mosaic of {counted(most, 'tile')}, at their stored positions"] if most > 1 else []
    count = int(np.prod([len(values) for values in ranges.values()], dtype=np.int64))
    if len(tiles) < count:
        notes.append(f"{count - len(tiles)} of {count} planes are not stored")
    color = (samples,) if samples > 1 else ()
    image = Acquisition(
        axes="".join(lead) + ("YXS" if color else "YX"),
        shape=(*(len(ranges[axis]) for axis in lead), area.h, area.w, *color),
        dtype=dtype,
        n_inner=2 + len(color),
        read=read,
        sizes=sizes,
        channel_names=names,
        notes=tuple(notes),
        chunks=(*(min(n, m) for n, m in zip(sides[0], (area.h, area.w), strict=True)), *color),
    )
    return stored_acquisition(image, "CZI metadata", others)


def czi_series(path: Path, place: ArrayPlace) -> list[Series]:
    """List the scenes of a CZI file."""
    return list_acquisitions(place, len(_scenes(_open(path))))


def _open(path: Path) -> Any:
    czi = library("pylibCZIrw.czi", path, "CZI", extra="formats")
    _check_directory(path)
    return czi.CziReader(str(path))


def _check_directory(path: Path) -> None:
    """Raise an error for a damaged list of tiles, which can end the process in the library."""
    damaged = ValueError("its list of tiles is damaged")
    with path.open("rb") as file:
        head = file.read(_HEADER)
        if len(head) < _HEADER or not head.startswith(b"ZISRAWFILE\0"):
            raise ValueError("it is not a CZI file")
        file.seek(int.from_bytes(head[84:92], "little"))
        segment = file.read(_HEADER_OF_LIST)
        if len(segment) < _HEADER_OF_LIST or not segment.startswith(b"ZISRAWDIRECTORY\0"):
            raise damaged
        used, count = struct.unpack_from("<qi", segment, 24)
        entries = file.read(max(0, used + 32 - _HEADER_OF_LIST))
    position = 0
    for _ in range(count):
        if position + _ENTRY > len(entries) or entries[position : position + 2] != b"DV":
            raise damaged
        (n_axes,) = struct.unpack_from("<i", entries, position + 28)
        stop = position + _ENTRY + n_axes * _AXIS
        if not 2 <= n_axes <= _MAX_AXES or stop > len(entries):
            raise damaged
        for start in range(position + _ENTRY, stop, _AXIS):
            _, size, _, stored = struct.unpack_from("<iifi", entries, start + 4)
            if entries[start] not in _AXIS_LETTERS or not 0 <= size < _MAX_SIDE or stored < 0:
                raise damaged
        position = stop


def _scenes(reader: Any) -> list[tuple[str, int | None, Any]]:
    """Return title, number and area of each scene, without the levels of a pyramid."""
    areas: Mapping[int, Any] = reader.scenes_bounding_rectangle_no_pyramid
    if not areas:
        return [("", None, reader.total_bounding_rectangle_no_pyramid)]
    return [(f"({area.h}, {area.w})", scene, area) for scene, area in sorted(areas.items())]


def _ranges(planes: list[tuple[tuple[str, int], ...]]) -> dict[str, range]:
    """Return the range of the numbers of planes along each axis that a file has."""
    numbers: dict[str, list[int]] = {}
    for plane in planes:
        for axis, number in plane:
            numbers.setdefault(axis, []).append(number)
    return {
        axis: range(min(numbers[axis]), max(numbers[axis]) + 1)
        for axis in _PLANE_AXES
        if axis in numbers
    }


def _pixels(reader: Any, channels: range) -> tuple[np.dtype[Any], int]:
    """Return the type that holds the values of all channels, and the number of color samples."""
    names = [reader.get_channel_pixel_type(channel) for channel in channels]
    kinds = [_PIXELS[name] for name in names if name in _PIXELS]
    if len(kinds) < len(names) or len({samples for _, samples in kinds}) > 1:
        raise ValueError(f"its channels have the pixel types {', '.join(names)}")
    return np.result_type(*(dtype for dtype, _ in kinds)), kinds[0][1]


def _metadata(reader: Any) -> tuple[dict[str, float | None], list[object]]:
    """Return the voxel size in µm by axis, and the names of the channels."""
    try:
        root = ElementTree.fromstring(reader.raw_metadata)
    except ElementTree.ParseError:
        return {}, []  # invalid metadata do not make pixels unreadable
    sizes: dict[str, float | None] = {}
    for item in root.iterfind(".//Scaling/Items/Distance"):
        try:
            meters = float(item.findtext("Value") or 0)
        except ValueError:
            meters = 0.0
        sizes[str(item.get("Id")).lower()] = round_significant(meters * 1e6, 8) or None
    channels = root.iterfind("./Metadata/Information/Image/Dimensions/Channels/Channel")
    return sizes, [channel.get("Name") for channel in channels]
