"""Records of blocks in files: arrays of many blocks in one, so that small ones cost little.

A file is a NumPy archive of two arrays: ``data``, the bytes of all arrays one after the other, and
``index``, a JSON list of what they are: for each block its number and the name, type and shape of
each of its arrays.
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
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from singula.errors import UserError
from singula.io.atomic import atomic_path, make_folder
from singula.io.records import BlockIndex
from singula.paths import open_regular

Arrays = Mapping[str, npt.NDArray[Any]]
_INDEX = TypeAdapter(BlockIndex)
_KIND = re.compile(r"[<>|=][biufcUS]\d{1,6}")
# What NumPy and zipfile raise for a file whose bytes were changed.
_DAMAGE = (
    ValueError, LookupError, EOFError, TypeError, AttributeError, OSError, MemoryError,
    OverflowError, NotImplementedError, RuntimeError, SyntaxError, BadZipFile, LZMAError,
    struct.error, zlib.error,
)  # fmt: skip
_KEPT = 8  # files that a process keeps open: a block and its neighbours along each axis


def size_of(arrays: Arrays) -> int:
    """Bytes of a record, before compression."""
    return sum(np.asarray(values).nbytes for values in arrays.values())


def write_records(path: Path, records: Mapping[int, Arrays]) -> None:
    """Write the records of some blocks; the file is there as a whole or not at all.

    Parameters
    ----------
    path : Path
    records : mapping of int to mapping
        Named arrays of each block, of numbers or text.
    """
    index, parts = [], []
    for number, arrays in records.items():
        described = []
        for name, given in arrays.items():
            values = np.asarray(given)
            if values.dtype.kind not in "biufcUS":
                raise TypeError(f"{name}: a record holds no array of {values.dtype}")
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
    """Read what a file has of one block; the file as a whole is kept for its neighbours.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    UserError
        ``records.damaged_blocks``.
    """
    found = path.stat()
    data, index = _read(path, found.st_mtime_ns, found.st_size, found.st_ino)
    with damaged_blocks(path):
        place, described = index[number]
    arrays = {}
    for name, kind, shape in described:
        count, dtype = prod(shape), np.dtype(kind)
        # A copy: whoever gets it may change it, and the file's bytes can be let go.
        arrays[name] = np.frombuffer(data, dtype, count, place).reshape(shape).copy()
        place += count * dtype.itemsize
    return arrays


_Index = dict[int, tuple[int, list[tuple[str, str, list[int]]]]]


@functools.lru_cache(maxsize=_KEPT)
def _read(path: Path, changed: int, size: int, inode: int) -> tuple[bytes, _Index]:
    """Bytes of a file, and where each block's begin in them."""
    with damaged_blocks(path):
        with open_regular(path) as file, np.load(file) as stored:
            data = stored["data"].tobytes()
            described = _INDEX.validate_json(stored["index"].tobytes(), strict=True)
        index: _Index = {}
        place = 0
        for number, arrays in described:
            index[number] = (place, arrays)
            for _, kind, shape in arrays:
                if not _KIND.fullmatch(kind):
                    raise ValueError(f"block {number}: got an array of {kind!r:.20}")
                place += prod(shape) * np.dtype(kind).itemsize
        if place != len(data):
            raise ValueError(f"got {len(data)} bytes, expected {place}")
    return data, index


@contextmanager
def damaged_blocks(path: Path) -> Iterator[None]:
    """Turn what NumPy raises for a damaged file into a `UserError`."""
    try:
        yield
    except _DAMAGE as error:
        raise UserError(
            f"{path}: is damaged ({str(error).splitlines()[0] if str(error) else 'empty'!s:.100})",
            "delete the file and repeat the command: only its blocks are done again",
            "records.damaged_blocks",
        ) from error
