"""Zarr, versions 2 and 3, plain or as OME-Zarr: arrays in a folder, stored in chunks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from singula.io import ngff
from singula.io.containers import Found, choose, library, make_header, not_there, spellings
from singula.io.image import AnyArray, ArrayPlace, Box, Stored

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
    zarr = library("zarr", path, "Zarr")
    with _quiet():
        node = _node(zarr, path, place.inside)
        if isinstance(node, zarr.Group) and not ngff.has_multiscales(dict(node.attrs)):
            node = node[choose(path, _arrays(zarr, node), labels=labels).name]
        elif isinstance(node, zarr.Group) and labels and not place.inside:
            node = _own_labels(zarr, path, node)
        return _stored(zarr, path, place, node)


def _node(zarr: Any, path: Path, inside: str) -> Any:
    """The array or group of that name in the container."""
    if not path.is_dir():
        raise ValueError("a Zarr is a folder; this is a file")
    if not inside:
        if not _is_node(path):
            inner = sorted(p.name for p in path.iterdir() if p.is_dir() and _is_node(p))
            if len(inner) != 1:
                listed = f"; name one of {', '.join(inner[:8])}" if inner else ""
                raise ValueError(f"the folder holds no zarr.json, .zarray or .zgroup{listed}")
            path = path / inner[0]
        return zarr.open(path, mode="r")
    for name in spellings(inside):
        if ".." not in name.split("/") and _is_node(path / name):
            return zarr.open(path / name, mode="r")
    found: list[Found] = []
    if _is_node(path):
        root = zarr.open(path, mode="r")
        found = _arrays(zarr, root) if isinstance(root, zarr.Group) else []
    raise not_there(path, inside, found)


def _is_node(path: Path) -> bool:
    return any((path / name).is_file() for name in _METADATA)


def _arrays(zarr: Any, root: Any) -> list[Found]:
    """Arrays of a group and of those below it; an OME-Zarr image counts as one."""
    found: list[Found] = []

    def look(group: Any, before: str) -> None:
        for name, node in sorted(group.members(), key=lambda item: item[0]):
            full = f"{before}{name}"
            if isinstance(node, zarr.Group):
                attributes = dict(node.attrs)
                if not ngff.has_multiscales(attributes):
                    look(node, f"{full}/")
                    continue
                first, _ = _first_level(node)
                labels = ngff.is_label_image(attributes) or "labels" in full.split("/")[:-1]
                found.append(Found(full, first.shape, _dtype(first), labels))
            else:
                found.append(Found(full, node.shape, _dtype(node)))

    look(root, "")
    return found


def _own_labels(zarr: Any, path: Path, image: Any) -> Any:
    """The labels that lie below an OME-Zarr image, if it has some; else the image itself."""
    inner = image.get("labels")
    if not isinstance(inner, zarr.Group) or ngff.is_label_image(dict(image.attrs)):
        return image
    found = _arrays(zarr, inner)
    if not found:
        return image
    return inner[choose(path, found, labels=True).name]


def _stored(zarr: Any, path: Path, place: ArrayPlace, node: Any) -> Stored:
    """An array with what the file says of it."""
    if isinstance(node, zarr.Group):
        array, image = _first_level(node)
    else:
        array, image = node, _image_of(zarr, path, node)
    if image is not None:
        source, axes, spacing, unit = "OME-Zarr metadata", image.axes, image.spacing, image.unit
    else:
        source, axes, spacing, unit = "Zarr metadata", _dimension_letters(array), None, None
    header = make_header(
        path,
        place,
        array.shape,
        _dtype(array),
        axes=axes,
        source=source,
        spacing=spacing,
        unit=unit,
    )

    def read(box: Box) -> AnyArray:
        return np.asarray(array[box])

    return Stored(header, tuple(array.chunks), read)


def _first_level(group: Any) -> tuple[Any, ngff.Multiscale | None]:
    """The finest array of an OME-Zarr image, and what the metadata say of it."""
    image = ngff.read_multiscale(dict(group.attrs))
    try:
        return group[image.path], image
    except KeyError as error:
        raise ValueError(f"its OME-Zarr metadata name an array {image.path!r}") from error


def _image_of(zarr: Any, path: Path, array: Any) -> ngff.Multiscale | None:
    """What the group around an array says of it, when it is the first level of an image."""
    where = Path(str(array.store_path).removeprefix("file://"))
    if where.resolve() == path.resolve() or not _is_node(where.parent):
        return None
    attributes = dict(zarr.open_group(where.parent, mode="r").attrs)
    if not ngff.has_multiscales(attributes):
        return None
    image = ngff.read_multiscale(attributes)
    return image if image.path == where.name else None


def _dimension_letters(array: Any) -> str | None:
    """Axes from the names that the array gives its dimensions."""
    names = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.asdict().get("_ARRAY_DIMENSIONS")
    if not names or not all(isinstance(name, str) and len(name) == 1 for name in names):
        return None
    return "".join(names).upper()


def _dtype(array: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(array.dtype)
    return dtype


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's remarks on folders that are no arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
