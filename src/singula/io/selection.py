"""Select one image (series), one time point, and one channel or color of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.image import AnyArray, ArrayPlace, Header, Series, StoredArray
from singula.util.boxes import Box
from singula.util.format import counted

# Possible channel axes of an array without metadata, by number of spatial axes; most usual first.
CHANNEL_AXES = {2: (2, 0), 3: (3, 1, 0)}
_COLORS = (("r", "red"), ("g", "green"), ("b", "blue"))
_MAX_DIGITS = 9  # Python refuses to convert thousands of digits


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
            f"{path}: got series {number}, expected {allowed}: the file contains "
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


def count_channels(header: Header) -> int:
    """Return the number of channels that can be selected: 1 for colors, which are one picture.

    Parameters
    ----------
    header : Header
        Header of the image.
    """
    axis = _channel_axis(header)
    return 1 if axis is None else header.shape[axis]


def list_channels(header: Header) -> str:
    """Return the names of the channels as text, else the range of their numbers."""
    if header.channel_names:
        return ", ".join(header.channel_names)
    return f"0 to {count_channels(header) - 1}"


def named_channels(
    names: Sequence[object], axes: str | None, shape: Sequence[int]
) -> tuple[str, ...]:
    """Return the names of all channels; empty if a channel has no name, or two have the same.

    Parameters
    ----------
    names : sequence
        Names of the metadata, with an empty text or None for a channel without a name.
    axes : str, optional
        One letter for each axis of `shape`.
    shape : sequence of int
        Shape of the stored array.
    """
    count = shape[axes.index("C")] if axes and "C" in axes else 1
    texts = tuple(str(name or "").strip() for name in names)
    return texts if len(texts) == count and all(texts) and len(set(texts)) == count else ()


def select(path: Path, stored: StoredArray, place: ArrayPlace) -> StoredArray:
    """Select a time point and a channel of an image on disk.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    stored : StoredArray
        All time points and channels.
    place : ArrayPlace
        Selection of the user; by default, all time points and channels remain.

    Raises
    ------
    UserError
        As `select_header`.
    """
    header, numbers = _select(path, stored.header, place)
    if not numbers:
        return replace(stored, header=header)
    axes = tuple(numbers)

    def read(box: Box) -> AnyArray:
        rest = iter(box)
        whole = tuple(
            slice(numbers[axis], numbers[axis] + 1) if axis in numbers else next(rest)
            for axis in range(len(stored.header.shape))
        )
        return stored.read(whole).squeeze(axes)

    chunks = tuple(size for axis, size in enumerate(stored.chunks) if axis not in numbers)
    return StoredArray(header, chunks, read)


def select_in_memory(
    path: Path, array: AnyArray, header: Header, place: ArrayPlace
) -> tuple[AnyArray, Header]:
    """Select a time point and a channel of an array, and of its header; see `select`.

    Raises
    ------
    UserError
        As `select_header`.
    """
    selected, numbers = _select(path, header, place)
    index = tuple(numbers.get(axis, slice(None)) for axis in range(array.ndim))
    return (array[index] if numbers else array), selected


def select_header(path: Path, header: Header, place: ArrayPlace) -> Header:
    """Return the header of the selection, with the command that reads the file.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    header : Header
        Header of all time points and channels.
    place : ArrayPlace
        Selection of the user; by default, all time points and channels remain.

    Raises
    ------
    UserError
        ``io.no_such_frame``: the image has no time point of that number; ``io.no_such_channel``:
        it has no channel of that name or number; ``io.color_channels``: it is a color picture
        without such a color; ``io.no_such_color``: it has no color of that number.
    """
    return _select(path, header, place)[0]


def _select(path: Path, header: Header, place: ArrayPlace) -> tuple[Header, dict[int, int]]:
    """Return the header of the selection, and the selected number by stored axis."""
    selected = replace(header, command=place.command)
    numbers: dict[int, int] = {}
    if place.frame is not None:
        number, axis = _frame_number(path, selected, place.frame), _time_axis(header)
        if axis is not None:
            numbers[axis] = number
    color = place.color
    if place.channel and _is_color(header):
        color = _color_number(path, selected, place.channel)
    elif place.channel:
        number, axis = _channel_number(path, selected, place.channel), _channel_axis(header)
        names = header.channel_names
        selected = replace(selected, channel_names=names[number : number + 1])
        if axis is None and not names and not place.channel.isdecimal():
            note = f"its only channel has no name and is read as channel {place.channel!r}"
            selected = replace(selected, notes=(*header.notes, note))
        if axis is not None:
            numbers[axis] = number
            if header.axes is None:
                note = f"its axis {axis} ({header.shape[axis]} entries) is read as channels"
                selected = replace(selected, notes=(*header.notes, note))
    if color is not None:
        selected, axis = _one_color(path, selected, color)
        if axis is not None:
            numbers[axis] = color
    return _without_axes(selected, tuple(numbers)), numbers


def _one_color(path: Path, header: Header, number: int) -> tuple[Header, int | None]:
    """Return the header of a gray image with one of the colors, and the stored axis of the colors.

    The axis is None if the colors are in a palette.
    """
    if header.palette is not None and 0 <= number < header.palette.shape[1]:
        values = header.palette[:, number : number + 1]
        return replace(header, palette=np.repeat(values, header.palette.shape[1], axis=1)), None
    last = len(header.shape) - 1
    axis = last if header.axes is None else header.axes.find("S")
    count = header.shape[axis] if axis >= 0 and header.palette is None else 0
    if not 0 <= number < count:
        raise UserError(
            f"{path}: got color {number}, expected a picture with more colors ({header})",
            "choose color 0 to 2 of a picture in color",
            "io.no_such_color",
        )
    return replace(header, alpha=False), axis


def _without_axes(header: Header, dropped: Sequence[int]) -> Header:
    """Return a header without some axes of the stored array."""
    if not dropped:
        return header
    axes = [axis for axis in range(len(header.shape)) if axis not in dropped]
    orientation = header.orientation
    if orientation is not None:
        tag, *plane = orientation
        y, x = (axes.index(axis % len(header.shape)) for axis in plane)
        orientation = (tag, y, x)
    return replace(
        header,
        shape=tuple(header.shape[axis] for axis in axes),
        axes=None if header.axes is None else "".join(header.axes[axis] for axis in axes),
        orientation=orientation,
    )


def _frame_number(path: Path, header: Header, number: int) -> int:
    """Return the number of a time point, after validation."""
    count = count_time_points(header)
    if not 0 <= number < count:
        raise UserError(
            f"{path}: got time point {number}, expected 0 to {count - 1}: it has "
            f"{counted(count, 'time point')} ({header})",
            advice_for(header.command).frame,
            "io.no_such_frame",
        )
    return number


def _channel_number(path: Path, header: Header, channel: str) -> int:
    """Return the number of a channel that the user chose by its name or number."""
    names, count = header.channel_names, count_channels(header)
    for matches in (
        [number for number, name in enumerate(names) if name == channel],
        [number for number, name in enumerate(names) if name.lower() == channel.strip().lower()],
    ):
        if len(matches) == 1:
            return matches[0]
    is_number = channel.isdecimal() and len(channel) <= _MAX_DIGITS
    if is_number and int(channel) < count:
        return int(channel)
    if count == 1 and not names and not is_number:
        return 0  # the file cannot confirm the name, and there is no other channel
    raise UserError(
        f"{path}: got channel {channel!r}, expected {list_channels(header)} ({header})",
        advice_for(header.command).channel,
        "io.no_such_channel",
    )


def _is_color(header: Header) -> bool:
    has_colors = header.palette is not None or _size_along(header, "S") > 1
    return has_colors and _size_along(header, "C") == 1


def _color_number(path: Path, header: Header, channel: str) -> int:
    """Return the number of a color of a picture that the user chose by its name or number."""
    count = _size_along(header, "S") - header.alpha
    if header.palette is not None:
        count = header.palette.shape[1]
    given = channel.strip().lower()
    for number in range(count):
        if given == str(number) or (count == len(_COLORS) and given in _COLORS[number]):
            return number
    names = ", or R, G or B" if count == len(_COLORS) else ""
    raise UserError(
        f"{path}: got channel {channel!r} for a color picture ({header}), expected 0 to "
        f"{count - 1}{names}",
        "select a color by its number or name",
        "io.color_channels",
    )


def _size_along(header: Header, letter: str) -> int:
    axes = header.axes or ""
    return header.shape[axes.index(letter)] if letter in axes else 1


def _channel_axis(header: Header) -> int | None:
    """Return the axis of the channels: by its name, else the smallest possible one.

    Without names, an image of three axes is a plane with channels, and of four axes a volume with
    channels; the position of the channels is one that `decide_layout` allows.
    """
    if header.axes is not None:
        return header.axes.index("C") if "C" in header.axes else None
    axes = [axis for axis, size in enumerate(header.shape) if size > 1]
    candidates = [axes[position] for position in CHANNEL_AXES.get(len(axes) - 1, ())]
    return min(candidates, key=lambda axis: header.shape[axis], default=None)


def _time_axis(header: Header) -> int | None:
    axes = header.axes or ""
    return axes.index("T") if "T" in axes else None
