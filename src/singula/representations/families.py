"""Channels with several maps: rays, affinities and embeddings; importable without NumPy.

Each map, a *plane*, is a `Channel` with its own code: the code of the family with its parameters,
a dot, and the number of the plane, such as ``R32.0``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from singula.representations.channel import MASKED, Channel, Option, OptionValue
from singula.util.citation import Citation

Planes = tuple[Channel, ...]
Offset = tuple[int, ...]

_POLYGONS = Citation(
    "schmidt2018",
    "Schmidt, U.; Weigert, M.; Broaddus, C.; Myers, G.",
    "Cell detection with star-convex polygons",
    "MICCAI",
    2018,
    "10.1007/978-3-030-00934-2_30",
)
_POLYHEDRA = Citation(
    "weigert2020",
    "Weigert, M.; Schmidt, U.; Haase, R.; Sugawara, K.; Myers, G.",
    "Star-convex polyhedra for 3D object detection and segmentation in microscopy",
    "WACV",
    2020,
    "10.1109/WACV45572.2020.9093435",
)
_MUTEX = Citation(
    "wolf2018",
    "Wolf, S.; others",
    "The mutex watershed: efficient, parameter-free image partitioning",
    "ECCV",
    2018,
    "10.1007/978-3-030-01225-0_34",
)
_EMBEDDING = Citation(
    "lalit2022",
    "Lalit, M.; Tomancak, P.; Jug, F.",
    "EmbedSeg: embedding-based instance segmentation for biomedical microscopy data",
    "Medical Image Analysis",
    2022,
    "10.1016/j.media.2022.102523",
)
UNIT_RADIUS = 8.0
"""Length of a ray in pixels at the output 1 of the network, and radius at the bandwidth 0."""
_FEWEST_RAYS, _MOST_RAYS, _MOST_OFFSETS, _LARGEST_OFFSET = 3, 512, 64, 256

POLYGON_LIBRARY = "stardist"
"""Package of the extra of the same name, which suppresses and draws polygons."""
MIN_RAYS_3D = 4
"""Smallest number of rays of a polyhedron."""


@dataclass(frozen=True)
class Family:
    """Channel with several maps.

    Parameters
    ----------
    code : str
        Code in a list of channels, such as ``R``.
    describe : str
        Description in one line.
    planes : callable
        ``(name, parameters) -> channels``: the planes of a code with its parameters, such as
        ``R32`` with ``32``; empty if the parameters are not valid.
    complete : callable
        ``(ndim, options) -> parameters`` of the code alone.
    expected : str
        Form of the code with parameters, for messages.
    options : tuple of Option
        Settings in ``DATA_CHANNELS_EXTRA_OPTS``.
    citations : tuple of Citation
        Publications.
    mean : str
        Meaning of the mean over all planes; empty if it has none.
    summary : Channel, optional
        Map that the watershed computes from the maps; None if it cannot use them.
    count_option : str
        Option with the number of maps; empty if there is none.
    explain : callable
        ``(parameters) -> text``: what is wrong with parameters that are not valid; can be empty.
    differs_from_biapy : tuple of int
        Numbers of axes in which the maps of BiaPy have another meaning.
    """

    code: str
    describe: str
    planes: Callable[[str, str], Planes]
    complete: Callable[[int, Mapping[str, OptionValue]], str]
    expected: str
    options: tuple[Option, ...] = ()
    citations: tuple[Citation, ...] = ()
    mean: str = ""
    summary: Channel | None = None
    count_option: str = ""
    explain: Callable[[str], str] = lambda parameters: ""
    differs_from_biapy: tuple[int, ...] = ()


def _rays(name: str, parameters: str) -> Planes:
    if not parameters.isdecimal() or not _FEWEST_RAYS <= int(parameters) <= _MOST_RAYS:
        return ()
    return tuple(
        Channel(
            f"{name}.{ray}",
            f"distance to the border of the instance along ray {ray} of {parameters}",
            "distance",
            "singula.representations.channels.rays:encode_ray",
            reach="instance",
            family="R",
            listed_as=name,
            plane=ray,
            is_ray=True,
            foreground_only=True,
            known_by="instance",
            needs_volume=True,
            unit=UNIT_RADIUS,
            weight=0.1,
            short=f"R ray {ray}",
        )
        for ray in range(int(parameters))
    )


def _count_rays(ndim: int, options: Mapping[str, OptionValue]) -> str:
    return str(options.get("nrays") or {2: 32, 3: 96}[ndim])


def _affinities(name: str, parameters: str) -> Planes:
    offsets = parse_offsets(parameters)
    return tuple(
        Channel(
            f"{name}.{number}",
            f"1 if a pixel and the one at the offset {offset} belong to the same instance",
            "binary",
            "singula.representations.channels.affinity:encode_affinity",
            family="A",
            listed_as=name,
            plane=number,
            offset=offset,
            known_by="offset",
            needs_volume=len(offset) == 3,
            short=f"A ({', '.join(map(str, offset))})",
        )
        for number, offset in enumerate(offsets)
    )


def parse_offsets(text: str) -> tuple[Offset, ...]:
    """Return the offsets of a text such as ``[-1,0;0,-1]``; empty if it is not valid.

    Parameters
    ----------
    text : str
        Different offsets of 2 or 3 integers, one per axis, that are not all 0. None is the opposite
        of another one, as both compare the same pixels.
    """
    offsets = _read_offsets(text)
    return () if _offset_problem(offsets) else offsets


def explain_offsets(text: str) -> str:
    """Return what `parse_offsets` refuses in a text; empty if the text has another form.

    Parameters
    ----------
    text : str
        See `parse_offsets`.
    """
    return _offset_problem(_read_offsets(text))


def _read_offsets(text: str) -> tuple[Offset, ...]:
    """Return offsets that may violate a rule; empty for a text of another form."""
    number = r"-?\d{1,3}"
    one = rf"{number}(?:,{number}){{1,2}}"
    if not re.fullmatch(rf"\[{one}(?:;{one})*\]", text):
        return ()
    return tuple(tuple(int(n) for n in part.split(",")) for part in text[1:-1].split(";"))


def _offset_problem(offsets: tuple[Offset, ...]) -> str:
    """Return the first rule that offsets violate; empty without any."""
    if len(offsets) > _MOST_OFFSETS:
        return f"{len(offsets)} offsets, of {_MOST_OFFSETS} that are possible"
    if len(set(map(len, offsets))) > 1:
        return "offsets with different numbers of axes"
    first: dict[Offset, Offset] = {}
    for offset in offsets:
        text, pair = ",".join(map(str, offset)), max(offset, tuple(-n for n in offset))
        if not any(offset) or max(map(abs, offset)) > _LARGEST_OFFSET:
            return f"the offset {text}, of 1 to {_LARGEST_OFFSET} pixels that are possible"
        if first.setdefault(pair, offset) is not offset:
            other = ",".join(map(str, first[pair]))
            return f"the offsets {other} and {text}, which compare the same pixels"
    return ""


def format_offsets(offsets: tuple[Offset, ...]) -> str:
    """Return the text of offsets, which `parse_offsets` reads."""
    return "[" + ";".join(",".join(map(str, offset)) for offset in offsets) + "]"


_LONG = (1, 3, 9, 27)
# Slices of electron microscopes are thick: few of them, and longer steps within a slice.
DEFAULT_OFFSETS: dict[int, tuple[Offset, ...]] = {
    2: tuple(offset for n in _LONG for offset in ((-n, 0), (0, -n))),
    3: (
        (-1, 0, 0), (0, -1, 0), (0, 0, -1), (-2, 0, 0), (0, -3, 0), (0, 0, -3),
        (-3, 0, 0), (0, -9, 0), (0, 0, -9), (0, -27, 0), (0, 0, -27),
    ),
}  # fmt: skip
"""Offsets of affinities by the number of axes: to the neighbors, and longer ones."""


def _default_offsets(ndim: int, options: Mapping[str, OptionValue]) -> str:
    return format_offsets(DEFAULT_OFFSETS[ndim])


def _embedding(name: str, parameters: str) -> Planes:
    if parameters not in ("2", "3"):
        return ()
    ndim = int(parameters)
    axes = "zyx"[-ndim:]
    rows = [
        *((f"offset to the center of the instance along {x}", "offset", x) for x in axes),
        *((f"bandwidth of the instance along {x}", "bandwidth", x) for x in axes),
        ("seediness: how close the embedding of a pixel is to the center", "seediness", ""),
    ]
    return tuple(
        Channel(
            f"{name}.{number}",
            describe,
            "embedding",
            f"singula.representations.channels.embedding:encode_{role}",
            reach="instance",
            family="E",
            listed_as=name,
            plane=number,
            component=max(0, ndim - number),
            vector="embedding" if number < ndim else "",
            length=2 * ndim - number if role == "bandwidth" else 0,
            final="sigmoid" if role == "seediness" else "linear",
            known_by="instance",
            needs_volume=ndim == 3,
            short=f"E {role} {axis}".rstrip(),
        )
        for number, (describe, role, axis) in enumerate(rows)
    )


def _ndim(ndim: int, options: Mapping[str, OptionValue]) -> str:
    return str(ndim)


_ROWS = (
    Family(
        "R",
        "distances to the border of the instance along rays",
        _rays,
        _count_rays,
        f"R, or R with a number of rays from {_FEWEST_RAYS} to {_MOST_RAYS}, such as R32",
        options=(
            Option(
                "nrays",
                0,
                "number of rays; 0: 32 in 2D, 96 in 3D",
                bounds=(_FEWEST_RAYS, _MOST_RAYS),
            ),
            MASKED,
        ),
        citations=(_POLYGONS, _POLYHEDRA),
        mean="mean distance to the border along all rays",
        count_option="nrays",
        differs_from_biapy=(3,),
    ),
    Family(
        "A",
        "affinities: whether two pixels at an offset belong to the same instance",
        _affinities,
        _default_offsets,
        "A, or A with different offsets of one length, none the opposite of another, such as "
        "A[-1,0;0,-1]",
        citations=(_MUTEX,),
        explain=explain_offsets,
        mean="mean over all offsets: low at the borders of instances",
        summary=Channel(
            "affinity",
            "smallest affinity of a pixel to its direct neighbors",
            "binary",
            "singula.representations.combination:smallest_affinity",
            listed_as="A",
            family="A",
            inside="high",
            seed_threshold="TH_AFFINITY",
            growth_threshold="TH_AFFINITY",
            surface_rank=6,
        ),
    ),
    Family(
        "E",
        "spatial embedding: offset to the center, bandwidth and seediness",
        _embedding,
        _ndim,
        "E, E2 or E3",
        options=(
            Option("center_mode", "centroid", "center of an instance", ("centroid", "medoid")),
        ),
        citations=(_EMBEDDING,),
        differs_from_biapy=(2, 3),
    ),
)

FAMILIES: dict[str, Family] = {row.code: row for row in _ROWS}
"""Channels with several maps, by code."""


@cache
def planes_of(listed: str) -> Planes:
    """Return the planes of a code in a list of channels.

    Parameters
    ----------
    listed : str
        Code of a family with its parameters, such as ``R32``. Without parameters, those of 2D
        images are used.

    Returns
    -------
    tuple of Channel
        Empty if this is not the code of a family.
    """
    family = FAMILIES.get(listed[:1])
    if family is None:
        return ()
    parameters = listed[1:] or family.complete(2, {})
    return family.planes(family.code + parameters, parameters)
