"""Images with their geometry, headers of files, and the selection of one array of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.units import infer_unit
from singula.util.arguments import as_array, choice, flag, integer, number, text
from singula.util.boxes import Box

AnyArray = NDArray[Any]
_MAX_LISTED = 16  # names of channels in a message
Spacing = float | Sequence[float]
"""Voxel size along each spatial axis, z first; one number for all axes."""


@dataclass(frozen=True, eq=False)
class Image:
    """An array with axes, voxel size and name.

    Parameters
    ----------
    array : ndarray, shape (y, x, c) or (z, y, x, c)
        Pixels, channel-last, C-contiguous, in native byte order.
    spacing : tuple of float, optional
        Voxel size along each spatial axis, z first, in `unit`.
    unit : str, optional
        Unit of `spacing`; None if the file gives no unit.
    name : str
        File name without its suffix.
    path : Path, optional
        File of the image.
    axes_note : str
        Axes and their origin (metadata or shape), for the log.
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

        Parameters
        ----------
        spacing : tuple of float
            Voxel size along each spatial axis, z first.
        unit : str, optional
            Unit of `spacing`; by default, the unit in which it equals the voxel size of the file
            (see `infer_unit`).
        """
        return replace(
            self, spacing=spacing, unit=unit or infer_unit(spacing, self.spacing, self.unit)
        )


def resized_spacing(
    spacing: Sequence[float], shape: Sequence[int], new_shape: Sequence[int]
) -> tuple[float, ...]:
    """Return the voxel size of an image after resizing.

    Parameters
    ----------
    spacing : sequence of float
        Voxel size before, along each spatial axis.
    shape, new_shape : sequence of int
        Spatial shape before and after, with the axes of `spacing`.
    """
    return tuple(s * old / new for s, old, new in zip(spacing, shape, new_shape, strict=True))


def check_spacing(spacing: Spacing | None, ndim: int, name: str = "spacing") -> tuple[float, ...]:
    """Validate a voxel size, and expand it to one size per axis.

    Parameters
    ----------
    spacing : float or sequence of float, optional
        Voxel size along each spatial axis, z first; one number for all axes. Default: 1.
    ndim : int
        Number of spatial axes.
    name : str
        Name of the argument or key, for the message.

    Returns
    -------
    tuple of float
        Voxel size along each spatial axis, z first.

    Raises
    ------
    TypeError
        Not numbers.
    UserError
        ``arguments.spacing``: `spacing` is neither a positive number nor one per axis.
    """
    sizes = as_array(1.0 if spacing is None else spacing, name, kinds="iuf").astype(np.float64)
    if sizes.ndim == 0:
        sizes = np.repeat(sizes, ndim)
    if sizes.shape != (ndim,) or not ((sizes > 0) & np.isfinite(sizes)).all():
        raise UserError(
            f"{name}: got {spacing!r}, expected {ndim} positive numbers (one per axis, z first), "
            "or one for all axes",
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
        Path of the array in a container (Zarr, HDF5, N5), such as ``volumes/raw``. Dots may
        replace the slashes. Empty: the only array.
    axes : str, optional
        One letter of T, Z, C, Y, X for each axis of an array in a container, such as ``ZYXC``;
        takes precedence over the metadata. None: axes of the metadata, else of the shape.
    series : int, optional
        Number of the image in a file of several images (a TIFF with several series, an OME-Zarr
        plate or collection), from 0. None: the first; `Header.left_out` names the others.
    frame : int, optional
        Number of the time point, from 0. None: the image must have one time point.
    command : {'run', 'predict'}
        Command that reads the file; hints name its keys or options.
    like : str
        Image file whose orientation a label file is converted to; empty for none.
    external_files : bool
        Allow references to other files: external storage, links that lead out of a container.
    downsample : float
        Pixels of the finest level of a whole slide per pixel of the image, along each axis.
    tissue_only : bool
        Replace the glass of a whole slide by its color, without reading it.
    channel : str
        Name or number, from 0, of the channel to read; a name takes precedence over a number.
        Empty: all channels.
    ignore : str
        File of a mask whose nonzero pixels are not annotated in a label file; empty for none.
    sparse : bool
        The value -1 in a label file that is read in boxes means "not annotated".
    color : int, optional
        Number of the color of a picture in color, from 0, that is read as a gray image. None: all
        colors.

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
    downsample: float = 1.0
    tissue_only: bool = False
    channel: str = ""
    ignore: str = ""
    sparse: bool = False
    color: int | None = None

    def __post_init__(self) -> None:
        """Refuse values of other types."""
        text(self.inside, "inside")
        if self.axes is not None:
            text(self.axes, "axes")
        for name in ("series", "frame", "color"):
            if getattr(self, name) is not None:
                integer(getattr(self, name), name)
        choice(self.command, "command", ("run", "predict"))
        text(self.like, "like")
        flag(self.external_files, "external_files")
        number(self.downsample, "downsample", above=0)
        flag(self.tissue_only, "tissue_only")
        text(self.channel, "channel")
        text(self.ignore, "ignore")
        flag(self.sparse, "sparse")


@dataclass(frozen=True)
class Series:
    """One image of a file.

    Parameters
    ----------
    name : str
        Short name, unique in the file: the number of a series, or the path of an image in a
        container (``A/1/0``). Empty for a file of one image.
    place : ArrayPlace
        Selection of this image.
    """

    name: str
    place: ArrayPlace


@dataclass(frozen=True)
class ArrayPlaces:
    """Selections of the image and of the labels in the files of a data set.

    Parameters
    ----------
    image, labels : ArrayPlace
        Selection in the image files and in the label files.
    together : bool
        True if each file holds both the image and its labels.
    """

    image: ArrayPlace = ArrayPlace()
    labels: ArrayPlace = ArrayPlace()
    together: bool = False

    @property
    def label_variant(self) -> str:
        """Array and axes of the labels as text, such as "array gt, axes ZYX"; empty for neither."""
        settings = (("array", self.labels.inside), ("axes", self.labels.axes))
        return ", ".join(f"{name} {value}" for name, value in settings if value)


@dataclass(frozen=True, eq=False)
class Header:
    """Metadata of an image file, read without its pixels.

    Parameters
    ----------
    shape : tuple of int
        Shape of the stored array.
    dtype : dtype
        Type of the stored values.
    axes : str, optional
        One letter for each axis of `shape`: X, Y, Z, C (channel), T (time), S (color sample),
        Q (pages of unknown meaning), or another letter of the format. None: not in the metadata.
    spacing : tuple of float, optional
        Voxel size along (y, x) or (z, y, x), in `unit`.
    unit : str, optional
        Unit of `spacing`.
    source : str
        Origin of `axes` for the log, such as "ImageJ metadata".
    palette : ndarray, shape (n, 3), uint8, optional
        Colors (red, green, blue) by stored value.
    alpha : bool
        True if the last channel is transparency.
    notes : tuple of str
        Notes on the file, for the user.
    array : str
        Path of the array in a container.
    remedy : str
        Remedy for wrong axes, for hints. Empty: the remedy for TIFF files.
    left_out : tuple of str
        Images of the file that are not read because the user chose none.
    command : {'run', 'predict'}
        Command that reads the file; see `ArrayPlace`.
    orientation : (int, int, int), optional
        Value of the orientation tag (EXIF, TIFF: 1 to 8), and the axes y and x of `shape`.
    affine : ndarray of float64, shape (4, 4), optional
        Map from indices (x, y, z) to coordinates in space; None if the file has no affine.
    channel_names : tuple of str
        Name of each channel; empty if the file does not name all of them.
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
    channel_names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return shape, axes and names of several channels as text for messages."""
        axes = f", axes {self.axes} from {self.source}" if self.axes else ""
        names = ", ".join(self.channel_names[:_MAX_LISTED]) if self.channel_names[1:] else ""
        return f"shape {self.shape}{axes}" + (f"; channels: {names}" if names else "")


@dataclass(frozen=True, eq=False)
class StoredArray:
    """Array on disk that is read in boxes.

    Parameters
    ----------
    header : Header
        Metadata of the array.
    chunks : tuple of int
        Shape of the smallest part that the format decodes, along each stored axis.
    read : callable
        Function that takes one slice per stored axis and returns this box, with the stored axes.
    """

    header: Header
    chunks: tuple[int, ...]
    read: Callable[[Box], AnyArray]
