"""Table of the decoders, and the choice of one for any combination of channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from singula.errors import UserError
from singula.representations import combination, watershed
from singula.representations.base import Decoder
from singula.representations.channel_table import CHANNELS, internal_codes

_ROWS: tuple[Decoder, ...] = (*watershed.CONFIGURATIONS,)

DECODERS: dict[str, Decoder] = {row.name: row for row in _ROWS}
"""Decoders by configuration of channels: the values of ``DATA_CHANNELS`` without ``+``."""

SEPARATOR = "+"
"""Character between the codes of a combination, as in ``F+C+Db``."""


def split_channels(channels: str) -> tuple[str, ...]:
    """Split a configuration into its channel codes.

    Parameters
    ----------
    channels : str
        A key of `DECODERS`, such as ``BCDv2``, or codes joined by ``+``, such as ``F+C+Db``.

    Returns
    -------
    tuple of str
        Keys of `CHANNELS`, in the given order.

    Raises
    ------
    UserError
        ``channels.unknown``: neither a key nor known codes, each once.
    """
    if channels in DECODERS:
        return DECODERS[channels].channels
    listed = tuple(channels.split(SEPARATOR))
    codes = internal_codes(listed)
    allowed = {row.list_code for row in CHANNELS.values()} | set(CHANNELS)
    unknown = [code for code in listed if code not in allowed]
    if unknown or len(set(codes)) < len(codes):
        cause = f" with unknown codes {', '.join(unknown)}" if unknown and len(listed) > 1 else ""
        raise UserError(
            f"channels (DATA_CHANNELS): got {channels!r}{cause}, expected one of "
            f"{', '.join(DECODERS)}, or different codes of {', '.join(sorted(allowed))} joined by "
            f"{SEPARATOR}",
            "correct the channels",
            "channels.unknown",
        )
    return codes


def join_channels(listed: Sequence[str]) -> str:
    """Return the configuration of a list of codes.

    Parameters
    ----------
    listed : sequence of str
        Codes; a list that contains exactly the channels of a row of `DECODERS` becomes its name.
    """
    for name, row in DECODERS.items():
        if set(row.channels) == set(listed) and len(row.channels) == len(listed):
            return name
    return SEPARATOR.join(listed)


@lru_cache(maxsize=256)
def find_decoder(
    channels: str, seeds: tuple[str, ...] = (), growth: tuple[str, ...] = (), surface: str = ""
) -> Decoder:
    """Return the decoder of a configuration of channels.

    Parameters
    ----------
    channels : str
        See `split_channels`.
    seeds, growth : tuple of str
        Channels of the seeds and of the growth mask, by their codes in the configuration; inferred
        if empty.
    surface : str
        Channel that is flooded; inferred if empty.

    Raises
    ------
    UserError
        ``channels.unknown``; ``decode.missing_channel``: the decoder lacks a channel.
    """
    if channels in DECODERS and not (seeds or growth or surface):
        return DECODERS[channels]
    return combination.watershed_of(channels, split_channels(channels), seeds, growth, surface)
