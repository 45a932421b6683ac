"""Table of the decoders, and the choice of one for any combination of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from singula.errors import UserError
from singula.representations import combination, watershed
from singula.representations.base import Decoder, SpecialDecoder
from singula.representations.channel import OptionValue
from singula.representations.channel_table import CHANNELS, internal_codes, vector_channels
from singula.representations.embedding import EmbeddingDecoder
from singula.representations.families import FAMILIES, planes_of
from singula.representations.flows import FlowDecoder
from singula.representations.mutex import MutexWatershed
from singula.representations.offsets import CenterOffsets
from singula.representations.polygons import PolygonDecoder
from singula.util.arguments import choice

_ROWS: tuple[Decoder, ...] = (*watershed.CONFIGURATIONS,)
_SPECIAL: tuple[type[SpecialDecoder], ...] = (
    PolygonDecoder,
    MutexWatershed,
    CenterOffsets,
    FlowDecoder,
    EmbeddingDecoder,
)

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
        Keys of `CHANNELS`, in the given order; those of all planes of a family such as ``R32``.

    Raises
    ------
    UserError
        ``channels.unknown``: neither a key nor valid codes, each once.
    """
    return tuple(code for group in channel_groups(channels) for code in group)


def channel_groups(channels: str) -> tuple[tuple[str, ...], ...]:
    """Return the channel codes of each code in a configuration: several for a family of planes.

    Parameters
    ----------
    channels : str
        See `split_channels`.

    Raises
    ------
    UserError
        ``channels.unknown``, as for `split_channels`.
    """
    if channels in DECODERS:
        return tuple((code,) for code in DECODERS[channels].channels)
    listed = tuple(channels.split(SEPARATOR))
    codes = internal_codes(listed)
    allowed = {row.list_code for row in CHANNELS.values()} | set(CHANNELS)
    groups = tuple(
        (code,) if code in allowed else tuple(plane.code for plane in planes_of(code))
        for code in codes
    )
    unknown = [code for code, group in zip(listed, groups, strict=True) if not group]
    all_codes = [code for group in groups for code in group]
    families = [CHANNELS[code].family for code in all_codes if CHANNELS[code].plane == 0]
    repeated = [code for code in filter(None, families) if families.count(code) > 1]
    if unknown or repeated or len(set(all_codes)) < len(all_codes):
        named = [code for code in unknown if code]
        twice = sorted({code for code in listed if code and listed.count(code) > 1})
        cause = f" with unknown codes {', '.join(named)}" if named and len(listed) > 1 else ""
        cause += f" with repeated codes {', '.join(twice)}" if twice else ""
        cause += " with an empty code" if len(named) < len(unknown) else ""
        near = {code: FAMILIES[code[:1]] for code in named if code[:1] in FAMILIES}
        cause += "".join(f" with {text}" for c, row in near.items() if (text := row.explain(c[1:])))
        forms = [row.expected for row in FAMILIES.values() if row.code in {u[:1] for u in unknown}]
        similar = {code.casefold(): code for code in (*allowed, *FAMILIES)}
        meant = [similar.get(code.casefold(), "") for code in listed]
        hint = f"write {'; '.join(forms)}" if forms else "list channels, such as BC or F+C"
        if unknown and all(meant) and len(set(meant)) == len(meant):
            hint = f"write {SEPARATOR.join(meant)}"
        got = f"{channels!r}{cause}" if channels else "no channels"
        raise UserError(
            f"channels (DATA_CHANNELS): got {got}, expected one of "
            f"{', '.join(DECODERS)}, or different codes of "
            f"{', '.join(sorted(allowed | set(FAMILIES)))} joined by {SEPARATOR}",
            hint,
            "channels.unknown",
        )
    return groups


def complete_channels(
    channels: str, ndim: int, options: Mapping[str, Mapping[str, OptionValue]]
) -> str:
    """Return a configuration in which families have parameters, such as ``F+R32`` for ``F+R``.

    Parameters
    ----------
    channels : str
        See `split_channels`.
    ndim : int
        Number of axes of the images, 2 or 3.
    options : mapping of str to mapping
        Options by channel code.
    """
    if channels in DECODERS:
        return channels
    return SEPARATOR.join(
        code + FAMILIES[code].complete(ndim, options.get(code, {})) if code in FAMILIES else code
        for code in channels.split(SEPARATOR)
    )


def check_offsets(codes: Sequence[str], name: str, ndim: int) -> None:
    """Raise an error if offsets or flows lack an axis, or have more axes than the images.

    Parameters
    ----------
    codes : sequence of str
        Keys of `CHANNELS`.
    name : str
        Name of the configuration, for the message.
    ndim : int
        Number of axes of the images, 2 or 3.

    Raises
    ------
    UserError
        ``decode.missing_channel``, as described.
    """
    rows = [CHANNELS[code] for code in codes]
    vectors = list(dict.fromkeys(row.vector for row in rows if row.vector))
    expected = "channels of one kind of vector: offsets, flows or an embedding"
    kinds = [[row.code for row in rows if row.vector == vector] for vector in vectors]
    remedy = ", or ".join(f"remove {' and '.join(kind)}" for kind in kinds)
    is_wrong = len(vectors) > 1
    for vector, listed in zip(vectors, kinds, strict=True):
        if vector != "embedding" and not is_wrong:
            x, y, z = vector_channels(vector)
            needed = (x, y, z)[:ndim]
            expected = f"{x}, {y} and {z}" if ndim == 3 else f"{x} and {y}, without {z}"
            missing = [code for code in needed if code not in listed]
            extra = [code for code in listed if code not in needed]
            changes = [f"add {code}" for code in missing] + [f"remove {code}" for code in extra]
            is_wrong, remedy = bool(changes), ", ".join(changes)
    if is_wrong:
        raise UserError(
            f"DATA_CHANNELS: got {name} for {ndim}D images (PROBLEM.NDIM), expected {expected}",
            remedy,
            "decode.missing_channel",
        )


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


SPECIAL: dict[str, type[SpecialDecoder]] = {row.method_name: row for row in _SPECIAL}
"""Decoders other than the watershed, by their value of ``DECODER``."""

METHODS = ("auto", "watershed", *SPECIAL)
"""Values of ``DECODER``: the channels determine ``auto``."""


def choose_method(
    codes: Sequence[str], options: Mapping[str, Mapping[str, OptionValue]] | None = None
) -> str:
    """Return the method of decoding for channels: a value of `METHODS` except ``auto``.

    Parameters
    ----------
    codes : sequence of str
        Keys of `CHANNELS`.
    options : mapping of str to mapping, optional
        Options by channel code.
    """
    rows = (name for name, row in SPECIAL.items() if row.suits(codes, options or {}))
    return next(rows, "watershed")


@lru_cache(maxsize=256)
def find_decoder(
    channels: str,
    seeds: tuple[str, ...] = (),
    growth: tuple[str, ...] = (),
    surface: str = "",
    method: str = "auto",
) -> Decoder:
    """Return the decoder of a configuration of channels.

    Parameters
    ----------
    channels : str
        See `split_channels`.
    seeds, growth : tuple of str
        Channels of the watershed's seeds and growth mask, by their codes in the configuration;
        inferred if empty.
    surface : str
        Channel that the watershed floods; inferred if empty.
    method : str
        One of `METHODS`.

    Raises
    ------
    UserError
        ``channels.unknown``; ``decode.missing_channel``: the decoder lacks a channel.
    """
    method = choice(method, "method (DECODER)", METHODS)
    codes = split_channels(channels)
    if method == "auto":
        method = choose_method(codes)
    if method in SPECIAL:
        return SPECIAL[method].build(channels, codes)
    if channels in DECODERS and not (seeds or growth or surface):
        return DECODERS[channels]
    return combination.watershed_of(channels, codes, seeds, growth, surface)
