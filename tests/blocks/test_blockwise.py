"""Decoding in blocks yields exactly the instances of the whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from singula.blocks import Grid
from singula.blocks.stitch import (
    HIGH,
    LOW,
    face_of,
    face_pairs,
    label_in_raster_order,
    sum_over,
    union_components,
)
from singula.representations.base import DecodePlan
from singula.representations.channels import encode
from singula.representations.decoders import (
    DECODERS,
    DecodeSettings,
    decode,
    histogram_channels,
)
from singula.representations.decoders.blockwise import (
    flood_part,
    nothing_grows,
    seed_part,
)
from singula.representations.decoders.morphology import is_large, labels_at_border
from singula.representations.decoders.thresholds import histogram, resolve_thresholds
from singula.representations.table import find_decoder
from singula.representations.thresholds import AUTOMATIC
from singula.util.boxes import grown


def cells(shape, count, seed):
    """Return Voronoi cells cut to balls, which touch each other and the border of the image."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, shape, (count, len(shape)))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    away = np.linalg.norm(grid[..., None, :] - points, axis=-1)
    nearest = away.argmin(-1) + 1
    radius = 0.75 * (np.prod(shape) / count) ** (1 / len(shape))
    return np.where(away.min(-1) < radius, nearest, 0).astype(np.uint16)


def soft_maps(labels, channels, seed, flat):
    rng = np.random.default_rng(seed)
    maps = {}
    for name, ideal in encode(labels, channels).items():
        blurred = gaussian_filter(ideal.astype(np.float32), 0.8)
        noisy = blurred + rng.normal(0, 0.04, ideal.shape).astype(np.float32)
        if name not in ("D", "Dv2"):
            noisy = noisy.clip(0, 1)
        maps[name] = np.round(noisy * 8) / 8 if flat else noisy
    return {name: values.astype(np.float32) for name, values in maps.items()}


def in_blocks(maps, channels, chosen, block, halo, *, spacing=None, most=10**9):
    """Decode in blocks, in the same phases as a run but without files."""
    shape = next(iter(maps.values())).shape
    grid, decoder = Grid(shape, block), find_decoder(channels, method="watershed")

    def read_maps(box):
        return {name: values[box] for name, values in maps.items()}

    counted = dict.fromkeys(histogram_channels(decoder, chosen), 0)
    for number in range(len(grid)):
        part = read_maps(grid.box(number))
        counted = {c: counts + histogram(part[c]) for c, counts in counted.items()}
    thresholds, _ = resolve_thresholds(counted, chosen)
    plan = DecodePlan(decoder, thresholds, chosen, spacing)
    parts = [seed_part(plan, grid.box(n), shape, read_maps) for n in range(len(grid))]
    faces = {
        (n, axis, end): face_of(part.labels, axis, end)
        for n, part in enumerate(parts)
        for axis in range(len(shape))
        for end in (LOW, HIGH)
    }
    component = union_components(
        [len(p.first) for p in parts],
        face_pairs(grid, (lambda *side, n=n: faces[(n, *side)] for n in range(len(grid)))),
    )
    keep = None
    if chosen.remove_before:
        sizes = sum_over(component, np.concatenate([p.pixels for p in parts]))
        cut = sum_over(component, np.concatenate([p.at_border for p in parts]).astype(int)) > 0
        keep = is_large(sizes, cut, chosen.remove_small, chosen.min_border_pixels)
    ids = label_in_raster_order(component, np.concatenate([p.first for p in parts]), keep)
    offsets = np.cumsum([0, *(len(p.first) for p in parts)])
    seeds = np.zeros(shape, np.uint32)
    for n, part in enumerate(parts):
        table = np.concatenate([[0], ids[offsets[n] : offsets[n + 1]]])
        seeds[grid.box(n)] = table[part.labels]
    flooded, n_uncertain = np.zeros(shape, np.uint32), 0
    met_border = set()
    for n in range(len(grid)):
        part = flood_part(
            plan,
            grid.box(n),
            shape,
            read_maps,
            lambda box: seeds[box],
            halo=halo,
            max_pixels=most,
        )
        flooded[grid.box(n)] = part.labels
        met_border |= set(labels_at_border(part.labels, grid.box(n), shape).tolist())
        n_uncertain += part.n_uncertain
    sizes = np.bincount(flooded.ravel())
    least = (chosen.remove_small, chosen.min_border_pixels)
    cut = np.isin(np.arange(len(sizes)), list(met_border))
    large = is_large(sizes, cut, *((0, 0) if chosen.remove_before else least))
    large[0] = False
    return (np.cumsum(large) * large)[flooded], n_uncertain


COMBINATIONS = {
    ndim: ["F+C+Db", "F+T", "F+B+D", "C+M", "F+Dc", "F+Dn", offsets, affinities]
    for ndim, offsets, affinities in (
        (2, "F+H+V", "F+A[-1,0;0,-1;-3,0]"),
        (3, "F+H+V+Z", "F+A[-1,0,0;0,-1,0;0,0,1]"),
    )
}


@st.composite
def cases(draw):
    ndim = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.integers(6, 48 if ndim == 2 else 22)) for _ in range(ndim))
    return {
        "shape": shape,
        "block": tuple(draw(st.integers(3, max(4, size))) for size in shape),
        "halo": tuple(draw(st.integers(0, 9)) for _ in shape),
        "channels": draw(st.sampled_from([*DECODERS, *COMBINATIONS[ndim]])),
        "count": draw(st.integers(1, 25)),
        "seed": draw(st.integers(0, 2**16)),
        "flat": draw(st.booleans()),
        "settings": DecodeSettings(
            th_type=draw(st.sampled_from(["auto", "manual"])),
            manual_keys=draw(st.frozensets(st.sampled_from(AUTOMATIC))),
            thresholds={"TH_DISTANCE": draw(st.sampled_from([0.6, 0.9, 1.5]))},
            remove_small=draw(st.integers(0, 30)),
            remove_small_at_border=draw(st.sampled_from([-1, 0, 8])),
            remove_before=draw(st.booleans()),
            seed_morph=draw(st.sampled_from([(), (("erode", 1.0),), (("dilate", 2.0),)])),
            fore_erosion=draw(st.sampled_from([0, 1.5])),
            fore_dilation=draw(st.sampled_from([0, 2.0])),
            by_2d_slices=draw(st.booleans()),
            grow_into_contour=draw(st.booleans()),
        ),
        "half": draw(st.booleans()),
    }


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_blocks_have_the_labels_of_the_whole_image(case):
    labels = cells(case["shape"], case["count"], case["seed"])
    maps = soft_maps(labels, case["channels"], case["seed"], case["flat"])
    if case["half"]:
        maps = {n: v.astype(np.float16) if n in "BCMP" else v for n, v in maps.items()}
    whole = decode(maps, case["channels"], settings=case["settings"], method="watershed").labels
    decoded, n_uncertain = in_blocks(
        maps, case["channels"], case["settings"], case["block"], case["halo"]
    )
    assert n_uncertain == 0
    np.testing.assert_array_equal(decoded, whole)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(), st.floats(0.05, 1.2))
def test_nothing_grows_only_if_there_are_no_seeds(case, factor):
    """Dim maps, read in any box: blocks in which nothing grows have no seeds and no growth."""
    labels = cells(case["shape"], case["count"], case["seed"])
    maps = soft_maps(labels, case["channels"], case["seed"], case["flat"])
    maps = {n: np.float32(factor) * v if n in "BCMP" else v for n, v in maps.items()}
    if case["half"]:
        maps = {n: v.astype(np.float16) if n in "BCMP" else v for n, v in maps.items()}
    shape, chosen = case["shape"], case["settings"]
    decoder = find_decoder(case["channels"], method="watershed")
    thresholds, _ = resolve_thresholds({}, replace(chosen, th_type="manual"))
    plan = DecodePlan(decoder, thresholds, chosen)
    grid = Grid(shape, case["block"])
    for number in range(len(grid)):
        box = grid.box(number)
        around = grown(box, plan.reach(len(shape)), shape)
        counts = {n: histogram(maps[n][around]) for n in decoder.channels if n in "BCMP"}
        if nothing_grows(plan, counts):
            part = seed_part(
                plan, box, shape, lambda b: {name: values[b] for name, values in maps.items()}
            )
            assert not len(part.first)
            assert not part.alive


def test_histograms_of_a_dim_map_rule_out_growth():
    chosen = DecodeSettings(th_type="manual", thresholds={"TH_FOREGROUND": 0.25})
    thresholds, _ = resolve_thresholds({}, chosen)
    plan = DecodePlan(DECODERS["BC"], thresholds, chosen)
    dim, bright = (np.full((4, 4), value, np.float32) for value in (0.2, 0.26))
    contour = histogram(np.zeros((4, 4)))
    assert nothing_grows(plan, {"B": histogram(dim), "C": contour})
    assert not nothing_grows(plan, {"B": histogram(dim) + histogram(bright), "C": contour})
    into = replace(plan, settings=replace(chosen, grow_into_contour=True))
    assert not nothing_grows(into, {"B": histogram(dim), "C": histogram(dim * 2)})
    assert not nothing_grows(
        replace(plan, decoder=DECODERS["Dv2"]), {"B": histogram(dim), "C": contour}
    )
