"""Tiles chosen for speed give the map of the whole image."""

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from singula.config import config_from_dict
from singula.data.normalize import Normalizer
from singula.data.patches import TilePlan
from singula.models import ModelSettings, build_model, downsampling, receptive_radius
from singula.pipeline.from_config import predict_settings
from singula.prediction import (
    AlignedTiles,
    Predictor,
    PredictSettings,
    block_halo,
    max_tile_pixels,
    plan_tiles,
    whole_plan,
)
from singula.prediction.tile_plan import max_large_tile_pixels, plan_region_tiles
from singula.training.losses import Output

D = (Output("D", "l1", "linear"),)
CASES = {
    "unet": (ModelSettings(2, 1, 1, feature_maps=(4, 8, 8), dropout=(0,) * 3), (170, 221)),
    "resunet": (
        ModelSettings(2, 1, 1, architecture="resunet", feature_maps=(4, 8), dropout=(0, 0)),
        (93, 140),
    ),
    "upsampling": (
        ModelSettings(2, 1, 1, feature_maps=(4, 8), dropout=(0, 0), upsample="upsampling"),
        (93, 140),
    ),
    "volume": (
        ModelSettings(3, 1, 1, feature_maps=(4, 8), dropout=(0, 0), z_down=(1,)),
        (40, 50, 67),
    ),
}


def picture(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*shape, 1)).astype(np.uint8)


def predict(
    network: nn.Module, image: np.ndarray, plan: TilePlan | AlignedTiles, **more: object
) -> np.ndarray:
    given_ = PredictSettings(plan, 2, **more)  # type: ignore[arg-type]
    return Predictor(network, D).predict(image, Normalizer("div").scaling(image), given_)["D"]


@pytest.mark.parametrize(
    ("case", "augment"), [*((name, False) for name in CASES), ("unet", True), ("resunet", True)]
)
def test_tiles_give_the_map_of_one_pass(case: str, augment: bool) -> None:
    model, shape = CASES[case]
    torch.manual_seed(0)
    network = build_model(model)
    multiple, margin = downsampling(model), (0,) * model.ndim
    reach = receptive_radius(model)
    halo = [-(-r // m) * m for r, m in zip(reach, multiple, strict=True)]
    size = tuple(2 * h + 4 * m for h, m in zip(halo, multiple, strict=True))
    plan = AlignedTiles(size, margin, tuple(halo), multiple)
    assert plan.count(shape) > 3
    image = picture(shape)
    whole = predict(network, image, whole_plan(shape, multiple), augment=augment)
    assert np.ptp(whole) > 0.01
    tiled = predict(network, image, plan, augment=augment)
    np.testing.assert_allclose(tiled, whole, atol=2e-5)
    less = AlignedTiles(size, margin, margin, multiple)
    assert np.abs(predict(network, image, less, augment=augment) - whole).max() > 1e-3


def test_the_margin_equals_that_of_a_single_tile() -> None:
    model, shape = CASES["unet"]
    network, multiple = build_model(model), downsampling(model)
    margin, image = (8, 4), picture(shape)
    halo = tuple(-(-r // 4) * 4 for r in receptive_radius(model))
    large = tuple(-(-(s + 2 * m) // 4) * 4 for s, m in zip(shape, margin, strict=True))
    one = TilePlan(large, (0.0, 0.0), margin, multiple)
    plan = AlignedTiles(tuple(2 * h + 12 for h in halo), margin, halo, multiple)
    expected = predict(network, image, one)
    np.testing.assert_allclose(predict(network, image, plan), expected, atol=2e-5)
    assert np.abs(predict(network, image, whole_plan(shape, multiple)) - expected).max() > 1e-3


class Same(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


@settings(deadline=None, max_examples=150)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
    st.sampled_from([(1, 1), (4, 4), (2, 8)]),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(100, 4000),
)
def test_every_pixel_is_kept_once_and_away_from_tile_edges(
    shape: tuple[int, int],
    margin: tuple[int, int],
    reach: tuple[int, int],
    multiple: tuple[int, int],
    least: tuple[int, int],
    largest: int,
) -> None:
    plan = plan_tiles(shape, margin, reach, multiple, least, largest)
    if plan is None:
        return
    assert prod(plan.patch) <= largest
    assert all(h >= m for h, m in zip(plan.halo, margin, strict=True))
    canvas = (-(-(s + 2 * m) // k) * k for s, m, k in zip(shape, margin, multiple, strict=True))
    assert all(p >= min(c, n) for p, c, n in zip(plan.patch, canvas, least, strict=True))
    seen = np.zeros(shape, int)
    for tile in plan.tiles(shape):
        seen[tile.outer] += 1
        for axis, (begin, kept, size) in enumerate(zip(tile.start, tile.outer, shape, strict=True)):
            first, end = -margin[axis], begin + plan.patch[axis]
            assert (begin - first) % multiple[axis] == 0
            assert plan.patch[axis] % multiple[axis] == 0
            assert begin == first or kept.start - begin >= plan.halo[axis]
            assert end >= size + margin[axis] or end - kept.stop >= plan.halo[axis]
            assert kept.start - begin == tile.inner[axis].start
    assert (seen == 1).all()
    image = picture(shape)
    expected = image[..., 0] / np.float32(255)
    np.testing.assert_allclose(predict(Same(), image, plan), expected, atol=1e-6)


def test_a_large_image_is_predicted_less_than_one_and_a_half_times() -> None:
    reach, largest = (107, 107), max_tile_pixels(2, 16)
    plan = plan_tiles((4096, 4096), (32, 32), reach, (16, 16), (256, 256), largest)
    assert plan is not None
    assert plan.halo == (112, 112)
    assert plan.count((4096, 4096)) * prod(plan.patch) < 1.5 * 4096**2
    small = plan_tiles((256, 256), (32, 32), reach, (16, 16), (256, 256), largest)
    assert small is not None
    assert small.patch == (320, 320)
    assert max_tile_pixels(2, 16, reduce_memory=True) == largest // 4


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_narrow_network_takes_larger_tiles_in_the_same_memory(ndim: int) -> None:
    wide, narrow = max_tile_pixels(ndim, 16), max_tile_pixels(ndim, 6)
    assert 2 * wide < narrow <= wide * 16 // 6
    assert max_tile_pixels(ndim, 32) <= wide
    assert max_tile_pixels(ndim, 6, memory=10**10) > narrow


@pytest.mark.parametrize("largest", [600_000, 2_000_000])
def test_the_halo_of_a_volume_is_reduced_if_it_costs_too_much(largest: int) -> None:
    shape, patch = (96, 384, 384), (32, 128, 128)
    plan = plan_tiles(shape, (0, 16, 16), (18, 107, 107), (1, 16, 16), patch, largest)
    assert plan is not None
    assert plan.count(shape) * prod(plan.patch) <= 2.5 * 96 * 416 * 416
    assert 16 <= plan.halo[1] < 112
    # A network that was trained on 32 slices is not to see four of them.
    assert all(w >= p for w, p in zip(plan.patch, patch, strict=True))
    assert plan_tiles(shape, (0, 16, 16), (18, 107, 107), (1, 16, 16), patch, 500_000) is None


@pytest.mark.parametrize("side", [64, 128, 256, 384, 512, 4096])
def test_small_blocks_of_an_image_have_the_full_receptive_field(side: int) -> None:
    """As for tiles of the whole image; reduced tiles and blocks have equal halos."""
    shape, most = (4096, 4096), max_tile_pixels(2, 16)
    for reach, halo in ((107, 112), (292, 224)):
        sizes = (32, 32), (reach, reach), (16, 16), (256, 256), most
        whole = plan_tiles(shape, *sizes)
        assert whole is not None
        assert whole.halo == (halo, halo)
        assert min(block_halo(shape, (side, side), whole.halo, *sizes) or (0,)) >= halo


def test_the_halo_of_blocks_is_reduced_if_it_costs_too_much() -> None:
    shape, reach = (19, 70, 66), (13, 23, 23)
    sizes = (0, 8, 8), reach, (4, 4, 4), (8, 32, 32), 2_000_000
    whole = plan_tiles(shape, *sizes)
    assert whole is not None
    assert whole.halo == (16, 24, 24)
    # 20 × 80 × 80 pixels for 16 × 32 × 32: the volume is no higher than 20.
    assert block_halo(shape, (16, 32, 32), whole.halo, *sizes) == (16, 24, 24)
    # 80 times the block, 31, 16, and 8
    assert block_halo(shape, (8, 16, 16), whole.halo, *sizes) == (4, 8, 8)
    # What the whole volume does without is worth 2.5 times the block at most.
    assert block_halo(shape, (16, 32, 32), (0, 8, 8), *sizes) == (0, 8, 8)


def config(**more: object) -> dict[str, object]:
    return {"TEST.ENABLE": True, "DATA.PATCH_SIZE": (64, 64, 1), "DATA.TEST.PADDING": 8, **more}


@pytest.mark.parametrize(
    "changes",
    [
        {"TEST.TILE_SIZE": "patch"},
        {"DATA.TEST.OVERLAP": 0.25},
        {"MODEL.ARCHITECTURE": "seunet"},
    ],
)
def test_configured_patches_are_used_on_request(changes: dict) -> None:
    asked = config_from_dict(config(**changes))
    found = predict_settings(asked, (300, 300))
    assert isinstance(found.plan, TilePlan)
    assert found.plan.patch == (64, 64)
    assert found.batch_size == asked.TRAIN.BATCH_SIZE


def test_tiles_are_chosen_by_default() -> None:
    found = predict_settings(config_from_dict(config()), (300, 300), augment=True)
    assert isinstance(found.plan, AlignedTiles)
    assert found.plan.patch == (320, 320)
    assert found.plan.margin == (8, 8)
    assert found.augment
    volume = {"PROBLEM.NDIM": "3D", "DATA.PATCH_SIZE": (32, 64, 64, 1)}
    assert predict_settings(config_from_dict(config(**volume)), (40, 90, 90)).batch_size == 2


def test_bfloat16_is_close_to_float32() -> None:
    model, shape = CASES["unet"]
    torch.manual_seed(0)
    network, image = build_model(model), picture(shape)
    plan, outputs = whole_plan(shape, downsampling(model)), (Output("B", "bce", "sigmoid"),)
    scaling = Normalizer("div").scaling(image)
    exact, near = (
        Predictor(network, outputs, bfloat16=fast).predict(image, scaling, PredictSettings(plan))
        for fast in (False, True)
    )
    assert exact["B"].dtype == near["B"].dtype == np.float32
    assert 0 < np.abs(exact["B"] - near["B"]).max() < 0.05


def test_blocks_of_volumes_have_a_complete_halo_if_the_memory_allows_large_tiles() -> None:
    """A network with three poolings in z, y and x processes 51, 17.7 and 6.6 times the block."""
    shape, block, reach = (1024, 1024, 1024), (256, 256, 256), (51, 51, 51)
    sizes = (0, 0, 0), reach, (8, 8, 8), (16, 64, 64), max_tile_pixels(3, 16)
    whole = plan_tiles(shape, *sizes)
    assert whole is not None
    for memory, complete in ((8, False), (16, False), (64, True)):
        large = max_large_tile_pixels(memory * 10**9 // 2, 16)
        halo = block_halo(shape, block, whole.halo, *sizes, large)
        assert halo is not None
        assert (halo == (56, 56, 56)) == complete
        tiles = plan_region_tiles(
            [256 + 2 * h for h in halo], halo, *sizes[2:], large if complete else 0, 256**3
        )
        assert tiles is not None
        assert prod(tiles.patch) <= large
        assert (prod(tiles.patch) > sizes[-1]) == complete
    assert block_halo(shape, block, whole.halo, *sizes) != (56, 56, 56)


def test_large_tiles_have_values_that_32_bits_count() -> None:
    for width in (4, 16, 64):
        assert 2 * width * max_large_tile_pixels(10**12, width) <= 2**31
        assert max_large_tile_pixels(10**9, width) == 10**9 // (70 * width)
