"""Assign z, y, x and channel to the axes of a stored array, by metadata or by shape."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.image import AnyArray, Header
from singula.io.selection import CHANNEL_AXES
from singula.util.format import counted

_SET_AXES = (
    "write the right axes into the file: in Fiji, Image > Properties… sets channels, slices and "
    "frames, and Image > Hyperstacks > Re-order Hyperstack… changes their order; then save as TIFF"
)
TIME_POINTS = "io.time_points"
"""Code of the error for an image of several time points."""


@dataclass(frozen=True)
class Layout:
    """Conversion of a stored array to a channel-last image.

    Parameters
    ----------
    order : tuple of int
        Stored axes, reordered: spatial axes, channel axes, then axes of size 1.
    spatial_shape : tuple of int
        Size along (y, x) or (z, y, x).
    stored_channels : int
        Number of channels in the file.
    channels : int
        Number of channels without transparency.
    note : str
        Axes and their origin (metadata or shape), for the log.
    """

    order: tuple[int, ...]
    spatial_shape: tuple[int, ...]
    stored_channels: int
    channels: int
    note: str

    def apply(self, array: AnyArray) -> AnyArray:
        """Return the image in a stored array.

        Parameters
        ----------
        array : ndarray
            Stored array.

        Returns
        -------
        ndarray, shape (y, x, c) or (z, y, x, c)
            Contiguous copy (or the array itself), without transparency.
        """
        moved = array.transpose(self.order).reshape(*self.spatial_shape, self.stored_channels)
        return np.ascontiguousarray(moved[..., : self.channels])

    def view(self, array: AnyArray) -> AnyArray | None:
        """Return the image as a view of `array`; None if it needs a copy."""
        moved = array.transpose(self.order).reshape(*self.spatial_shape, self.stored_channels)
        return moved[..., : self.channels] if np.may_share_memory(moved, array) else None


def decide_layout(
    path: Path, header: Header, ndim: int, channels: Collection[int] | None = None
) -> Layout:
    """Find the spatial axes and the channel axis of a stored array.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    header : Header
        Shape of the array, and its axes if the metadata give them.
    ndim : {2, 3}
        Number of spatial axes.
    channels : collection of int, optional
        Expected numbers of channels: the configured number for an image, 1 to 3 for labels. They
        identify the channel axis of an array without metadata. Axes of the metadata are not
        compared with them.

    Returns
    -------
    Layout
        Order of the axes and number of channels.

    Raises
    ------
    UserError
        ``io.no_z_axis``: a plane in a 3D problem; ``io.z_slices``: a stack in a 2D problem;
        ``io.time_points``: several time points; ``io.missing_axis``: no y or x axis;
        ``io.surplus_axis``: another axis longer than 1; ``io.too_many_axes``: more axes than a
        problem of this dimension has; ``io.channel_axes``: channels and color samples;
        ``io.no_channel_axis``: no axis has an expected number of channels.
    """
    if header.axes is None:
        return _from_shape(path, header, ndim, channels)
    return _from_axes(path, header, ndim, channels)


def _from_axes(path: Path, header: Header, ndim: int, channels: Collection[int] | None) -> Layout:
    axes = header.axes or ""
    if ndim == 3 and "Z" not in axes and axes.count("Q") == 1:
        axes = axes.replace("Q", "Z")
    expected = "ZYX"[-ndim:]
    positions = {name: position for position, name in enumerate(axes)}
    # Time first: its message helps most if other axes are unknown, too.
    for name, size in sorted(zip(axes, header.shape, strict=True), key=lambda axis: axis[0] != "T"):
        if name not in expected and name not in "CS" and size > 1:
            raise _surplus_axis(path, header, ndim, name, size)
    missing = [name for name in expected if name not in positions]
    if missing:
        raise _no_axis(path, header, missing[0])
    spatial = [positions[name] for name in expected]
    channel = [positions[name] for name in "CS" if name in positions]
    if sum(header.shape[axis] > 1 for axis in channel) > 1:
        raise UserError(
            f"{path}: got both channels (C) and color samples (S) ({header}), expected one of them",
            "split the colors into channels: in Fiji, Image > Color > Make Composite, then save",
            "io.channel_axes",
        )
    return _layout(header, spatial, channel, channels, f"axes {axes} from {header.source}")


def _from_shape(path: Path, header: Header, ndim: int, channels: Collection[int] | None) -> Layout:
    shape = header.shape
    axes = list(range(len(shape)))
    while len(axes) > ndim + 1 and any(shape[axis] == 1 for axis in axes):
        axes.remove(next(axis for axis in axes if shape[axis] == 1))
    if len(axes) < ndim:
        raise _no_axis(path, header, "ZYX"[-ndim:][0])
    if len(axes) > ndim + 1:
        raise UserError(
            f"{path}: got {len(axes)} axes ({header}), expected {ndim} for a {ndim}D image, and "
            "one more for channels",
            f"set PROBLEM.NDIM to '3D', or split the file; {_wrong_axes(header)}",
            "io.too_many_axes",
        )
    names = dict.fromkeys(axes, "")
    channel = []
    if len(axes) > ndim:
        channel_axis = _find_channel_axis(path, header, ndim, axes, channels)
        names[channel_axis] = "c"
        channel = [channel_axis]
    spatial = [axis for axis in axes if axis not in channel]
    names |= dict(zip(spatial, "zyx"[-ndim:], strict=True))
    source = "shape"
    if channels and len(channels) == 1:
        source += f" and the configured number of channels, {next(iter(channels))}"
    return _layout(
        header, spatial, channel, channels, f"axes ({', '.join(names.values())}) from {source}"
    )


def _find_channel_axis(
    path: Path, header: Header, ndim: int, axes: list[int], channels: Collection[int] | None
) -> int:
    """Return the channel axis: the first one of an expected size, else the smallest usual one."""
    candidates = [axes[position] for position in CHANNEL_AXES[ndim]]
    if channels is None:
        return min(candidates, key=lambda axis: header.shape[axis])
    for axis in candidates:
        if header.shape[axis] in channels:
            return axis
    plain = "(y, x)" if ndim == 2 else "(z, y, x)"
    expected = "1 channel (ids) or 2 (ids, class)"
    hint = f"give labels with {expected}"
    if len(channels) == 1:
        expected = counted(next(iter(channels)), "channel")
        hint = "set the last entry of DATA.PATCH_SIZE to the number of channels"
    raise UserError(
        f"{path}: got {header}, expected {plain}, or {plain} with {expected} as the first or last "
        "axis",
        f"{hint}; if one axis holds slices, set PROBLEM.NDIM to '3D'; {_wrong_axes(header)}",
        "io.no_channel_axis",
    )


def _layout(
    header: Header,
    spatial: list[int],
    channel: list[int],
    channels: Collection[int] | None,
    note: str,
) -> Layout:
    singletons = [axis for axis in range(len(header.shape)) if axis not in spatial + channel]
    stored = 1
    for axis in channel:
        stored *= header.shape[axis]
    # An alpha channel is kept if only then the number of channels is an expected one.
    keep_alpha = channels is not None and stored in channels and stored - 1 not in channels
    return Layout(
        order=(*spatial, *channel, *singletons),
        spatial_shape=tuple(header.shape[axis] for axis in spatial),
        stored_channels=stored,
        channels=stored - 1 if header.alpha and not keep_alpha else stored,
        note=note,
    )


def _no_axis(path: Path, header: Header, name: str) -> UserError:
    if name == "Z":
        return UserError(
            f"{path}: has no z axis ({header}), but PROBLEM.NDIM is '3D'",
            "set PROBLEM.NDIM to '2D', or give one stack per file; if it is a stack, "
            f"{_set_axes(header)}",
            "io.no_z_axis",
        )
    return UserError(
        f"{path}: has no {name.lower()} axis ({header})", _set_axes(header), "io.missing_axis"
    )


def _surplus_axis(path: Path, header: Header, ndim: int, name: str, size: int) -> UserError:
    if name == "Z":
        return UserError(
            f"{path}: has {size} z slices ({header}), but PROBLEM.NDIM is '2D'",
            "set PROBLEM.NDIM to '3D', or give one image per slice; "
            f"if they are channels, {_set_axes(header)}",
            "io.z_slices",
        )
    if name == "T":
        return UserError(
            f"{path}: has {counted(size, 'time point')} ({header}); an image has one",
            f"{advice_for(header.command).frames}; if they are slices or channels, "
            f"{_set_axes(header)}",
            TIME_POINTS,
        )
    entries = "pages of unknown meaning" if name == "Q" else f"entries along the axis {name}"
    return UserError(
        f"{path}: has {size} {entries} ({header}) in a {ndim}D problem",
        _set_axes(header),
        "io.surplus_axis",
    )


def _set_axes(header: Header) -> str:
    """Return the remedy for missing or wrong axes."""
    return header.remedy or _SET_AXES


def _wrong_axes(header: Header) -> str:
    """Return the remedy for wrong axes, for a file of any format."""
    if header.remedy:
        return f"if its axes are wrong, {header.remedy}"
    return f"if the file is a TIFF and its axes are wrong, {_SET_AXES}"
