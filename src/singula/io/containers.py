"""Containers of several arrays (Zarr, HDF5, N5): which array is meant, and what its axes are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.image import ArrayPlace, ArrayPlaces, Header
from singula.io.units import UNCALIBRATED, VoxelSize
from singula.words import install_command

_DEFAULT_AXES = "TZCYX"
_LABEL_WORD = re.compile(
    r"(^|[_\-. /])(masks?|labels?|lbl|gt|ground_?truth|seg|segmentation|instances?|ids|"
    r"neuron_ids)([_\-. /]|$)",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"(?:s|scale)?0")
_MOST_LISTED = 8


@dataclass(frozen=True)
class Found:
    """An array in a container.

    Parameters
    ----------
    name : str
        Its path inside, with slashes; of an image of several levels the path of that image.
    shape : tuple of int
    dtype : dtype
    labels : bool
        Whether the file says that it holds labels.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    labels: bool = False


def library(name: str, path: Path, kind: str, extra: str = "") -> Any:
    """Import a library that only some formats need.

    Parameters
    ----------
    name : str
        Name of the module.
    path : Path
        File that needs it.
    kind : str
        Format of the file, for the message.
    extra : str, optional
        Extra of this project that installs it; without one it is a required library.

    Raises
    ------
    UserError
        With the line that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"{path}: to read {kind}, the library {name} is needed, which is not installed",
            install_command(extra),
            "io.library_missing",
        ) from error


def spellings(inside: str) -> list[str]:
    """The paths that a configured one may mean: with slashes, or with dots for slashes."""
    plain = inside.strip("/")
    dotted = "." in plain and ".." not in plain  # two dots would make an absolute path
    return [plain, plain.replace(".", "/").strip("/")] if dotted else [plain]


def array_places(
    image: str,
    labels: str,
    image_axes: str,
    label_axes: str,
    *,
    together: bool,
    external_files: bool = False,
) -> ArrayPlaces:
    """Where a configuration says that containers keep images and labels.

    Parameters
    ----------
    image, labels : str
        Paths inside; empty for the only array.
    image_axes, label_axes : str
        Orders of axes; TZCYX, the default, leaves it to the files.
    together : bool
        The labels are in the files of the images.
    external_files : bool
        The files may refer to files outside.
    """
    known = [None if axes == _DEFAULT_AXES else axes for axes in (image_axes, label_axes)]
    return ArrayPlaces(
        ArrayPlace(image, known[0], external_files=external_files),
        ArrayPlace(labels, known[1], external_files=external_files),
        together,
    )


def choose(path: Path, found: Sequence[Found], place: ArrayPlace, *, labels: bool) -> Found:
    """Return the array that is meant when none was named: the only one that can be an image.

    If there are several, only arrays whose names suggest labels count as labels, and only the
    others as images.

    Raises
    ------
    UserError
        When there is none, or more than one.
    """
    images = _first_levels(
        [one for one in found if len(one.shape) >= 2 and one.dtype.kind in "buif"]
    )
    if len(images) > 1:
        own = [one for one in images if _is_labels(one) == labels]
        images = own or images
    if len(images) == 1:
        return images[0]
    what = "labels" if labels else "images"
    if not images:
        raise UserError(
            f"{path}: holds no array of pixels{_list(found)}",
            f"{advice_for(place.command).array}, or copy or export the file again",
            "io.no_array",
        )
    raise UserError(
        f"{path}: holds {len(images)} arrays that may be the {what}{_list(images)}",
        advice_for(place.command).array,
        "io.several_arrays",
    )


def not_there(path: Path, place: ArrayPlace, found: Sequence[Found]) -> UserError:
    """Return the error for a named array that does not exist."""
    return UserError(
        f"{path}: holds no array {place.inside!r}{_list(found)}",
        advice_for(place.command).missing_array,
        "io.no_such_array",
    )


def check_chunks(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a chunk or block.

    Raises
    ------
    ValueError
        It has a size below 1, or another number of axes than the array.
    """
    sizes = tuple(int(size) for size in chunks)
    if min(sizes, default=1) < 1 or len(sizes) != len(shape):
        raise ValueError(f"its chunks have the shape {sizes}, and the array {tuple(shape)}")
    return sizes


def make_header(
    path: Path,
    place: ArrayPlace,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    *,
    axes: str | None,
    source: str,
    array: str,
    size: VoxelSize = UNCALIBRATED,
    left_out: tuple[str, ...] = (),
) -> Header:
    """Return the header of an array in a container: configured axes first, then the file's own.

    Raises
    ------
    UserError
        When the configured axes are more or fewer than those of the array.
    """
    shape = tuple(int(size) for size in shape)
    if axes is not None and (len(axes) != len(shape) or not _is_usable(axes, shape)):
        axes = None
    if place.axes is not None:
        if len(place.axes) != len(shape):
            raise UserError(
                f"{path}: its array has {len(shape)} axes, shape {shape}, but "
                f"{advice_for(place.command).axes_source} names {len(place.axes)}: {place.axes}",
                advice_for(place.command).axes_count,
                "io.axes_differ",
            )
        axes, source = place.axes, "the configured order of axes"
    elif axes is None and len(shape) == len(_DEFAULT_AXES):
        axes, source = _DEFAULT_AXES, "the usual order of five axes"
    return Header(
        shape,
        dtype,
        axes,
        size.spacing,
        size.unit,
        source,
        notes=size.notes,
        array=array,
        remedy=advice_for(place.command).axes,
        left_out=left_out,
    )


def _is_usable(axes: str, shape: Sequence[int]) -> bool:
    """Return True if all axes are known, or several time points must not pass for another axis."""
    known = len(set(axes)) == len(axes) and set(axes) <= set("TZCYX")
    return known or (axes.count("T") == 1 and shape[axes.index("T")] > 1)


def _is_labels(one: Found) -> bool:
    return one.labels or _LABEL_WORD.search(one.name) is not None


def _first_levels(found: Sequence[Found]) -> list[Found]:
    """Leave out the coarser levels of pyramids: 1, 2, … (s1, s2, …) beside 0 (s0)."""
    folders = {
        one.name.rpartition("/")[0]: one
        for one in found
        if _LEVEL.fullmatch(one.name.rpartition("/")[2])
    }
    kept = []
    for one in found:
        folder, _, last = one.name.rpartition("/")
        first = folders.get(folder)
        coarser = first is not None and re.fullmatch(r"(?:s|scale)?[1-9]\d*", last) is not None
        if first is None or not coarser or not _is_coarser(one.shape, first.shape):
            kept.append(one)
    return kept


def _is_coarser(shape: Sequence[int], first: Sequence[int]) -> bool:
    return (
        len(shape) == len(first)
        and tuple(shape) != tuple(first)
        and all(a <= b for a, b in zip(shape, first, strict=True))
    )


def _list(found: Sequence[Found]) -> str:
    if not found:
        return ""
    shown = ", ".join(
        f"{one.name or '/'} {one.shape} {one.dtype.name}" for one in found[:_MOST_LISTED]
    )
    more = f" … and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    return f": {shown}{more}"
