"""Write images that are larger than memory to one file, box by box."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from singula.io.atomic import atomic_path
from singula.io.entries import reader_path
from singula.io.formats.containers import library
from singula.io.formats.hdf5_open import open_for_writing
from singula.io.image import AnyArray
from singula.io.units import in_microns
from singula.io.write import reserve_tiff, stored_type, tiff_options
from singula.util.arguments import as_dtype, flag, text
from singula.util.boxes import Box, boxes

_MAX_BYTES = 256 * 2**20  # bytes of the image in memory at the same time
_STRIP = 2**18  # bytes of a strip before compression
_BOX = {2: (1024, 1024), 3: (64, 256, 256)}
_HDF5_CHUNK = {2: (256, 256), 3: (32, 128, 128)}


class BoxReader(Protocol):
    """Image that can be read in boxes: a `LazyImage` or `BlockArray`."""

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along (y, x) or (z, y, x)."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of the smallest part that is decoded, along each spatial axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape, followed by the number of channels if there is a channel axis."""

    dtype: np.dtype[Any]
    spacing: tuple[float, ...] | None
    unit: str | None

    def read(self, box: Sequence[slice]) -> AnyArray:
        """Return the pixels of a box, channels last."""


def write_tiff_from(
    path: Path | str,
    source: BoxReader,
    *,
    dtype: np.dtype[Any] | None = None,
    compress: bool = True,
) -> Path:
    """Write an image as TIFF in the format of `write_tiff`, without loading it into memory.

    Several slices of a volume, up to 256 MB, are read at once, so that each chunk is decoded as few
    times as possible. Files above 4 GB are BigTIFF.

    Parameters
    ----------
    path : Path or str
        File to write; its folder is created. The file appears when it is complete.
    source : LazyImage or BlockArray
        Image; a channel axis of one channel is left out.
    dtype : dtype, optional
        Type in the file, such as a smaller type that holds all ids; by default, the source's type.
    compress : bool
        Compress integers with deflate.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UserError
        ``storage.…``: the disk is full, or the folder cannot be written; errors of reading
        `source`.
    TypeError
        Wrong arguments, or a type that TIFF readers do not support, such as uint64.
    ValueError
        The image has no pixels.
    """
    path, kind = _check(path, source, dtype)
    compress = flag(compress, "compress")
    count, kind = _channels(source), stored_type(kind)
    *depth, rows, columns = source.spatial_shape
    shape = (*depth, *[count] * (count > 1), rows, columns)
    axes = "Z" * len(depth) + "C" * (count > 1) + "YX"
    if any(size == 0 for size in shape):
        raise ValueError("an image without pixels")
    bands = (np.ascontiguousarray(band, dtype=kind) for band in _row_bands(source))
    with atomic_path(path) as temporary:
        if compress and kind.kind in "ui":
            _write_deflated(temporary, bands, shape, axes, kind, source)
        else:
            start = reserve_tiff(temporary, shape, kind, axes, source.spacing, source.unit)
            with temporary.open("r+b") as file:
                file.seek(start)
                for band in bands:
                    file.write(band.astype(kind.newbyteorder("<"), copy=False).data)
    return path


def _check(path: object, source: Any, dtype: object) -> tuple[Path, np.dtype[Any]]:
    """Validate the arguments of a writer, and return the path and the type in the file."""
    for name in ("spatial_shape", "chunks", "shape", "dtype", "read"):
        if not hasattr(source, name):
            raise TypeError(
                f"source: got {type(source).__name__}, expected a LazyImage or BlockArray"
            )
    return reader_path(path), as_dtype(source.dtype if dtype is None else dtype, "dtype")


def _write_deflated(
    path: Path,
    bands: Iterable[AnyArray],
    shape: tuple[int, ...],
    axes: str,
    dtype: np.dtype[Any],
    source: BoxReader,
) -> None:
    import tifffile

    rows = max(1, min(shape[-2], _STRIP // (shape[-1] * dtype.itemsize)))
    size = math.prod(shape) * dtype.itemsize
    dialect, tags = tiff_options(dtype, size, shape, axes, source.spacing, source.unit)
    with tifffile.TiffWriter(path, **dialect, byteorder="<") as writer:
        writer.write(
            (zlib.compress(strip.data, 6) for strip in _strips(bands, shape[-2], rows)),
            shape=shape,
            dtype=dtype.newbyteorder("<"),
            photometric="minisblack",
            compression="zlib",
            rowsperstrip=rows,
            **tags,
        )


def _strips(bands: Iterable[AnyArray], height: int, rows: int) -> Iterator[AnyArray]:
    """Split bands of rows into strips of `rows` rows; the last strip of a plane can be smaller."""
    rest: AnyArray | None = None
    missing = height  # rows of the current plane
    for item in bands:
        band = item if rest is None or not len(rest) else np.concatenate([rest, item])
        while len(band) >= min(rows, missing):
            taken = min(rows, missing)
            yield np.ascontiguousarray(band[:taken]).astype(
                band.dtype.newbyteorder("<"), copy=False
            )
            band, missing = band[taken:], missing - taken
            if not missing:
                missing = height
                break
        rest = band


def _row_bands(source: BoxReader) -> Iterator[AnyArray]:
    """Iterate over rows, shape (n, x), in the order of the file: slices, channels, rows.

    As many slices or rows are read at once as a chunk of the source has, up to 256 MB.
    """
    *depth, rows, columns = source.spatial_shape
    count = _channels(source)
    line = columns * count * source.dtype.itemsize
    slices = depth[0] if depth else 1
    chunk = source.chunks
    if rows * line <= _MAX_BYTES:
        max_slices = max(1, _MAX_BYTES // (rows * line))
        deep = chunk[0] if depth and chunk[0] > 1 else max_slices
        # Equal parts of a chunk, so that each chunk is decoded as few times as possible.
        step = -(-deep // -(-deep // min(deep, max_slices)))
        for start, stop in _runs(slices, deep, step):
            yield from _planes(_read(source, [slice(start, stop)] * len(depth) + [slice(None)] * 2))
        return
    band = max(1, _MAX_BYTES // line)
    high = chunk[-2] if chunk[-2] > 1 else band
    step = -(-high // -(-high // min(high, band)))
    for number in range(slices):
        for channel in range(count):
            for start, stop in _runs(rows, high, step):
                box = [slice(number, number + 1)] * len(depth) + [slice(start, stop), slice(None)]
                yield _read(source, box)[0, ..., channel].copy()


def _planes(part: AnyArray) -> Iterator[AnyArray]:
    """Iterate over planes (y, x) of an array (z, y, x, c); copies, to release the array early."""
    for plane in part:
        for channel in range(part.shape[-1]):
            yield plane[..., channel].copy()


def _runs(length: int, unit: int, step: int) -> Iterator[tuple[int, int]]:
    """Iterate over ranges of up to `step` indices that do not cross a multiple of `unit`."""
    for begin in range(0, length, unit):
        end = min(begin + unit, length)
        for start in range(begin, end, step):
            yield start, min(start + step, end)


def _read(source: BoxReader, box: Box | list[slice]) -> AnyArray:
    """Read a box, with shape (z, y, x, c)."""
    part = source.read(box)
    if len(source.shape) == len(source.spatial_shape):
        part = part[..., None]
    return part if len(source.spatial_shape) == 3 else part[None]


def _channels(source: BoxReader) -> int:
    extra = source.shape[len(source.spatial_shape) :]
    return extra[0] if extra else 1


def write_hdf5_from(
    path: Path | str, source: BoxReader, *, dtype: np.dtype[Any] | None = None, name: str = "data"
) -> Path:
    """Write an image as HDF5, with axes and voxel size, without loading it into memory.

    Parameters
    ----------
    path : Path or str
        File to write; its folder is created. The file appears when it is complete.
    source : LazyImage or BlockArray
        Image, stored as (y, x, c) or (z, y, x, c); a channel axis of one channel is left out.
    dtype : dtype, optional
        Type in the file; by default, the type of `source`.
    name : str
        Name of the dataset.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError
        Wrong arguments.
    UserError
        ``io.library_missing``: h5py is not installed; ``storage.…``: the disk is full, or the
        folder cannot be written; errors of reading `source`.
    """
    path, kind = _check(path, source, dtype)
    name = text(name, "name")
    h5py = library("h5py", path, "HDF5")
    count = _channels(source)
    ndim = len(source.spatial_shape)
    last = (count,) if count > 1 else ()
    chunks = tuple(
        min(size, c) for size, c in zip(source.spatial_shape, _HDF5_CHUNK[ndim], strict=True)
    )
    compression = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    # Read whole chunks of the source, in boxes of about the usual size.
    size = [c * max(1, usual // c) for c, usual in zip(source.chunks, _BOX[ndim], strict=True)]
    with atomic_path(path) as temporary, open_for_writing(h5py, temporary) as file:
        dataset = file.create_dataset(
            name,
            shape=(*source.spatial_shape, *last),
            dtype=kind,
            chunks=chunks + last,
            **(compression if kind.kind in "ui" else {}),
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
