"""Images and labels on disk that are read box by box."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.io.axes import Layout
from singula.io.files import guarded, open_stored, read_header
from singula.io.formats.table import stem_of
from singula.io.geometry import geometry
from singula.io.image import AnyArray, ArrayPlace, Header, StoredArray
from singula.io.label_values import check_finite, color_labels_error, native, shades, to_ids
from singula.io.read import (
    check_image_arguments,
    check_label_arguments,
    image_layout,
    label_layout,
)
from singula.io.unannotated import check_mask_shape, is_sparse_set, mask_place, sparse_type
from singula.io.units import infer_unit
from singula.util.boxes import Box, boxes, clipped
from singula.util.sparse_labels import UNANNOTATED, without_annotation

__all__ = ["ArrayPlace", "Box", "LazyImage", "boxes", "open_image", "open_labels"]

_SCAN_PIXELS = 1 << 22  # pixels of a box that is searched for -1
_LABEL_TYPES = {1: np.uint8, 2: np.uint16}


@dataclass(eq=False)
class LazyImage:
    """Image or label image on disk that is read box by box.

    `open_image` and `open_labels` create it. It can be sent to another process, which then opens
    the file again. Several threads may read boxes at the same time.

    Parameters
    ----------
    path : Path
        File of the image.
    name : str
        File name without its suffix.
    channels : int
        Length of the last axis.
    dtype : dtype
        Type of the boxes. Images: the stored type in native byte order. Labels: the unsigned type
        of the stored size, at most 32 bits; a signed type if pixels may not be annotated.
    spacing : tuple of float, optional
        Voxel size along each spatial axis, z first, in `unit`.
    unit : str, optional
        Unit of `spacing`.
    axes_note : str
        Axes and their origin (metadata or shape), for the log.
    chunks : tuple of int
        Shape of the smallest part that the format decodes (chunk, strip, tile or page), along each
        spatial axis. Boxes aligned to multiples of it decode no part twice.
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
    _excluded: LazyImage | None = None
    _open: tuple[int, StoredArray] | None = field(default=None, repr=False)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Size along (y, x) or (z, y, x)."""
        return self._layout.spatial_shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (y, x, c) or (z, y, x, c), as of `Image.array`."""
        return (*self.spatial_shape, self.channels)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.spatial_shape)

    def with_spacing(self, spacing: tuple[float, ...], unit: str | None = None) -> LazyImage:
        """Return the image with a voxel size that a user set; see `Image.with_spacing`."""
        return replace(
            self, spacing=spacing, unit=unit or infer_unit(spacing, self.spacing, self.unit)
        )

    def read(self, box: Sequence[slice]) -> AnyArray:
        """Read a box.

        Parameters
        ----------
        box : sequence of slice
            One slice without a step for each spatial axis, in pixels; clipped to the image.

        Returns
        -------
        ndarray, shape (y, x, c) or (z, y, x, c)
            Pixels of the box, contiguous, in native byte order.

        Raises
        ------
        UserError
            ``io.unreadable``, ``io.cut_off``: the file is damaged; ``io.file_changed``: another
            program changed its shape. NaN or infinite values in the box; in label files, values in
            the box that are not ids (see `to_ids`), or colors.
        """
        bounds = clipped(box, self.spatial_shape)
        layout = replace(self._layout, spatial_shape=tuple(b.stop - b.start for b in bounds))
        index = [slice(None)] * len(self._header.shape)
        for axis, bound in zip(layout.order, bounds, strict=False):
            index[axis] = bound
        stored = self._stored()
        array = guarded(self.path, lambda kind: stored.read(tuple(index)))
        array = layout.apply(native(self._with_palette(array)))
        check_finite(self.path, array, whole=False)
        if self._labels:
            return self._without_excluded(self._ids(array), bounds)
        if array.shape[-1] < self.channels:
            array = np.repeat(array, self.channels, axis=-1)
        return array

    def _with_palette(self, array: AnyArray) -> AnyArray:
        """Replace the indices of an image with a palette by its colors."""
        palette = self._header.palette
        return array if palette is None or self._labels else shades(palette)[array]

    def _ids(self, array: AnyArray) -> AnyArray:
        if self._layout.channels == 3 and not (array == array[..., :1]).all():
            raise color_labels_error(self.path, self._header)
        array = array[..., : self.channels]
        if not array.size:
            return array.astype(self.dtype)
        ids = to_ids(self.path, array, lambda: self._place is not None and self._place.sparse)
        return np.ascontiguousarray(ids.astype(self.dtype, copy=False))

    def _without_excluded(self, ids: AnyArray, bounds: Box) -> AnyArray:
        """Set pixels in the mask of a label file to "not annotated"."""
        if self._excluded is None:
            return ids
        excluded = self._excluded.read(bounds)[..., 0] != 0
        return without_annotation(ids, excluded).astype(self.dtype, copy=False)

    def _stored(self) -> StoredArray:
        """Return the open file; open it again in a forked process."""
        opened = self._open
        if opened is None or opened[0] != os.getpid():
            stored = open_stored(self.path, self._place, labels=self._labels)
            if stored.header.shape != self._header.shape:
                raise UserError(
                    f"{self.path}: was changed since it was opened: got shape "
                    f"{stored.header.shape}, expected {self._header.shape}",
                    "run the command again",
                    "io.file_changed",
                )
            opened = self._open = (os.getpid(), stored)
        return opened[1]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process, without the open file."""
        return {**self.__dict__, "_open": None}


def open_image(
    path: Path | str,
    ndim: int,
    channels: int | None = None,
    *,
    allow_gray: bool = False,
    arrays: ArrayPlace | None = None,
) -> LazyImage:
    """Open an image that is read box by box.

    Parameters
    ----------
    path, ndim, channels, allow_gray, arrays
        As for `singula.io.read.read_image`.

    Returns
    -------
    LazyImage
        Its boxes are equal to boxes of the array of `read_image`.

    Raises
    ------
    TypeError, UserError
        As `read_image`. `LazyImage.read` raises the errors on values.
    """
    path = check_image_arguments(path, ndim, channels, allow_gray=allow_gray, arrays=arrays)
    stored = open_stored(path, arrays)
    header = stored.header
    layout = image_layout(path, header, ndim, channels, allow_gray=allow_gray)
    dtype = header.dtype if header.palette is None else np.dtype(np.uint8)
    count = layout.channels if channels is None else max(channels, layout.channels)
    return _lazy(path, stored, layout, arrays, count, dtype.newbyteorder("="), labels=False)


def open_labels(
    path: Path | str, ndim: int, classes: bool = False, *, arrays: ArrayPlace | None = None
) -> LazyImage:
    """Open a label image that is read box by box.

    Parameters
    ----------
    path, ndim, classes, arrays
        As for `singula.io.read.read_labels`.

    Returns
    -------
    LazyImage
        Its boxes are equal to boxes of the array of `read_labels`, in a type that does not depend
        on the ids in a box.

    Raises
    ------
    TypeError, UserError
        As `read_labels`. `LazyImage.read` raises the errors on values.
    """
    path = check_label_arguments(path, ndim, classes, arrays=arrays)
    stored = open_stored(path, arrays, labels=True)
    layout = label_layout(path, stored.header, ndim, classes)
    stored_dtype = stored.header.dtype
    size = 4 if stored_dtype.kind == "f" else stored_dtype.itemsize
    dtype = np.dtype(_LABEL_TYPES.get(size, np.uint32))
    if arrays is not None and (arrays.sparse or arrays.ignore):
        dtype = sparse_type(stored_dtype)
    opened = _lazy(path, stored, layout, arrays, 1 + classes, dtype, labels=True)
    if arrays is not None and arrays.ignore:
        opened._excluded = open_image(arrays.ignore, ndim, 1, arrays=mask_place(arrays))
        check_mask_shape(arrays, path, opened._excluded.spatial_shape, opened.spatial_shape)
    return opened


def find_unannotated(path: Path, ndim: int, arrays: ArrayPlace | None = None) -> ArrayPlace | None:
    """Return the selection for `open_labels` of a label file that may contain -1.

    Only files of a signed or float type are read, until -1 and 0 are found.

    Parameters
    ----------
    path, ndim, arrays
        As for `open_labels`.

    Returns
    -------
    ArrayPlace, optional
        `arrays`, with `sparse` if the file has pixels that are not annotated.
    """
    place = arrays or ArrayPlace()
    if read_header(path, arrays, labels=True).dtype.kind not in "if":
        return arrays
    sparse, has_zero = replace(place, sparse=True), False
    opened = open_labels(path, ndim, arrays=replace(sparse, ignore=""))
    values = np.zeros((1,) * (ndim + 1), opened.dtype)
    for box in boxes(opened.spatial_shape, _scan_shape(opened)):
        block = opened.read(box)
        has_zero |= bool((block == 0).any())
        if int(block.min()) == UNANNOTATED:
            values[:] = UNANNOTATED
        if values.any() and has_zero:
            return sparse
    return sparse if values.any() and is_sparse_set(path, values, arrays) else arrays


def _scan_shape(image: LazyImage) -> list[int]:
    """Return the shape of the boxes in which an image is read once: whole chunks."""
    size = list(image.chunks)
    for axis in reversed(range(len(size))):
        factor = max(1, _SCAN_PIXELS // int(np.prod(size)))
        size[axis] = min(image.spatial_shape[axis], size[axis] * factor)
    return size


def _lazy(
    path: Path,
    stored: StoredArray,
    layout: Layout,
    place: ArrayPlace | None,
    channels: int,
    dtype: np.dtype[Any],
    *,
    labels: bool,
) -> LazyImage:
    ndim = len(layout.spatial_shape)
    spacing, unit = geometry(stored.header, ndim)
    return LazyImage(
        path=path,
        name=stem_of(path),
        channels=channels,
        dtype=dtype,
        spacing=spacing,
        unit=unit,
        axes_note=layout.note,
        chunks=tuple(
            min(stored.chunks[axis], stored.header.shape[axis]) for axis in layout.order[:ndim]
        ),
        _header=stored.header,
        _layout=layout,
        _place=place,
        _labels=labels,
        _open=(os.getpid(), stored),
    )
