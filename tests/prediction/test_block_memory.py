"""Prediction of blocks with too little memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from singula.data.normalize import Normalizer
from singula.data.patches import TilePlan
from singula.models import ModelSettings, build_model, downsampling
from singula.prediction import AlignedTiles, BlockPlan, BlockPredictor, Predictor, PredictSettings
from singula.training.losses import Output

MODEL = ModelSettings(2, 1, 1, feature_maps=(4, 8), dropout=(0, 0))


class Small(Predictor):
    """A network with memory for a number of pixels."""

    def __init__(self, most: int) -> None:
        torch.manual_seed(0)
        super().__init__(build_model(MODEL), (Output("B", "bce", "sigmoid"),))
        self.most, self.seen = most, []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen.append(batch[:, 0].numel())
        if self.seen[-1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(batch)


def blocks(most: int) -> BlockPredictor:
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 1)).astype(np.uint8)
    multiple = downsampling(MODEL)
    plan = BlockPlan((96, 96), (0, 0), (16, 16), multiple, (8, 8), 10**6)
    settings = PredictSettings(AlignedTiles((96, 96), (0, 0), (16, 16), multiple), 1)
    scaling = Normalizer("div").scaling(image)
    return BlockPredictor(Small(most), plan, lambda box: image[box], scaling, settings)


def test_smaller_tiles_give_the_same_maps_when_memory_runs_out() -> None:
    core = (slice(0, 64), slice(32, 96))
    plenty, little = blocks(10**6), blocks(3000)
    expected = plenty(core)["B"]
    np.testing.assert_allclose(little(core)["B"], expected, atol=1e-5)
    seen = little.predictor.seen
    assert max(seen) > 3000 >= seen[-1]
    seen.clear()
    little(core)  # what was learned holds for the next block
    assert max(seen) <= 3000


@pytest.mark.parametrize("in_tiles", [False, True])
def test_no_memory_for_the_smallest_tile_is_an_error(in_tiles) -> None:
    little = blocks(10)
    if in_tiles:
        tiles = TilePlan((32, 32), (0, 0), (8, 8), downsampling(MODEL))
        little.plan = replace(little.plan, tiles=tiles)
        little.settings = replace(little.settings, batch_size=4)
    with pytest.raises(MemoryError, match=r"a single patch of DATA\.PATCH_SIZE"):
        little((slice(0, 64), slice(0, 64)))
