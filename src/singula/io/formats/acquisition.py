"""Images in files of microscopes: header, and boxes that are read plane by plane."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from singula.io.image import AnyArray, ArrayPlace, Header, Series, StoredArray
from singula.io.selection import choose_series, left_out, named_channels
from singula.io.units import voxel_size
from singula.util.boxes import Box

_REMEDY = (
    "export it as OME-TIFF with other axes, with the program of the microscope or with the plugin "
    "Bio-Formats of Fiji"
)
Plane = Callable[[tuple[int, ...], Box], AnyArray]


@dataclass(frozen=True)
class Acquisition:
    """One image in a file of a microscope.

    Parameters
    ----------
    axes : str
        One letter for each axis of the image.
    shape : tuple of int
        Length of each axis.
    dtype : dtype
        Type of the values.
    n_inner : int
        Number of axes of a plane, which are the last axes.
    read : callable
        Function of the position of a plane along the other axes, and of a box of the plane, that
        returns this box.
    sizes : mapping of str to float
        Voxel size in µm by axis: x, y, z.
    channel_names : sequence
        Names of the channels; see `named_channels`.
    notes : tuple of str
        Notes for the user.
    chunks : tuple of int, optional
        Shape of the smallest part of a plane that is read at once. None: the plane.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    n_inner: int
    read: Plane
    sizes: Mapping[str, float | None]
    channel_names: Sequence[object] = ()
    notes: tuple[str, ...] = ()
    chunks: tuple[int, ...] | None = None


def choose_acquisition(
    path: Path, place: ArrayPlace, titles: Sequence[str]
) -> tuple[int, tuple[str, ...]]:
    """Return the number of the image to read, and the titles of the images that are left out.

    Parameters
    ----------
    path : Path
        File, for messages.
    place : ArrayPlace
        Selection of the user.
    titles : sequence of str
        Names of the images in the file; not unique.

    Raises
    ------
    ValueError
        The file holds no image.
    UserError
        ``io.no_such_series``: the file has no image of that number.
    """
    if not titles:
        raise ValueError("it holds no image")
    names = [f"{number} {title}".strip() for number, title in enumerate(titles)]
    number = choose_series(path, place, names)
    return number, left_out(place, names, number)


def list_acquisitions(place: ArrayPlace, count: int) -> list[Series]:
    """Return the images of a file by their numbers; without a number for one image."""
    if count < 2:
        return [Series("", place)]
    return [Series(str(number), replace(place, series=number)) for number in range(count)]


def stored_acquisition(
    image: Acquisition, source: str, others: tuple[str, ...] = ()
) -> StoredArray:
    """Return an image as an array on disk; planes along x and z become images.

    Parameters
    ----------
    image : Acquisition
        Image in the file.
    source : str
        Origin of the axes, for the log.
    others : tuple of str
        Titles of images in the file that are not read.
    """
    axes, sizes, notes = image.axes, dict(image.sizes), image.notes
    if "Y" not in axes and {"Z", "X"} <= set(axes):
        axes, sizes = axes.replace("Z", "Y"), {"x": sizes.get("x"), "y": sizes.get("z")}
        notes = (*notes, "it was scanned along x and z: the rows of the image are z")
    given = {axis: sizes[axis] for axis in "zyx" if sizes.get(axis) and axis.upper() in axes}
    size = voxel_size(given, dict.fromkeys(given, "µm"))
    header = Header(
        image.shape,
        image.dtype,
        axes,
        size.spacing,
        size.unit,
        source,
        notes=(*size.notes, *notes),
        remedy=_REMEDY,
        left_out=others,
        channel_names=named_channels(image.channel_names, axes, image.shape),
    )
    lead = len(image.shape) - image.n_inner
    lock = threading.Lock()  # the libraries share one position in the file

    def read(box: Box) -> AnyArray:
        bounds = [slice(*item.indices(n)) for item, n in zip(box, image.shape, strict=True)]
        inner = tuple(bounds[lead:])
        result = np.empty([max(0, b.stop - b.start) for b in bounds], image.dtype)
        for target in product(*(range(size) for size in result.shape[:lead])):
            position = tuple(b.start + n for b, n in zip(bounds, target, strict=False))
            if result[target].size:
                with lock:
                    result[target] = image.read(position, inner)
        return result

    return StoredArray(header, (1,) * lead + (image.chunks or image.shape[lead:]), read)
