"""Watershed of any combination of channels: soft maps of shapes, and blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

import singula
from singula.errors import UserError
from singula.representations.channel_table import CHANNELS
from singula.representations.combination import EDGES, CombinedWatershed
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.table import find_decoder

COMBINATIONS = [
    "F+C", "F+T", "F+C+T", "F+C+Db", "F+Db", "Db+C", "F+P", "F+Dc", "F+C+D", "F+D", "B+C",
    "F+B+Db", "F+Dn", "F+H+V", "F+C+H+V", "Db+H+V", "C+M", "B+D+M",
]  # fmt: skip

OPTIONS = {"F+P": {"P": {"dilation": 3}}}


def shapes(ndim: int) -> np.ndarray:
    """Return touching disks or balls of radius 7, some of them cut by the border."""
    shape = (60, 64) if ndim == 2 else (22, 40, 44)
    grid = np.indices(shape).astype(float)
    labels = np.zeros(shape, np.uint16)
    distance = np.full(shape, np.inf)
    centers = [(y, x) for y in (8, 22, 36, 50) for x in (9, 22, 35, 51)]
    if ndim == 3:
        centers = [(z, y, x) for z in (7, 16) for y in (7, 20, 33) for x in (8, 21, 34)]
    for number, center in enumerate(centers, start=1):
        away = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)))
        inside = (away <= 7) & (away < distance)
        labels[inside] = number
        distance[inside] = away[inside]
    return labels


def soft(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return blurred maps with noise, as of a trained network."""
    rng = np.random.default_rng(0)
    noisy = {}
    for code, values in maps.items():
        blurred = gaussian_filter(values.astype(np.float32), 0.6)
        noisy[code] = (blurred + rng.normal(0, 0.02, blurred.shape)).astype(np.float32)
        if CHANNELS[code].kind == "binary":
            noisy[code] = noisy[code].clip(0, 1)
    return noisy


def channels_of(ndim: int) -> list[str]:
    return [name + "+Z" if ndim == 3 and "H+V" in name else name for name in COMBINATIONS]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("index", range(len(COMBINATIONS)))
def test_soft_maps_become_the_instances(index: int, ndim: int) -> None:
    labels, name = shapes(ndim), channels_of(ndim)[index]
    maps = soft(singula.encode(labels, name, options=OPTIONS.get(name)))
    decoded = singula.decode(maps, name, thresholds={"TH_TYPE": "manual", "REMOVE_SMALL_OBJ": 10})
    (match,) = singula.match(labels, decoded, (0.5,))
    # Blurred points and distances to the center hardly mark the border of touching instances.
    assert match.f1 >= (0.9 if name in ("F+P", "F+Dc") else 0.95), (name, match)


@pytest.mark.parametrize("name", ["F+C", "F+B+Db", "F+T"])
def test_automatic_thresholds_use_the_channels_of_the_list(name: str) -> None:
    labels = shapes(2)
    decoded = singula.decode(soft(singula.encode(labels, name)), name)
    (match,) = singula.match(labels, decoded, (0.5,))
    assert match.f1 >= 0.9


def tissue(ndim: int) -> np.ndarray:
    """Return cells that fill the image: the nearest of points near a grid."""
    shape, step = ((96, 104), 16) if ndim == 2 else ((26, 44, 48), 12)
    axes = [np.arange(step // 2, size, step) for size in shape]
    centers = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, ndim)
    centers = centers + np.random.default_rng(0).uniform(-3, 3, centers.shape)
    pixels = np.stack(np.indices(shape), -1).reshape(-1, ndim)
    return (cKDTree(centers).query(pixels)[1].reshape(shape) + 1).astype(np.uint16)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", ["C", "Dc", "C+Dc", "C+P", "Dc+H+V"])
def test_channels_without_a_foreground_divide_the_whole_image(name: str, ndim: int) -> None:
    labels, name = tissue(ndim), f"{name}+Z" if ndim == 3 and "H+V" in name else name
    maps = soft(singula.encode(labels, name, options={"P": {"dilation": 3}}))
    decoder = find_decoder(name)
    assert isinstance(decoder, CombinedWatershed)
    assert [term.channel for term in decoder.growth] == [name.split("+")[0]]
    settings = DecodeSettings.from_keys({"TH_TYPE": "manual", "REMOVE_SMALL_OBJ": 10})
    decoded = decode(maps, decoder, settings=settings)
    assert singula.match(labels, decoded.labels, (0.5,))[0].f1 >= 0.95
    assert (decoded.labels > 0).mean() > 0.9
    assert any("add F" in note for note in decoded.notes)


@pytest.mark.parametrize("name", ["F+C", "F+Dc"])
def test_growth_can_stop_at_the_contour_and_far_from_the_center(name: str) -> None:
    labels, growth = shapes(2), tuple(name.split("+"))
    maps = singula.encode(labels, name)
    default, chosen = find_decoder(name), find_decoder(name, (), growth)
    keys = {"TH_TYPE": "manual", "TH_CONTOUR_GROWTH": 0.5, "TH_CENTER_GROWTH": 0.8}
    settings = DecodeSettings.from_keys(keys)
    whole, smaller = (decode(maps, each, settings=settings).labels for each in (default, chosen))
    limit = 0.5 if growth[1] == "C" else 0.8
    assert ((whole > 0) == (labels > 0)).all()
    assert ((smaller > 0) == (labels > 0) & (maps[growth[1]] < limit)).all()
    assert chosen.note is default.note is None  # type: ignore[attr-defined]


def test_a_channel_without_a_foreground_does_not_replace_one() -> None:
    assert [term.channel for term in find_decoder("C+Db").growth] == ["Db"]  # type: ignore[attr-defined]
    note = find_decoder("F+C", (), ("C",)).note  # type: ignore[attr-defined]
    assert "(C) contains the background" in note


def test_edges_are_half_of_the_fall_between_neighbors() -> None:
    labels = np.zeros((9, 20), np.uint8)
    labels[1:8, 2:10], labels[1:8, 10:18] = 1, 2
    decoder = find_decoder("F+H+V")
    assert isinstance(decoder, CombinedWatershed)
    edges = decoder.prepare(singula.encode(labels, "F+H+V"))[EDGES]
    assert (edges[2:7, 9:11] == 1).all()
    assert (edges[4, 4:8] == 0).all()
    assert edges.dtype == np.float32


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", ["A", "F+A", "F+C+A"])
def test_soft_affinities_are_flooded(name: str, ndim: int) -> None:
    labels = shapes(ndim)
    maps = soft(singula.encode(labels, name))
    thresholds = {"TH_TYPE": "manual", "REMOVE_SMALL_OBJ": 10}
    decoded = singula.decode(maps, name, thresholds=thresholds, method="watershed")
    assert singula.match(labels, decoded, (0.5,))[0].f1 >= 0.95


def test_the_smallest_affinity_is_that_to_a_direct_neighbor() -> None:
    rng = np.random.default_rng(0)
    name = "F+A[-1,0;0,1;-3,0]"
    codes = CHANNELS[f"{name[2:]}.0"].code, CHANNELS[f"{name[2:]}.1"].code
    decoder = find_decoder(name, method="watershed")
    maps = {code: rng.random((5, 6), np.float32) for code in decoder.channels}
    above, right = (maps[code] for code in codes)
    smallest = decoder.prepare(maps)["affinity"]
    for y, x in np.ndindex(5, 6):
        pairs = [above[y, x]] if y > 0 else []
        pairs += [above[y + 1, x]] if y < 4 else []
        pairs += [right[y, x]] if x < 5 else []
        pairs += [right[y, x - 1]] if x > 0 else []
        assert smallest[y, x] == min(pairs)


def test_affinities_in_the_keys_of_the_watershed() -> None:
    chosen = find_decoder("F+A[-1,0;0,-1]", ("A",), ("F",), "A", "watershed")
    assert [term.key for term in chosen.seeds] == ["TH_AFFINITY"]  # type: ignore[attr-defined]
    assert chosen.surface == "affinity"  # type: ignore[attr-defined]
    assert chosen.ndim == 2
    assert chosen.reach(DecodeSettings(), None, 2) > find_decoder("F+C").reach(
        DecodeSettings(), None, 2
    )
    with pytest.raises(UserError) as error:
        find_decoder("F+A[-3,0;0,-3]", method="watershed")
    assert error.value.code == "decode.missing_channel"


def test_seeds_growth_and_surface_can_be_chosen() -> None:
    labels = shapes(2)
    maps = soft(singula.encode(labels, "F+C+Db"))
    chosen = find_decoder("F+C+Db", ("Db",), ("F", "Db"), "F")
    assert [term.channel for term in chosen.seeds] == ["Db"]  # type: ignore[attr-defined]
    assert [term.channel for term in chosen.growth] == ["F", "Db"]  # type: ignore[attr-defined]
    assert chosen.surface == "F"  # type: ignore[attr-defined]
    decoded = decode(maps, chosen, settings=DecodeSettings(th_type="manual")).labels
    assert singula.match(labels, decoded, (0.5,))[0].f1 >= 0.95
    names = chosen.threshold_names(into_contour=False)
    assert names == ("TH_BORDER_DISTANCE", "TH_FOREGROUND", "TH_BORDER_GROWTH")


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ((), ["P"]),
        (("P",), ["P"]),
        (("P", "H", "V"), ["P", EDGES]),
        (("H", "V"), ["F", EDGES]),
        (("F",), ["F"]),
    ],
)
def test_seeds_use_edges_where_offsets_are_chosen(seeds, expected) -> None:
    chosen = find_decoder("F+P+H+V", seeds)
    assert [term.channel for term in chosen.seeds] == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("channels", "seeds", "growth", "surface", "named"),
    [
        ("P+T", (), (), "", "F, the foreground"),
        ("H+V", (), (), "", "F, the foreground"),
        ("F+C", ("Db",), (), "", "SEED_CHANNELS"),
        ("F+T", (), ("T",), "", "GROWTH_MASK_CHANNELS"),
        ("F+C", (), (), "Db", "TOPOGRAPHIC_SURFACE_CHANNEL"),
    ],
)
def test_a_missing_channel_is_named(channels, seeds, growth, surface, named) -> None:
    with pytest.raises(UserError) as error:
        find_decoder(channels, seeds, growth, surface)
    assert error.value.code == "decode.missing_channel"
    assert named in str(error.value)
