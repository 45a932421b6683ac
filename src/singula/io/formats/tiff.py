"""Read TIFF files: OME-TIFF, ImageJ hyperstacks, tifffile's format and plain TIFF."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from singula.io.formats.ome_set import image_metadata, open_own_planes
from singula.io.image import AnyArray, ArrayPlace, Header, Series
from singula.io.selection import choose_series, left_out, named_channels
from singula.io.sizes import DEFLATE, check_size
from singula.io.units import (
    UNCALIBRATED,
    VoxelSize,
    convert,
    round_significant,
    unit_symbol,
    voxel_size,
)

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_SOURCES = {"ome": "OME metadata", "imagej": "ImageJ metadata", "shaped": "tifffile metadata"}
# Written by `write_tiff` into the description of a volume with one z slice.
SINGLE_SLICE = "single_slice"
# Series of slide scanners that are pictures of the slide, not of the specimen.
_NOT_IMAGES = {"label", "macro", "thumbnail", "overview"}
# Largest compression ratio by number of the compression: none, LZW (a code of 12 bits for at most
# 4096 bytes), deflate, PackBits (2 bytes for 128)
_RATIOS = {1: 1, 5: 2731, 8: DEFLATE, 32773: 64, 32946: DEFLATE}
# Units of the tag ResolutionUnit. Larger pixels are the resolution of a printer or screen.
_RESOLUTION_UNITS, _MAX_PIXEL_SIZE = {2: "in", 3: "cm"}, 10.0  # µm


def tiff_header(path: Path, place: ArrayPlace) -> Header:
    """Read the header of an image in a TIFF file; see `open_series` for errors."""
    with open_series(path, place) as (_, _, header):
        return header


def tiff_pixels(path: Path, place: ArrayPlace) -> tuple[AnyArray, Header]:
    """Read the stored array and the header of an image in a TIFF file; see `open_series`."""
    with open_series(path, place) as (_, series, header):
        return series.asarray().reshape(header.shape), header


def tiff_mapped(path: Path, place: ArrayPlace) -> AnyArray | None:
    """Map an image in a TIFF file; None if its pixels are compressed or not contiguous."""
    with open_series(path, place) as (tif, series, header):
        contiguous = contiguous_pixels(tif, series)
    if contiguous is None:
        return None
    dtype, offset = contiguous
    return np.asarray(np.memmap(path, dtype, "r", offset, header.shape))


def contiguous_pixels(tif: TiffFile, series: TiffPageSeries) -> tuple[np.dtype[Any], int] | None:
    """Return the type and the byte offset of pixels that can be mapped; None if they cannot."""
    if series.dataoffset is None or not series.keyframe.is_memmappable:
        return None
    return series.dtype.newbyteorder(tif.byteorder), series.dataoffset


def tiff_series(path: Path, place: ArrayPlace) -> list[Series]:
    """List the images in a TIFF file; their names are their numbers from 0."""
    with open_own_planes(path) as (tif, _):
        count = len(_images(tif))
    return [Series(str(number), replace(place, series=number)) for number in range(count)]


@contextmanager
def open_series(path: Path, place: ArrayPlace) -> Iterator[tuple[TiffFile, TiffPageSeries, Header]]:
    """Open a TIFF file at the selected image, and check that it is complete.

    Parameters
    ----------
    path : Path
        TIFF file.
    place : ArrayPlace
        Number of the image; without one, the first image.

    Yields
    ------
    tif : TiffFile
        The open file.
    series : TiffPageSeries
        The image.
    header : Header
        Metadata of the image.

    Raises
    ------
    UserError
        ``io.no_such_series``: the file has no image of that number; ``io.cut_off``,
        ``io.impossible_size``: the file cannot hold the declared pixels; ``io.part_of_a_stack``:
        see `open_own_planes`.
    ValueError
        The file holds no image, or is cut off.
    """
    with open_own_planes(path) as (tif, note):
        images = _images(tif)
        if not images:
            raise ValueError("it holds no image")
        names = [_title(number, series) for number, series in enumerate(images)]
        number = choose_series(path, place, names)
        _check_complete(path, tif, images[number])
        header = _header(tif, images[number], number if len(images) > 1 else None)
        notes = (*header.notes, note) if note else header.notes
        header = replace(header, notes=notes, left_out=left_out(place, names, number))
        yield tif, images[number], header


def _images(tif: TiffFile) -> list[TiffPageSeries]:
    """Return the images in a file, without thumbnails and pictures of the slide."""
    return [
        series
        for number, series in enumerate(tif.series)
        if not number or not (series.keyframe.is_reduced or series.name.lower() in _NOT_IMAGES)
    ]


def _title(number: int, series: TiffPageSeries) -> str:
    name = f" {series.name!r}" if series.name else ""
    return f"{number}{name} {tuple(series.shape)}"


def _check_complete(path: Path, tif: TiffFile, series: TiffPageSeries) -> None:
    """Raise an error if the file is cut off; tifffile would return fewer slices, or zeros."""
    cut = "the file is cut off or damaged"
    offset = tif.pages.next_page_offset
    tif.filehandle.seek(offset or 0)
    last_link = tif.filehandle.read(tif.tiff.offsetsize)
    if not offset or any(last_link) or len(last_link) < tif.tiff.offsetsize:
        raise ValueError(f"{cut}: its list of pages leads past the end")
    declared = tif.imagej_metadata or {}
    if series.kind in ("uniform", "generic") and declared.get("images", 1) > len(tif.pages):
        raise ValueError(f"{cut}: ImageJ metadata declare {declared['images']} images")
    if series.dataoffset is not None:
        if series.dataoffset + series.nbytes > tif.filehandle.size:
            raise ValueError(f"{cut}: pixels are missing at its end")
        return
    first = series.keyframe
    ratio = None if first.is_subsampled else _RATIOS.get(int(first.compression))
    for page in series:
        if page is None:
            raise ValueError(f"{cut}: a plane that its metadata names is missing")
        # A segment without bytes is filled with the value for no data.
        if ratio is not None and all(page.databytecounts):
            packed = -(-first.size * int(first.bitspersample) // 8)
            check_size(path, (packed,), 1, sum(page.databytecounts), ratio)
        if len(page.dataoffsets) != len(page.databytecounts):
            raise ValueError(f"{cut}: positions or sizes of its pixels are missing")
        ends = zip(page.dataoffsets, page.databytecounts, strict=True)
        if max((start + size for start, size in ends), default=0) > page.parent.filehandle.size:
            raise ValueError(f"{cut}: pixels are missing at its end")


def _header(tif: TiffFile, series: TiffPageSeries, number: int | None) -> Header:
    """Return the header of an image in an open file; `number` is None for a single image."""
    size = _calibration(tif, series, number)
    extra = series.keyframe.extrasamples
    shape, axes = tuple(series.shape), _known_axes(series.axes.upper())
    if axes is not None and "Z" not in axes and _says_one_slice(tif, series):
        shape, axes = (1, *shape), f"Z{axes}"
    return Header(
        shape=shape,
        dtype=series.dtype,
        axes=axes,
        spacing=size.spacing,
        unit=size.unit,
        source=_SOURCES.get(series.kind, "the TIFF pages"),
        alpha=series.axes.endswith("S") and len(extra) == 1 and extra[0] in (1, 2),
        orientation=_orientation(series),
        notes=size.notes,
        channel_names=named_channels(_channel_names(tif, series, number), axes, shape),
    )


def _channel_names(tif: TiffFile, series: TiffPageSeries, number: int | None) -> list[object]:
    """Return the names of the channels in OME metadata, or in the labels of ImageJ's slices."""
    if series.kind == "ome":
        try:
            xml = ElementTree.fromstring(image_metadata(tif.ome_metadata or "", number))
        except ElementTree.ParseError:
            return []
        pixels = xml.find(".//{*}Pixels")
        return [] if pixels is None else [c.get("Name") for c in pixels.iterfind("{*}Channel")]
    if tif.is_imagej:
        declared = tif.imagej_metadata or {}
        labels = declared.get("Labels")
        # Channels vary fastest; each slice of a channel has a label.
        return list(labels[: declared.get("channels", 1)]) if isinstance(labels, list) else []
    return []


def _orientation(series: TiffPageSeries) -> tuple[int, int, int] | None:
    """Return the orientation tag and the axes y and x, counted from the last axis."""
    value, count = series.keyframe.tags.valueof("Orientation", 1), len(series.axes)
    if value == 1 or not {"Y", "X"} <= set(series.axes):
        return None
    return int(value), series.axes.index("Y") - count, series.axes.index("X") - count


def _says_one_slice(tif: TiffFile, series: TiffPageSeries) -> bool:
    """Return True if the metadata declare a plane as a volume of one slice.

    tifffile does not return axes of size 1.
    """
    if tif.is_imagej:
        declared = tif.imagej_metadata or {}
        return bool(declared.get(SINGLE_SLICE)) or declared.get("slices") == 1
    return series.kind == "ome" and f">{SINGLE_SLICE}<" in (tif.ome_metadata or "")


def _known_axes(axes: str) -> str | None:
    """Return the axes without tifffile's guesses I (pages) and Q (unknown); None if none remain."""
    if "S" in axes:
        return axes.replace("I", "Q")
    return None if {"I", "Q"} & set(axes) else axes


def _calibration(tif: TiffFile, series: TiffPageSeries, number: int | None) -> VoxelSize:
    """Read the voxel size from the metadata of the dialect, else from the resolution tags."""
    try:
        if series.kind == "ome":
            return _ome_sizes(image_metadata(tif.ome_metadata or "", number))
        if tif.is_imagej:
            return _imagej_sizes(tif)
        return _tag_sizes(tif)
    except (ElementTree.ParseError, KeyError, ValueError, TypeError):
        return UNCALIBRATED  # invalid metadata do not make pixels unreadable


def _ome_sizes(xml: str) -> VoxelSize:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return UNCALIBRATED
    given = pixels.attrib
    axes = [axis for axis in "zyx" if f"PhysicalSize{axis.upper()}" in given]
    return voxel_size(
        {axis: given[f"PhysicalSize{axis.upper()}"] for axis in axes},
        {axis: given.get(f"PhysicalSize{axis.upper()}Unit", "µm") for axis in axes},
    )


def _imagej_sizes(tif: TiffFile) -> VoxelSize:
    """Read the calibration of ImageJ: x and y from tags, z and units from the description."""
    declared = tif.imagej_metadata or {}
    sizes: dict[str, object] = dict(_tag_lengths(tif))
    unit = unit_symbol(declared.get("unit"))
    if unit is None and tif.pages.first.tags.valueof("ResolutionUnit", 2) != 1:
        return _tag_sizes(tif)
    if "spacing" in declared:
        sizes["z"] = _magnitude(declared["spacing"])
    elif unit is not None and _has_slices(declared):
        sizes["z"] = 1.0  # ImageJ does not write a distance of exactly 1
    units = {"x": unit, "y": declared.get("yunit", unit), "z": declared.get("zunit", unit)}
    stated = "spacing" in declared and "unit" not in declared
    return voxel_size(sizes, units, calibrated=stated)


def _has_slices(declared: dict[str, Any]) -> bool:
    """Return True if an ImageJ description declares a stack along z."""
    if "slices" in declared:
        return int(declared["slices"]) > 1
    others = {"channels", "frames"} & declared.keys()
    return int(declared.get("images", 1)) > 1 and not others


def _magnitude(value: object) -> object:
    """Return the absolute distance between slices, which some scanners write as negative."""
    return abs(value) if isinstance(value, int | float) else value


def _tag_lengths(tif: TiffFile) -> dict[str, float]:
    """Return the length of a pixel along y and x in the unit of the resolution tags."""
    lengths = {}
    for axis, name in (("y", "YResolution"), ("x", "XResolution")):
        pixels, length = tif.pages.first.tags.valueof(name, (0, 0))
        if pixels and length:
            lengths[axis] = round_significant(length / pixels, 8)
    return lengths


def _tag_sizes(tif: TiffFile) -> VoxelSize:
    """Read the pixel size from the resolution tags, unless they are meant for printing."""
    unit = _RESOLUTION_UNITS.get(int(tif.pages.first.tags.valueof("ResolutionUnit", 2)))
    sizes = _tag_lengths(tif)
    if unit is None or not sizes:
        return UNCALIBRATED
    microns = {
        axis: round_significant(convert(size, unit, "µm"), 8) for axis, size in sizes.items()
    }
    if max(microns.values()) >= _MAX_PIXEL_SIZE:
        return UNCALIBRATED
    return voxel_size(microns, dict.fromkeys(microns, "µm"))
