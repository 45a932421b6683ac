"""Images and labels that stay on disk: any box of them is read when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from singula.boxes import Box, boxes, clipped
from singula.errors import UserError
from singula.io.axes import Layout
from singula.io.files import guarded, open_stored
from singula.io.formats import stem_of
from singula.io.image import AnyArray, ArrayPlace, Header, Stored
from singula.io.read import (
    check_image_arguments,
    check_label_arguments,
    geometry,
    image_layout,
    label_layout,
)
from singula.io.units import agreeing_unit
from singula.io.values import check_finite, colour_labels, native, shades, to_ids

__all__ = ["ArrayPlace", "Box", "LazyImage", "boxes", "open_image", "open_labels"]

_LABEL_TYPES = {1: np.uint8, 2: np.uint16}


@dataclass(eq=False)
class LazyImage:
    """An image or label image of which boxes are read, never the whole.

    Made by `open_image` and `open_labels`. It may be sent to another process, which opens the file
    for itself, and boxes may be read from several threads at once.

    Parameters
    ----------
    path : Path
    name : str
        File name without its suffix.
    channels : int
        Length of the last axis.
    dtype : dtype
        Of what is read: of images as stored, in native byte order; of labels the unsigned type of
        the stored size, at most 32 bits.
    spacing : tuple of float, optional
        Size of a pixel along each spatial axis, z first, in `unit`.
    unit : str, optional
    axes_note : str
        How the axes were decided, for the log.
    chunks : tuple of int
        Along each spatial axis what the file decodes at once: a chunk, strip, tile or page. Boxes
        that begin and end at multiples of it decode nothing twice.
    """

    path: Path
    name: str
    channels: int
    dtype: np.dtype[Any]
    spacing: tuple[float, ...] | None
    unit: str | None
    axes_note: str
    chunks: tuple[int, ...]
    _header: Header
    _layout: Layout
    _place: ArrayPlace | None
    _labels: bool
    _open: tuple[int, Stored] | None = field(default=None, repr=False)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along (y, x) or (z, y, x)."""
        return self._layout.spatial_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """(y, x, c) or (z, y, x, c), as that of `Image.array`."""
        return (*self.spatial_shape, self.channels)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.spatial_shape)

    def with_spacing(self, spacing: tuple[float, ...], unit: str | None = None) -> LazyImage:
        """Return the image with a voxel size that a user set; see `Image.with_spacing`."""
        own = unit or agreeing_unit(spacing, self.spacing, self.unit)
        return replace(self, spacing=spacing, unit=own)

    def read(self, box: Sequence[slice]) -> AnyArray:
        """Read a box.

        Parameters
        ----------
        box : sequence of slice
            One for each spatial axis, without steps; what lies beyond the image is cut off.

        Returns
        -------
        ndarray
            (y, x, c) or (z, y, x, c), contiguous, in native byte order.

        Raises
        ------
        UserError
            A damaged file; NaN or infinite values; for labels fractions, negative ids, ids above
            2**32 - 1, colours. Only what lies in the box is looked at.
        """
        bounds = clipped(box, self.spatial_shape)
        layout = replace(self._layout, spatial_shape=tuple(b.stop - b.start for b in bounds))
        index = [slice(None)] * len(self._header.shape)
        for axis, bound in zip(layout.order, bounds, strict=False):
            index[axis] = bound
        stored = self._stored()
        array = guarded(self.path, lambda kind: stored.read(tuple(index)))
        array = layout.apply(native(self._coloured(array)))
        check_finite(self.path, array, whole=False)
        if self._labels:
            return self._ids(array)
        if array.shape[-1] < self.channels:
            array = np.repeat(array, self.channels, axis=-1)
        return array

    def _coloured(self, array: AnyArray) -> AnyArray:
        palette = self._header.palette
        return array if palette is None or self._labels else shades(palette)[array]

    def _ids(self, array: AnyArray) -> AnyArray:
        if self._layout.channels == 3 and not (array == array[..., :1]).all():
            raise colour_labels(self.path, self._header)
        array = array[..., : self.channels]
        if not array.size:
            return array.astype(self.dtype)
        return np.ascontiguousarray(to_ids(self.path, array).astype(self.dtype, copy=False))

    def _stored(self) -> Stored:
        """The opened file; a process that was forked opens it anew."""
        opened = self._open
        if opened is None or opened[0] != os.getpid():
            stored = open_stored(self.path, self._place, labels=self._labels)
            if stored.header.shape != self._header.shape:
                raise UserError(
                    f"{self.path}: was changed since it was opened: its shape is now "
                    f"{stored.header.shape}, it was {self._header.shape}",
                    "run the command again",
                )
            opened = self._open = (os.getpid(), stored)
        return opened[1]

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: everything but the open file."""
        return {**self.__dict__, "_open": None}


def open_image(
    path: Path | str,
    ndim: int,
    channels: int | None = None,
    *,
    grey: bool = False,
    arrays: ArrayPlace | None = None,
) -> LazyImage:
    """Open an image to read boxes of it.

    Parameters
    ----------
    path, ndim, channels, grey, arrays
        As for `singula.io.read.read_image`.

    Returns
    -------
    LazyImage
        Whose boxes are those of what `read_image` gives.

    Raises
    ------
    TypeError, UserError
        As `read_image`; what only values can tell is found when they are read.
    """
    path = check_image_arguments(path, ndim, channels, grey=grey, arrays=arrays)
    stored = open_stored(path, arrays)
    header = stored.header
    layout = image_layout(path, header, ndim, channels, grey=grey)
    dtype = header.dtype if header.palette is None else np.dtype(np.uint8)
    count = layout.channels if channels is None else max(channels, layout.channels)
    return _lazy(path, stored, layout, arrays, count, dtype.newbyteorder("="), labels=False)


def open_labels(
    path: Path | str, ndim: int, classes: bool = False, *, arrays: ArrayPlace | None = None
) -> LazyImage:
    """Open a label image to read boxes of it.

    Parameters
    ----------
    path, ndim, classes, arrays
        As for `singula.io.read.read_labels`.

    Returns
    -------
    LazyImage
        Whose boxes are those of what `read_labels` gives, in a type that does not depend on what
        ids a box holds.

    Raises
    ------
    TypeError, UserError
        As `read_labels`; what only values can tell is found when they are read.
    """
    path = check_label_arguments(path, ndim, classes, arrays=arrays)
    stored = open_stored(path, arrays, labels=True)
    layout = label_layout(path, stored.header, ndim, classes)
    kind = stored.header.dtype
    size = 4 if kind.kind == "f" else kind.itemsize
    dtype = np.dtype(_LABEL_TYPES.get(size, np.uint32))
    return _lazy(path, stored, layout, arrays, 1 + classes, dtype, labels=True)


def _lazy(
    path: Path,
    stored: Stored,
    layout: Layout,
    place: ArrayPlace | None,
    channels: int,
    dtype: np.dtype[Any],
    *,
    labels: bool,
) -> LazyImage:
    spatial = len(layout.spatial_shape)
    spacing, unit = geometry(stored.header, spatial)
    return LazyImage(
        path=path,
        name=stem_of(path),
        channels=channels,
        dtype=dtype,
        spacing=spacing,
        unit=unit,
        axes_note=layout.note,
        chunks=tuple(
            min(stored.chunks[axis], stored.header.shape[axis]) for axis in layout.order[:spatial]
        ),
        _header=stored.header,
        _layout=layout,
        _place=place,
        _labels=labels,
        _open=(os.getpid(), stored),
    )
