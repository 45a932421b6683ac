"""Marker-controlled watershed of any combination of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from singula.errors import UserError
from singula.representations.base import Maps
from singula.representations.channel_table import CHANNELS
from singula.representations.watershed import Term, Watershed

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings

EDGES = "edges"
"""Name of the map of the borders between instances, computed from `H`, `V` and `Z`."""
_POINTS = "P"


class CombinedWatershed(Watershed):
    """Watershed of a combination of channels, of which offsets are converted to a map of edges."""

    @property
    def uses_edges(self) -> bool:
        """True if a term or the surface uses the map of edges."""
        return EDGES in {term.channel for term in self.seeds} | {self.surface}

    def reach(
        self, settings: DecodeSettings, spacing: Sequence[float] | None, ndim: int
    ) -> tuple[int, ...]:
        """Return the halo of the morphology and of the map of edges."""
        halo = super().reach(settings, spacing, ndim)
        return tuple(pixels + 1 for pixels in halo) if self.uses_edges else halo

    def prepare(self, maps: Maps) -> Maps:
        """Add the map of edges, if a term or the surface uses it."""
        if not self.uses_edges:
            return maps
        components = {
            CHANNELS[code].component: maps[code]
            for code in self.channels
            if CHANNELS[code].component
        }
        return {**maps, EDGES: edges_of_offsets(components)}


def edges_of_offsets(components: dict[int, np.ndarray]) -> np.ndarray:
    """Return the borders between instances from offsets to their centers.

    Along an axis, an offset increases inside of an instance and falls from 1 to -1 at the border to
    the next one. The edge is half of the largest fall to a neighboring pixel over the axes.

    Parameters
    ----------
    components : dict of int to ndarray
        Normalized offsets, all (y, x) or all (z, y, x), by axis from the end: 1 for x.

    Returns
    -------
    ndarray of float32
        Values from 0 to 1 in the same shape.
    """
    import numpy as np

    shape = next(iter(components.values())).shape
    edges = np.zeros(shape, np.float32)
    for component, offsets in components.items():
        axis = offsets.ndim - component
        fall = -np.diff(offsets.astype(np.float32, copy=False), axis=axis) / 2
        before = (slice(None),) * axis + (slice(None, -1),)
        after = (slice(None),) * axis + (slice(1, None),)
        np.maximum(edges[before], fall, out=edges[before])
        np.maximum(edges[after], fall, out=edges[after])
    return np.minimum(edges, 1, out=edges)


def watershed_of(
    name: str,
    codes: Sequence[str],
    seeds: Sequence[str] = (),
    growth: Sequence[str] = (),
    surface: str = "",
) -> Watershed:
    """Return the watershed of a combination of channels.

    Parameters
    ----------
    name : str
        Name of the configuration.
    codes : sequence of str
        Keys of `CHANNELS`.
    seeds, growth : sequence of str
        Channels of the seeds and of the growth mask. By default, the seeds use `P`, or else all
        channels; and the growth mask the first channel of `codes` that covers the instances.
    surface : str
        Channel that is flooded; by default, a distance before edges before a probability.

    Raises
    ------
    UserError
        ``decode.missing_channel``: a channel is missing, or cannot be used in this place.
    """
    offsets = [code for code in codes if CHANNELS[code].component]
    listed = {CHANNELS[code].list_code: code for code in codes} | {code: code for code in codes}
    chosen_seeds = [_code_of(each, listed, name, "SEED_CHANNELS") for each in seeds]
    chosen_growth = [_code_of(each, listed, name, "GROWTH_MASK_CHANNELS") for each in growth]
    if not chosen_seeds:
        chosen_seeds = seed_channels(codes)
    if not chosen_growth:
        chosen_growth = covering_channels(codes)[:1]
    if not chosen_growth:
        covers = [row.list_code for row in CHANNELS.values() if row.growth_threshold]
        raise _missing(
            f"DATA_CHANNELS: got {name}, expected a channel that covers the instances: one of "
            f"{', '.join(dict.fromkeys(covers))}",
            "add F, the foreground",
        )
    growth_terms = tuple(_term(code, CHANNELS[code].growth_threshold, "GROWTH_MASK_CHANNELS")
                         for code in chosen_growth)  # fmt: skip
    seed_terms = [
        _term(code, CHANNELS[code].seed_threshold, "SEED_CHANNELS")
        for code in chosen_seeds
        if code not in offsets
    ]
    if not set(offsets).isdisjoint(chosen_seeds):
        if not seed_terms:
            first = chosen_growth[0]
            seed_terms.append(_term(first, CHANNELS[first].seed_threshold, "SEED_CHANNELS"))
        seed_terms.append(Term(EDGES, False, "TH_EDGES"))
    flooded, downhill = _surface(codes, offsets, surface, listed, name)
    return CombinedWatershed(
        name,
        tuple(codes),
        seeds=tuple(seed_terms),
        growth=growth_terms,
        whole=growth_terms,
        surface=flooded,
        downhill=downhill,
    )


def seed_channels(codes: Sequence[str]) -> list[str]:
    """Return the channels of the seeds: `P`, or else all channels that the seeds can use.

    Parameters
    ----------
    codes : sequence of str
        Keys of `CHANNELS`.
    """
    if _POINTS in codes:
        return [_POINTS]
    return [code for code in codes if CHANNELS[code].seed_threshold or CHANNELS[code].component]


def covering_channels(codes: Sequence[str]) -> list[str]:
    """Return the channels that cover the instances, from the most exact to the least.

    Parameters
    ----------
    codes : sequence of str
        Keys of `CHANNELS`.
    """
    covering = [code for code in codes if CHANNELS[code].growth_threshold]
    # A mask of the instances is more exact than a distance.
    return sorted(covering, key=lambda code: CHANNELS[code].kind != "binary")


def foreground_term(codes: Sequence[str]) -> Term | None:
    """Return the comparison of the channel that covers the instances best; None without any.

    Parameters
    ----------
    codes : sequence of str
        Keys of `CHANNELS`.
    """
    covering = covering_channels(codes)
    if not covering:
        return None
    channel = CHANNELS[covering[0]]
    return Term(channel.code, channel.inside == "high", str(channel.growth_threshold))


def _code_of(listed_code: str, codes: dict[str, str], name: str, key: str) -> str:
    if listed_code not in codes:
        raise _missing(
            f"{key}: got {listed_code}, expected channels of DATA_CHANNELS {name}",
            "add the channel to DATA_CHANNELS, or remove it from this key",
        )
    return codes[listed_code]


def _term(code: str, threshold: str | None, key: str) -> Term:
    channel = CHANNELS[code]
    if threshold is None or channel.inside is None:
        raise _missing(
            f"{key}: got {channel.list_code}, which has no threshold there",
            "remove the channel from this key",
        )
    return Term(code, channel.inside == "high", threshold)


def _surface(
    codes: Sequence[str], offsets: list[str], surface: str, listed: dict[str, str], name: str
) -> tuple[str, bool]:
    """Return the map that is flooded, and True if it is flooded from high to low values."""
    if surface:
        code = _code_of(surface, listed, name, "TOPOGRAPHIC_SURFACE_CHANNEL")
        if code in offsets:
            return EDGES, False
        if CHANNELS[code].inside is None:
            raise _missing(
                f"TOPOGRAPHIC_SURFACE_CHANNEL: got {surface}, which cannot be flooded",
                "use a distance or a probability",
            )
        return code, CHANNELS[code].inside == "high"
    ranked = sorted((CHANNELS[c].surface_rank, c) for c in codes if CHANNELS[c].surface_rank)
    if offsets and (not ranked or ranked[0][0] > _EDGES_RANK):
        return EDGES, False
    return ranked[0][1], CHANNELS[ranked[0][1]].inside == "high"


_EDGES_RANK = 5


def _missing(message: str, hint: str) -> UserError:
    return UserError(message, hint, "decode.missing_channel")
