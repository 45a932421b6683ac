"""Open files of every format; whatever goes wrong becomes an error that names the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from singula.errors import UserError
from singula.io.entries import check_openable, reader_path
from singula.io.formats.table import IMAGE_SUFFIXES, Format, format_of
from singula.io.image import AnyArray, ArrayPlace, Header, Series, StoredArray
from singula.io.orientation import Turn, turn_of_tag, turn_to_image
from singula.io.selection import choose_series, frame_header, select_frame, select_frame_in_memory
from singula.io.sizes import check_size
from singula.util.arguments import flag, instance
from singula.util.boxes import Box

_Result = TypeVar("_Result")


def check_place(arrays: object) -> None:
    """Refuse an argument `arrays` that is neither None nor an `ArrayPlace`."""
    if arrays is not None:
        instance(arrays, "arrays", ArrayPlace)


def read_header(
    path: Path | str, arrays: ArrayPlace | None = None, *, labels: bool = False
) -> Header:
    """Read shape, type, axes and voxel size; the pixels stay on disk.

    Parameters
    ----------
    path : Path or str
        A file, or folder, with one of `IMAGE_SUFFIXES`.
    arrays : ArrayPlace, optional
        Which array of a container.
    labels : bool
        Whether labels are wanted, where a container holds both and none was named.

    Returns
    -------
    Header

    Raises
    ------
    TypeError, UserError
        Wrong arguments; missing, empty, damaged or unsupported file; complex or object numbers.
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
        return frame_header(path, header, place)

    header = guarded(path, read)
    check_header(path, header)
    turn = _turn(path, header, place)
    return header if turn is None else turn.header(header)


def list_series(path: Path | str, arrays: ArrayPlace | None = None) -> list[Series]:
    """List the images in a file: the series of a TIFF, the images of an OME-Zarr plate.

    Parameters
    ----------
    path : Path or str
        A file, or folder, with one of `IMAGE_SUFFIXES`.
    arrays : ArrayPlace, optional
        With `series`, only that image; with `inside`, the images in that group of a container.

    Returns
    -------
    list of Series
        One for a file of a single image, and for a container whose arrays are not a collection of
        images.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; missing, empty, damaged or unsupported file; no series of that number.
    """
    check_place(arrays)
    path, place = reader_path(path), arrays or ArrayPlace()
    found = guarded(path, lambda kind: kind.series(path, place))
    if place.series is None:
        return found
    return [found[choose_series(path, place, [one.name for one in found])]]


def read_pixels(
    path: Path, arrays: ArrayPlace | None = None, *, labels: bool = False
) -> tuple[AnyArray, Header]:
    """Return the stored array and its header; see `read_header`."""
    place = arrays or ArrayPlace()

    def read(kind: Format) -> tuple[AnyArray, Header]:
        if kind.open is not None and (kind.container or place.frame is not None):
            stored = select_frame(path, kind.open(path, place, labels), place)
            check_header(path, stored.header)
            return stored.read((slice(None),) * len(stored.header.shape)), stored.header
        array, header = kind.pixels(path, place)
        return select_frame_in_memory(path, array, header, place)

    array, header = guarded(path, read)
    check_header(path, header)
    turn = _turn(path, header, arrays)
    return (array, header) if turn is None else (turn.array(array), turn.header(header))


def _turn(path: Path, header: Header, place: ArrayPlace | None) -> Turn | None:
    """Return the turn to the orientation of a label's image, or that of an orientation tag."""
    if place is not None and place.like and header.affine is not None:
        image = Path(place.like)
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
        header = frame_header(path, header, place)
        check_header(path, header)
        return None
    mapped, header = select_frame_in_memory(path, mapped, header, place)
    check_header(path, header)
    if turn_of_tag(header) is not None:
        return None
    return mapped, header


def open_stored(
    path: Path, arrays: ArrayPlace | None = None, *, labels: bool = False
) -> StoredArray:
    """Open a file to read parts of it; see `read_header`.

    Formats that are compressed as a whole (PNG, JPEG) are read at the first part, and held.
    """
    place = arrays or ArrayPlace()

    def read(kind: Format) -> StoredArray:
        if kind.open is not None:
            return select_frame(path, kind.open(path, place, labels), place)
        header = kind.header(path, place)
        held: list[AnyArray] = []

        def part(box: Box) -> AnyArray:
            if not held:
                held.append(kind.pixels(path, place)[0])
            return held[0][box]

        return select_frame(path, StoredArray(header, header.shape, part), place)

    stored = guarded(path, read)
    check_header(path, stored.header)
    turn = _turn(path, stored.header, arrays)
    return stored if turn is None else turn.stored(stored)


def is_container(path: Path) -> bool:
    """Whether the format keeps arrays with names of their own: Zarr, HDF5, N5."""
    kind = format_of(path)
    return kind is not None and kind.container


def guarded(path: Path, read: Callable[[Format], _Result]) -> _Result:
    """Call a reader; whatever goes wrong in it becomes an error that names the file."""
    kind = format_of(path)
    if kind is None:
        raise UserError(
            f"{path}: its suffix is none of {', '.join(IMAGE_SUFFIXES)}",
            "save it as TIFF, for example with Fiji",
        )
    check_openable(path)
    try:
        there = path.stat()
        if there.st_size == 0 and not path.is_dir():
            raise ValueError("the file is empty")
        return read(kind)
    except UserError:
        raise
    except Exception as error:  # decoders raise errors of any kind
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = (reason or type(error).__name__).splitlines()[0][:160]
        hint = "open it in Fiji: if that fails too, copy or export it again; else save it as TIFF"
        if kind.container:
            hint = "copy or export it again, and see that every file of it was copied"
        raise UserError(
            f"{path}: cannot be read as {kind.name} ({reason})", hint, "io.unreadable"
        ) from error


def check_header(path: Path, header: Header) -> None:
    """Refuse numbers and shapes that are no image.

    Raises
    ------
    UserError
    """
    dtype = header.dtype
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise UserError(
            f"{path}: its values are of type {dtype}; allowed are bool, integers and floats of up "
            "to 64 bits",
            "convert it, for example to uint8, uint16 or float32",
            "io.type",
        )
    check_size(path, header.shape, dtype.itemsize)
    if 0 in header.shape or not header.shape:
        raise UserError(
            f"{path}: holds no pixels ({header})", "copy or export it again", "io.no_pixels"
        )


def change_stamp(path: Path) -> tuple[int, int]:
    """Return the bytes and the newest time of a file, or of all files of a folder.

    Links to folders are not followed: they can lead in circles, or through a whole disk.

    Raises
    ------
    OSError
        When it is not there.
    """
    there = path.stat()
    size, newest = there.st_size, there.st_mtime_ns
    if path.is_dir():
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    own, time = change_stamp(Path(entry.path))
                else:
                    info = entry.stat(follow_symlinks=not entry.is_dir())
                    own, time = info.st_size, info.st_mtime_ns
                size, newest = size + own, max(newest, time)
    return size, newest
