"""Read arrays in N5 folders, stored in blocks with the x axis first.

tensorstore is not used: it terminates forked processes, such as the workers that prepare patches,
if the parent process used it, and it cannot read LZ4 compression.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from singula.io.external import Boundary
from singula.io.formats.containers import (
    ArrayInfo,
    check_chunks,
    choose_array,
    make_header,
    no_such_array,
    spellings,
)
from singula.io.formats.ngff import axis_letters, spatial_sizes
from singula.io.image import AnyArray, ArrayPlace, StoredArray
from singula.io.selection import choose_series
from singula.io.units import UNCALIBRATED, VoxelSize
from singula.util.boxes import Box

_ATTRIBUTES = "attributes.json"


def open_n5(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an array in an N5 folder without reading its pixels; its axes are reversed, z first.

    Parameters
    ----------
    path : Path
        N5 folder.
    place : ArrayPlace
        Selection of an array.
    labels : bool
        Select labels if the folder holds images and labels and `place` names no array.

    Raises
    ------
    UserError
        ``io.no_array``, ``io.several_arrays``, ``io.no_such_array``: no array, or several, match
        `place`; ``io.external_file``: a link leads out of the folder.
    ValueError
        The folder is not an N5, or its compression is unknown.
    """
    if not path.is_dir():
        raise ValueError("an N5 is a folder; this is a file")
    choose_series(path, place, [""])
    boundary = Boundary(path, path, place)
    folder = _folder(boundary, labels)
    array = _Blocks.of(folder, boundary)
    axes, size = _geometry(folder, boundary, len(array.shape))
    header = make_header(
        path,
        place,
        array.shape,
        array.dtype.newbyteorder("="),
        axes=axes,
        source="N5 attributes",
        array=folder.relative_to(path).as_posix(),
        size=size,
    )
    return StoredArray(header, array.blocks, array.read)


def _folder(boundary: Boundary, labels: bool) -> Path:
    path, place = boundary.path, boundary.place
    for name in spellings(place.inside) if place.inside else [""]:
        if ".." in name.split("/"):
            continue
        folder = path / name
        if "dimensions" in _attributes(folder, boundary):
            return folder
        arrays = _arrays(folder, boundary)
        if arrays:
            return folder / choose_array(path, arrays, place, labels=labels).name
    if place.inside:
        raise no_such_array(path, place, _arrays(path, boundary))
    raise ValueError(f"no folder in it has an {_ATTRIBUTES} with dimensions")


def _arrays(folder: Path, boundary: Boundary, before: str = "") -> list[ArrayInfo]:
    """List the arrays below a folder, without searching folders of blocks."""
    arrays: list[ArrayInfo] = []
    if not folder.is_dir():
        return arrays
    for inner in boundary.subfolders(folder):
        if "dimensions" in _attributes(inner, boundary):
            array = _Blocks.of(inner, boundary)
            arrays.append(ArrayInfo(f"{before}{inner.name}", array.shape, array.dtype))
        else:
            arrays += _arrays(inner, boundary, f"{before}{inner.name}/")
    return arrays


def _attributes(folder: Path, boundary: Boundary) -> dict[str, Any]:
    file = folder / _ATTRIBUTES
    boundary.check(file)
    try:
        attributes = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _geometry(folder: Path, boundary: Boundary, count: int) -> tuple[str | None, VoxelSize]:
    """Read axes and voxel size from the attributes of an array and of its parent folder."""
    of_array = _attributes(folder, boundary)
    of_parent = _attributes(folder.parent, boundary) if folder != boundary.path else {}
    attributes = {**of_parent, **of_array}
    names = attributes.get("axes")
    axes = None
    if isinstance(names, list) and len(names) == count:
        axes_found = axis_letters(names[::-1])
        axes = axes_found if "Q" not in axes_found or "T" in axes_found else None
    resolution = attributes.get("pixelResolution", attributes.get("resolution"))
    units = attributes.get("units")
    if isinstance(resolution, dict):
        units, resolution = resolution.get("unit"), resolution.get("dimensions")
    if not isinstance(resolution, list) or len(resolution) not in (2, 3, count):
        return axes, UNCALIBRATED
    letters = list(reversed(axes.lower())) if axes else list("xyz")[: len(resolution)]
    if len(letters) != len(resolution) or (len(resolution) > 3 and axes is None):
        return axes, UNCALIBRATED
    if not isinstance(units, list) or len(units) != len(resolution):
        units = [units if isinstance(units, str) else None] * len(resolution)
    return axes, spatial_sizes(letters, resolution, units)


@dataclass(frozen=True)
class _Blocks:
    """Array in blocks, one file each.

    Parameters
    ----------
    folder : Path
        Folder of the array.
    boundary : Boundary
        Check for files outside of the container.
    shape, blocks : tuple of int
        Shape of the array and of a block; x is the last axis.
    dtype : dtype
        Stored type, big-endian.
    decode : callable
        Function of the compressed bytes of a block that returns the bytes of its values.
    """

    folder: Path
    boundary: Boundary
    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    dtype: np.dtype[Any]
    decode: Callable[[bytes], bytes]

    @classmethod
    def of(cls, folder: Path, boundary: Boundary) -> _Blocks:
        """Return the array in a folder."""
        attributes = _attributes(folder, boundary)
        compression = attributes.get(
            "compression", {"type": attributes.get("compressionType", "raw")}
        )
        try:
            return cls(
                folder,
                boundary,
                tuple(int(size) for size in reversed(attributes["dimensions"])),
                check_chunks(attributes["blockSize"][::-1], attributes["dimensions"][::-1]),
                np.dtype(attributes["dataType"]).newbyteorder(">"),
                _decoder(compression),
            )
        except KeyError as error:
            raise ValueError(f"{folder / _ATTRIBUTES} lacks {error}") from error

    def read(self, box: Box) -> AnyArray:
        """Read a box: one slice for each axis of the array."""
        bounds = [range(*item.indices(size)) for item, size in zip(box, self.shape, strict=True)]
        result = np.zeros([len(bound) for bound in bounds], self.dtype.newbyteorder("="))
        if not result.size:
            return result
        numbers = [
            range(bound.start // size, (bound.stop - 1) // size + 1)
            for bound, size in zip(bounds, self.blocks, strict=True)
        ]
        for place in product(*numbers):
            block = self._block(place)
            if block is None:
                continue
            starts = [number * size for number, size in zip(place, self.blocks, strict=True)]
            lows = [max(b.start, s) for b, s in zip(bounds, starts, strict=True)]
            highs = [
                min(b.stop, s + n) for b, s, n in zip(bounds, starts, block.shape, strict=True)
            ]
            target = _box(lows, highs, [b.start for b in bounds])
            result[target] = block[_box(lows, highs, starts)]
        return result

    def _block(self, place: Sequence[int]) -> AnyArray | None:
        """Return a block by its position in the grid; None if it is not stored."""
        file = self.folder.joinpath(*(str(number) for number in reversed(place)))
        self.boundary.check(file)
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            return None
        try:
            mode, count = struct.unpack_from(">HH", data)
            shape = struct.unpack_from(f">{count}I", data, 4)[::-1]
            head = 4 + 4 * count + (4 if mode == 1 else 0)
            if mode > 1 or count != len(self.shape):
                raise ValueError(f"a block of {count} axes and mode {mode}")
            if prod(shape) > prod(self.blocks):
                raise ValueError(f"a block of shape {shape}, expected {self.blocks}")
            return np.frombuffer(self.decode(data[head:]), self.dtype).reshape(shape)
        except Exception as error:  # decoders raise errors of any kind
            raise ValueError(f"the block {file.relative_to(self.folder)}: {error}") from error


def _box(lows: Sequence[int], highs: Sequence[int], origin: Sequence[int]) -> Box:
    return tuple(slice(a - o, b - o) for a, b, o in zip(lows, highs, origin, strict=True))


def _decoder(compression: Mapping[str, Any]) -> Callable[[bytes], bytes]:
    from imagecodecs import blosc_decode, zstd_decode

    decoders: dict[str, Callable[[bytes], bytes]] = {
        "raw": lambda data: data,
        "gzip": zlib.decompress if compression.get("useZlib") else gzip.decompress,
        "bzip2": bz2.decompress,
        "xz": lzma.decompress,
        "blosc": lambda data: bytes(blosc_decode(data)),
        "zstd": lambda data: bytes(zstd_decode(data)),
        "lz4": _lz4_blocks,
    }
    kind = str(compression.get("type"))
    if kind not in decoders:
        raise ValueError(f"its compression is {kind!r}, expected {', '.join(decoders)}")
    return decoders[kind]


def _lz4_blocks(data: bytes) -> bytes:
    """Decode the format of the Java library LZ4: blocks with a mark, two lengths and a checksum."""
    from imagecodecs import lz4_decode

    parts, place = [], 0
    while data[place : place + 8] == b"LZ4Block":
        method, packed, length = struct.unpack_from("<BII", data, place + 8)
        place += 21
        chunk = data[place : place + packed]
        place += packed
        if length:
            stored = method & 0xF0 == 0x10
            parts.append(chunk if stored else bytes(lz4_decode(chunk, out=length)))
    if not parts:
        raise ValueError("it does not begin with an LZ4 block")
    return b"".join(parts)
