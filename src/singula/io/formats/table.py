"""File formats: readers of the header and the pixels by file name suffix."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from singula.io.formats.czi import czi_series, open_czi
from singula.io.formats.hdf5 import open_hdf5
from singula.io.formats.lif import lif_series, open_lif
from singula.io.formats.n5 import open_n5
from singula.io.formats.nd2 import nd2_series, open_nd2
from singula.io.formats.nifti import nifti_header, nifti_pixels
from singula.io.formats.oif import open_oif
from singula.io.formats.slide import open_slide
from singula.io.formats.tiff import tiff_header, tiff_mapped, tiff_pixels, tiff_series
from singula.io.formats.tiff_tiles import open_tiff
from singula.io.formats.zarr import open_zarr, zarr_series
from singula.io.image import AnyArray, ArrayPlace, Header, Series, StoredArray
from singula.io.names import composed
from singula.io.selection import choose_series, single_series
from singula.io.sizes import DEFLATE, check_size
from singula.util.boxes import Box

_JPEG_RATIO = 512  # largest number of pixels per byte: a block of 8 × 8 pixels takes one bit
_ORIENTATION = 274  # number of the orientation tag in EXIF and TIFF


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    name : str
        Name for messages.
    header : callable
        Function of a path and an `ArrayPlace` that returns the `Header` without reading pixels. It
        uses only the series of the place.
    pixels : callable
        Function of a path and an `ArrayPlace` that returns the stored array and its `Header`.
    lossy : bool
        The compression changes values, so the format cannot hold labels.
    mapped : callable
        Function of a path and an `ArrayPlace` that returns the stored array as a view of the file,
        or None if the file cannot be mapped.
    open : callable, optional
        Function of a path, an `ArrayPlace` and a flag (True for labels) that returns a
        `StoredArray`. None: the format compresses a file as a whole.
    container : bool
        Files hold named arrays; the header then comes from `open`.
    folder : bool
        A file of this format is a folder.
    series : callable
        Function of a path and an `ArrayPlace` that returns all images of the file as `Series`.
    affine : bool
        Files can hold an affine, the position of the voxels in space.
    slide : bool
        Files are whole slides, which are read at any resolution.
    """

    name: str
    header: Callable[[Path, ArrayPlace], Header]
    pixels: Callable[[Path, ArrayPlace], tuple[AnyArray, Header]]
    lossy: bool = False
    mapped: Callable[[Path, ArrayPlace], AnyArray | None] = lambda path, place: None
    open: Callable[[Path, ArrayPlace, bool], StoredArray] | None = None
    container: bool = False
    folder: bool = False
    series: Callable[[Path, ArrayPlace], list[Series]] = single_series
    affine: bool = False
    slide: bool = False


def _single(
    name: str,
    read_header: Callable[[Path], Header],
    read_pixels: Callable[[Path], tuple[AnyArray, Header]],
    read_mapped: Callable[[Path], AnyArray | None] = lambda path: None,
    *,
    lossy: bool = False,
    affine: bool = False,
    open_it: Callable[[Path, ArrayPlace, bool], StoredArray] | None = None,
) -> Format:
    """Return the format of files with one image each."""

    def header(path: Path, place: ArrayPlace) -> Header:
        choose_series(path, place, [""])
        return read_header(path)

    def pixels(path: Path, place: ArrayPlace) -> tuple[AnyArray, Header]:
        choose_series(path, place, [""])
        return read_pixels(path)

    def mapped(path: Path, place: ArrayPlace) -> AnyArray | None:
        choose_series(path, place, [""])
        return read_mapped(path)

    return Format(name, header, pixels, lossy, mapped, open_it, affine=affine)


def _container(
    name: str,
    open_it: Callable[[Path, ArrayPlace, bool], StoredArray],
    series: Callable[[Path, ArrayPlace], list[Series]] = single_series,
    *,
    folder: bool = False,
) -> Format:
    """Return the format of containers, whose header and pixels come from `open_it`."""

    def header(path: Path, place: ArrayPlace) -> Header:
        return open_it(path, place, False).header

    def pixels(path: Path, place: ArrayPlace) -> tuple[AnyArray, Header]:
        stored = open_it(path, place, False)
        return stored.read((slice(None),) * len(stored.header.shape)), stored.header

    return Format(name, header, pixels, open=open_it, container=True, folder=folder, series=series)


def _png_header(path: Path) -> Header:
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            raise ValueError("it is not a PNG file")
        palette = orientation = None
        kind = b""
        width = height = depth = color = 0
        while kind != b"IEND":
            start = file.read(8)
            if len(start) < 8:
                raise ValueError("the file is cut off")
            size, kind = struct.unpack(">I4s", start)
            if kind == b"IHDR":
                width, height, depth, color = struct.unpack(">IIBB", file.read(10))
                size -= 10
            elif kind == b"PLTE":
                palette = np.frombuffer(file.read(size), np.uint8).reshape(-1, 3)
                size = 0
            elif kind == b"eXIf":
                orientation = _exif_orientation(file.read(size))
                size = 0
            file.seek(size + 4, 1)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color)
    if samples is None:
        raise ValueError(f"its color type is {color}")
    row = -(-width * samples * depth // 8)
    check_size(path, (height, row), 1, path.stat().st_size, DEFLATE)
    return Header(
        shape=(height, width, samples) if samples > 1 else (height, width),
        dtype=np.dtype(np.uint16 if depth == 16 else np.uint8),
        axes="YXS" if samples > 1 else "YX",
        source="the PNG format",
        palette=palette if color == 3 else None,
        alpha=samples in (2, 4),
        orientation=orientation,
    )


def _exif_orientation(exif: bytes) -> tuple[int, int, int] | None:
    """Return the orientation tag of EXIF data with the axes y and x; None without one."""
    import PIL.Image

    tags = PIL.Image.Exif()
    try:
        tags.load(exif)
        return int(tags.get(_ORIENTATION, 1)), 0, 1
    except Exception:  # a damaged tag does not make pixels unreadable
        return None


def _png_pixels(path: Path) -> tuple[AnyArray, Header]:
    header = _png_header(path)
    if header.palette is not None:
        return _pillow_pixels(path), header
    # Pillow would reduce 16-bit colors to 8 bits.
    from imagecodecs import png_decode

    array = np.asarray(png_decode(path.read_bytes()))
    if array.ndim == 3 and len(header.shape) < 3:
        array = array[..., 0]  # one gray value is declared transparent
    elif array.ndim == 3:
        array = array[..., : header.shape[2]]
    return array, header


def _jpeg_header(path: Path) -> Header:
    import PIL.Image

    with PIL.Image.open(path, formats=["JPEG"]) as image:
        bands = len(image.getbands())
        if bands == 4:
            raise ValueError("its colors are CMYK; save it as RGB or gray")
        check_size(path, image.size, 1, path.stat().st_size, _JPEG_RATIO)
        return Header(
            shape=(image.height, image.width, bands)[: 3 if bands > 1 else 2],
            dtype=np.dtype(np.uint8),
            axes="YXS" if bands > 1 else "YX",
            source="the JPEG format",
            orientation=_exif_orientation(image.getexif().tobytes()),
        )


def _jpeg_pixels(path: Path) -> tuple[AnyArray, Header]:
    header = _jpeg_header(path)
    return _pillow_pixels(path), header


def _pillow_pixels(path: Path) -> AnyArray:
    import PIL.Image

    with PIL.Image.open(path) as image:
        return np.array(image)


def _npy_header(path: Path) -> Header:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"its NPY version {version} is unknown")
        shape, _, dtype = read(file)
        n_bytes = path.stat().st_size - file.tell()
    check_size(path, shape, dtype.itemsize, None if dtype.hasobject else n_bytes)
    return Header(shape=tuple(shape), dtype=dtype)


def _npy_pixels(path: Path) -> tuple[AnyArray, Header]:
    header = _npy_header(path)
    return np.load(path, allow_pickle=False), header


def _npy_mapped(path: Path) -> AnyArray:
    _npy_header(path)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _npy_open(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    choose_series(path, place, [""])
    header = _npy_header(path)

    def read(box: Box) -> AnyArray:
        # Map again at each read, so that pages of the file read before are released.
        return np.array(_npy_mapped(path)[box])

    return StoredArray(header, (1,) * len(header.shape), read)


def suffix_of(path: Path) -> str:
    """Return the suffix that identifies the format, in lower case; empty for an unknown format."""
    name = path.name.lower()
    return next((suffix for suffix in _LONGEST_FIRST if name.endswith(suffix)), "")


def format_of(path: Path) -> Format | None:
    """Return the format of a file by its suffix; None for an unknown suffix."""
    return FORMATS.get(suffix_of(path))


def stem_of(path: Path) -> str:
    """Return the file name without its suffix, in composed Unicode form (NFC).

    `.ome.tif` and `.ome.zarr` count as one suffix. macOS stores "ü" as two characters, other
    systems as one; in composed form, both names are equal.
    """
    suffix = suffix_of(path)
    stem = path.name[: -len(suffix)] if suffix else path.stem
    if FORMATS.get(suffix) in (_TIFF, _ZARR) and stem.lower().endswith(".ome"):
        stem = stem[:-4]
    return composed(stem)


def full_suffix_of(path: Path) -> str:
    """Return the suffix that `stem_of` removes, in its original case, such as ``.ome.tif``."""
    return composed(path.name)[len(stem_of(path)) :]


_TIFF = Format(
    "TIFF", tiff_header, tiff_pixels, mapped=tiff_mapped, open=open_tiff, series=tiff_series
)
_PNG = _single("PNG", _png_header, _png_pixels)
_JPEG = _single("JPEG", _jpeg_header, _jpeg_pixels, lossy=True)
_NPY = _single("NPY", _npy_header, _npy_pixels, _npy_mapped, open_it=_npy_open)
_ZARR = _container("Zarr", open_zarr, zarr_series, folder=True)
_HDF5 = _container("HDF5", open_hdf5)
_N5 = _container("N5", open_n5, folder=True)
_SLIDE = replace(_container("whole slide", open_slide), container=False, lossy=True, slide=True)
_CZI = replace(_container("CZI", open_czi, czi_series), container=False, lossy=True)
_LIF = replace(_container("LIF", open_lif, lif_series), container=False)
_ND2 = replace(_container("ND2", open_nd2, nd2_series), container=False, lossy=True)
_OIF = replace(_container("OIF", open_oif), container=False)
_OIB = replace(_container("OIB", open_oif), container=False)
_NIFTI = _single("NIfTI", nifti_header, nifti_pixels, affine=True)

# Suffixes are in lower case.
FORMATS: dict[str, Format] = {
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".npy": _NPY,
    ".zarr": _ZARR,
    ".n5": _N5,
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".hdf": _HDF5,
    ".he5": _HDF5,
    ".nii": _NIFTI,
    ".nii.gz": _NIFTI,
    ".svs": _SLIDE,
    ".ndpi": _SLIDE,
    ".mrxs": _SLIDE,
    ".scn": _SLIDE,
    ".bif": _SLIDE,
    ".czi": _CZI,
    ".lif": _LIF,
    ".nd2": _ND2,
    ".oif": _OIF,
    ".oib": _OIB,
}
_LONGEST_FIRST = sorted(FORMATS, key=len, reverse=True)

IMAGE_SUFFIXES = tuple(FORMATS)
# Suffixes of folders that hold one image.
FOLDER_SUFFIXES = tuple(suffix for suffix, kind in FORMATS.items() if kind.folder)
