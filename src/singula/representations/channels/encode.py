"""Conversion of label images to channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from singula.io.image import Spacing, check_spacing
from singula.representations.channel import OptionValue
from singula.representations.channel_options import checked_options
from singula.representations.channels.encoders import encoder_of
from singula.representations.channels.source import ChannelArray, EncodeSettings, Furthest, Source
from singula.representations.channels.sparse import encode_sparse
from singula.representations.channels.table import parse_channels
from singula.representations.table import check_offsets, complete_channels
from singula.util.arguments import as_array, flag, instance, items, number, text
from singula.util.boxes import Box
from singula.util.sparse_labels import is_sparse, sparse_label_image


def encode(
    labels: NDArray[Any],
    channels: str | Sequence[str] = "BC",
    *,
    spacing: Spacing | None = None,
    contour_mode: str = "thick",
    point_radius: float = 3,
    options: Mapping[str, Mapping[str, OptionValue]] | None = None,
) -> dict[str, ChannelArray]:
    """Convert a label image to the channels that a network learns.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids of any integer type, which may have gaps; 0 is background. If 0 occurs, -1
        means that a pixel is not annotated.
    channels : str or sequence of str
        A configuration such as 'BC', 'BCDv2', 'F+C+Db' or 'Db+R', or channel codes.
    spacing : float or sequence of float, optional
        Voxel size along each axis, z first, which makes distances physical. Default: pixels.
    contour_mode : {'thick', 'inner', 'outer', 'dense'}
        Position of the contour; see `find_contour`.
    point_radius : float
        Radius of the `P` disk, in units of the in-plane pixel.
    options : mapping of str to mapping, optional
        Options by channel code, such as ``{"Db": {"norm": False}}``; see docs/channels.md.

    Returns
    -------
    dict of str to ndarray
        Channels by code, with the shape of `labels`: uint8 0 or 1 if binary, float32 if distance.
        If pixels are not annotated, binary channels are int8; where the annotated pixels do not
        determine a channel, it is -1, or NaN for distances (see
        `singula.representations.channels.sparse`).

    Raises
    ------
    TypeError, UserError
        `labels` is not a label image, or channels or settings are not allowed.
        ``decode.missing_channel``: a configuration has offsets along other axes than the image.

    Examples
    --------
    >>> import numpy as np, singula
    >>> labels = np.zeros((5, 8), int)
    >>> labels[:, 1:4], labels[:, 4:7] = 1, 2
    >>> maps = singula.encode(labels, "BD")
    >>> maps["B"][2]
    array([0, 0, 1, 0, 0, 1, 0, 0], dtype=uint8)
    >>> maps["D"][2]
    array([0., 0., 1., 0., 0., 1., 0., 0.], dtype=float32)
    """
    labels = sparse_label_image(labels, empty=False)
    sizes = None if spacing is None else check_spacing(spacing, labels.ndim)
    chosen = checked_options({} if options is None else options, "options")
    if isinstance(channels, str):
        channels = complete_channels(channels, labels.ndim, chosen)
    else:
        listed = items(channels, "channels", text)
        channels = [complete_channels(code, labels.ndim, chosen) for code in listed]
    codes = parse_channels(channels)
    if len(codes) > 1 and isinstance(channels, str):
        check_offsets(codes, channels, labels.ndim)
    settings = EncodeSettings(codes, contour_mode, sizes, point_radius, chosen)
    return encode_with(settings, labels)


def encode_with(
    settings: EncodeSettings,
    labels: NDArray[Any],
    furthest: Furthest | None = None,
    planar: bool | None = None,
) -> dict[str, ChannelArray]:
    """Convert a label image to channels with settings that are already validated.

    Parameters
    ----------
    settings : EncodeSettings
        Channels and their settings.
    labels : ndarray of int, (y, x) or (z, y, x)
        As for `encode`; -1 is always "not annotated".
    furthest : mapping of str to float, optional
        Largest distances of the whole image, in the unit of the spacing, if `labels` are a part of
        an image (`Extent.furthest`): of the background to a contour (``image``, for `Dv2`), and of
        instances to their neighbors (``neighbors``, for `Dn`). Default: those of `labels`.
    planar : bool, optional
        Only single slices of the whole volume are annotated; see `is_planar`. Default: decide from
        `labels`.

    Raises
    ------
    TypeError, UserError
        As `encode`; `furthest` is not a mapping to numbers of 0 or more.
    """
    settings = instance(settings, "settings", EncodeSettings)
    if furthest is not None:
        furthest = instance(furthest, "furthest", Mapping)  # type: ignore[type-abstract]
        for distance in furthest.values():
            number(distance, "furthest", at_least=0)
    if planar is not None:
        planar = flag(planar, "planar")
    return encode_part(settings, labels, furthest, planar)


def encode_part(
    settings: EncodeSettings,
    labels: NDArray[Any],
    furthest: Furthest | None = None,
    planar: bool | None = None,
    box: Box | None = None,
) -> dict[str, ChannelArray]:
    """Convert a label image to channels of which only a box is needed.

    Parameters
    ----------
    settings, labels, furthest, planar
        As for `encode_with`, validated.
    box : tuple of slice, optional
        Box of `labels`, with the start and the stop along each axis. Outside of it, rays
        and flows can be 0 to save time. Default: all pixels.
    """
    if is_sparse(as_array(labels, "labels")):
        return encode_sparse(settings, labels, furthest, planar)
    source = Source(labels, settings, furthest, box)
    return {code: encoder_of(code)(source) for code in parse_channels(settings.channels)}
