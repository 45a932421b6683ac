"""Functions that compute the channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import TypeAlias, cast

from singula.representations.channel_table import CHANNELS
from singula.representations.channels.source import ChannelArray, Source

Encoder: TypeAlias = Callable[[Source], ChannelArray]


@cache
def encoder_of(code: str) -> Encoder:
    """Return the function that computes a channel from a `Source`.

    Parameters
    ----------
    code : str
        Key of `CHANNELS`.
    """
    channel = CHANNELS[code]
    module, _, name = channel.encoder.partition(":")
    encoder = getattr(import_module(module), name)
    return cast(Encoder, partial(encoder, channel=channel) if channel.family else encoder)
