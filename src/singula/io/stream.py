"""Write images that are larger than memory as one file, piece by piece."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from singula.arguments import as_dtype, flag, text
from singula.boxes import Box, boxes
from singula.io.atomic import atomic_path
from singula.io.containers import library
from singula.io.entries import reader_path
from singula.io.hdf5_open import open_for_writing
from singula.io.image import AnyArray
from singula.io.units import in_microns
from singula.io.write import reserve_tiff, stored_type, tiff_options

_HELD = 256 * 2**20  # bytes of the image that are held at once
_STRIP = 2**18  # bytes of a strip before compression
_BOX = {2: (1024, 1024), 3: (64, 256, 256)}
_HDF5_CHUNK = {2: (256, 256), 3: (32, 128, 128)}


class Source(Protocol):
    """What can be read in boxes: `LazyImage`, `BlockArray`."""

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along (y, x) or (z, y, x)."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is decoded at once along each spatial axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The same with channels, where there is such an axis."""

    dtype: np.dtype[Any]
    spacing: tuple[float, ...] | None
    unit: str | None

    def read(self, box: Sequence[slice]) -> AnyArray:
        """The pixels of a box, channels last."""


def write_tiff_from(
    path: Path | str,
    source: Source,
    *,
    dtype: np.dtype[Any] | None = None,
    compress: bool = True,
) -> Path:
    """Write an image as TIFF without holding it: what `write_tiff` writes, BigTIFF above 4 GB.

    Of a volume several slices are read at once, as many as fit into 256 MB, for chunks that are
    higher than that are decoded once more for each of them.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created. It appears when it is complete.
    source : LazyImage or BlockArray
        An axis of one channel is left out.
    dtype : dtype, optional
        To store other numbers than the source has, such as a smaller type that holds all ids.
    compress : bool
        False: integers are not deflated either.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        Full disk or forbidden folder; whatever reading the source raises.
    TypeError
        Wrong arguments; a type that TIFF readers do not share, such as uint64.
    ValueError
        An image without pixels.
    """
    path, kind = _check(path, source, dtype)
    compress = flag(compress, "compress")
    count, kind = _channels(source), stored_type(kind)
    *depth, rows, columns = source.spatial_shape
    shape = (*depth, *[count] * (count > 1), rows, columns)
    axes = "Z" * len(depth) + "C" * (count > 1) + "YX"
    if any(size == 0 for size in shape):
        raise ValueError("an image without pixels")
    pieces = (np.ascontiguousarray(one, dtype=kind) for one in _row_bands(source))
    with atomic_path(path) as temporary:
        if compress and kind.kind in "ui":
            _write_deflated(temporary, pieces, shape, axes, kind, source)
        else:
            start = reserve_tiff(temporary, shape, kind, axes, source.spacing, source.unit)
            with temporary.open("r+b") as file:
                file.seek(start)
                for piece in pieces:
                    file.write(piece.astype(kind.newbyteorder("<"), copy=False).data)
    return path


def _check(path: object, source: Any, dtype: object) -> tuple[Path, np.dtype[Any]]:
    """Return path and type of the file, and refuse wrong arguments."""
    for name in ("spatial_shape", "chunks", "shape", "dtype", "read"):
        if not hasattr(source, name):
            raise TypeError(
                f"source: got {type(source).__name__}, expected a LazyImage or BlockArray"
            )
    return reader_path(path), as_dtype(source.dtype if dtype is None else dtype, "dtype")


def _write_deflated(
    path: Path,
    pieces: Iterable[AnyArray],
    shape: tuple[int, ...],
    axes: str,
    dtype: np.dtype[Any],
    source: Source,
) -> None:
    import tifffile

    rows = max(1, min(shape[-2], _STRIP // (shape[-1] * dtype.itemsize)))
    size = math.prod(shape) * dtype.itemsize
    dialect, tags = tiff_options(dtype, size, shape, axes, source.spacing, source.unit)
    with tifffile.TiffWriter(path, **dialect, byteorder="<") as writer:
        writer.write(
            (zlib.compress(strip.data, 6) for strip in _strips(pieces, shape[-2], rows)),
            shape=shape,
            dtype=dtype.newbyteorder("<"),
            photometric="minisblack",
            compression="zlib",
            rowsperstrip=rows,
            **tags,
        )


def _strips(pieces: Iterable[AnyArray], height: int, rows: int) -> Iterator[AnyArray]:
    """Bands of rows cut into strips of so many; the last strip of each plane is smaller."""
    rest: AnyArray | None = None
    left = height
    for piece in pieces:
        band = piece if rest is None or not len(rest) else np.concatenate([rest, piece])
        while len(band) >= min(rows, left):
            taken = min(rows, left)
            yield np.ascontiguousarray(band[:taken]).astype(
                band.dtype.newbyteorder("<"), copy=False
            )
            band, left = band[taken:], left - taken
            if not left:
                left = height
                break
        rest = band


def _row_bands(source: Source) -> Iterator[AnyArray]:
    """Rows (n, x) in the order of the file: slices, in them channels, in them rows.

    What is read at once is as deep as the source's chunks, as far as that can be held.
    """
    *depth, rows, columns = source.spatial_shape
    count = _channels(source)
    line = columns * count * source.dtype.itemsize
    slices = depth[0] if depth else 1
    chunk = source.chunks
    if rows * line <= _HELD:
        most = max(1, _HELD // (rows * line))
        deep = chunk[0] if depth and chunk[0] > 1 else most
        # Equal parts of a chunk, so that none is cut in more parts than needed.
        step = -(-deep // -(-deep // min(deep, most)))
        for start, stop in _runs(slices, deep, step):
            yield from _planes(_read(source, [slice(start, stop)] * len(depth) + [slice(None)] * 2))
        return
    band = max(1, _HELD // line)
    high = chunk[-2] if chunk[-2] > 1 else band
    step = -(-high // -(-high // min(high, band)))
    for number in range(slices):
        for channel in range(count):
            for start, stop in _runs(rows, high, step):
                box = [slice(number, number + 1)] * len(depth) + [slice(start, stop), slice(None)]
                yield _read(source, box)[0, ..., channel].copy()


def _planes(part: AnyArray) -> Iterator[AnyArray]:
    """Planes (y, x) of (z, y, x, c), copied: whoever holds the last one does not hold them all."""
    for plane in part:
        for channel in range(part.shape[-1]):
            yield plane[..., channel].copy()


def _runs(length: int, unit: int, step: int) -> Iterator[tuple[int, int]]:
    """First and end of runs of `step` that never cross a multiple of `unit`."""
    for begin in range(0, length, unit):
        end = min(begin + unit, length)
        for start in range(begin, end, step):
            yield start, min(start + step, end)


def _read(source: Source, box: Box | list[slice]) -> AnyArray:
    """A box as (z, y, x, c)."""
    part = source.read(box)
    if len(source.shape) == len(source.spatial_shape):
        part = part[..., None]
    return part if len(source.spatial_shape) == 3 else part[None]


def _channels(source: Source) -> int:
    extra = source.shape[len(source.spatial_shape) :]
    return extra[0] if extra else 1


def write_hdf5_from(
    path: Path | str, source: Source, *, dtype: np.dtype[Any] | None = None, name: str = "data"
) -> Path:
    """Write an image as HDF5 without holding it, its axes named and its voxel size beside it.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created. It appears when it is complete.
    source : LazyImage or BlockArray
        Stored as (z, y, x, c); an axis of one channel is left out.
    dtype : dtype, optional
        To store other numbers than the source has.
    name : str
        Of the dataset.

    Returns
    -------
    Path

    Raises
    ------
    TypeError
        Wrong arguments.
    UserError
        h5py is not installed; full disk or forbidden folder; whatever reading the source raises.
    """
    path, kind = _check(path, source, dtype)
    name = text(name, "name")
    h5py = library("h5py", path, "HDF5")
    count = _channels(source)
    ndim = len(source.spatial_shape)
    last = (count,) if count > 1 else ()
    chunks = tuple(
        min(size, most) for size, most in zip(source.spatial_shape, _HDF5_CHUNK[ndim], strict=True)
    )
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    # Whole chunks of the source are read, about as large as is usual.
    size = [c * max(1, most // c) for c, most in zip(source.chunks, _BOX[ndim], strict=True)]
    with atomic_path(path) as temporary, open_for_writing(h5py, temporary) as file:
        dataset = file.create_dataset(
            name,
            shape=(*source.spatial_shape, *last),
            dtype=kind,
            chunks=chunks + last,
            **(packed if kind.kind in "ui" else {}),
        )
        for dim, letter in zip(dataset.dims, "zyx"[-ndim:] + "c" * len(last), strict=True):
            dim.label = letter
        sizes, unit = in_microns(source.spacing, source.unit)
        if sizes is not None and unit == "µm":
            dataset.attrs["element_size_um"] = sizes
        for box in boxes(source.spatial_shape, size):
            part = source.read(box)
            dataset[box] = part.reshape(part.shape[:ndim] + last)
    return path
