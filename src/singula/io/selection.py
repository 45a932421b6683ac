"""Select one image (series) and one time point of a file that holds several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from singula.boxes import Box
from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.image import AnyArray, ArrayPlace, Header, Series, Stored
from singula.words import counted


def single_series(path: Path, place: ArrayPlace) -> list[Series]:
    """Return the only image of a file."""
    return [Series("", place)]


def choose_series(path: Path, place: ArrayPlace, names: Sequence[str]) -> int:
    """Return the number of the image to read: the one chosen, else the first.

    Parameters
    ----------
    path : Path
        Named in errors.
    place : ArrayPlace
    names : sequence of str
        The images of the file.

    Raises
    ------
    UserError
        The file has no image of that number.
    """
    number = place.series or 0
    if not 0 <= number < len(names):
        held = f"it holds {counted(len(names), 'image')}"
        allowed = f"0 to {len(names) - 1}" if len(names) > 1 else "0"
        raise UserError(
            f"{path}: got series {number}, expected {allowed}: {held}",
            advice_for(place.command).series if len(names) > 1 else "choose series 0",
            "io.no_such_series",
        )
    return number


def left_out(place: ArrayPlace, names: Sequence[str], number: int) -> tuple[str, ...]:
    """Return the images that are not read; none where the user chose one."""
    if place.series is not None:
        return ()
    return tuple(name for place, name in enumerate(names) if place != number)


def time_points(header: Header) -> int:
    """Return the number of time points of an image."""
    axis = _time_axis(header)
    return 1 if axis is None else header.shape[axis]


def select_frame(path: Path, stored: Stored, place: ArrayPlace) -> Stored:
    """Reduce an image to the time point that was chosen, if one was.

    Raises
    ------
    UserError
        The image has no time point of that number.
    """
    header = frame_header(path, stored.header, place)
    axis = _time_axis(stored.header)
    if place.frame is None or axis is None:
        return replace(stored, header=header)
    number = place.frame

    def read(box: Box) -> AnyArray:
        whole = (*box[:axis], slice(number, number + 1), *box[axis:])
        return stored.read(whole).squeeze(axis)

    return Stored(header, (*stored.chunks[:axis], *stored.chunks[axis + 1 :]), read)


def frame_of(
    path: Path, array: AnyArray, header: Header, place: ArrayPlace
) -> tuple[AnyArray, Header]:
    """Reduce an array in memory, and its header, to the time point that was chosen.

    Raises
    ------
    UserError
        The image has no time point of that number.
    """
    axis = _time_axis(header)
    chosen = frame_header(path, header, place)
    if place.frame is None or axis is None:
        return array, chosen
    return array[(slice(None),) * axis + (place.frame,)], chosen


def frame_header(path: Path, header: Header, place: ArrayPlace) -> Header:
    """Return the header of the chosen time point, or of all of them, for the command that reads.

    Raises
    ------
    UserError
        The image has no time point of that number.
    """
    header = replace(header, command=place.command)
    if place.frame is None:
        return header
    count = time_points(header)
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
