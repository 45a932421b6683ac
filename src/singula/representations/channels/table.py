"""Validation of channel codes."""

from __future__ import annotations

from collections.abc import Sequence

from singula.errors import UserError
from singula.representations.channel_table import CHANNELS
from singula.representations.families import FAMILIES, planes_of
from singula.representations.table import split_channels
from singula.util.arguments import items, text


def parse_channels(channels: str | Sequence[str]) -> tuple[str, ...]:
    """Split a configuration into its channel codes.

    Parameters
    ----------
    channels : str or sequence of str
        A key of `DECODERS`, such as 'BCDv2'; codes joined by ``+`` as in a configuration, such as
        'F+C+Db'; or keys of `CHANNELS` and codes
        of families, such as ('B', 'C', 'Dv2') or ('Db', 'R32').

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
    if isinstance(channels, str):
        return split_channels(channels)
    codes = tuple(
        each
        for code in items(channels, "channels", text)
        for each in ((code,) if code in CHANNELS else [p.code for p in planes_of(code)] or (code,))
    )
    if not codes or any(code not in CHANNELS for code in codes) or len(set(codes)) < len(codes):
        raise UserError(
            f"channels: got {codes}, expected channels of "
            f"{', '.join([*CHANNELS, *FAMILIES])}, each once",
            "correct the channel codes",
            "channels.unknown",
        )
    return codes
