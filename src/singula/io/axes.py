"""Which axis of a stored array is z, y, x and channel: metadata first, else shape."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.image import AnyArray, Header
from singula.words import counted

_SET_AXES = (
    "write the right axes into the file: in Fiji, Image > Properties… sets channels, slices and "
    "frames, and Image > Hyperstacks > Re-order Hyperstack… changes their order; then save as TIFF"
)
TIME_POINTS = "io.time_points"
"""Code of the error for an image of several time points."""
# Where the channels may be when the file does not say, most usual first.
_CHANNEL_PLACES = {2: (2, 0), 3: (3, 1, 0)}


@dataclass(frozen=True)
class Layout:
    """How a stored array becomes a channel-last image.

    Parameters
    ----------
    order : tuple of int
        The stored axes as spatial axes, channel axes, then axes of size 1.
    spatial_shape : tuple of int
        (y, x) or (z, y, x).
    stored_channels : int
        Channels in the file.
    channels : int
        Channels without transparency.
    note : str
        How the axes were decided.
    """

    order: tuple[int, ...]
    spatial_shape: tuple[int, ...]
    stored_channels: int
    channels: int
    note: str

    def apply(self, array: AnyArray) -> AnyArray:
        """Return `array` channel-last and contiguous, without transparency."""
        moved = array.transpose(self.order).reshape(*self.spatial_shape, self.stored_channels)
        return np.ascontiguousarray(moved[..., : self.channels])

    def view(self, array: AnyArray) -> AnyArray | None:
        """Return the same without copying, in whatever order it is stored; None if it cannot be."""
        moved = array.transpose(self.order).reshape(*self.spatial_shape, self.stored_channels)
        return moved[..., : self.channels] if np.may_share_memory(moved, array) else None


def decide_layout(
    path: Path, header: Header, ndim: int, channels: Collection[int] | None = None
) -> Layout:
    """Decide what each stored axis is.

    Parameters
    ----------
    path : Path
        Named in errors.
    header : Header
        Shape and, where the file says so, axes.
    ndim : int
        2 or 3 spatial axes.
    channels : collection of int, optional
        Numbers of channels to look for when only the shape can tell: the configured one of an
        image, or those of labels; what metadata say is not checked against them.

    Returns
    -------
    Layout

    Raises
    ------
    UserError
        More or fewer axes than the problem has: time points, slices in 2D, no slices in 3D.
    """
    if header.axes is None:
        return _from_shape(path, header, ndim, channels)
    return _from_axes(path, header, ndim, channels)


def _from_axes(path: Path, header: Header, ndim: int, channels: Collection[int] | None) -> Layout:
    axes = header.axes or ""
    if ndim == 3 and "Z" not in axes and axes.count("Q") == 1:
        axes = axes.replace("Q", "Z")
    wanted = "ZYX"[-ndim:]
    places = {name: place for place, name in enumerate(axes)}
    # Time first: its message helps most if other axes are unknown, too.
    for name, size in sorted(zip(axes, header.shape, strict=True), key=lambda axis: axis[0] != "T"):
        if name not in wanted and name not in "CS" and size > 1:
            raise _surplus_axis(path, header, ndim, name, size)
    missing = [name for name in wanted if name not in places]
    if missing:
        raise _no_axis(path, header, missing[0])
    spatial = [places[name] for name in wanted]
    channel = [places[name] for name in "CS" if name in places]
    if sum(header.shape[place] > 1 for place in channel) > 1:
        raise UserError(
            f"{path}: has both channels (C) and colours (S) ({header})",
            "split the colours into channels: in Fiji, Image > Color > Make Composite, then save",
        )
    return _layout(header, spatial, channel, channels, f"axes {axes} from {header.source}")


def _from_shape(path: Path, header: Header, ndim: int, channels: Collection[int] | None) -> Layout:
    shape = header.shape
    kept = list(range(len(shape)))
    while len(kept) > ndim + 1 and any(shape[place] == 1 for place in kept):
        kept.remove(next(place for place in kept if shape[place] == 1))
    if len(kept) < ndim:
        raise _no_axis(path, header, "ZYX"[-ndim:][0])
    if len(kept) > ndim + 1:
        raise UserError(
            f"{path}: has {len(kept)} axes ({header}), but a {ndim}D image has {ndim}, and one "
            "more for channels",
            f"set PROBLEM.NDIM to '3D', or split the file; {_wrong_axes(header)}",
        )
    names = dict.fromkeys(kept, "")
    channel = []
    if len(kept) > ndim:
        place = _channel_place(path, header, ndim, kept, channels)
        names[place] = "c"
        channel = [place]
    spatial = [place for place in kept if place not in channel]
    names |= dict(zip(spatial, "zyx"[-ndim:], strict=True))
    told = "shape"
    if channels and len(channels) == 1:
        told += f" and the configured number of channels, {next(iter(channels))}"
    return _layout(
        header, spatial, channel, channels, f"axes ({', '.join(names.values())}) from {told}"
    )


def _channel_place(
    path: Path, header: Header, ndim: int, kept: list[int], channels: Collection[int] | None
) -> int:
    """Find the axis with the channels: of an expected size, else the smallest usual one."""
    usual = [kept[place] for place in _CHANNEL_PLACES[ndim]]
    if channels is None:
        return min(usual, key=lambda place: header.shape[place])
    for place in usual:
        if header.shape[place] in channels:
            return place
    plain = "(y, x)" if ndim == 2 else "(z, y, x)"
    fits = "1 channel (ids) or 2 (ids, class)"
    hint = f"labels have {fits}"
    if len(channels) == 1:
        fits = counted(next(iter(channels)), "channel")
        hint = "set the last entry of DATA.PATCH_SIZE to the number of channels"
    raise UserError(
        f"{path}: {header} is neither {plain} nor {plain} with {fits}, first or last",
        f"{hint}; if one axis holds slices, set PROBLEM.NDIM to '3D'; {_wrong_axes(header)}",
    )


def _layout(
    header: Header,
    spatial: list[int],
    channel: list[int],
    channels: Collection[int] | None,
    note: str,
) -> Layout:
    rest = [place for place in range(len(header.shape)) if place not in spatial + channel]
    stored = 1
    for place in channel:
        stored *= header.shape[place]
    wanted_whole = channels is not None and stored in channels and stored - 1 not in channels
    return Layout(
        order=(*spatial, *channel, *rest),
        spatial_shape=tuple(header.shape[place] for place in spatial),
        stored_channels=stored,
        channels=stored - 1 if header.alpha and not wanted_whole else stored,
        note=note,
    )


def _no_axis(path: Path, header: Header, name: str) -> UserError:
    if name == "Z":
        return UserError(
            f"{path}: has no z axis ({header}), but PROBLEM.NDIM is '3D'",
            "set PROBLEM.NDIM to '2D', or give one stack per file; if it is a stack, "
            f"{_set_axes(header)}",
        )
    return UserError(f"{path}: has no {name.lower()} axis ({header})", _set_axes(header))


def _surplus_axis(path: Path, header: Header, ndim: int, name: str, size: int) -> UserError:
    if name == "Z":
        return UserError(
            f"{path}: has {size} z slices ({header}), but PROBLEM.NDIM is '2D'",
            "set PROBLEM.NDIM to '3D', or give one image per slice; "
            f"if they are channels, {_set_axes(header)}",
        )
    if name == "T":
        return UserError(
            f"{path}: has {counted(size, 'time point')} ({header}); an image has one",
            f"{advice_for(header.command).frames}; if they are slices or channels, "
            f"{_set_axes(header)}",
            TIME_POINTS,
        )
    what = "pages of unknown meaning" if name == "Q" else f"entries along the axis {name}"
    return UserError(
        f"{path}: has {size} {what} ({header}) in a {ndim}D problem", _set_axes(header)
    )


def _set_axes(header: Header) -> str:
    """How a user sets the axes right."""
    return header.remedy or _SET_AXES


def _wrong_axes(header: Header) -> str:
    """The same, for a file of any format."""
    if header.remedy:
        return f"if its axes are wrong, {header.remedy}"
    return f"if the file is a TIFF and its axes are wrong, {_SET_AXES}"
