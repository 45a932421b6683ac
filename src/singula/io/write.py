"""Write images, tables and text atomically: a file appears when it is complete."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from singula.errors import UserError
from singula.io.atomic import atomic_path
from singula.io.entries import reader_path
from singula.io.formats.tiff import SINGLE_SLICE
from singula.io.image import AnyArray, check_spacing
from singula.io.units import unit_symbol
from singula.util.arguments import as_array, flag, instance, items, number, same_shape, text

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["write_csv", "write_json", "write_maps", "write_npy", "write_text", "write_tiff"]

# Order of the axes in a file; samples (S) are the colors of an RGB image.
_FILE_ORDER = "ZCYXS"
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_OME_TYPES = (*_IMAGEJ_TYPES, "int8", "int16", "uint32", "int32", "float64")
_STORED_AS = {"bool": "uint8", "float16": "float32"}
# Limit of 32-bit offsets, less 32 MiB for metadata.
_CLASSIC_LIMIT = 2**32 - 2**25
_ROWS = 256  # rows of a plane that are converted and written at once


def write_tiff(
    path: Path | str,
    array: AnyArray,
    axes: str,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    compress: bool = True,
) -> Path:
    """Write a TIFF that Fiji, napari and `read_image` open with its axes and voxel size.

    uint8, uint16 and float32 are written as ImageJ hyperstacks. Other types, images one pixel wide
    and files above 4 GB, which that format does not support, are written as OME-TIFF. Integers are
    compressed with deflate: labels shrink 50-fold at 500 MB/s. Floats are not compressed, which
    would take 50 times as long as writing and save 10 %.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    array : ndarray
        Image of type bool, uint8/16/32, int8/16/32 or float16/32/64. bool is stored as uint8,
        float16 as float32.
    axes : str
        A letter for each axis, in any order: Y and X, and optionally Z, C (channel) and S (the 3
        samples of an RGB image, uint8). The file has the order ZCYXS.
    spacing : sequence of float, optional
        Voxel size along (y, x) or (z, y, x).
    unit : str, optional
        Unit of `spacing`, such as "µm".
    compress : bool
        Compress integers with deflate.

    Raises
    ------
    UserError
        ``storage.…``: the disk is full, or the folder cannot be written.
    TypeError
        Wrong arguments, or a type that TIFF readers do not support, such as int64.
    ValueError
        `axes` do not fit the array, or `spacing` does not fit `axes`.
    """
    path = reader_path(path)
    array, axes = as_array(array, "array"), text(axes, "axes")
    if spacing is not None:
        spacing = items(spacing, "spacing", number)
    unit = None if unit is None else text(unit, "unit")
    compress = flag(compress, "compress")
    _check_axes(array, axes, spacing)
    order = sorted(range(array.ndim), key=lambda axis: _FILE_ORDER.index(axes[axis]))
    stored = np.ascontiguousarray(array.transpose(order), dtype=stored_type(array.dtype))
    written_axes = "".join(axes[axis] for axis in order)
    with atomic_path(path) as temporary:
        _write(temporary, stored, written_axes, spacing, unit, compress)
    return path


def write_maps(
    path: Path | str,
    maps: Sequence[AnyArray],
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> Path:
    """Write maps of equal shape as the channels of an image, in float32.

    The result is equal to `write_tiff` of the stacked maps. Rows are converted one after another,
    so that large maps in half precision are never copied to float32 as a whole.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    maps : sequence of ndarray
        Maps of shape (y, x) or (z, y, x), of any real type.
    spacing : sequence of float, optional
        Voxel size along (y, x) or (z, y, x).
    unit : str, optional
        Unit of `spacing`, such as "µm".

    Raises
    ------
    UserError
        ``storage.…``: the disk is full, or the folder cannot be written.
    """
    path = reader_path(path)
    maps = items(maps, "maps", partial(as_array, ndim=(2, 3)))
    if not maps:
        raise UserError("maps: got no maps", "give one map or more", "arguments.empty")
    for item in maps:
        same_shape(maps[0], item, "maps")
    shape = maps[0].shape
    spacing = None if spacing is None else check_spacing(spacing, len(shape))
    unit = None if unit is None else text(unit, "unit")
    axes = "CYX" if len(shape) == 2 else "ZCYX"
    stored = (*shape[:-2], len(maps), *shape[-2:])
    if any(size == 0 for size in stored):
        return write_tiff(path, np.zeros(stored, np.float32), axes, spacing, unit)
    planes = (item[index] for index in np.ndindex(shape[:-2]) for item in maps)
    with atomic_path(path) as temporary:
        start = reserve_tiff(temporary, stored, np.dtype("float32"), axes, spacing, unit)
        with temporary.open("r+b") as file:
            file.seek(start)
            for plane in planes:
                for first in range(0, len(plane), _ROWS):
                    rows = np.ascontiguousarray(plane[first : first + _ROWS], dtype="<f4")
                    file.write(rows.data)
    return path


def reserve_tiff(
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    spacing: Sequence[float] | None,
    unit: str | None,
) -> int:
    """Write a TIFF without its pixels, and return the byte offset for them.

    The caller writes the pixels in little-endian order, C-contiguous.
    """
    import tifffile

    size = math.prod(shape) * dtype.itemsize
    dialect, tags = tiff_options(dtype, size, shape, axes, spacing, unit)
    with tifffile.TiffWriter(path, **dialect, byteorder="<") as writer:
        offset_and_size = writer.write(
            shape=shape,
            dtype=dtype.newbyteorder("<"),
            contiguous=True,
            returnoffset=True,
            photometric="minisblack",
            **tags,
        )
    if offset_and_size is None:
        raise RuntimeError(f"{path}: tifffile did not reserve space for the pixels")
    return int(offset_and_size[0])


def _write(
    path: Path,
    array: AnyArray,
    axes: str,
    spacing: Sequence[float] | None,
    unit: str | None,
    compress: bool,
) -> None:
    import tifffile

    dialect, tags = tiff_options(array.dtype, array.nbytes, array.shape, axes, spacing, unit)
    with tifffile.TiffWriter(path, **dialect) as writer:
        writer.write(
            array,
            photometric="rgb" if "S" in axes else "minisblack",
            compression="zlib" if compress and array.dtype.kind in "ui" else None,
            **tags,
        )


def tiff_options(
    dtype: np.dtype[Any],
    size: int,
    shape: tuple[int, ...],
    axes: str,
    spacing: Sequence[float] | None,
    unit: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the kind of TIFF for `size` bytes of a type, and its tags for axes and calibration."""
    large = size > _CLASSIC_LIMIT
    # tifffile reads the last axis of an ImageJ file as samples if it has one pixel.
    imagej = dtype.name in _IMAGEJ_TYPES and not large and shape[axes.index("X")] > 1
    dialect = {"bigtiff": large, "imagej": imagej, "ome": not imagej}
    return dialect, _tags(imagej, shape, axes, spacing, unit)


def _tags(
    imagej: bool,
    shape: tuple[int, ...],
    axes: str,
    spacing: Sequence[float] | None,
    unit: str | None,
) -> dict[str, Any]:
    """Return axes and calibration in the format of ImageJ or OME."""
    metadata: dict[str, Any] = {"axes": axes}
    if "Z" in axes and shape[axes.index("Z")] == 1:
        # Neither format stores an axis of one slice; the reader searches for this word.
        metadata |= {SINGLE_SLICE: True} if imagej else {"Description": SINGLE_SLICE}
    resolution = None
    if spacing is not None and imagej:
        resolution = (1 / spacing[-1], 1 / spacing[-2])
        metadata |= _imagej_calibration(spacing, unit)
    elif spacing is not None:
        metadata |= _ome_calibration(spacing, unit)
    return {"metadata": metadata, "resolution": resolution}


def _check_axes(array: AnyArray, axes: str, spacing: Sequence[float] | None) -> None:
    fits = len(axes) == array.ndim == len(set(axes)) and {"Y", "X"} <= set(axes) <= set("ZCYXS")
    if not fits:
        raise ValueError(f"axes {axes!r} do not fit an array of shape {array.shape}")
    if "S" in axes and (array.dtype != np.uint8 or array.shape[axes.index("S")] != 3):
        raise ValueError(f"axis S holds 3 samples of uint8, not {array.shape} of {array.dtype}")
    spatial = 3 if "Z" in axes else 2
    if spacing is not None and (len(spacing) != spatial or min(spacing) <= 0):
        raise ValueError(f"spacing {tuple(spacing)} does not fit axes {axes!r}")


def stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which a TIFF file stores values of a type.

    Raises
    ------
    TypeError
        A type that TIFF readers do not support, such as int64.
    """
    name = _STORED_AS.get(dtype.name, dtype.name)
    if name not in _OME_TYPES:
        raise TypeError(
            f"array or dtype: got {dtype}, expected a type of TIFF: {', '.join(_OME_TYPES)}"
        )
    return np.dtype(name)


def _imagej_calibration(spacing: Sequence[float], unit: str | None) -> dict[str, Any]:
    calibration: dict[str, Any] = {}
    if len(spacing) == 3:
        calibration["spacing"] = float(spacing[0])
    if unit is not None:
        # The description is ASCII. ImageJ shows "um" as µm and decodes Java escapes.
        plain = (unit_symbol(unit) or unit).replace("µ", "u")
        calibration["unit"] = "".join(c if c.isascii() else f"\\u{ord(c):04X}" for c in plain)
    return calibration


def _ome_calibration(spacing: Sequence[float], unit: str | None) -> dict[str, Any]:
    calibration: dict[str, Any] = {}
    for name, size in zip("ZYX"[-len(spacing) :], spacing, strict=True):
        calibration[f"PhysicalSize{name}"] = float(size)
        calibration[f"PhysicalSize{name}Unit"] = unit_symbol(unit) or "pixel"
    return calibration


def write_csv(
    path: Path | str,
    rows: Sequence[Mapping[str, Any]] | Mapping[str, np.ndarray] | DataFrame,
    columns: Sequence[str] | None = None,
) -> Path:
    """Write a table with a header line and no index, as UTF-8.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    rows : sequence of mappings, mapping of str to ndarray, or DataFrame
        One mapping by column name per row, or arrays by column name.
    columns : sequence of str, optional
        Columns and their order; required for the header line of a table without rows.

    Raises
    ------
    UserError
        ``storage.…``: the disk is full, or the folder cannot be written.
    """
    import pandas as pd

    names = None if columns is None else list(items(columns, "columns", text))
    if not isinstance(rows, pd.DataFrame | Mapping):
        rows = items(rows, "rows", _mapping)
    return write_csv_parts(path, [pd.DataFrame(rows, columns=names)])


def write_csv_parts(path: Path | str, parts: Iterable[DataFrame]) -> Path:
    """Write a table whose rows need not fit into memory, as `write_csv`.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    parts : iterable of DataFrame
        Consecutive rows of the table, with the same columns; at least one.

    Raises
    ------
    UserError
        See `write_csv`.
    """
    path = reader_path(path)
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        for number, part in enumerate(parts):
            part.to_csv(file, index=False, header=number == 0)
    return path


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = instance(value, name, Mapping)  # type: ignore[type-abstract]
    return row


def write_json(path: Path | str, value: object) -> Path:
    """Write a value as JSON; see `plain_values` for NumPy values, paths and NaN.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    value : object
        Nested mappings and sequences of text, numbers, bool and None.

    Raises
    ------
    UserError
        ``storage.…``: the disk is full, or the folder cannot be written.
    TypeError
        A value that JSON does not support.
    """
    try:
        lines = json.dumps(plain_values(value), indent=2, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise TypeError(f"value: {error}") from error
    return write_text(path, lines + "\n")


def plain_values(value: object) -> object:
    """Convert nested values for JSON: arrays to lists, paths to text, NaN to None."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write_npy(path: Path | str, array: AnyArray) -> Path:
    """Write an array as NPY.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    array : ndarray
        Array of real numbers, of any shape.

    Raises
    ------
    TypeError, UserError
        Wrong arguments, a full disk, or a folder that cannot be written.
    """
    path, array = reader_path(path), as_array(array, "array")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    return path


def write_text(path: Path | str, text: str) -> Path:
    """Write text as UTF-8; bytes of file names that are not valid text become escapes.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    text : str
        Text to write; line ends are not converted.

    Raises
    ------
    TypeError, UserError
        Wrong arguments, a full disk, or a folder that cannot be written.
    """
    path, text = reader_path(path), instance(text, "text", str)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return path
