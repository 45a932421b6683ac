"""Table of channels, each of which is declared next to its encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.image import Spacing, check_spacing
from singula.representations.channels.source import EncodeSettings, Source
from singula.representations.table import DECODERS
from singula.util.arguments import instance, items, label_image, number, text
from singula.util.citation import Citation

ChannelArray: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]
Encoder: TypeAlias = Callable[[Source], ChannelArray]

Reach: TypeAlias = Literal["contour", "radius", "instance", "image"]

_BY_KIND: dict[str, tuple[Literal["bce", "l1"], Literal["sigmoid", "linear"]]] = {
    "binary": ("bce", "sigmoid"),
    "distance": ("l1", "linear"),
}


@dataclass(frozen=True)
class Channel:
    """Target that a network learns.

    Parameters
    ----------
    code : str
        Name in configurations and in prediction maps.
    width : int
        Number of planes.
    kind : {'binary', 'distance'}
        Binary channels are uint8 0 or 1, distances are float32.
    loss : {'bce', 'l1'}
        Loss function of the channel.
    activation : {'sigmoid', 'linear'}
        Activation that converts the output of the network to the channel.
    describe : str
        Description in one line.
    encode : callable
        Function that computes the array from a `Source`.
    reach : {'contour', 'radius', 'instance', 'image'}
        Region whose labels determine a pixel: its neighbors; up to the contour of its instance; its
        whole instance; in addition, the nearest contour of all background pixels.
    citations : tuple of Citation
        Publications of the channel.
    """

    code: str
    width: int
    kind: Literal["binary", "distance"]
    loss: Literal["bce", "l1"]
    activation: Literal["sigmoid", "linear"]
    describe: str
    encode: Encoder
    reach: Reach = "contour"
    citations: tuple[Citation, ...] = ()


CHANNELS: dict[str, Channel] = {}


def register(
    code: str,
    kind: Literal["binary", "distance"],
    describe: str,
    width: int = 1,
    reach: Reach = "contour",
    citations: tuple[Citation, ...] = (),
) -> Callable[[Encoder], Encoder]:
    """Declare the decorated function as the encoder of a channel; its kind determines the loss."""

    def declare(function: Encoder) -> Encoder:
        loss, activation = _BY_KIND[kind]
        CHANNELS[code] = Channel(
            code, width, kind, loss, activation, describe, function, reach, citations
        )
        return function

    return declare


def parse_channels(channels: str | Sequence[str]) -> tuple[str, ...]:
    """Split a configuration into its channel codes.

    Parameters
    ----------
    channels : str or sequence of str
        A key of `DECODERS`, such as 'BCDv2', or channel codes, such as ('B', 'C', 'Dv2').

    Returns
    -------
    tuple of str
        Keys of `CHANNELS`, in the given order.

    Raises
    ------
    TypeError
        `channels` is neither text nor a sequence of text.
    UserError
        ``channels.unknown``: an unknown configuration or code, or a code that occurs twice.
    """
    if not isinstance(channels, str):
        codes = items(channels, "channels", text)
        if not codes or set(codes) - set(CHANNELS) or len(set(codes)) < len(codes):
            raise UserError(
                f"channels: got {codes}, expected channels of {', '.join(CHANNELS)}, each once",
                "correct the channel codes",
                "channels.unknown",
            )
        return codes
    if channels not in DECODERS:
        raise UserError(
            f"channels (DATA_CHANNELS): got {channels!r}, which is not a configuration",
            f"use one of {', '.join(DECODERS)}",
            "channels.unknown",
        )
    return DECODERS[channels].channels


def encode(
    labels: NDArray[Any],
    channels: str | Sequence[str] = "BC",
    *,
    spacing: Spacing | None = None,
    contour_mode: str = "thick",
    point_radius: float = 3,
) -> dict[str, ChannelArray]:
    """Convert a label image to the channels that a network learns.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids of any integer type, which may have gaps; 0 is background.
    channels : str or sequence of str
        A configuration such as 'BC' or 'BCDv2', or channel codes.
    spacing : float or sequence of float, optional
        Voxel size along each axis, z first, which makes distances physical. Default: pixels.
    contour_mode : {'thick', 'inner', 'outer', 'dense'}
        Position of the contour; see `find_contour`.
    point_radius : float
        Radius of the `P` disk, in units of the in-plane pixel.

    Returns
    -------
    dict of str to ndarray
        Channels by code, with the shape of `labels`: uint8 0 or 1 if binary, float32 if distance.

    Raises
    ------
    TypeError, UserError
        `labels` is not a label image, or channels or settings are not allowed.

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
    codes = parse_channels(channels)
    labels = label_image(labels, empty=False)
    sizes = None if spacing is None else check_spacing(spacing, labels.ndim)
    return encode_with(EncodeSettings(codes, contour_mode, sizes, point_radius), labels)


def encode_with(
    settings: EncodeSettings, labels: NDArray[Any], furthest: float | None = None
) -> dict[str, ChannelArray]:
    """Convert a label image to channels with settings that are already validated.

    Parameters
    ----------
    settings : EncodeSettings
        Channels and their settings.
    labels : ndarray of int, (y, x) or (z, y, x)
        As for `encode`.
    furthest : float, optional
        Largest distance of the background of the whole image to a contour, in the unit of the
        spacing, if `labels` are a part of an image. `Dv2` uses it instead of the maximum of the
        part.

    Raises
    ------
    TypeError, UserError
        As `encode`; `furthest` is not a number of 0 or more.
    """
    settings = instance(settings, "settings", EncodeSettings)
    if furthest is not None:
        furthest = number(furthest, "furthest", at_least=0)
    source = Source(labels, settings, furthest)
    return {code: CHANNELS[code].encode(source) for code in parse_channels(settings.channels)}
