"""Reading of files of all formats, with errors that name the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from singula.errors import UserError
from singula.io.entries import check_openable, is_empty_file, reader_path
from singula.io.formats.table import IMAGE_SUFFIXES, Format, format_of
from singula.io.image import AnyArray, ArrayPlace, Header, Series, StoredArray
from singula.io.orientation import Turn, turn_of_tag, turn_to_image
from singula.io.selection import choose_series, select, select_header, select_in_memory
from singula.io.sizes import check_size
from singula.util.arguments import flag, instance
from singula.util.boxes import Box
from singula.util.locations import is_remote, location
from singula.util.messages import log_deferred, messages_of_library
from singula.util.object_stores import folder_stamp

_Result = TypeVar("_Result")


def check_place(arrays: object) -> None:
    """Raise an error if the argument `arrays` is neither None nor an `ArrayPlace`."""
    if arrays is not None:
        instance(arrays, "arrays", ArrayPlace)


def read_header(
    path: Path | str, arrays: ArrayPlace | None = None, *, labels: bool = False
) -> Header:
    """Read shape, data type, axes and voxel size without the pixels.

    Parameters
    ----------
    path : Path or str
        File, or folder such as a Zarr, with a suffix of `IMAGE_SUFFIXES`.
    arrays : ArrayPlace, optional
        Array inside a container.
    labels : bool
        Read the labels if a container has an image and labels and none is named.

    Returns
    -------
    Header

    Raises
    ------
    TypeError, UserError
        An argument has a wrong type; the file is missing, empty, damaged or not supported, or has
        values of an unsupported type.
    """
    path = reader_path(path)
    check_place(arrays)
    labels = flag(labels, "labels")
    place = arrays or ArrayPlace()

    def read(kind: Format) -> Header:
        if kind.open is not None and kind.container:
            header = kind.open(path, place, labels).header
        else:
            header = kind.header(path, place)
        return select_header(path, header, place)

    header = guarded(path, read, reads_pixels=False)
    check_header(path, header)
    turn = _turn(path, header, place)
    return header if turn is None else turn.header(header)


def list_series(path: Path | str, arrays: ArrayPlace | None = None) -> list[Series]:
    """List the images in a file: the series of a TIFF, the images of an OME-Zarr plate.

    Parameters
    ----------
    path : Path or str
        File, or folder such as a Zarr, with a suffix of `IMAGE_SUFFIXES`.
    arrays : ArrayPlace, optional
        If `series` is set, only that image; if `inside` is set, the images in that group.

    Returns
    -------
    list of Series
        One element for a file with a single image, and for a container whose arrays are not a
        collection of images.

    Raises
    ------
    TypeError, UserError
        An argument has a wrong type; the file is missing, empty, damaged or not supported, or has
        no series of that number.
    """
    check_place(arrays)
    path, place = reader_path(path), arrays or ArrayPlace()
    series = guarded(path, lambda kind: kind.series(path, place), reads_pixels=False)
    if place.series is None:
        return series
    return [series[choose_series(path, place, [item.name for item in series])]]


def read_pixels(
    path: Path, arrays: ArrayPlace | None = None, *, labels: bool = False
) -> tuple[AnyArray, Header]:
    """Return the stored array and its header; see `read_header`."""
    place = arrays or ArrayPlace()

    def read(kind: Format) -> tuple[AnyArray, Header]:
        if kind.open is not None and (kind.container or place.frame is not None or place.channel):
            stored = select(path, kind.open(path, place, labels), place)
            check_header(path, stored.header)
            return stored.read((slice(None),) * len(stored.header.shape)), stored.header
        array, header = kind.pixels(path, place)
        return select_in_memory(path, array, header, place)

    array, header = guarded(path, read)
    check_header(path, header)
    turn = _turn(path, header, arrays)
    return (array, header) if turn is None else (turn.array(array), turn.header(header))


def _turn(path: Path, header: Header, place: ArrayPlace | None) -> Turn | None:
    """Return the turn of a label to the orientation of its image, or of an orientation tag."""
    if place is not None and place.like and header.affine is not None:
        image = location(place.like)
        return turn_to_image(path, header, image, read_header(image))
    return turn_of_tag(header)


def read_mapped(path: Path, arrays: ArrayPlace | None = None) -> tuple[AnyArray, Header] | None:
    """Return the stored array as a view of the file, with its header; None if not possible."""
    place = arrays or ArrayPlace()
    if is_container(path):
        return None
    mapped, header = guarded(
        path, lambda kind: (kind.mapped(path, place), kind.header(path, place))
    )
    if mapped is None or not mapped.dtype.isnative:
        header = select_header(path, header, place)
        check_header(path, header)
        return None
    mapped, header = select_in_memory(path, mapped, header, place)
    check_header(path, header)
    if turn_of_tag(header) is not None:
        return None
    return mapped, header


def open_stored(
    path: Path, arrays: ArrayPlace | None = None, *, labels: bool = False
) -> StoredArray:
    """Open a file to read boxes of it; see `read_header`.

    Formats that are compressed as a whole (PNG, JPEG) are read completely for the first box.
    """
    place = arrays or ArrayPlace()

    def read(kind: Format) -> StoredArray:
        if kind.open is not None:
            return select(path, kind.open(path, place, labels), place)
        header = kind.header(path, place)
        cached: list[AnyArray] = []

        def read_box(box: Box) -> AnyArray:
            if not cached:
                cached.append(kind.pixels(path, place)[0])
            return cached[0][box]

        return select(path, StoredArray(header, header.shape, read_box), place)

    stored = guarded(path, read)
    check_header(path, stored.header)
    turn = _turn(path, stored.header, arrays)
    return stored if turn is None else turn.stored(stored)


def is_container(path: Path) -> bool:
    """Return True for formats with named arrays: Zarr, HDF5, N5."""
    kind = format_of(path)
    return kind is not None and kind.container


def guarded(path: Path, read: Callable[[Format], _Result], *, reads_pixels: bool = True) -> _Result:
    """Call a reader, and convert its exceptions to a `UserError` that names the file.

    The messages of the TIFF reader are dropped if it fails. A reader that reads no pixels drops
    them too, as they are repeated when the pixels are read.
    """
    kind = format_of(path)
    if kind is None:
        raise UserError(
            f"{path}: got the suffix {path.suffix!r}, expected one of {', '.join(IMAGE_SUFFIXES)}",
            "save it as TIFF, for example with Fiji",
            "io.suffix",
        )
    check_openable(path)
    try:
        if is_empty_file(path):
            raise ValueError("the file is empty")
        with messages_of_library("tifffile") as records:
            result = read(kind)
    except UserError:
        raise
    except Exception as error:  # decoders raise errors of any kind
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = (reason or type(error).__name__).splitlines()[0][:160]
        reason = reason.partition(": header=b")[0]  # bytes in Python notation (tifffile)
        hint = "open it in Fiji: if that fails too, copy or export it again; else save it as TIFF"
        if kind.container:
            hint = "copy or export it again, with all files inside it"
        raise UserError(
            f"{path}: cannot be read as {kind.name} ({reason})", hint, "io.unreadable"
        ) from error
    if reads_pixels:
        log_deferred(records)
    return result


def check_header(path: Path, header: Header) -> None:
    """Raise an error for data types and shapes that are not supported.

    Raises
    ------
    UserError
        ``io.type``, ``io.no_pixels``, ``io.impossible_size``, ``io.cut_off``.
    """
    dtype = header.dtype
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise UserError(
            f"{path}: got values of type {dtype}, expected bool, integers or floats of at most 64 "
            "bits",
            "convert it, for example to uint8, uint16 or float32",
            "io.type",
        )
    check_size(path, header.shape, dtype.itemsize)
    if 0 in header.shape or not header.shape:
        raise UserError(
            f"{path}: contains no pixels ({header})", "copy or export it again", "io.no_pixels"
        )


def change_stamp(path: Path) -> tuple[int, int]:
    """Return the size and latest time of change of a file, or of all files in a folder.

    Links to folders are not followed, as they can be circular.

    Raises
    ------
    OSError
        The file does not exist.
    """
    if is_remote(path):
        return folder_stamp(str(path))
    info = path.stat()
    size, newest = info.st_size, info.st_mtime_ns
    if path.is_dir():
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    entry_size, time = change_stamp(Path(entry.path))
                else:
                    info = entry.stat(follow_symlinks=not entry.is_dir())
                    entry_size, time = info.st_size, info.st_mtime_ns
                size, newest = size + entry_size, max(newest, time)
    return size, newest
