"""Write images, tables and text; every file appears whole or not at all."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from singula.io.atomic import atomic_path
from singula.io.image import AnyArray
from singula.io.tiff import SINGLE_SLICE

if TYPE_CHECKING:
    from pandas import DataFrame

# Where each letter stands in the file; samples (S) are the colours of an RGB picture.
_FILE_ORDER = "ZCYXS"
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_OME_TYPES = (*_IMAGEJ_TYPES, "int8", "int16", "uint32", "int32", "float64")
_STORED_AS = {"bool": "uint8", "float16": "float32"}
# Above it offsets of 32 bits do not reach; 32 MiB are left for metadata.
_CLASSIC_LIMIT = 2**32 - 2**25
_STRIP = 2**22  # bytes of a strip of rows, where a file is written in strips


def write_tiff(
    path: Path | str,
    array: AnyArray,
    axes: str,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    compress: bool = True,
) -> Path:
    """Write an image that Fiji, napari and `read_image` open with its axes and voxel size.

    uint8, uint16 and float32 become ImageJ hyperstacks; other types and files above 4 GB, for which
    ImageJ's own format has no room, become OME-TIFF. Integers are deflated: labels shrink 50-fold
    at 500 MB/s. Floats are not: that takes 50 times as long as writing, to save 10 %.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    array : ndarray
        bool, uint8/16/32, int8/16/32 or float16/32/64; bool is stored as uint8, float16 as float32.
    axes : str
        A letter for each axis: Y and X, at most one each of Z, C (channel) and S (the 3 samples of
        an RGB picture, uint8), in any order; stored as ZCYXS.
    spacing : sequence of float, optional
        Pixel size, (y, x) or (z, y, x).
    unit : str, optional
        Unit of `spacing`, such as "µm".
    compress : bool
        False: integers are not deflated either.

    Raises
    ------
    UserError
        Full disk or forbidden folder.
    TypeError
        A type that TIFF readers do not share, such as int64.
    ValueError
        Axes that do not fit the array, or a spacing that does not fit the axes.
    """
    _check_axes(array, axes, spacing)
    order = sorted(range(array.ndim), key=lambda place: _FILE_ORDER.index(axes[place]))
    stored = np.ascontiguousarray(array.transpose(order), dtype=_stored_type(array))
    written_axes = "".join(axes[place] for place in order)
    with atomic_path(path) as temporary:
        deflate = compress and stored.dtype.kind in "ui"
        _write(temporary, stored, stored.shape, stored.dtype, written_axes, spacing, unit, deflate)
    return Path(path)


def write_channels(
    path: Path | str,
    channels: Sequence[AnyArray],
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> Path:
    """Write channels as one image of float32, as `write_tiff` does, some rows at a time.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    channels : sequence of ndarray
        All (y, x) or all (z, y, x), of any numeric types.
    spacing, unit
        As for `write_tiff`.

    Raises
    ------
    UserError
        Full disk or forbidden folder.
    """
    first = channels[0]
    shape = (*first.shape[:-2], len(channels), *first.shape[-2:])
    rows = max(1, _STRIP // (4 * first.shape[-1]))

    def strips() -> Iterator[bytes]:
        for place in np.ndindex(first.shape[:-2]):
            for channel in channels:
                plane = channel[place]
                for begin in range(0, len(plane), rows):
                    yield plane[begin : begin + rows].astype(np.float32).tobytes()

    axes = "ZCYX"[-len(shape) :]
    with atomic_path(path) as temporary:
        _write(temporary, strips(), shape, np.dtype(np.float32), axes, spacing, unit, False, rows)
    return Path(path)


def _write(
    path: Path,
    data: AnyArray | Iterator[bytes],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    spacing: Sequence[float] | None,
    unit: str | None,
    deflate: bool,
    rows: int | None = None,
) -> None:
    import tifffile

    large = math.prod(shape) * dtype.itemsize > _CLASSIC_LIMIT
    imagej = dtype.name in _IMAGEJ_TYPES and not large
    metadata: dict[str, Any] = {"axes": axes}
    if "Z" in axes and shape[axes.index("Z")] == 1:
        # Neither dialect keeps an axis of one slice; the reader looks for this word.
        metadata |= {SINGLE_SLICE: True} if imagej else {"Description": SINGLE_SLICE}
    resolution = None
    if spacing is not None and imagej:
        resolution = (1 / spacing[-1], 1 / spacing[-2])
        metadata |= _imagej_calibration(spacing, unit)
    elif spacing is not None:
        metadata |= _ome_calibration(spacing, unit)
    tifffile.imwrite(
        path,
        data,
        shape=shape,
        dtype=dtype,
        rowsperstrip=rows,
        byteorder="<" if sys.byteorder == "little" else ">",
        bigtiff=large,
        imagej=imagej,
        ome=not imagej,
        photometric="rgb" if "S" in axes else "minisblack",
        compression="zlib" if deflate else None,
        resolution=resolution,
        metadata=metadata,
    )


def _check_axes(array: AnyArray, axes: str, spacing: Sequence[float] | None) -> None:
    fits = len(axes) == array.ndim == len(set(axes)) and {"Y", "X"} <= set(axes) <= set("ZCYXS")
    if not fits:
        raise ValueError(f"axes {axes!r} do not fit an array of shape {array.shape}")
    if "S" in axes and (array.dtype != np.uint8 or array.shape[axes.index("S")] != 3):
        raise ValueError(f"axis S holds 3 samples of uint8, not {array.shape} of {array.dtype}")
    spatial = 3 if "Z" in axes else 2
    if spacing is not None and (len(spacing) != spatial or min(spacing) <= 0):
        raise ValueError(f"spacing {tuple(spacing)} does not fit axes {axes!r}")


def _stored_type(array: AnyArray) -> np.dtype[Any]:
    name = array.dtype.name
    name = _STORED_AS.get(name, name)
    if name not in _OME_TYPES:
        raise TypeError(
            f"{array.dtype} cannot be written as TIFF; allowed: {', '.join(_OME_TYPES)}"
        )
    return np.dtype(name)


def _imagej_calibration(spacing: Sequence[float], unit: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if len(spacing) == 3:
        found["spacing"] = float(spacing[0])
    if unit is not None:
        # The description is ASCII; ImageJ shows "um" as µm.
        found["unit"] = unit.replace("µ", "u").encode("ascii", "replace").decode()
    return found


def _ome_calibration(spacing: Sequence[float], unit: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, size in zip("ZYX"[-len(spacing) :], spacing, strict=True):
        found[f"PhysicalSize{name}"] = float(size)
        found[f"PhysicalSize{name}Unit"] = unit or "pixel"
    return found


def write_csv(
    path: Path | str,
    rows: Sequence[Mapping[str, Any]] | DataFrame,
    columns: Sequence[str] | None = None,
) -> Path:
    """Write a table with a header line and no index.

    Parameters
    ----------
    path : Path or str
        The file; its folder is created.
    rows : sequence of mappings, or DataFrame
        One mapping per line, by column name.
    columns : sequence of str, optional
        The columns and their order; gives a table without rows its header line.

    Raises
    ------
    UserError
        Full disk or forbidden folder.
    """
    import pandas as pd

    path = Path(path)
    names = None if columns is None else list(columns)
    table = pd.DataFrame(rows, columns=names)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
    return path


def write_json(path: Path | str, value: object) -> Path:
    """Write a value as JSON; NumPy numbers, arrays and paths become plain, NaN becomes null.

    Raises
    ------
    UserError
        Full disk or forbidden folder.
    TypeError
        A value with no meaning in JSON.
    """
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write_npy(path: Path | str, array: AnyArray) -> Path:
    """Write an array as NPY.

    Raises
    ------
    UserError
        Full disk or forbidden folder.
    """
    path = Path(path)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    return path


def write_text(path: Path | str, text: str) -> Path:
    """Write text as UTF-8.

    Raises
    ------
    UserError
        Full disk or forbidden folder.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path
