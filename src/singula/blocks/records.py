"""Files with the records of blocks; many small records share a file.

A file is a NumPy archive of two arrays. ``data`` contains the bytes of all arrays, concatenated.
``index`` is a JSON list with the number of each block and the name, type and shape of each of its
arrays.
"""

from __future__ import annotations

import functools
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from lzma import LZMAError
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from singula.errors import UserError
from singula.io.atomic import atomic_path, make_folder
from singula.io.records.blocks import BlockIndex
from singula.util.paths import open_regular

Arrays = Mapping[str, npt.NDArray[Any]]
_INDEX = TypeAdapter(BlockIndex)
_KIND = re.compile(r"[<>|=][biufcUS]\d{1,6}")
# Errors that NumPy and zipfile raise for damaged files
_DAMAGE = (
    ValueError, LookupError, EOFError, TypeError, AttributeError, OSError, MemoryError,
    OverflowError, NotImplementedError, RuntimeError, SyntaxError, BadZipFile, LZMAError,
    struct.error, zlib.error, TokenError,
)  # fmt: skip
_MAX_CACHED = 8  # files: those of a block and its neighbors along each axis


def size_of(arrays: Arrays) -> int:
    """Return the bytes of a record before compression."""
    return sum(np.asarray(values).nbytes for values in arrays.values())


def write_records(path: Path, records: Mapping[int, Arrays]) -> None:
    """Write the records of blocks to a file, atomically.

    Parameters
    ----------
    path : Path
        File to write; its folder is created.
    records : mapping of int to mapping
        Named arrays of each block, by its number. The arrays contain numbers, booleans or text.

    Raises
    ------
    TypeError
        An array has another type.
    """
    index, parts = [], []
    for number, arrays in records.items():
        described = []
        for name, array in arrays.items():
            values = np.asarray(array)
            if values.dtype.kind not in "biufcUS":
                raise TypeError(f"{name}: got an array of {values.dtype}, expected numbers or text")
            described.append([name, values.dtype.str, list(values.shape)])
            parts.append(values.tobytes())
        index.append([int(number), described])
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            data=np.frombuffer(b"".join(parts), np.uint8),
            index=np.frombuffer(json.dumps(index).encode(), np.uint8),
        )


def read_block(path: Path, number: int) -> dict[str, npt.NDArray[Any]]:
    """Read the record of a block; the whole file is cached, since neighbors are often read next.

    Parameters
    ----------
    path : Path
        File of `write_records`.
    number : int
        Number of the block.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    UserError
        ``records.damaged_blocks``: the file is damaged, or has no record of the block.
    """
    stat = path.stat()
    data, index = _read(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)
    with damaged_blocks(path):
        offset, described = index[number]
    arrays = {}
    for name, kind, shape in described:
        count, dtype = prod(shape), np.dtype(kind)
        # A copy is writable and does not keep the bytes of the file in memory.
        arrays[name] = np.frombuffer(data, dtype, count, offset).reshape(shape).copy()
        offset += count * dtype.itemsize
    return arrays


_Index = dict[int, tuple[int, list[tuple[str, str, list[int]]]]]


@functools.lru_cache(maxsize=_MAX_CACHED)
def _read(path: Path, mtime: int, size: int, inode: int) -> tuple[bytes, _Index]:
    """Return the data of a file, and the offset and arrays of each block in it.

    Time, size and inode are the key of the cache: a file that was replaced is read again.
    """
    with damaged_blocks(path):
        with open_regular(path) as file, np.load(file) as stored:
            data = stored["data"].tobytes()
            described = _INDEX.validate_json(stored["index"].tobytes(), strict=True)
        index: _Index = {}
        offset = 0
        for number, arrays in described:
            index[number] = (offset, arrays)
            for _, kind, shape in arrays:
                if not _KIND.fullmatch(kind):
                    raise ValueError(f"block {number}: got an array of {kind!r:.20}")
                offset += prod(shape) * np.dtype(kind).itemsize
        if offset != len(data):
            raise ValueError(f"got {len(data)} bytes, expected {offset}")
    return data, index


@contextmanager
def damaged_blocks(path: Path) -> Iterator[None]:
    """Raise a `UserError` in place of the errors of NumPy for damaged files."""
    try:
        yield
    except _DAMAGE as error:
        raise UserError(
            f"{path}: is damaged ({str(error).splitlines()[0] if str(error) else 'empty'!s:.100})",
            "delete the file and repeat the command: only its blocks are processed again",
            "records.damaged_blocks",
        ) from error
