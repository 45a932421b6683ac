"""Read arrays in Zarr folders (versions 2 and 3), plain or OME-Zarr."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from singula.io.external import Boundary
from singula.io.formats import ngff
from singula.io.formats.containers import (
    ArrayInfo,
    check_chunks,
    choose_array,
    library,
    make_header,
    no_such_array,
    spellings,
)
from singula.io.image import AnyArray, ArrayPlace, Series, StoredArray
from singula.io.selection import choose_series, left_out
from singula.io.units import UNCALIBRATED
from singula.util.boxes import Box
from singula.util.locations import is_remote
from singula.util.store_errors import can_list, missing_url

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_filters = threading.RLock()


@dataclass(frozen=True)
class _Container:
    """Zarr folder whose arrays and groups are read without files outside.

    Parameters
    ----------
    path : Path
        Folder, as the user named it.
    place : ArrayPlace
        Selection of an array or image.
    """

    path: Path
    place: ArrayPlace
    zarr: Any = field(init=False, repr=False)
    boundary: Boundary = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Import the library, and raise an error for a file."""
        object.__setattr__(self, "zarr", library("zarr", self.path, "Zarr"))
        if not self.path.is_dir():
            if is_remote(self.path):
                raise missing_url(self.path)
            raise ValueError("a Zarr is a folder; this is a file")
        object.__setattr__(self, "boundary", Boundary(self.path, self.path, self.place))

    def open(self, folder: Path) -> Any:
        """Open the array or group in a folder."""
        from singula.io.formats.zarr_store import folder_store

        return self.zarr.open(folder_store(folder, self.boundary), mode="r")

    def node(self, folder: Path) -> Any:
        """Return the array or group in a folder; None if there is none."""
        return self.open(folder) if _is_node(folder) else None

    def is_array(self, node: Any) -> bool:
        """Return True if a node is an array."""
        return isinstance(node, self.zarr.Array)


def open_zarr(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an array in a Zarr folder without reading its pixels.

    Parameters
    ----------
    path : Path
        Zarr folder.
    place : ArrayPlace
        Selection of an array or image.
    labels : bool
        Select labels if the folder holds images and labels and `place` names no array.

    Raises
    ------
    UserError
        ``io.library_missing``: zarr is not installed; ``io.no_array``, ``io.several_arrays``,
        ``io.no_such_array``, ``io.no_such_series``: no array, or several, match `place`;
        ``io.external_file``: a link leads out of the folder.
    ValueError
        The folder is not a Zarr.
    """
    container = _Container(path, place)
    with _quiet():
        folder = _folder(container)
        images = _collection(container, folder)
        number = choose_series(path, place, images or [""])
        others = left_out(place, images, number)
        if images:
            folder /= images[number]
        node = container.node(folder)
        if container.is_array(node):
            return _stored(container, node)
        if node is not None and ngff.has_multiscales(node.attrs.asdict()):
            return _stored(container, _image_or_labels(container, folder, node, labels), others)
        arrays = _arrays(container, folder)
        if not arrays and node is None:
            raise ValueError("no folder in it has a zarr.json, .zarray or .zgroup")
        chosen = choose_array(path, arrays, place, labels=labels).name
        return _stored(container, container.open(folder / chosen))


def zarr_series(path: Path, place: ArrayPlace) -> list[Series]:
    """List the images of a plate or collection by their paths; otherwise, the one image.

    Parameters
    ----------
    path : Path
        Zarr folder.
    place : ArrayPlace
        Group whose images are listed.

    Raises
    ------
    UserError
        ``io.library_missing``: zarr is not installed; ``io.no_such_array``: the container has no
        group of that name.
    """
    container = _Container(path, place)
    with _quiet():
        folder = _folder(container)
        images = _collection(container, folder)
    if not images:
        return [Series("", place)]
    # Opened by its path, an image does not need the metadata of the whole plate again.
    paths = [(folder / image).relative_to(path).as_posix() for image in images]
    return [Series(inside, replace(place, inside=inside, series=None)) for inside in paths]


def _collection(container: _Container, folder: Path) -> list[str]:
    """Return the paths of the images of a plate, of one of its wells, or of a collection."""
    attributes = _attributes(container, folder)
    if attributes is None or ngff.has_multiscales(attributes):
        return []
    images = []
    for group in ngff.members(attributes):
        inner = ngff.members(_attributes(container, folder / group) or {})
        images += [f"{group}/{image}" for image in inner] or [group]
    if not images and ngff.is_collection(attributes):
        images = ngff.listed_series(_attributes(container, folder / "OME") or {})
        images = images or sorted((p.name for p in folder.iterdir() if p.name.isdecimal()), key=int)
    return [image for image in images if ".." not in image and _is_node(folder / image)]


def _attributes(container: _Container, folder: Path) -> dict[str, Any] | None:
    """Return the attributes of a group; None if the group does not exist."""
    if ".." in folder.relative_to(container.path).parts:
        return None
    node = container.node(folder)
    return None if node is None or container.is_array(node) else dict(node.attrs.asdict())


def _folder(container: _Container) -> Path:
    """Return the folder of the array or group that the user named."""
    path, inside = container.path, container.place.inside
    for name in spellings(inside) if inside else [""]:
        folder = path / name
        if ".." not in name.split("/") and folder.is_dir() and (not inside or _has_nodes(folder)):
            return folder
    raise no_such_array(path, container.place, _arrays(container, path))


def _is_node(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _METADATA)


def _has_nodes(folder: Path) -> bool:
    """Return True if a folder or one of its subfolders is an array or group."""
    return _is_node(folder) or any(_is_node(path) for path in folder.iterdir() if path.is_dir())


def _arrays(container: _Container, folder: Path, before: str = "") -> list[ArrayInfo]:
    """List the arrays below a folder; an OME-Zarr image counts as one array."""
    arrays: list[ArrayInfo] = []
    for inner in _subfolders(container, folder):
        full = f"{before}{inner.name}"
        node = container.node(inner)
        if container.is_array(node):
            arrays.append(ArrayInfo(full, node.shape, _dtype(node)))
            continue
        attributes = {} if node is None else node.attrs.asdict()
        if ngff.has_multiscales(attributes):
            first, _ = _first_level(node)
            labels = ngff.is_label_image(attributes) or "labels" in full.split("/")[:-1]
            arrays.append(ArrayInfo(full, first.shape, _dtype(first), labels))
        else:
            arrays += _arrays(container, inner, f"{full}/")
    return arrays


def _subfolders(container: _Container, folder: Path) -> Iterator[Path]:
    """Iterate over the folders in a folder; on a server without lists, over its label images."""
    if not is_remote(folder) or can_list(str(folder)):
        return container.boundary.subfolders(folder)
    names = ngff.listed_labels(_attributes(container, folder) or {})
    return iter([folder / name for name in names if ".." not in name])


def _image_or_labels(container: _Container, folder: Path, image: Any, labels: bool) -> Any:
    """Return an OME-Zarr image, or its labels if labels are read and the user named no array."""
    path, place = container.path, container.place
    inner = folder / "labels"
    if place.inside or not labels or ngff.is_label_image(image.attrs.asdict()):
        return image
    arrays = _arrays(container, inner) if inner.is_dir() else []
    if not arrays:
        return image
    return container.open(inner / choose_array(path, arrays, place, labels=True).name)


def _stored(container: _Container, node: Any, others: tuple[str, ...] = ()) -> StoredArray:
    """Return an array with its metadata; `others` names the images that are not read."""
    path = container.path
    if container.is_array(node):
        array, image = node, _image_of(container, node)
    else:
        array, image = _first_level(node)
    if image is not None:
        source, axes, size, names = "OME-Zarr metadata", image.axes, image.size, image.channels
    else:
        source, axes, size, names = "Zarr metadata", _dimension_letters(array), UNCALIBRATED, ()
    header = make_header(
        path,
        container.place,
        array.shape,
        _dtype(array),
        axes=axes,
        source=source,
        array=_folder_of(array).relative_to(path).as_posix(),
        size=size,
        left_out=others,
        channel_names=names,
    )

    def read(box: Box) -> AnyArray:
        return np.asarray(array[box])

    return StoredArray(header, check_chunks(array.chunks, array.shape), read)


def _first_level(group: Any) -> tuple[Any, ngff.Multiscale | None]:
    """Return the finest array of an OME-Zarr image, and its metadata."""
    image = ngff.read_multiscale(group.attrs.asdict())
    try:
        return group[image.path], image
    except KeyError as error:
        raise ValueError(f"its OME-Zarr metadata name an array {image.path!r}") from error


def _image_of(container: _Container, array: Any) -> ngff.Multiscale | None:
    """Return the metadata of the image whose first level an array is; None if there is none."""
    folder = _folder_of(array)
    if folder == container.path:
        return None
    attributes = _attributes(container, folder.parent)
    if attributes is None or not ngff.has_multiscales(attributes):
        return None
    image = ngff.read_multiscale(attributes)
    return image if image.path == folder.name else None


def _folder_of(array: Any) -> Path:
    store_path = array.store_path
    folder: Path = store_path.store.root / store_path.path
    return folder


def _dimension_letters(array: Any) -> str | None:
    """Return the axes of an array by the names of its dimensions; None without names."""
    names = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.asdict().get("_ARRAY_DIMENSIONS")
    return ngff.axis_letters(names) if names else None


def _dtype(array: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(array.dtype)
    return dtype


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore the warnings of the library about folders that are not arrays."""
    # The filters belong to the process. Without the lock, two threads whose contexts overlap could
    # leave the filters of this function in place.
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
