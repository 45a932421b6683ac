"""HDF5: arrays in one file, stored in chunks or in one piece."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from singula.boxes import Box
from singula.errors import UserError
from singula.io import ngff
from singula.io.containers import Found, choose, library, make_header, not_there, spellings
from singula.io.hdf5_links import check_links, check_storage, find_object
from singula.io.hdf5_open import open_for_reading
from singula.io.image import AnyArray, ArrayPlace, StoredArray
from singula.io.selection import choose_series
from singula.io.sizes import check_size
from singula.io.units import UNCALIBRATED, VoxelSize, voxel_size


def open_hdf5(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an array in an HDF5 file; its pixels stay on disk.

    Raises
    ------
    UserError
        When h5py is not installed, it cannot be told which array is meant, or it was compressed
        by something that is not installed; ``io.external_file``: the array is in another file.
    OSError
        When it is no HDF5 file.
    """
    h5py = library("h5py", path, "HDF5")
    with suppress(ImportError):
        import_module("hdf5plugin")  # more kinds of compression, where it is installed
    file = open_for_reading(h5py, path)
    choose_series(path, place, [""])
    dataset = _dataset(h5py, path, file, place, labels)
    check_storage(h5py, path, file, dataset, place)
    _check_filters(h5py, path, dataset)
    offset = dataset.id.get_offset()
    if offset is not None:  # in one piece; missing chunks have a fill value
        held = Path(dataset.file.filename).stat().st_size - offset
        check_size(path, dataset.shape, dataset.dtype.itemsize, held)
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

    # In one piece any box can be read by itself.
    return StoredArray(header, tuple(dataset.chunks or (1,) * len(header.shape)), read)


def _dataset(h5py: Any, path: Path, file: Any, place: ArrayPlace, labels: bool) -> Any:
    inside = place.inside
    for name in spellings(inside) if inside else ():
        node = find_object(h5py, path, file, name, place)
        if isinstance(node, h5py.Dataset):
            return node
        if isinstance(node, h5py.Group):
            return node[choose(path, _datasets(h5py, path, node, place), place, labels=labels).name]
    found = _datasets(h5py, path, file, place)
    if inside:
        raise not_there(path, place, found)
    return file[choose(path, found, place, labels=labels).name]


def _datasets(h5py: Any, path: Path, group: Any, place: ArrayPlace) -> list[Found]:
    """List the datasets in a group; links are not followed."""
    found: list[Found] = []

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found.append(Found(name, node.shape or (), np.dtype(node.dtype)))

    group.visititems(note)
    if not found:
        check_links(h5py, path, group, place)
    return found


def _check_filters(h5py: Any, path: Path, dataset: Any) -> None:
    """Refuse an array whose compression this installation does not know."""
    kept = dataset.id.get_create_plist()
    for number in range(kept.get_nfilters()):
        code, _, _, name = kept.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            what = name.decode(errors="replace") if name else "unknown"
            raise UserError(
                f"{path}: {dataset.name} is compressed with filter {code} ({what}), which is not "
                "installed",
                "pip install hdf5plugin, or save the file with gzip",
            )


def _axes(dataset: Any) -> tuple[str | None, str]:
    """Read the axes from the labels of the dimensions, or from vigra's tags (ilastik)."""
    labels = [dim.label for dim in dataset.dims]
    letters = ngff.axis_letters(labels)
    tags = dataset.attrs.get("axistags")
    if not all(labels):
        with suppress(TypeError, ValueError, KeyError):
            axes = json.loads(tags)["axes"]
            return ngff.axis_letters([axis["key"] for axis in axes]), "axis tags"
    return (letters, "HDF5 dimension labels") if any(labels) else (None, "")


def _sizes(dataset: Any) -> VoxelSize:
    """Read the voxel size in µm as ImageJ's HDF5 plugins and PlantSeg write it, z first."""
    values = np.ravel(dataset.attrs.get("element_size_um", ()))
    if len(values) not in (2, 3):
        return UNCALIBRATED
    axes = "zyx"[-len(values) :]
    return voxel_size(dict(zip(axes, values.tolist(), strict=True)), dict.fromkeys(axes, "µm"))
