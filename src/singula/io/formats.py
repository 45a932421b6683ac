"""The table of file formats: how to read the header and the pixels behind each suffix."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singula.boxes import Box
from singula.io.hdf5_file import open_hdf5
from singula.io.image import AnyArray, ArrayPlace, Header, Series, StoredArray
from singula.io.n5_file import open_n5
from singula.io.names import composed
from singula.io.nifti import nifti_header, nifti_pixels
from singula.io.selection import choose_series, single_series
from singula.io.sizes import DEFLATE, check_size
from singula.io.tiff import tiff_header, tiff_mapped, tiff_pixels, tiff_series
from singula.io.tiff_parts import open_tiff
from singula.io.zarr_file import open_zarr, zarr_series

_JPEG_RATIO = 512  # pixels for each byte: a block of 8 × 8 pixels takes at least one bit
_ORIENTATION = 274  # number of the tag in EXIF and TIFF


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    name : str
        For messages.
    header : callable
        Returns the `Header` for a path and a place, without reading pixels. Only the series of
        the place is used.
    pixels : callable
        Returns the stored array and its `Header` for the same arguments.
    lossy : bool
        Values change when stored: of no use for labels.
    mapped : callable
        Returns the stored array as a view of the file; None if it cannot be mapped.
    open : callable, optional
        Path, place in a container and whether labels are wanted, to the array whose parts can be
        read; None where a file is compressed as a whole.
    container : bool
        It holds arrays with names of their own: `open` says all there is to say.
    folder : bool
        What looks like a file to the user is a folder.
    series : callable
        Returns all images in the file for a path and a place, regardless of the chosen series.
    affine : bool
        Files state where their voxels are in space.
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
    """Return a format whose files hold one image each."""

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
    """Return a format that `open_it` describes completely."""

    def header(path: Path, place: ArrayPlace) -> Header:
        return open_it(path, place, False).header

    def pixels(path: Path, place: ArrayPlace) -> tuple[AnyArray, Header]:
        stored = open_it(path, place, False)
        return stored.read((slice(None),) * len(stored.header.shape)), stored.header

    return Format(name, header, pixels, open=open_it, container=True, folder=folder, series=series)


def _png_header(path: Path) -> Header:
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            raise ValueError("it is no PNG file")
        palette = orientation = None
        kind = b""
        width = height = depth = colour = 0
        while kind != b"IEND":
            start = file.read(8)
            if len(start) < 8:
                raise ValueError("the file is cut off")
            size, kind = struct.unpack(">I4s", start)
            if kind == b"IHDR":
                width, height, depth, colour = struct.unpack(">IIBB", file.read(10))
                size -= 10
            elif kind == b"PLTE":
                palette = np.frombuffer(file.read(size), np.uint8).reshape(-1, 3)
                size = 0
            elif kind == b"eXIf":
                orientation = _exif_orientation(file.read(size))
                size = 0
            file.seek(size + 4, 1)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour)
    if samples is None:
        raise ValueError(f"its color type is {colour}")
    row = -(-width * samples * depth // 8)
    check_size(path, (height, row), 1, path.stat().st_size, DEFLATE)
    return Header(
        shape=(height, width, samples) if samples > 1 else (height, width),
        dtype=np.dtype(np.uint16 if depth == 16 else np.uint8),
        axes="YXS" if samples > 1 else "YX",
        source="the PNG format",
        palette=palette if colour == 3 else None,
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
    # Pillow would cut 16-bit colours to 8 bits.
    from imagecodecs import png_decode

    array = np.asarray(png_decode(path.read_bytes()))
    if array.ndim == 3 and len(header.shape) < 3:
        array = array[..., 0]  # one grey value was declared transparent
    elif array.ndim == 3:
        array = array[..., : header.shape[2]]
    return array, header


def _jpeg_header(path: Path) -> Header:
    import PIL.Image

    with PIL.Image.open(path, formats=["JPEG"]) as image:
        bands = len(image.getbands())
        if bands == 4:
            raise ValueError("its colours are CMYK; save it as RGB or grey")
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
        there = path.stat().st_size - file.tell()
    check_size(path, shape, dtype.itemsize, None if dtype.hasobject else there)
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
        # Mapped anew: pages of the file that were read before are given back.
        return np.array(_npy_mapped(path)[box])

    return StoredArray(header, (1,) * len(header.shape), read)


def suffix_of(path: Path) -> str:
    """The suffix by which the format is known, in lower case; empty where it is not."""
    name = path.name.lower()
    return next((suffix for suffix in _LONGEST_FIRST if name.endswith(suffix)), "")


def format_of(path: Path) -> Format | None:
    """The format that the suffix stands for."""
    return FORMATS.get(suffix_of(path))


def stem_of(path: Path) -> str:
    """Return the file name without its suffix, in composed Unicode form (NFC).

    `.ome.tif` and `.ome.zarr` count as one suffix. The form makes equal what looks equal: macOS
    stores "ü" as two characters, other systems as one.
    """
    suffix = suffix_of(path)
    stem = path.name[: -len(suffix)] if suffix else path.stem
    if FORMATS.get(suffix) in (_TIFF, _ZARR) and stem.lower().endswith(".ome"):
        stem = stem[:-4]
    return composed(stem)


def full_suffix_of(path: Path) -> str:
    """Return what `stem_of` leaves out, as it is spelled: ``.ome.tif``."""
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
_NIFTI = _single("NIfTI", nifti_header, nifti_pixels, affine=True)

# A new format is a row here; suffixes in lower case.
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
}
_LONGEST_FIRST = sorted(FORMATS, key=len, reverse=True)

IMAGE_SUFFIXES = tuple(FORMATS)
# Folders that are one image to the user.
FOLDER_SUFFIXES = tuple(suffix for suffix, kind in FORMATS.items() if kind.folder)
