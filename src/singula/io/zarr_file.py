"""Zarr, versions 2 and 3, plain or as OME-Zarr: arrays in a folder, stored in chunks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from singula.boxes import Box
from singula.io import ngff
from singula.io.containers import Found, choose, library, make_header, not_there, spellings
from singula.io.image import AnyArray, ArrayPlace, Series, Stored
from singula.io.selection import choose_series, left_out
from singula.io.units import UNCALIBRATED

_METADATA = ("zarr.json", ".zarray", ".zgroup")


def open_zarr(path: Path, place: ArrayPlace, labels: bool) -> Stored:
    """Open an array in a Zarr folder; its pixels stay on disk.

    Raises
    ------
    UserError
        When zarr is not installed, or it cannot be told which array is meant.
    ValueError
        When the folder is no Zarr.
    """
    zarr = _library(path)
    with _quiet():
        folder = _folder(zarr, path, place)
        images = _collection(zarr, folder)
        number = choose_series(path, place, images or [""])
        others = left_out(place, images, number)
        if images:
            folder /= images[number]
        node = zarr.open(folder, mode="r") if _is_node(folder) else None
        if isinstance(node, zarr.Array):
            return _stored(zarr, path, place, node)
        if node is not None and ngff.has_multiscales(node.attrs.asdict()):
            image = _wanted(zarr, path, folder, node, place, labels)
            return _stored(zarr, path, place, image, others)
        found = _arrays(zarr, folder)
        if not found and node is None:
            raise ValueError("no folder in it has a zarr.json, .zarray or .zgroup")
        chosen = choose(path, found, place, labels=labels).name
        return _stored(zarr, path, place, zarr.open(folder / chosen, mode="r"))


def zarr_series(path: Path, place: ArrayPlace) -> list[Series]:
    """List the images of a plate or collection by their paths; else the one image.

    Raises
    ------
    UserError
        When zarr is not installed, or the container has no group of that name.
    """
    zarr = _library(path)
    with _quiet():
        folder = _folder(zarr, path, place)
        images = _collection(zarr, folder)
    if not images:
        return [Series("", place)]
    # Opened by its path, an image does not need the metadata of the whole plate again.
    paths = [(folder / image).relative_to(path).as_posix() for image in images]
    return [Series(inside, replace(place, inside=inside, series=None)) for inside in paths]


def _library(path: Path) -> Any:
    """Import zarr to read a folder; refuse a file."""
    zarr = library("zarr", path, "Zarr")
    if not path.is_dir():
        raise ValueError("a Zarr is a folder; this is a file")
    return zarr


def _collection(zarr: Any, folder: Path) -> list[str]:
    """List the images of a plate, of one of its wells, or of a collection, by path."""
    attributes = _attributes(zarr, folder)
    if attributes is None or ngff.has_multiscales(attributes):
        return []
    images = []
    for group in ngff.members(attributes):
        inner = ngff.members(_attributes(zarr, folder / group) or {})
        images += [f"{group}/{image}" for image in inner] or [group]
    if not images and ngff.is_collection(attributes):
        images = ngff.listed_series(_attributes(zarr, folder / "OME") or {})
        images = images or sorted((p.name for p in folder.iterdir() if p.name.isdecimal()), key=int)
    return [image for image in images if ".." not in image and _is_node(folder / image)]


def _attributes(zarr: Any, folder: Path) -> dict[str, Any] | None:
    """Return the attributes of a group; None if the group does not exist."""
    if ".." in folder.parts or not _is_node(folder):
        return None
    node = zarr.open(folder, mode="r")
    return None if isinstance(node, zarr.Array) else dict(node.attrs.asdict())


def _folder(zarr: Any, path: Path, place: ArrayPlace) -> Path:
    """Return the folder of the array or group of that name."""
    inside = place.inside
    for name in spellings(inside) if inside else [""]:
        folder = path / name
        if ".." not in name.split("/") and folder.is_dir() and (not inside or _has_nodes(folder)):
            return folder
    raise not_there(path, place, _arrays(zarr, path))


def _is_node(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _METADATA)


def _has_nodes(folder: Path) -> bool:
    """Whether an array or group is there, or in a folder in it."""
    return _is_node(folder) or any(_is_node(one) for one in folder.iterdir() if one.is_dir())


def _arrays(zarr: Any, folder: Path, before: str = "") -> list[Found]:
    """Arrays in the folders below one; an OME-Zarr image counts as one."""
    found: list[Found] = []
    for inner in sorted(one for one in folder.iterdir() if one.is_dir()):
        full = f"{before}{inner.name}"
        node = zarr.open(inner, mode="r") if _is_node(inner) else None
        if isinstance(node, zarr.Array):
            found.append(Found(full, node.shape, _dtype(node)))
            continue
        attributes = {} if node is None else node.attrs.asdict()
        if ngff.has_multiscales(attributes):
            first, _ = _first_level(node)
            labels = ngff.is_label_image(attributes) or "labels" in full.split("/")[:-1]
            found.append(Found(full, first.shape, _dtype(first), labels))
        else:
            found += _arrays(zarr, inner, f"{full}/")
    return found


def _wanted(
    zarr: Any, path: Path, folder: Path, image: Any, place: ArrayPlace, labels: bool
) -> Any:
    """An OME-Zarr image, or the labels below it if these are wanted and none were named."""
    inner = folder / "labels"
    if place.inside or not labels or ngff.is_label_image(image.attrs.asdict()):
        return image
    found = _arrays(zarr, inner) if inner.is_dir() else []
    if not found:
        return image
    return zarr.open(inner / choose(path, found, place, labels=True).name, mode="r")


def _stored(
    zarr: Any, path: Path, place: ArrayPlace, node: Any, others: tuple[str, ...] = ()
) -> Stored:
    """Return an array with its metadata; `others` are images of the file that are not read."""
    if isinstance(node, zarr.Group):
        array, image = _first_level(node)
    else:
        array, image = node, _image_of(zarr, path, node)
    if image is not None:
        source, axes, size = "OME-Zarr metadata", image.axes, image.size
    else:
        source, axes, size = "Zarr metadata", _dimension_letters(array), UNCALIBRATED
    header = make_header(
        path,
        place,
        array.shape,
        _dtype(array),
        axes=axes,
        source=source,
        array=_place_of(array).resolve().relative_to(path.resolve()).as_posix(),
        size=size,
        left_out=others,
    )

    def read(box: Box) -> AnyArray:
        return np.asarray(array[box])

    return Stored(header, tuple(array.chunks), read)


def _first_level(group: Any) -> tuple[Any, ngff.Multiscale | None]:
    """The finest array of an OME-Zarr image, and what the metadata say of it."""
    image = ngff.read_multiscale(group.attrs.asdict())
    try:
        return group[image.path], image
    except KeyError as error:
        raise ValueError(f"its OME-Zarr metadata name an array {image.path!r}") from error


def _image_of(zarr: Any, path: Path, array: Any) -> ngff.Multiscale | None:
    """What the group around an array says of it, when it is the first level of an image."""
    where = _place_of(array)
    if where.resolve() == path.resolve() or not _is_node(where.parent):
        return None
    attributes = zarr.open_group(where.parent, mode="r").attrs.asdict()
    if not ngff.has_multiscales(attributes):
        return None
    image = ngff.read_multiscale(attributes)
    return image if image.path == where.name else None


def _place_of(array: Any) -> Path:
    return Path(str(array.store_path).removeprefix("file://"))


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
