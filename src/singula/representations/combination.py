"""Marker-controlled watershed of any combination of channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from singula.errors import UserError
from singula.representations.base import Maps
from singula.representations.channel import Channel, axis_of_neighbor
from singula.representations.channel_table import CHANNELS, planes_in
from singula.representations.families import FAMILIES
from singula.representations.watershed import Term, Watershed

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings

EDGES = "edges"
"""Name of the map of the borders between instances, computed from `H`, `V` and `Z`."""
_POINTS = "P"
_BODY_AND_CONTOUR = ("B", "C")


class CombinedWatershed(Watershed):
    """Watershed of a combination of channels.

    It computes further maps: the edges of offsets, and the smallest affinity to the neighbors.
    """

    @property
    def computed(self) -> tuple[str, ...]:
        """Names of the computed maps that a term or the surface uses."""
        return tuple(name for name in _COMPUTED if name in self.used_maps)

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Channels of the used maps, and those from which maps are computed."""
        sources = {code for name in self.computed for code in self._rows_of(name)}
        return tuple(code for code in self.channels if code in self.used_maps | sources)

    def _rows_of(self, name: str) -> dict[str, Channel]:
        """Return the channels, by code, from which a map is computed."""
        rows = {code: CHANNELS[code] for code in self.channels}
        return {code: row for code, row in rows.items() if _COMPUTED[name].uses(row)}

    @property
    def ndim(self) -> int | None:
        """Number of axes of the affinities; None without any."""
        lengths = (len(CHANNELS[code].offset) for code in self.channels if CHANNELS[code].offset)
        return next(lengths, None)

    def reach(
        self, settings: DecodeSettings, spacing: Sequence[float] | None, ndim: int
    ) -> tuple[int, ...]:
        """Return the halo of the morphology and of the computed maps."""
        halo = super().reach(settings, spacing, ndim)
        return tuple(pixels + 1 for pixels in halo) if self.computed else halo

    def bytes_per_pixel(self, *, in_blocks: bool) -> int:
        """Return the bytes of the watershed, and 4 for each computed map."""
        return super().bytes_per_pixel(in_blocks=in_blocks) + 4 * len(self.computed)

    def prepare(self, maps: Maps) -> Maps:
        """Add the computed maps."""
        computed = {}
        for name in self.computed:
            rows = {row: maps[code] for code, row in self._rows_of(name).items()}
            computed[name] = _COMPUTED[name].compute(rows)
        return {**maps, **computed}


def smallest_affinity(rows: Mapping[Channel, np.ndarray]) -> np.ndarray:
    """Return the smallest affinity of each pixel to its direct neighbors in the image.

    Parameters
    ----------
    rows : mapping of Channel to ndarray
        Maps of affinities to direct neighbors by channel, all (y, x) or all (z, y, x).

    Returns
    -------
    ndarray of float32
        Values in the same shape; 1 without neighbors.
    """
    import numpy as np

    from singula.util.boxes import pair_boxes

    shape = next(iter(rows.values())).shape
    smallest = np.ones(shape, np.float32)
    for channel, values in rows.items():
        first, second = pair_boxes(shape, channel.offset)
        affinities = values[first].astype(np.float32, copy=False)
        np.minimum(smallest[first], affinities, out=smallest[first])
        np.minimum(smallest[second], affinities, out=smallest[second])
    return smallest


def _edges(rows: Mapping[Channel, np.ndarray]) -> np.ndarray:
    return edges_of_offsets({row.component: values for row, values in rows.items()})


def _is_affinity_to_neighbor(channel: Channel) -> bool:
    return bool(channel.offset) and axis_of_neighbor(channel.offset) is not None


@dataclass(frozen=True)
class _ComputedMap:
    """A map that is computed from the maps of some channels.

    Parameters
    ----------
    uses : callable
        Return True for the channels from which the map is computed.
    compute : callable
        Function of the maps by channel.
    """

    uses: Callable[[Channel], bool]
    compute: Callable[[Mapping[Channel, np.ndarray]], np.ndarray]


_COMPUTED = {
    EDGES: _ComputedMap(lambda row: row.vector == "offset", _edges),
    **{
        family.summary.code: _ComputedMap(_is_affinity_to_neighbor, smallest_affinity)
        for family in FAMILIES.values()
        if family.summary is not None
    },
}


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
        channels; and the growth mask the first channel of `codes` that covers the instances, or
        else the first one that has a growth threshold, with a notice.
    surface : str
        Channel that is flooded; by default, a distance before edges before a probability.

    Raises
    ------
    UserError
        ``decode.missing_channel``: a channel is missing, or cannot be used in this place.
    """
    rows = _usable(codes, name)
    offsets = [code for code, row in rows.items() if row.vector == "offset"]
    listed = {row.list_code: code for code, row in rows.items()} | {code: code for code in rows}
    chosen_seeds = [_code_of(each, listed, name, "SEED_CHANNELS") for each in seeds]
    chosen_growth = [_code_of(each, listed, name, "GROWTH_MASK_CHANNELS") for each in growth]
    if not chosen_seeds:
        chosen_seeds = seed_channels(rows)
    if not chosen_growth:
        chosen_growth = growth_channels(rows)
    if not chosen_growth:
        summaries = [each.summary for each in FAMILIES.values() if each.summary]
        every = (*CHANNELS.values(), *summaries)
        covers = [row.list_code for row in every if row.covers]
        raise _missing(
            f"DATA_CHANNELS: got {name}, expected a channel that covers the instances: one of "
            f"{', '.join(dict.fromkeys(covers))}",
            "add F, the foreground",
        )
    growth_terms = tuple(_term(rows[code], rows[code].growth_threshold, "GROWTH_MASK_CHANNELS")
                         for code in chosen_growth)  # fmt: skip
    seed_terms = [
        _term(rows[code], rows[code].seed_threshold, "SEED_CHANNELS")
        for code in chosen_seeds
        if code not in offsets
    ]
    if not set(offsets).isdisjoint(chosen_seeds):
        if not seed_terms:
            first = rows[chosen_growth[0]]
            seed_terms.append(_term(first, first.seed_threshold, "SEED_CHANNELS"))
        seed_terms.append(Term(EDGES, False, "TH_EDGES"))
    flooded, downhill = _surface(rows, offsets, surface, listed, name)
    return CombinedWatershed(
        name,
        tuple(codes),
        seeds=tuple(seed_terms),
        growth=growth_terms,
        whole=growth_terms,
        surface=flooded,
        downhill=downhill,
        note=_note_of_growth([rows[code] for code in chosen_growth]),
    )


def require_neighbors(codes: Sequence[str], name: str) -> None:
    """Raise an error without an affinity to the direct neighbors along each axis.

    Parameters
    ----------
    codes : sequence of str
        Keys of `CHANNELS`.
    name : str
        Name of the configuration, for the message.

    Raises
    ------
    UserError
        ``decode.missing_channel``, as described.
    """
    offsets = [CHANNELS[code].offset for code in codes if CHANNELS[code].offset]
    axes = {axis_of_neighbor(offset) for offset in offsets} - {None}
    if not offsets or len(axes) < len(offsets[0]):
        raise _missing(
            f"DATA_CHANNELS: got {name}, expected affinities (A) that include an offset of one "
            "pixel along each axis",
            "add A, or the offsets -1,0 and 0,-1 to its list",
        )


def _usable(codes: Sequence[str], name: str) -> dict[str, Channel]:
    """Return the channels that the watershed can use, and the summaries of families, by code."""
    rows = {code: CHANNELS[code] for code in codes if not CHANNELS[code].family}
    for family in FAMILIES.values():
        if family.summary is not None and planes_in(codes, family.code):
            require_neighbors(codes, name)
            rows[family.summary.code] = family.summary
    return rows


def seed_channels(rows: Mapping[str, Channel]) -> list[str]:
    """Return the channels of the seeds: `P`, or else all channels that the seeds can use.

    Parameters
    ----------
    rows : mapping of str to Channel
        Channels by code.
    """
    if _POINTS in rows:
        return [_POINTS]
    return [code for code, row in rows.items() if row.seed_threshold or row.vector == "offset"]


def growth_channels(rows: Mapping[str, Channel]) -> list[str]:
    """Return the channel of the growth mask: preferably one that covers the instances.

    Parameters
    ----------
    rows : mapping of str to Channel
        Channels by code.
    """

    def rank(code: str) -> tuple[bool, ...]:
        row = rows[code]  # a mask of the instances is more exact than affinities or a distance
        return not row.covers, bool(row.family), row.kind != "binary"

    return sorted((code for code, row in rows.items() if row.growth_threshold), key=rank)[:1]


def covering_channels(codes: Sequence[str]) -> list[str]:
    """Return the channels that cover the instances, from the most exact to the least.

    Parameters
    ----------
    codes : sequence of str
        Keys of `CHANNELS`.
    """
    covering = [code for code in codes if CHANNELS[code].covers]
    # A mask of the instances is more exact than a distance.
    return sorted(covering, key=lambda code: CHANNELS[code].kind != "binary")


def whole_foreground(codes: Iterable[str]) -> tuple[str, ...]:
    """Return the channels that show the instances with their contour: a mask, or `B` and `C`.

    Parameters
    ----------
    codes : iterable of str
        Names of maps.

    Returns
    -------
    tuple of str
        Empty without such channels.
    """
    rows = [CHANNELS[code] for code in codes if code in CHANNELS]
    masks = [row.code for row in rows if row.covers and row.known_by == "pixel"]
    is_pair = {*_BODY_AND_CONTOUR} <= {row.code for row in rows}
    return (masks[0],) if masks else _BODY_AND_CONTOUR if is_pair else ()


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


def _term(channel: Channel, threshold: str | None, key: str) -> Term:
    if threshold is None or channel.inside is None:
        raise _missing(
            f"{key}: got {channel.list_code}, which has no threshold there",
            "remove the channel from this key",
        )
    return Term(channel.code, channel.inside == "high", threshold)


def _note_of_growth(rows: Sequence[Channel]) -> str | None:
    """Return a notice if the growth mask of the channels includes the background."""
    if any(row.covers for row in rows):
        return None
    codes = " and ".join(row.list_code for row in rows)
    return (
        f"the growth mask ({codes}) contains the background: instances fill the whole image, as in "
        "tissue; if your images have background, add F, the foreground"
    )


def _surface(
    rows: Mapping[str, Channel],
    offsets: list[str],
    surface: str,
    listed: dict[str, str],
    name: str,
) -> tuple[str, bool]:
    """Return the map that is flooded, and True if it is flooded from high to low values."""
    if surface:
        code = _code_of(surface, listed, name, "TOPOGRAPHIC_SURFACE_CHANNEL")
        if code in offsets:
            return EDGES, False
        if rows[code].inside is None:
            raise _missing(
                f"TOPOGRAPHIC_SURFACE_CHANNEL: got {surface}, which cannot be flooded",
                "use a distance or a probability",
            )
        return code, rows[code].inside == "high"
    ranked = sorted((row.surface_rank, code) for code, row in rows.items() if row.surface_rank)
    if offsets and (not ranked or ranked[0][0] > _EDGES_RANK):
        return EDGES, False
    return ranked[0][1], rows[ranked[0][1]].inside == "high"


_EDGES_RANK = 5


def _missing(message: str, hint: str) -> UserError:
    return UserError(message, hint, "decode.missing_channel")
