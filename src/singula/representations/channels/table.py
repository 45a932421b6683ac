"""Table of channels, each of which is declared next to its encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.representations.channels.source import Source
from singula.representations.table import DECODERS
from singula.util.arguments import items, text
from singula.util.citation import Citation

ChannelArray: TypeAlias = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]
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
