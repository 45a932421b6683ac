"""Maps predicted block by block equal those of the whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import CASES, B, D, picture, warm
from torch import nn

from singula.blocks import Grid
from singula.data.normalize import Normalizer
from singula.data.patches import TilePlan
from singula.models import downsampling
from singula.models.build import receptive_radius
from singula.prediction import (
    BlockPlan,
    BlockPredictor,
    Predictor,
    PredictSettings,
    block_plan,
    plan_tiles,
)
from singula.util.boxes import Box


def full_halo(shape, settings, model):
    """Return a plan with the full receptive field as halo, at any cost."""
    multiple = downsampling(model)
    halo = tuple(-(-r // m) * m for r, m in zip(receptive_radius(model), multiple, strict=True))
    reach = receptive_radius(model)
    return BlockPlan(shape, settings.plan.margin, halo, multiple, (1,) * model.ndim, 10**9, reach)


def by_blocks(predictor, image, whole, block, plan):
    shape = image.shape[:-1]
    scaling = Normalizer("div").scaling(image)
    read: list[Box] = []

    def cut(box: Box) -> np.ndarray:
        read.append(box)
        return image[box]

    blocks = BlockPredictor(predictor, plan, cut, scaling, whole)
    grid = Grid(shape, block)
    maps = {o.name: np.zeros(shape, np.float32) for o in predictor.outputs}
    for number in range(len(grid)):
        for name, values in blocks(grid.box(number)).items():
            maps[name][grid.box(number)] = values
    return maps, read


@pytest.mark.parametrize("case", CASES)
def test_windows_of_blocks_give_the_map_of_the_whole_image(case: str) -> None:
    model, shape = CASES[case]
    multiple, reach = downsampling(model), receptive_radius(model)
    predictor, image = Predictor(warm(model), (B, D)), picture(shape)
    margin = tuple(range(3, 3 + model.ndim))
    one = plan_tiles(shape, margin, reach, multiple, shape, 10**9)
    settings = PredictSettings(one, 2)
    whole = predictor.predict(image, Normalizer("div").scaling(image), settings)
    block = tuple(max(4, s // 3) for s in shape)
    found, read = by_blocks(predictor, image, settings, block, full_halo(shape, settings, model))
    for name in ("B", "D"):
        assert np.ptp(whole[name]) > 0.01
        np.testing.assert_allclose(found[name], whole[name], atol=2e-5)
    if case == "2d":  # no block reads the whole image
        assert all(any(p.stop - p.start < s for p, s in zip(b, shape, strict=True)) for b in read)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(3, 40), st.integers(3, 40)),
    st.tuples(st.integers(3, 20), st.integers(3, 20)),
    st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    st.integers(0, 3),
    st.booleans(),
)
def test_tiles_of_blocks_are_those_of_the_whole_image(
    shape: tuple[int, int], block: tuple[int, int], overlap: float, padding: int, augment: bool
) -> None:
    """The network returns positions within the tile, so that other tiles would show."""

    class Ramp(nn.Module):
        def forward(self, x):
            ramp = np.arange(x.shape[-1], dtype=np.float32) / 50
            return x + x.new_tensor(ramp)

    image = picture(shape)
    plan = TilePlan((12, 12), (overlap, overlap), (padding, padding), (1, 1))
    settings_ = PredictSettings(plan, 3, augment=augment)
    predictor = Predictor(Ramp(), (D,))
    whole = predictor.predict(image, Normalizer("div").scaling(image), settings_)
    found, _ = by_blocks(
        predictor, image, settings_, block, block_plan(shape, settings_, (0, 0), (), (), 0)
    )
    np.testing.assert_allclose(found["D"], whole["D"], atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_empty_blocks_cost_one_pass(case: str) -> None:
    """The output far from any cell follows from a small image, up to the border."""
    model, _ = CASES[case]
    multiple, reach = downsampling(model), receptive_radius(model)
    network, calls = warm(model), []
    network.register_forward_hook(lambda *_: calls.append(1))
    predictor = Predictor(network, (B, D))
    block = tuple(-(-r // 4) * 4 for r in reach)
    shape = tuple(5 * b + 3 for b in block)
    image = np.full((*shape, 1), 7, np.uint8)
    corner = tuple(slice(s - 5, None) for s in shape)
    image[corner] = picture((5,) * model.ndim)
    margin = tuple(range(3, 3 + model.ndim))
    settings = PredictSettings(plan_tiles(shape, margin, reach, multiple, shape, 10**9), 1)
    whole = predictor.predict(image, Normalizer("div").scaling(image), settings)
    calls.clear()
    found, _ = by_blocks(predictor, image, settings, block, full_halo(shape, settings, model))
    for name in ("B", "D"):
        assert np.ptp(whole[name][tuple(slice(0, b) for b in block)]) > 0  # its border shows
        np.testing.assert_allclose(found[name], whole[name], atol=2e-5)
    near = 4**model.ndim  # that see the cells
    assert len(calls) <= near + 1 < len(Grid(shape, block))


def test_blocks_in_large_tiles_give_the_map_of_the_whole_image() -> None:
    """The complete halo does not fit into the usual tiles; after a lack of memory, into no tile."""
    model, shape = CASES["3d"]
    multiple, reach = downsampling(model), receptive_radius(model)
    predictor, image = Predictor(warm(model), (B, D)), picture(shape)
    margin = (0,) * model.ndim
    settings = PredictSettings(plan_tiles(shape, margin, reach, multiple, shape, 10**9), 1)
    whole = predictor.predict(image, Normalizer("div").scaling(image), settings)
    plan = full_halo(shape, settings, model)
    small = np.prod([2 * h for h in plan.halo])
    plan = replace(plan, max_pixels=int(small), large_pixels=10**9)
    found, _ = by_blocks(predictor, image, settings, tuple(s // 2 + 1 for s in shape), plan)
    for name in ("B", "D"):
        np.testing.assert_allclose(found[name], whole[name], atol=2e-5)
