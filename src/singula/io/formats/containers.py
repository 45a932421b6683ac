"""Select an array in a container (Zarr, HDF5, N5), and assign its axes."""

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
from singula.io.selection import named_channels
from singula.io.units import UNCALIBRATED, VoxelSize
from singula.util.format import install_command

_DEFAULT_AXES = "TZCYX"
_LABEL_WORD = re.compile(
    r"(^|[_\-. /])(masks?|labels?|lbl|gt|ground_?truth|seg|segmentation|instances?|ids|"
    r"neuron_ids)([_\-. /]|$)",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"(?:s|scale)?0")
_MAX_LISTED = 8


@dataclass(frozen=True)
class ArrayInfo:
    """Array in a container.

    Parameters
    ----------
    name : str
        Path in the container, with slashes; for a pyramid, the path of the image.
    shape : tuple of int
        Shape of the array.
    dtype : dtype
        Type of its values.
    labels : bool
        True if the metadata declare the array as labels.
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
        Extra of this project that installs the library; empty for a required library.

    Raises
    ------
    UserError
        ``io.library_missing``: the library is not installed; the hint is the command to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"{path}: for {kind}, the library {name} is needed, which is not installed",
            install_command(extra),
            "io.library_missing",
        ) from error


def spellings(inside: str) -> list[str]:
    """Return the possible paths for a configured path: unchanged, and with slashes for dots."""
    plain = inside.strip("/")
    dotted = "." in plain and ".." not in plain  # two dots would become an absolute path
    return [plain, plain.replace(".", "/").strip("/")] if dotted else [plain]


def array_places(
    image: str,
    labels: str,
    image_axes: str,
    label_axes: str,
    *,
    together: bool,
    external_files: bool = False,
    channel: str = "",
) -> ArrayPlaces:
    """Return the selections of images and labels in containers, as a configuration gives them.

    Parameters
    ----------
    image, labels : str
        Paths in the container; empty for the only array.
    image_axes, label_axes : str
        Letters of the axes; with TZCYX, the default, the metadata of the files apply.
    together : bool
        True if each file holds both the image and its labels.
    external_files : bool
        Allow references to other files.
    channel : str
        Name or number of the channel of images; empty for all.
    """
    axes = [None if order == _DEFAULT_AXES else order for order in (image_axes, label_axes)]
    return ArrayPlaces(
        ArrayPlace(image, axes[0], external_files=external_files, channel=channel),
        ArrayPlace(labels, axes[1], external_files=external_files),
        together,
    )


def choose_array(
    path: Path, arrays: Sequence[ArrayInfo], place: ArrayPlace, *, labels: bool
) -> ArrayInfo:
    """Return the only array that can be an image, if the user named no array.

    Of several arrays, those whose names suggest labels count as labels, the others as images.

    Parameters
    ----------
    path : Path
        Container, for messages.
    arrays : sequence of ArrayInfo
        All arrays in the container.
    place : ArrayPlace
        Selection of the user; its command determines the hints.
    labels : bool
        Choose labels instead of an image.

    Raises
    ------
    UserError
        ``io.no_array``: no array can be an image; ``io.several_arrays``: more than one can.
    """
    images = _first_levels(
        [array for array in arrays if len(array.shape) >= 2 and array.dtype.kind in "buif"]
    )
    if len(images) > 1:
        matching = [array for array in images if _is_labels(array) == labels]
        images = matching or images
    if len(images) == 1:
        return images[0]
    role = "labels" if labels else "images"
    if not images:
        raise UserError(
            f"{path}: holds no array of pixels{_list(arrays)}",
            f"{advice_for(place.command).array}, or copy or export the file again",
            "io.no_array",
        )
    raise UserError(
        f"{path}: holds {len(images)} arrays that may be the {role}{_list(images)}",
        advice_for(place.command).array,
        "io.several_arrays",
    )


def no_such_array(path: Path, place: ArrayPlace, arrays: Sequence[ArrayInfo]) -> UserError:
    """Return the error for a named array that does not exist; it lists the existing arrays."""
    return UserError(
        f"{path}: holds no array {place.inside!r}{_list(arrays)}",
        advice_for(place.command).missing_array,
        "io.no_such_array",
    )


def check_chunks(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a chunk or block, after validation.

    Parameters
    ----------
    chunks : sequence of int
        Shape of a chunk.
    shape : sequence of int
        Shape of the array.

    Raises
    ------
    ValueError
        The chunk has a size below 1, or another number of axes than the array.
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
    channel_names: Sequence[object] = (),
) -> Header:
    """Return the header of an array in a container; configured axes precede the metadata.

    Parameters
    ----------
    path : Path
        Container, for messages.
    place : ArrayPlace
        Selection of the user, with configured axes.
    shape : sequence of int
        Shape of the array.
    dtype : dtype
        Type of its values.
    axes : str, optional
        Letters of the axes in the metadata.
    source : str
        Origin of `axes`, for the log.
    array : str
        Path of the array in the container.
    size : VoxelSize
        Voxel size in the metadata.
    left_out : tuple of str
        Names of images in the container that are not read.
    channel_names : sequence
        Names of the channels in the metadata.

    Raises
    ------
    UserError
        ``io.axes_differ``: the configured axes are more or fewer than the axes of the array.
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
        channel_names=named_channels(channel_names, axes, shape),
    )


def _is_usable(axes: str, shape: Sequence[int]) -> bool:
    """Return True if all axes are valid, or if one of them counts several time points.

    Time points must not be taken for another axis, even if other axes are unknown.
    """
    valid = len(set(axes)) == len(axes) and set(axes) <= set("TZCYX")
    return valid or (axes.count("T") == 1 and shape[axes.index("T")] > 1)


def _is_labels(array: ArrayInfo) -> bool:
    return array.labels or _LABEL_WORD.search(array.name) is not None


def _first_levels(arrays: Sequence[ArrayInfo]) -> list[ArrayInfo]:
    """Remove the coarser levels of pyramids: 1, 2, … (s1, s2, …) next to 0 (s0)."""
    folders = {
        array.name.rpartition("/")[0]: array
        for array in arrays
        if _LEVEL.fullmatch(array.name.rpartition("/")[2])
    }
    images = []
    for array in arrays:
        folder, _, last = array.name.rpartition("/")
        first = folders.get(folder)
        coarser = first is not None and re.fullmatch(r"(?:s|scale)?[1-9]\d*", last) is not None
        if first is None or not coarser or not _is_coarser(array.shape, first.shape):
            images.append(array)
    return images


def _is_coarser(shape: Sequence[int], first: Sequence[int]) -> bool:
    return (
        len(shape) == len(first)
        and tuple(shape) != tuple(first)
        and all(a <= b for a, b in zip(shape, first, strict=True))
    )


def _list(arrays: Sequence[ArrayInfo]) -> str:
    """Return the names, shapes and types of arrays as text for a message."""
    if not arrays:
        return ""
    shown = ", ".join(
        f"{array.name or '/'} {array.shape} {array.dtype.name}" for array in arrays[:_MAX_LISTED]
    )
    more = f" … and {len(arrays) - _MAX_LISTED} more" if len(arrays) > _MAX_LISTED else ""
    return f": {shown}{more}"
