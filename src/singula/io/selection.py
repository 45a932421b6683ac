"""Select one image (series) and one time point of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.image import AnyArray, ArrayPlace, Header, Series, StoredArray
from singula.util.boxes import Box
from singula.util.format import counted


def single_series(path: Path, place: ArrayPlace) -> list[Series]:
    """Return the image of a file that holds one image."""
    return [Series("", place)]


def choose_series(path: Path, place: ArrayPlace, names: Sequence[str]) -> int:
    """Return the number of the image to read: the chosen image, else the first.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    place : ArrayPlace
        Selection of the user.
    names : sequence of str
        Names of the images in the file.

    Raises
    ------
    UserError
        ``io.no_such_series``: the file has no image of that number.
    """
    number = place.series or 0
    if not 0 <= number < len(names):
        allowed = f"0 to {len(names) - 1}" if len(names) > 1 else "0"
        raise UserError(
            f"{path}: got series {number}, expected {allowed}: it holds "
            f"{counted(len(names), 'image')}",
            advice_for(place.command).series if len(names) > 1 else "choose series 0",
            "io.no_such_series",
        )
    return number


def left_out(place: ArrayPlace, names: Sequence[str], number: int) -> tuple[str, ...]:
    """Return the names of the images that are not read; empty if the user chose an image.

    Parameters
    ----------
    place : ArrayPlace
        Selection of the user.
    names : sequence of str
        Names of the images in the file.
    number : int
        Number of the image that is read.
    """
    if place.series is not None:
        return ()
    return tuple(name for position, name in enumerate(names) if position != number)


def count_time_points(header: Header) -> int:
    """Return the number of time points of an image."""
    axis = _time_axis(header)
    return 1 if axis is None else header.shape[axis]


def select_frame(path: Path, stored: StoredArray, place: ArrayPlace) -> StoredArray:
    """Select a time point of an image on disk.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    stored : StoredArray
        All time points.
    place : ArrayPlace
        Selection of the user; without a frame, all time points remain.

    Raises
    ------
    UserError
        ``io.no_such_frame``: the image has no time point of that number.
    """
    header = frame_header(path, stored.header, place)
    axis = _time_axis(stored.header)
    if place.frame is None or axis is None:
        return replace(stored, header=header)
    number = place.frame

    def read(box: Box) -> AnyArray:
        whole = (*box[:axis], slice(number, number + 1), *box[axis:])
        return stored.read(whole).squeeze(axis)

    return StoredArray(header, (*stored.chunks[:axis], *stored.chunks[axis + 1 :]), read)


def select_frame_in_memory(
    path: Path, array: AnyArray, header: Header, place: ArrayPlace
) -> tuple[AnyArray, Header]:
    """Select a time point of an array in memory, and of its header; see `select_frame`.

    Raises
    ------
    UserError
        ``io.no_such_frame``: the image has no time point of that number.
    """
    axis = _time_axis(header)
    selected = frame_header(path, header, place)
    if place.frame is None or axis is None:
        return array, selected
    return array[(slice(None),) * axis + (place.frame,)], selected


def frame_header(path: Path, header: Header, place: ArrayPlace) -> Header:
    """Return the header of the selected time point, with the command that reads the file.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    header : Header
        Header of all time points.
    place : ArrayPlace
        Selection of the user; without a frame, all time points remain.

    Raises
    ------
    UserError
        ``io.no_such_frame``: the image has no time point of that number.
    """
    header = replace(header, command=place.command)
    if place.frame is None:
        return header
    count = count_time_points(header)
    if not 0 <= place.frame < count:
        raise UserError(
            f"{path}: got time point {place.frame}, expected 0 to {count - 1}: it has "
            f"{counted(count, 'time point')} ({header})",
            advice_for(place.command).frame,
            "io.no_such_frame",
        )
    axis = _time_axis(header)
    if axis is None:
        return header
    axes = header.axes or ""
    return replace(
        header,
        shape=(*header.shape[:axis], *header.shape[axis + 1 :]),
        axes=axes[:axis] + axes[axis + 1 :],
    )


def _time_axis(header: Header) -> int | None:
    axes = header.axes or ""
    return axes.index("T") if "T" in axes else None
