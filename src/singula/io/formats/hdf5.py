"""Read arrays in HDF5 files, in chunks or contiguous."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.io.formats import ngff
from singula.io.formats.containers import (
    ArrayInfo,
    choose_array,
    library,
    make_header,
    no_such_array,
    spellings,
)
from singula.io.formats.hdf5_links import check_links, check_storage, find_object
from singula.io.formats.hdf5_open import open_for_reading
from singula.io.image import AnyArray, ArrayPlace, StoredArray
from singula.io.selection import choose_series
from singula.io.sizes import check_size
from singula.io.units import UNCALIBRATED, VoxelSize, voxel_size
from singula.util.boxes import Box


def open_hdf5(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an array in an HDF5 file without reading its pixels.

    Parameters
    ----------
    path : Path
        HDF5 file.
    place : ArrayPlace
        Selection of an array.
    labels : bool
        Select labels if the file holds images and labels and `place` names no array.

    Raises
    ------
    UserError
        ``io.library_missing``: h5py is not installed; ``io.no_array``, ``io.several_arrays``,
        ``io.no_such_array``: no array, or several, match `place`; ``io.compression_missing``: the
        library of the compression is not installed; ``io.external_file``: the array is in another
        file; ``io.file_locked``: another program writes the file; ``io.cut_off``.
    OSError
        The file is not an HDF5 file.
    """
    h5py = library("h5py", path, "HDF5")
    with suppress(ImportError):
        import_module("hdf5plugin")  # registers more kinds of compression
    file = open_for_reading(h5py, path)
    choose_series(path, place, [""])
    dataset = _dataset(h5py, path, file, place, labels)
    check_storage(h5py, path, file, dataset, place)
    _check_filters(h5py, path, dataset)
    offset = dataset.id.get_offset()
    if offset is not None:  # contiguous; in chunked arrays, missing chunks have a fill value
        n_bytes = Path(dataset.file.filename).stat().st_size - offset
        check_size(path, dataset.shape, dataset.dtype.itemsize, n_bytes)
    axes, source = _axes(dataset)
    header = make_header(
        path,
        place,
        dataset.shape,
        np.dtype(dataset.dtype),
        axes=axes,
        source=source,
        array=str(dataset.name),
        size=_sizes(dataset),
    )

    def read(box: Box) -> AnyArray:
        return np.asarray(dataset[box])

    # Any box of a contiguous array can be read without the rest.
    return StoredArray(header, tuple(dataset.chunks or (1,) * len(header.shape)), read)


def _dataset(h5py: Any, path: Path, file: Any, place: ArrayPlace, labels: bool) -> Any:
    inside = place.inside
    for name in spellings(inside) if inside else ():
        node = find_object(h5py, path, file, name, place)
        if isinstance(node, h5py.Dataset):
            return node
        if isinstance(node, h5py.Group):
            arrays = _datasets(h5py, path, node, place)
            return node[choose_array(path, arrays, place, labels=labels).name]
    arrays = _datasets(h5py, path, file, place)
    if inside:
        raise no_such_array(path, place, arrays)
    return file[choose_array(path, arrays, place, labels=labels).name]


def _datasets(h5py: Any, path: Path, group: Any, place: ArrayPlace) -> list[ArrayInfo]:
    """List the datasets in a group without following links."""
    arrays: list[ArrayInfo] = []

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            arrays.append(ArrayInfo(name, node.shape or (), np.dtype(node.dtype)))

    group.visititems(note)
    if not arrays:
        check_links(h5py, path, group, place)
    return arrays


def _check_filters(h5py: Any, path: Path, dataset: Any) -> None:
    """Raise an error if a library for the compression of an array is not installed."""
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            title = name.decode(errors="replace") if name else "unknown"
            raise UserError(
                f"{path}: {dataset.name} is compressed with filter {code} ({title}), which is not "
                "installed",
                "pip install hdf5plugin, or save the file with gzip",
                "io.compression_missing",
            )


def _axes(dataset: Any) -> tuple[str | None, str]:
    """Return the axes and their origin: the dimension labels, or the tags of vigra (ilastik)."""
    labels = [dim.label for dim in dataset.dims]
    letters = ngff.axis_letters(labels)
    tags = dataset.attrs.get("axistags")
    if not all(labels):
        with suppress(TypeError, ValueError, KeyError):
            axes = json.loads(tags)["axes"]
            return ngff.axis_letters([axis["key"] for axis in axes]), "axis tags"
    return (letters, "HDF5 dimension labels") if any(labels) else (None, "")


def _sizes(dataset: Any) -> VoxelSize:
    """Read the voxel size of ImageJ's HDF5 plugins and PlantSeg: in µm, z first."""
    values = np.ravel(dataset.attrs.get("element_size_um", ()))
    if len(values) not in (2, 3):
        return UNCALIBRATED
    axes = "zyx"[-len(values) :]
    return voxel_size(dict(zip(axes, values.tolist(), strict=True)), dict.fromkeys(axes, "µm"))
