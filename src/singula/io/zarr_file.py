"""Zarr, versions 2 and 3, plain or as OME-Zarr: arrays in a folder, stored in chunks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from singula.boxes import Box
from singula.io import ngff
from singula.io.containers import (
    Found,
    check_chunks,
    choose,
    library,
    make_header,
    not_there,
    spellings,
)
from singula.io.external import Boundary
from singula.io.image import AnyArray, ArrayPlace, Series, StoredArray
from singula.io.selection import choose_series, left_out
from singula.io.units import UNCALIBRATED

_METADATA = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class _Container:
    """A Zarr folder whose arrays and groups are read without files outside.

    Parameters
    ----------
    path : Path
        The folder as the user named it.
    place : ArrayPlace
    """

    path: Path
    place: ArrayPlace
    zarr: Any = field(init=False, repr=False)
    boundary: Boundary = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Import the library; refuse a file."""
        object.__setattr__(self, "zarr", library("zarr", self.path, "Zarr"))
        if not self.path.is_dir():
            raise ValueError("a Zarr is a folder; this is a file")
        object.__setattr__(self, "boundary", Boundary(self.path, self.path, self.place))

    def open(self, folder: Path) -> Any:
        """Open the array or group in a folder."""
        from singula.io.zarr_store import BoundedStore

        return self.zarr.open(BoundedStore(folder, self.boundary), mode="r")

    def node(self, folder: Path) -> Any:
        """Return the array or group in a folder; None if there is none."""
        return self.open(folder) if _is_node(folder) else None

    def is_array(self, node: Any) -> bool:
        """Return True if a node is an array."""
        return isinstance(node, self.zarr.Array)


def open_zarr(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an array in a Zarr folder; its pixels stay on disk.

    Raises
    ------
    UserError
        When zarr is not installed, or it cannot be told which array is meant;
        ``io.external_file``: a link leads out of the folder.
    ValueError
        When the folder is no Zarr.
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
            return _stored(container, _wanted(container, folder, node, labels), others)
        found = _arrays(container, folder)
        if not found and node is None:
            raise ValueError("no folder in it has a zarr.json, .zarray or .zgroup")
        chosen = choose(path, found, place, labels=labels).name
        return _stored(container, container.open(folder / chosen))


def zarr_series(path: Path, place: ArrayPlace) -> list[Series]:
    """List the images of a plate or collection by their paths; else the one image.

    Raises
    ------
    UserError
        When zarr is not installed, or the container has no group of that name.
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
    """List the images of a plate, of one of its wells, or of a collection, by path."""
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
    """Return the folder of the array or group of that name."""
    path, inside = container.path, container.place.inside
    for name in spellings(inside) if inside else [""]:
        folder = path / name
        if ".." not in name.split("/") and folder.is_dir() and (not inside or _has_nodes(folder)):
            return folder
    raise not_there(path, container.place, _arrays(container, path))


def _is_node(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _METADATA)


def _has_nodes(folder: Path) -> bool:
    """Whether an array or group is there, or in a folder in it."""
    return _is_node(folder) or any(_is_node(one) for one in folder.iterdir() if one.is_dir())


def _arrays(container: _Container, folder: Path, before: str = "") -> list[Found]:
    """Arrays in the folders below one; an OME-Zarr image counts as one."""
    found: list[Found] = []
    for inner in container.boundary.subfolders(folder):
        full = f"{before}{inner.name}"
        node = container.node(inner)
        if container.is_array(node):
            found.append(Found(full, node.shape, _dtype(node)))
            continue
        attributes = {} if node is None else node.attrs.asdict()
        if ngff.has_multiscales(attributes):
            first, _ = _first_level(node)
            labels = ngff.is_label_image(attributes) or "labels" in full.split("/")[:-1]
            found.append(Found(full, first.shape, _dtype(first), labels))
        else:
            found += _arrays(container, inner, f"{full}/")
    return found


def _wanted(container: _Container, folder: Path, image: Any, labels: bool) -> Any:
    """An OME-Zarr image, or the labels below it if these are wanted and none were named."""
    path, place = container.path, container.place
    inner = folder / "labels"
    if place.inside or not labels or ngff.is_label_image(image.attrs.asdict()):
        return image
    found = _arrays(container, inner) if inner.is_dir() else []
    if not found:
        return image
    return container.open(inner / choose(path, found, place, labels=True).name)


def _stored(container: _Container, node: Any, others: tuple[str, ...] = ()) -> StoredArray:
    """Return an array with its metadata; `others` are images of the file that are not read."""
    path = container.path
    if container.is_array(node):
        array, image = node, _image_of(container, node)
    else:
        array, image = _first_level(node)
    if image is not None:
        source, axes, size = "OME-Zarr metadata", image.axes, image.size
    else:
        source, axes, size = "Zarr metadata", _dimension_letters(array), UNCALIBRATED
    header = make_header(
        path,
        container.place,
        array.shape,
        _dtype(array),
        axes=axes,
        source=source,
        array=_place_of(array).relative_to(path).as_posix(),
        size=size,
        left_out=others,
    )

    def read(box: Box) -> AnyArray:
        return np.asarray(array[box])

    return StoredArray(header, check_chunks(array.chunks, array.shape), read)


def _first_level(group: Any) -> tuple[Any, ngff.Multiscale | None]:
    """The finest array of an OME-Zarr image, and what the metadata say of it."""
    image = ngff.read_multiscale(group.attrs.asdict())
    try:
        return group[image.path], image
    except KeyError as error:
        raise ValueError(f"its OME-Zarr metadata name an array {image.path!r}") from error


def _image_of(container: _Container, array: Any) -> ngff.Multiscale | None:
    """What the group around an array says of it, when it is the first level of an image."""
    where = _place_of(array)
    if where == container.path:
        return None
    attributes = _attributes(container, where.parent)
    if attributes is None or not ngff.has_multiscales(attributes):
        return None
    image = ngff.read_multiscale(attributes)
    return image if image.path == where.name else None


def _place_of(array: Any) -> Path:
    where = array.store_path
    return Path(where.store.root / where.path)


def _dimension_letters(array: Any) -> str | None:
    """Axes from the names that the array gives its dimensions."""
    names = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.asdict().get("_ARRAY_DIMENSIONS")
    return ngff.axis_letters(names) if names else None


def _dtype(array: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(array.dtype)
    return dtype


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's remarks on folders that are no arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
