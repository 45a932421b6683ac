"""Read OIF and OIB files of Olympus (FluoView)."""

from __future__ import annotations

import struct
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from singula.io.formats.acquisition import Acquisition, choose_acquisition, stored_acquisition
from singula.io.formats.containers import library
from singula.io.image import AnyArray, ArrayPlace, StoredArray
from singula.io.units import convert, round_significant, unit_symbol
from singula.util.boxes import Box

_CHAIN_END = 0xFFFFFFFA  # numbers of sectors are smaller
_IN_HEADER = 109  # numbers of sectors of the allocation table in the header of a compound file


def open_oif(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an image in an OIF file (with its folder ``NAME.oif.files``) or an OIB file.

    Parameters
    ----------
    path : Path
        OIF or OIB file.
    place : ArrayPlace
        Series 0, or none.
    labels : bool
        Not used.

    Raises
    ------
    UserError
        ``io.library_missing``: oiffile is not installed; ``io.no_such_series``.
    ValueError
        The file is damaged.
    """
    oiffile = library("oiffile", path, "OIF", extra="formats")
    if path.suffix.lower() == ".oib":
        _check_chains(path)
    file = oiffile.OifFile(path)
    if not file.series:
        raise ValueError("its folder holds no TIFF files")
    choose_acquisition(path, place, [""])
    files, settings = file.series[0], file.mainfile
    names = list(files)
    lead = [number for number, size in enumerate(files.shape) if size > 1]
    planes = {
        tuple(index[number] for number in lead): name
        for index, name in zip(files.indices, names, strict=True)
    }
    first: AnyArray = file.asarray(names[0])
    # The two axes of a scan come first: XY, or XZ for a section.
    scan = str(settings["Axis Parameter Common"]["AxisOrder"])[: first.ndim][::-1]

    def read(position: tuple[int, ...], box: Box) -> AnyArray:
        if position not in planes:
            raise ValueError("a plane is missing: the acquisition was interrupted")
        frame: AnyArray = file.asarray(planes[position])
        if frame.shape != first.shape:
            raise ValueError(f"its planes have the shapes {first.shape} and {frame.shape}")
        return frame[box]

    image = Acquisition(
        axes="".join(files.axes[number] for number in lead) + scan,
        shape=(*(int(files.shape[number]) for number in lead), *first.shape),
        dtype=first.dtype,
        n_inner=first.ndim,
        read=read,
        sizes=_sizes(settings),
        channel_names=_channel_names(settings),
    )
    return stored_acquisition(image, f"{path.suffix[1:].upper()} metadata")


def _sizes(settings: Any) -> dict[str, float | None]:
    """Return the voxel size in µm by axis: of pixels in the plane, and of the steps along z."""
    reference = settings.get("Reference Image Parameter", {})
    sizes = {
        "x": _microns(reference.get("WidthConvertValue"), reference.get("WidthUnit", "um")),
        "y": _microns(reference.get("HeightConvertValue"), reference.get("HeightUnit", "um")),
    }
    for number in range(8):
        axis = settings.get(f"Axis {number} Parameters Common", {})
        if axis.get("AxisCode") == "Z":
            sizes["z"] = _microns(axis.get("Interval"), axis.get("UnitName", "nm"))
    return sizes


def _microns(value: object, unit: object) -> float | None:
    try:
        size = convert(abs(float(str(value))), unit_symbol(unit) or "µm", "µm")
    except (KeyError, ValueError):
        return None
    return round_significant(size, 8) or None


def _channel_names(settings: Any) -> list[object]:
    """Return the dyes of the channels, else the names of their detectors."""
    names: list[object] = []
    for number in count(1):
        channel = settings.get(f"GUI Channel {number} Parameters")
        if channel is None:
            return names
        names.append(channel.get("DyeName") or channel.get("CH Name"))
    return names


def _check_chains(path: Path) -> None:
    """Raise an error for a compound file whose lists of sectors are endless.

    The library follows the allocation table until the end of a list.
    """
    data = np.memmap(path, np.uint8, "r")
    head = data[:512].tobytes()
    if len(head) < 512 or head[:8] != b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise ValueError("it is not an OIB file")
    (shift,) = struct.unpack_from("<H", head, 30)
    n_table, _, _, _, mini, n_mini, extra, _ = struct.unpack_from("<8I", head, 44)
    if shift not in (9, 12):
        raise ValueError("its sectors have another size than 512 or 4096 bytes")
    listed = np.frombuffer(head, "<u4", _IN_HEADER, 76).tolist()
    while extra < _CHAIN_END and len(listed) < n_table:
        *more, extra = _sectors(data, [extra], shift).tolist()
        listed += more
    table = _sectors(data, listed[:n_table], shift)
    chain = _chain(table, mini) if n_mini else []
    for successors in (table, _sectors(data, chain, shift)):
        _check_ends(successors)


def _sectors(data: Any, numbers: list[int], shift: int) -> Any:
    """Return the values in sectors of a compound file."""
    size = 1 << shift
    starts = [size * (number + 1) for number in numbers]
    if any(start + size > data.size for start in starts):
        raise ValueError("the file is cut off")
    parts = [np.frombuffer(data, "<u4", size // 4, start) for start in starts]
    return np.concatenate(parts) if parts else np.empty(0, "<u4")


def _chain(table: Any, first: int) -> list[int]:
    chain: list[int] = []
    while first < _CHAIN_END:
        if first >= len(table) or len(chain) > len(table):
            raise ValueError("its allocation table is damaged")
        chain.append(first)
        first = int(table[first])
    return chain


def _check_ends(successors: Any) -> None:
    """Raise an error if following the successors of some sector never ends."""
    reach = np.where(successors < len(successors), successors, len(successors)).astype(np.int64)
    reach = np.append(reach, len(successors))  # the end is its own successor
    for _ in range(len(reach).bit_length()):
        reach = reach[reach]  # twice as many steps
    if (reach != len(successors)).any():
        raise ValueError("its allocation table is damaged")
