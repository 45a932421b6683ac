"""Table of the channels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from singula.representations.channel import MASKED, NORMALIZED, Channel, Option
from singula.representations.families import FAMILIES, planes_of
from singula.util.citation import Citation
from singula.util.format import counted

_CONTOURS = Citation(
    "chen2016",
    "Chen, H.; Qi, X.; Yu, L.; Heng, P.-A.",
    "DCAN: deep contour-aware networks for accurate gland segmentation",
    "CVPR",
    2016,
    "10.1109/CVPR.2016.273",
)
_DISTANCES = Citation(
    "lin2021",
    "Lin, Z.; others",
    "NucMM dataset: 3D neuronal nuclei instance segmentation at sub-cubic millimeter scale",
    "MICCAI",
    2021,
    "10.1007/978-3-030-87193-2_16",
)
_SIGNED = Citation(
    "heinrich2021",
    "Heinrich, L.; others",
    "Whole-cell organelle segmentation in volume electron microscopy",
    "Nature",
    2021,
    "10.1038/s41586-021-03977-3",
)
_OFFSETS = Citation(
    "graham2019",
    "Graham, S.; others",
    "HoVer-Net: simultaneous segmentation and classification of nuclei in multi-tissue histology "
    "images",
    "Medical Image Analysis",
    2019,
    "10.1016/j.media.2019.101563",
)
_FLOWS = Citation(
    "stringer2021",
    "Stringer, C.; Wang, T.; Michaelos, M.; Pachitariu, M.",
    "Cellpose: a generalist algorithm for cellular segmentation",
    "Nature Methods",
    2021,
    "10.1038/s41592-020-01018-x",
)
_NEIGHBORS = Citation(
    "scherr2020",
    "Scherr, T.; Löffler, K.; Böhland, M.; Mikut, R.",
    "Cell segmentation and tracking using CNN-based distance predictions and a graph-based "
    "matching strategy",
    "PLoS ONE",
    2020,
    "10.1371/journal.pone.0243219",
)
_BINARY = "singula.representations.channels.binary"
_DISTANCE = "singula.representations.channels.distance"
_CENTER = "singula.representations.channels.center"
_NEIGHBOR = "singula.representations.channels.neighbor"
_EROSION = Option("erosion", 0, "radius of an erosion in pixels", is_radius=True)
_DILATION = Option("dilation", 0, "radius of a dilation in pixels", is_radius=True)
_ACTIVATION = "activation of the network's output, if `norm` is True"
_BOUNDED = Option("activation", "linear", _ACTIVATION, ("linear", "tanh"))
_ZONE = "width of a zone in pixels, rounded up to an even one"
_CENTERS = Option("type", "centroid", "center of an instance", ("centroid", "skeleton"))

_ROWS = (
    Channel(
        "B",
        "instances without their contour",
        "binary",
        f"{_BINARY}:encode_body",
        inside="high",
        seed_threshold="TH_BINARY_MASK",
        growth_threshold="TH_FOREGROUND",
        surface_rank=6,
        known_by="contour",
    ),
    Channel(
        "C",
        "contour of the instances",
        "binary",
        f"{_BINARY}:encode_contour",
        citations=(_CONTOURS,),
        inside="low",
        seed_threshold="TH_CONTOUR",
        growth_threshold="TH_CONTOUR_GROWTH",
        surface_rank=10,
        known_by="contour",
    ),
    Channel(
        "M",
        "instances with their contour",
        "binary",
        f"{_BINARY}:encode_mask",
        inside="high",
        seed_threshold="TH_BINARY_MASK",
        growth_threshold="TH_FOREGROUND",
        surface_rank=8,
    ),
    Channel(
        "P",
        "a disk at the center of each instance",
        "binary",
        f"{_BINARY}:encode_points",
        reach="instance",
        options=(
            _CENTERS,
            Option("dilation", 1, "radius of the disk, or of the dilation of the skeleton"),
            _EROSION,
        ),
        inside="high",
        seed_threshold="TH_POINTS",
        known_by="instance",
        block_truth="disk",
    ),
    Channel(
        "D",
        "distance of instance pixels to their contour",
        "distance",
        f"{_DISTANCE}:encode_distance",
        reach="radius",
        citations=(_DISTANCES,),
        inside="high",
        seed_threshold="TH_DISTANCE",
        growth_threshold="TH_DIST_FOREGROUND",
        surface_rank=2,
        foreground_only=True,
        known_by="contour_distance",
        block_truth="distance",
        weight=0.1,
    ),
    Channel(
        "Dv2",
        "nearness to the contour, inside and outside, from 0 to 1",
        "distance",
        f"{_DISTANCE}:encode_nearness",
        reach="image",
        is_share=True,
        outside=1,
        known_by="nearness",
        block_truth="nearness",
    ),
    Channel(
        "F",
        "foreground: the instances with their contour",
        "binary",
        f"{_BINARY}:encode_foreground",
        options=(_EROSION, _DILATION),
        inside="high",
        seed_threshold="TH_BINARY_MASK",
        growth_threshold="TH_FOREGROUND",
        surface_rank=7,
    ),
    Channel(
        "Bg",
        "background",
        "binary",
        f"{_BINARY}:encode_background",
        listed_as="B",
        outside=1,
        options=(_EROSION, _DILATION),
        inside="low",
        seed_threshold="TH_BACKGROUND",
        growth_threshold="TH_BACKGROUND",
        surface_rank=9,
    ),
    Channel(
        "T",
        "zones where instances touch",
        "binary",
        f"{_BINARY}:encode_touching",
        options=(Option("thickness", 2, _ZONE, positive=True, is_radius=True),),
        inside="low",
        seed_threshold="TH_TOUCHING",
        known_by="contour",
    ),
    Channel(
        "Db",
        "distance to the border of the instance, inside",
        "distance",
        f"{_DISTANCE}:encode_border_distance",
        reach="instance",
        is_share=True,
        options=(
            NORMALIZED,
            MASKED,
            Option("activation", "linear", _ACTIVATION, ("linear", "sigmoid")),
        ),
        inside="high",
        seed_threshold="TH_BORDER_DISTANCE",
        growth_threshold="TH_BORDER_GROWTH",
        surface_rank=1,
        foreground_only=True,
        known_by="instance",
    ),
    Channel(
        "Dc",
        "distance to the center of the instance, inside",
        "distance",
        f"{_CENTER}:encode_center_distance",
        reach="instance",
        is_share=True,
        options=(_CENTERS, NORMALIZED, MASKED),
        inside="low",
        seed_threshold="TH_CENTER_DISTANCE",
        growth_threshold="TH_CENTER_GROWTH",
        surface_rank=4,
        foreground_only=True,
        known_by="instance",
    ),
    Channel(
        "Ds",
        "signed distance to the border of the instances: positive inside, negative outside",
        "distance",
        f"{_DISTANCE}:encode_signed_distance",
        listed_as="D",
        outside=-1,
        reach="image",
        final="tanh",
        citations=(_SIGNED,),
        options=(
            Option("norm", True, "apply the hyperbolic tangent, for values from -1 to 1"),
            Option("activation", "tanh", "activation of the network's output", ("tanh", "linear")),
            Option("alpha", 1.0, "divisor of the distances inside of instances", positive=True),
            Option("beta", 1.0, "divisor of the distances outside of instances", positive=True),
        ),
        inside="high",
        seed_threshold="TH_SIGNED_DISTANCE",
        growth_threshold="TH_SIGNED_GROWTH",
        surface_rank=3,
        known_by="distance",
    ),
    *(
        Channel(
            code,
            describe,
            "distance",
            f"{_CENTER}:encode_offset_{axis}",
            reach="instance",
            citations=(_OFFSETS,),
            options=(NORMALIZED, MASKED, _BOUNDED),
            component=component,
            vector="offset",
            foreground_only=True,
            known_by="instance",
            needs_volume=axis == "z",
        )
        for component, (code, axis, describe) in enumerate(
            (
                ("H", "x", "horizontal offset of a pixel from the center of its instance"),
                ("V", "y", "vertical offset of a pixel from the center of its instance"),
                ("Z", "z", "offset of a voxel from the center of its instance along z"),
            ),
            start=1,
        )
    ),
    *(
        Channel(
            code,
            f"flow to the center of the instance along {axis}",
            "flow",
            f"singula.representations.channels.flow:encode_flow_{axis}",
            reach="instance",
            citations=(_FLOWS,),
            component=component,
            vector="flow",
            weight=0.25,
            known_by="instance",
            needs_volume=axis == "z",
        )
        for component, (code, axis) in enumerate((("Gh", "x"), ("Gv", "y"), ("Gz", "z")), start=1)
    ),
    Channel(
        "Dn",
        "nearness to the nearest neighboring instance, inside",
        "distance",
        f"{_NEIGHBOR}:encode_nearness_to_neighbors",
        reach="neighbors",
        is_share=True,
        citations=(_NEIGHBORS,),
        options=(
            Option("closing_size", 0, "size of a gray closing in pixels; 0: none", is_radius=True),
            NORMALIZED,
            MASKED,
            Option("decline_power", 3.0, "exponent of the nearness", positive=True),
        ),
        inside="low",
        seed_threshold="TH_NEIGHBOR",
        foreground_only=True,
        known_by="neighbors",
    ),
)


class _Channels(dict[str, Channel]):
    """Channels by code. The planes of families are not listed, but can be looked up."""

    def __missing__(self, code: str) -> Channel:
        listed, dot, number = code.rpartition(".")
        planes = planes_of(listed) if dot and number.isdecimal() else ()
        if not planes or int(number) >= len(planes) or planes[int(number)].code != code:
            raise KeyError(code)
        return planes[int(number)]

    def __contains__(self, code: object) -> bool:
        if super().__contains__(code):
            return True
        try:
            return isinstance(code, str) and bool(self.__missing__(code))
        except KeyError:
            return False

    def get(self, code: str, default: Any = None) -> Any:  # `dict.get` ignores `__missing__`
        try:
            return self[code]
        except KeyError:
            return default


CHANNELS: dict[str, Channel] = _Channels((row.code, row) for row in _ROWS)
"""Channels by code. Planes of families, such as ``R32.5``, are contained, but not listed."""

SPECIFIED = frozenset({"B", "C", "M", "P", "D", "Dv2"})
"""Codes whose combinations are the rows of `singula.representations.table.DECODERS`."""


def internal_codes(listed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the codes of a list of channels; B and D have another meaning next to new codes.

    Parameters
    ----------
    listed : tuple of str
        Codes in a configuration. A list that contains only codes of `SPECIFIED` is returned
        unchanged; in others, ``B`` is the background and ``D`` the signed distance.
    """
    if set(listed) <= SPECIFIED:
        return listed
    renamed = {row.listed_as: row.code for row in _ROWS if row.listed_as}
    return tuple(renamed.get(code, code) for code in listed)


def code_in_list(listed: str) -> str:
    """Return the code of a channel of a list with codes of BiaPy 3.5 or later.

    Parameters
    ----------
    listed : str
        Code in the list, such as ``B`` for the background.
    """
    return internal_codes((listed, "F"))[0]


def vector_channels(vector: str) -> tuple[str, ...]:
    """Return the channels of a kind of vector: its components along x, y and z.

    Parameters
    ----------
    vector : str
        Value of `Channel.vector`, such as ``flow``.
    """
    rows = [row for row in CHANNELS.values() if row.vector == vector]
    return tuple(row.code for row in sorted(rows, key=lambda row: row.component))


def planes_in(codes: Iterable[str], family: str) -> tuple[str, ...]:
    """Return the codes of the planes of a family, in the given order.

    Parameters
    ----------
    codes : iterable of str
        Keys of `CHANNELS`.
    family : str
        Key of `singula.representations.families.FAMILIES`, such as ``R``.
    """
    return tuple(code for code in codes if CHANNELS[code].family == family)


def describe_channels(codes: Iterable[str]) -> list[tuple[str, str, tuple[Citation, ...]]]:
    """Return the code, the description and the citations of channels, one entry for each family.

    Parameters
    ----------
    codes : iterable of str
        Keys of `CHANNELS`.
    """
    rows = [CHANNELS[code] for code in codes]
    entries: dict[str, tuple[str, str, tuple[Citation, ...]]] = {}
    for row in rows:
        if not row.family:
            entries[row.code] = (row.code, row.describe, row.citations)
            continue
        family, count = FAMILIES[row.family], sum(each.family == row.family for each in rows)
        describe = f"{family.describe} ({counted(count, 'map')})"
        entries[row.family] = (row.list_code, describe, family.citations)
    return list(entries.values())


def channel_title(code: str) -> str:
    """Return the short name of a channel for headers; an unknown code is returned unchanged.

    Parameters
    ----------
    code : str
        Code of a channel or of a plane of a family, such as ``A[-1,0;0,-1].1``.
    """
    channel = CHANNELS.get(code)
    return code if channel is None else channel.title
