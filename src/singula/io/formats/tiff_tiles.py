"""Read boxes of a TIFF image: only the pages, strips and tiles that a box intersects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from singula.io.formats.tiff import contiguous_pixels, open_series, tiff_mapped, tiff_pixels
from singula.io.image import AnyArray, ArrayPlace, Header, StoredArray
from singula.util.boxes import Box

if TYPE_CHECKING:
    from tifffile import TiffPageSeries


def open_tiff(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an image in a TIFF file without reading its pixels.

    Uncompressed contiguous pixels are mapped. Otherwise, a box is assembled from the strips and
    tiles that it intersects. If the pages do not correspond to the first axes of the image, which
    is rare, the whole image is read at the first box and kept in memory.

    Parameters
    ----------
    path : Path
        TIFF file.
    place : ArrayPlace
        Number of the image; without one, the first image.
    labels : bool
        Not used.

    Raises
    ------
    UserError, ValueError
        As `singula.io.formats.tiff.open_series`.
    """
    with open_series(path, place) as (tif, series, header):
        contiguous = contiguous_pixels(tif, series)
        pages = None if contiguous is not None else _Pages.of(path, series, header)
    if contiguous is not None:
        dtype, offset = contiguous
        opened = _stamp(path)

        def mapped(box: Box) -> AnyArray:
            # Map again at each read, so that pages of the file read before are released.
            if _stamp(path) == opened:
                return np.array(np.memmap(path, dtype, "r", offset, header.shape)[box])
            view = tiff_mapped(path, place)
            if view is None:
                raise ValueError("the file was changed since it was opened")
            return np.array(view[box])

        return StoredArray(header, (1,) * len(header.shape), mapped)
    if pages is None:
        cache: list[AnyArray] = []

        def whole(box: Box) -> AnyArray:
            if not cache:
                cache.append(tiff_pixels(path, place)[0])
            return cache[0][box]

        return StoredArray(header, header.shape, whole)
    return StoredArray(header, pages.chunks, pages.read)


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and modification time of a file, to detect changes."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class _Page:
    """Byte offsets and sizes of the segments (strips or tiles) of a page."""

    file: Path
    offsets: Sequence[int]
    sizes: Sequence[int]


@dataclass(frozen=True)
class _Pages:
    """Image that consists of pages, which consist of equal segments (strips or tiles).

    A page has five axes: separate samples, depth, rows, columns, samples of a pixel. The axes of a
    page that are longer than 1 are the last axes of the image.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    lead : int
        Number of axes that count pages; they come first.
    axes : tuple of int
        For each other axis of the image, its position among the axes of a page; -1 for an axis of
        size 1.
    page_shape, segment_shape : tuple of int
        Shape of a page and of a segment, along the axes of a page.
    pages : list of _Page
        Pages in the order of the image.
    decode : callable
        Function of the bytes and the number of a segment that returns its pixels.
    dtype : dtype
        Type of the pixels.
    nodata : number
        Value of segments that are not stored.
    """

    shape: tuple[int, ...]
    lead: int
    axes: tuple[int, ...]
    page_shape: tuple[int, ...]
    segment_shape: tuple[int, ...]
    pages: list[_Page]
    decode: Callable[[bytes, int], AnyArray | None]
    dtype: np.dtype[Any]
    nodata: float

    @classmethod
    def of(cls, path: Path, series: TiffPageSeries, header: Header) -> _Pages | None:
        """Return the pages of an image; None if pages do not correspond to its first axes."""
        page = series.keyframe
        positions = [position for position, size in enumerate(page.shaped) if size > 1]
        sizes = [page.shaped[position] for position in positions]
        for lead in range(len(header.shape) + 1):
            inner_shape = header.shape[lead:]
            if [size for size in inner_shape if size > 1] != sizes:
                continue
            if math.prod(header.shape[:lead]) == len(series):
                break
        else:
            return None
        remaining = iter(positions)
        axes = tuple(next(remaining) if size > 1 else -1 for size in inner_shape)
        tables, head, decode = page.jpegtables, page.jpegheader, page.decode

        def pixels(data: bytes, number: int) -> AnyArray | None:
            segment: AnyArray | None = decode(data, number, jpegtables=tables, jpegheader=head)[0]
            return segment

        return cls(
            shape=header.shape,
            lead=lead,
            axes=axes,
            page_shape=tuple(page.shaped),
            segment_shape=_segment_shape(page),
            pages=[
                _Page(path, item.dataoffsets, item.databytecounts)
                for item in series
                if item is not None
            ],
            decode=pixels,
            dtype=np.dtype(series.dtype),
            nodata=page.nodata,
        )

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a segment along the axes of the image."""
        inner = (1 if position < 0 else self.segment_shape[position] for position in self.axes)
        return (*(1,) * self.lead, *inner)

    def read(self, box: Box) -> AnyArray:
        """Read a box: one slice for each axis of the image."""
        bounds = [slice(*item.indices(size)) for item, size in zip(box, self.shape, strict=True)]
        shape = [max(0, b.stop - b.start) for b in bounds]
        if 0 in shape:
            return np.zeros(shape, self.dtype)
        inner = [slice(0, size) for size in self.page_shape]
        for place, bound in zip(self.axes, bounds[self.lead :], strict=True):
            if place >= 0:
                inner[place] = bound
        counted = [range(b.start, b.stop) for b in bounds[: self.lead]]
        numbers = [
            int(np.ravel_multi_index(place, self.shape[: self.lead])) if place else 0
            for place in product(*counted)
        ]
        result = np.empty((len(numbers), *(b.stop - b.start for b in inner)), self.dtype)
        for row, number in enumerate(numbers):
            self._read_page(self.pages[number], tuple(inner), result[row])
        return result.reshape(shape)

    def _read_page(self, page: _Page, box: Box, result: AnyArray) -> None:
        counts = [-(-n // s) for n, s in zip(self.page_shape, self.segment_shape, strict=True)]
        touched = [
            range(b.start // size, (b.stop - 1) // size + 1)
            for b, size in zip(box, self.segment_shape, strict=True)
        ]
        with page.file.open("rb") as file:
            for place in product(*touched):
                number = int(np.ravel_multi_index(place, counts))
                starts = [p * size for p, size in zip(place, self.segment_shape, strict=True)]
                lows = [max(b.start, s) for b, s in zip(box, starts, strict=True)]
                highs = [
                    min(b.stop, s + size)
                    for b, s, size in zip(box, starts, self.segment_shape, strict=True)
                ]
                target = tuple(
                    slice(low - b.start, high - b.start)
                    for low, high, b in zip(lows, highs, box, strict=True)
                )
                pixels = self._segment(file, page, number)
                if pixels is None:
                    result[target] = self.nodata
                    continue
                part = tuple(
                    slice(low - s, high - s)
                    for low, high, s in zip(lows[1:], highs[1:], starts[1:], strict=True)
                )
                result[target] = pixels[part][None]

    def _segment(self, file: Any, page: _Page, number: int) -> AnyArray | None:
        size = page.sizes[number]
        if not size:
            return None
        file.seek(page.offsets[number])
        data = file.read(size)
        if len(data) < size:
            raise ValueError("the file is cut off")
        return self.decode(data, number)


def _segment_shape(page: Any) -> tuple[int, ...]:
    _, _, rows, columns, samples = page.shaped
    if page.is_tiled:
        return (1, page.tiledepth, page.tilelength, page.tilewidth, samples)
    return (1, 1, min(page.rowsperstrip, rows), columns, samples)
