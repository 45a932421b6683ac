"""N5: arrays in a folder, stored in blocks, the x axis first.

tensorstore reads N5 too, but ends a process that was forked from one that used it, as the processes
that prepare patches are, and does not know its compression by LZ4.
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

from singula.boxes import Box
from singula.io.containers import Found, check_chunks, choose, make_header, not_there, spellings
from singula.io.external import Boundary
from singula.io.image import AnyArray, ArrayPlace, StoredArray
from singula.io.ngff import axis_letters, spatial_sizes
from singula.io.selection import choose_series
from singula.io.units import UNCALIBRATED, VoxelSize

_ATTRIBUTES = "attributes.json"


def open_n5(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an array in an N5 folder; its pixels stay on disk. Its axes are turned, z first.

    Raises
    ------
    UserError
        When it cannot be told which array is meant; ``io.external_file``: a link leads out of the
        folder.
    ValueError
        When the folder is no N5, or its compression is unknown.
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
        found = _arrays(folder, boundary)
        if found:
            return folder / choose(path, found, place, labels=labels).name
    if place.inside:
        raise not_there(path, place, _arrays(path, boundary))
    raise ValueError(f"no folder in it has an {_ATTRIBUTES} with dimensions")


def _arrays(folder: Path, boundary: Boundary, before: str = "") -> list[Found]:
    """Arrays below a folder; folders of blocks are not looked through."""
    found: list[Found] = []
    if not folder.is_dir():
        return found
    for inner in boundary.subfolders(folder):
        if "dimensions" in _attributes(inner, boundary):
            array = _Blocks.of(inner, boundary)
            found.append(Found(f"{before}{inner.name}", array.shape, array.dtype))
        else:
            found += _arrays(inner, boundary, f"{before}{inner.name}/")
    return found


def _attributes(folder: Path, boundary: Boundary) -> dict[str, Any]:
    file = folder / _ATTRIBUTES
    boundary.check(file)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def _geometry(folder: Path, boundary: Boundary, count: int) -> tuple[str | None, VoxelSize]:
    """Read axes and voxel size from the attributes of the array or of the folder around it."""
    own = _attributes(folder, boundary)
    around = _attributes(folder.parent, boundary) if folder != boundary.path else {}
    said = {**around, **own}
    names = said.get("axes")
    axes = None
    if isinstance(names, list) and len(names) == count:
        known = axis_letters(names[::-1])
        axes = known if "Q" not in known or "T" in known else None
    resolution, units = said.get("pixelResolution", said.get("resolution")), said.get("units")
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
    """An array in blocks.

    Parameters
    ----------
    folder : Path
    boundary : Boundary
        Of the container.
    shape, blocks : tuple of int
        Of the array and of a block, the last axis x.
    dtype : dtype
        As stored, big-endian.
    decode : callable
        From what a file holds behind its head to the bytes of the values.
    """

    folder: Path
    boundary: Boundary
    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    dtype: np.dtype[Any]
    decode: Callable[[bytes], bytes]

    @classmethod
    def of(cls, folder: Path, boundary: Boundary) -> _Blocks:
        said = _attributes(folder, boundary)
        compression = said.get("compression", {"type": said.get("compressionType", "raw")})
        try:
            return cls(
                folder,
                boundary,
                tuple(int(size) for size in reversed(said["dimensions"])),
                check_chunks(said["blockSize"][::-1], said["dimensions"][::-1]),
                np.dtype(said["dataType"]).newbyteorder(">"),
                _decoder(compression),
            )
        except KeyError as error:
            raise ValueError(f"{folder / _ATTRIBUTES} lacks {error}") from error

    def read(self, box: Box) -> AnyArray:
        bounds = [range(*one.indices(size)) for one, size in zip(box, self.shape, strict=True)]
        result = np.zeros([len(one) for one in bounds], self.dtype.newbyteorder("="))
        if not result.size:
            return result
        numbers = [
            range(one.start // size, (one.stop - 1) // size + 1)
            for one, size in zip(bounds, self.blocks, strict=True)
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
        """A block; None where nothing was stored."""
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

    known: dict[str, Callable[[bytes], bytes]] = {
        "raw": lambda data: data,
        "gzip": zlib.decompress if compression.get("useZlib") else gzip.decompress,
        "bzip2": bz2.decompress,
        "xz": lzma.decompress,
        "blosc": lambda data: bytes(blosc_decode(data)),
        "zstd": lambda data: bytes(zstd_decode(data)),
        "lz4": _lz4_blocks,
    }
    kind = str(compression.get("type"))
    if kind not in known:
        raise ValueError(f"its compression is {kind!r}; known are {', '.join(known)}")
    return known[kind]


def _lz4_blocks(data: bytes) -> bytes:
    """What the Java library LZ4 writes: blocks, each with a mark, two lengths and a checksum."""
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
        raise ValueError("no LZ4 block is where one must be")
    return b"".join(parts)
