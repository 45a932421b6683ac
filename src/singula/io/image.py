"""What the room hands around: an image with its geometry, and what a file says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.arguments import as_array, choice, flag, integer, text
from singula.boxes import Box
from singula.errors import UserError
from singula.io.units import agreeing_unit

AnyArray = NDArray[Any]
Spacing = float | Sequence[float]
"""Size of a pixel along each axis, z first; one number for all of them."""


@dataclass(frozen=True, eq=False)
class Image:
    """An array with axes, voxel size and name.

    Parameters
    ----------
    array : ndarray, shape (y, x, c) or (z, y, x, c)
        Channel-last, C-contiguous, native byte order.
    spacing : tuple of float, optional
        Size of a pixel along each spatial axis, z first, in `unit`.
    unit : str, optional
        Unit of `spacing`; None when the file gives none.
    name : str
        File name without its suffix.
    path : Path, optional
        The file it was read from.
    axes_note : str
        How the axes were decided, for the log.
    """

    array: AnyArray
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    name: str = ""
    path: Path | None = None
    axes_note: str = ""

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.array.ndim - 1

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along (y, x) or (z, y, x)."""
        return self.array.shape[:-1]

    def with_spacing(self, spacing: tuple[float, ...], unit: str | None = None) -> Image:
        """Return the image with a voxel size that a user set.

        Without a `unit`, the size has the unit in which it agrees with that of the file.
        """
        own = unit or agreeing_unit(spacing, self.spacing, self.unit)
        return replace(self, spacing=spacing, unit=own)


def resized_spacing(
    spacing: Sequence[float], shape: Sequence[int], new: Sequence[int]
) -> tuple[float, ...]:
    """Size of a pixel after an image of one spatial shape was given another."""
    return tuple(s * old / n for s, old, n in zip(spacing, shape, new, strict=True))


def check_spacing(spacing: Spacing | None, ndim: int, name: str = "spacing") -> tuple[float, ...]:
    """Return the size of a pixel along each axis, 1 by default, or refuse it.

    Messages call it by `name`.

    Raises
    ------
    TypeError
        Not numbers.
    UserError
        ``arguments.spacing``: neither a positive number nor one for each axis.
    """
    sizes = as_array(1.0 if spacing is None else spacing, name, kinds="iuf").astype(np.float64)
    if sizes.ndim == 0:
        sizes = np.repeat(sizes, ndim)
    if sizes.shape != (ndim,) or not ((sizes > 0) & np.isfinite(sizes)).all():
        raise UserError(
            f"{name} is {spacing!r}; allowed {ndim} positive numbers, one per axis, z first, or "
            "one for all",
            f"give one number for each axis, or omit {name} to measure in pixels",
            "arguments.spacing",
        )
    return tuple(sizes.tolist())


@dataclass(frozen=True)
class ArrayPlace:
    """Selection of one image in a file of several arrays, images or time points.

    Parameters
    ----------
    inside : str
        Path of the array inside a container (Zarr, HDF5, N5), such as ``volumes/raw``; dots may
        stand for slashes. Empty: the only array.
    axes : str, optional
        One letter of T, Z, C, Y, X for each axis of an array in a container, such as ``ZYXC``;
        takes precedence over the file. None: the axes of the file, else those that the shape
        allows.
    series : int, optional
        Number of the image in a file that holds several (a TIFF with several series, an OME-Zarr
        plate or collection), from 0. None: the first; `Header.left_out` names the others.
    frame : int, optional
        Number of the time point, from 0. None: the image must have a single one.
    command : {'run', 'predict'}
        The command that reads the file; hints name its keys or options.
    like : str
        Image file to whose orientation in space a label file is brought; empty for none.
    external_files : bool
        The file may refer to files outside: external storage, links that leave a container.

    Raises
    ------
    TypeError, UserError
        A value of another type, or another command.
    """

    inside: str = ""
    axes: str | None = None
    series: int | None = None
    frame: int | None = None
    command: str = "run"
    like: str = ""
    external_files: bool = False

    def __post_init__(self) -> None:
        """Refuse values of other types."""
        text(self.inside, "inside")
        if self.axes is not None:
            text(self.axes, "axes")
        for name in ("series", "frame"):
            if getattr(self, name) is not None:
                integer(getattr(self, name), name)
        choice(self.command, "command", ("run", "predict"))
        text(self.like, "like")
        flag(self.external_files, "external_files")


@dataclass(frozen=True)
class Series:
    """Image in a file of one or several images.

    Parameters
    ----------
    name : str
        Short and unique in the file: the number of a series, the path of an image in a container
        (``A/1/0``), or empty for a file of one image.
    place : ArrayPlace
        Where it is read.
    """

    name: str
    place: ArrayPlace


@dataclass(frozen=True)
class ArrayPlaces:
    """Where the containers of a data set keep images and labels.

    Parameters
    ----------
    image, labels : ArrayPlace
    together : bool
        The labels are in the files of the images.
    """

    image: ArrayPlace = ArrayPlace()
    labels: ArrayPlace = ArrayPlace()
    together: bool = False

    @property
    def label_variant(self) -> str:
        """What tells the labels from others in the same file, in words; empty for nothing."""
        said = (("array", self.labels.inside), ("axes", self.labels.axes))
        return ", ".join(f"{name} {value}" for name, value in said if value)


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says about its pixels, known without reading them.

    Parameters
    ----------
    shape : tuple of int
        As stored.
    dtype : dtype
        As stored.
    axes : str, optional
        One letter for each axis of `shape`: X, Y, Z, C (channel), T (time), S (colour sample),
        Q (pages of unknown meaning), or another letter of the format. None: the file does not say.
    spacing : tuple of float, optional
        (y, x) or (z, y, x), in `unit`.
    unit : str, optional
        Unit of `spacing`.
    source : str
        Where `axes` come from, for the log ("ImageJ metadata").
    palette : ndarray, shape (n, 3), uint8, optional
        Colours that the stored numbers stand for.
    alpha : bool
        The last channel is transparency.
    notes : tuple of str
        What a user should know about the file.
    array : str
        Path of the array in a container.
    remedy : str
        How a user sets the axes right; empty for the usual way, which is that of TIFF.
    left_out : tuple of str
        Images of the file that are not read because none was chosen.
    command : {'run', 'predict'}
        See `ArrayPlace`.
    orientation : (int, int, int), optional
        Value of an orientation tag (EXIF, TIFF: 1 to 8), and the axes y and x of `shape`.
    affine : ndarray of float64, shape (4, 4), optional
        From indices (x, y, z) to coordinates in space; None if the file has none.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    source: str = ""
    palette: NDArray[np.uint8] | None = None
    alpha: bool = False
    notes: tuple[str, ...] = ()
    array: str = ""
    remedy: str = ""
    left_out: tuple[str, ...] = ()
    command: str = "run"
    orientation: tuple[int, int, int] | None = None
    affine: NDArray[np.float64] | None = None

    def __str__(self) -> str:
        """Return shape and axes as a message shows them."""
        said = f", axes {self.axes} from {self.source}" if self.axes else ""
        return f"shape {self.shape}{said}"


@dataclass(frozen=True, eq=False)
class Stored:
    """An array that stays where it is stored, until a part of it is read.

    Parameters
    ----------
    header : Header
    chunks : tuple of int
        What is decoded at once, along each stored axis.
    read : callable
        A slice for each stored axis to that part, in the stored order of axes.
    """

    header: Header
    chunks: tuple[int, ...]
    read: Callable[[Box], AnyArray]
