"""TIFF in its dialects: OME, ImageJ hyperstack, tifffile's own, plain; one page, pages, tiles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from singula.io.image import AnyArray, Header

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_SOURCES = {"ome": "OME metadata", "imagej": "ImageJ metadata", "shaped": "tifffile metadata"}
_MICRON_NAMES = {"µm", "μm", "um", "micron", "microns", "micrometer", "micrometers", "\\u00b5m"}
_METRES = {"pm": 1e-12, "Å": 1e-10, "nm": 1e-9, "µm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}
# Written by `write_tiff` into the description of a volume with one z slice.
SINGLE_SLICE = "single_slice"
_NO_UNIT = {"", "pixel", "pixels", "reference frame", "none", "null"}


def tiff_header(path: Path) -> Header:
    """Read the header of the first image of a TIFF file; the pixels stay on disk."""
    from tifffile import TiffFile

    with TiffFile(path) as tif:
        return series_header(tif, first_series(tif))


def tiff_pixels(path: Path) -> tuple[AnyArray, Header]:
    """Read the first image of a TIFF file."""
    from tifffile import TiffFile

    with TiffFile(path) as tif:
        series = first_series(tif)
        header = series_header(tif, series)
        return series.asarray().reshape(header.shape), header


def tiff_mapped(path: Path) -> AnyArray | None:
    """View the first image of a TIFF file whose pixels are not compressed and lie together."""
    from tifffile import TiffFile

    with TiffFile(path) as tif:
        series = first_series(tif)
        if series.dataoffset is None or not series.keyframe.is_memmappable:
            return None
        shape, dtype = series_header(tif, series).shape, series.dtype.newbyteorder(tif.byteorder)
        return np.asarray(np.memmap(path, dtype, "r", series.dataoffset, shape))


def first_series(tif: TiffFile) -> TiffPageSeries:
    """The first image of an open file, which must be complete."""
    if not tif.series:
        raise ValueError("it holds no image")
    series = tif.series[0]
    _check_complete(tif, series)
    return series


def _check_complete(tif: TiffFile, series: TiffPageSeries) -> None:
    """Refuse a cut-off file: the library would return the slices it finds, or zeros."""
    cut = "the file is cut off or damaged"
    place = tif.pages.next_page_offset
    tif.filehandle.seek(place or 0)
    last_link = tif.filehandle.read(tif.tiff.offsetsize)
    if not place or any(last_link) or len(last_link) < tif.tiff.offsetsize:
        raise ValueError(f"{cut}: its list of pages leads past the end")
    declared = tif.imagej_metadata or {}
    if series.kind in ("uniform", "generic") and declared.get("images", 1) > len(tif.pages):
        raise ValueError(f"{cut}: ImageJ metadata promises {declared['images']} images")
    if series.dataoffset is not None:
        if series.dataoffset + series.nbytes > tif.filehandle.size:
            raise ValueError(f"{cut}: pixels are missing at its end")
        return
    for page in series:
        if page is None:
            raise ValueError(f"{cut}: a plane that its metadata names is missing")
        ends = zip(page.dataoffsets, page.databytecounts, strict=True)
        if max((start + size for start, size in ends), default=0) > page.parent.filehandle.size:
            raise ValueError(f"{cut}: pixels are missing at its end")


def series_header(tif: TiffFile, series: TiffPageSeries) -> Header:
    """What an open file says of an image."""
    spacing, unit = _calibration(tif, series)
    extra = series.keyframe.extrasamples
    notes: tuple[str, ...] = ()
    if len(tif.series) > 1:
        notes = (f"it holds {len(tif.series)} different images; the first is read",)
    shape, axes = tuple(series.shape), _known_axes(series.axes)
    if axes is not None and "Z" not in axes and _says_one_slice(tif, series):
        shape, axes = (1, *shape), f"Z{axes}"
    return Header(
        shape=shape,
        dtype=series.dtype,
        axes=axes,
        spacing=spacing,
        unit=unit,
        source=_SOURCES.get(series.kind, "the TIFF pages"),
        alpha=series.axes.endswith("S") and len(extra) == 1 and extra[0] in (1, 2),
        notes=notes,
    )


def _says_one_slice(tif: TiffFile, series: TiffPageSeries) -> bool:
    """Whether the file calls its plane a volume of one slice: axes of size 1 are not stored."""
    if tif.is_imagej:
        declared = tif.imagej_metadata or {}
        return bool(declared.get(SINGLE_SLICE)) or declared.get("slices") == 1
    return series.kind == "ome" and f">{SINGLE_SLICE}<" in (tif.ome_metadata or "")


def _known_axes(axes: str) -> str | None:
    """Take the library's guesses, I (pages) and Q (not told), out of the axes."""
    if "S" in axes:
        return axes.replace("I", "Q")
    return None if {"I", "Q"} & set(axes) else axes


def _calibration(
    tif: TiffFile, series: TiffPageSeries
) -> tuple[tuple[float, ...] | None, str | None]:
    """Read the voxel size, (y, x) or (z, y, x), and its unit; both None if the file has none."""
    try:
        if series.kind == "ome":
            sizes, unit = _ome_sizes(tif.ome_metadata or "")
        elif tif.is_imagej:
            sizes, unit = _imagej_sizes(tif)
        else:
            return None, None
    except (ElementTree.ParseError, KeyError, ValueError, TypeError, ZeroDivisionError):
        return None, None  # metadata that cannot be understood is no reason to refuse the pixels
    if not all(size > 0 and math.isfinite(size) for size in sizes):
        return None, None
    return sizes, unit


def _ome_sizes(xml: str) -> tuple[tuple[float, ...], str | None]:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        raise ValueError("no Pixels element")
    names = ["Z", "Y", "X"] if "PhysicalSizeZ" in pixels.attrib else ["Y", "X"]
    units = [_unit_name(pixels.attrib.get(f"PhysicalSize{name}Unit", "µm")) for name in names]
    unit = units[-1]
    sizes = []
    for name, own in zip(names, units, strict=True):
        size = float(pixels.attrib[f"PhysicalSize{name}"])
        if own != unit:
            size = _tidy(size * _METRES[own or ""] / _METRES[unit or ""])
        sizes.append(size)
    return tuple(sizes), unit


def _imagej_sizes(tif: TiffFile) -> tuple[tuple[float, ...], str | None]:
    declared = tif.imagej_metadata or {}
    tags = tif.pages.first.tags
    sizes = []
    for name in ("YResolution", "XResolution"):
        pixels, length = tags[name].value
        sizes.append(_tidy(length / pixels))
    unit = _unit_name(str(declared.get("unit", "")))
    dots_per_inch = unit is None and tags.valueof("ResolutionUnit", 2) != 1
    unscaled = unit is None and ("spacing" not in declared or "unit" in declared)
    if dots_per_inch or (unscaled and sizes == [1, 1]):
        raise ValueError("not calibrated")
    if "spacing" in declared:
        sizes.insert(0, abs(float(declared["spacing"])))
    return tuple(sizes), unit


def _unit_name(text: str) -> str | None:
    name = text.strip()
    if name.lower() in _MICRON_NAMES:
        return "µm"
    return None if name.lower() in _NO_UNIT else name


def _tidy(size: float) -> float:
    """Undo the rounding of a quotient of two integers: 0.30000000000123 is 0.3."""
    return float(f"{size:.8g}")
