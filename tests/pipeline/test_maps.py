"""Prediction in the largest tiles that fit into memory, with simulated out-of-memory errors."""

import numpy as np
import pytest
import torch

from singula.config import config_from_dict
from singula.data.normalize import Normalizer
from singula.models import build_model
from singula.pipeline import from_config
from singula.pipeline.predict_image import predict_maps
from singula.prediction import AlignedTiles, Predictor, max_tile_pixels
from singula.util.messages import captured_messages

KEYS = {
    "PROBLEM": {"NDIM": "2D"},
    "DATA": {"PATCH_SIZE": "(32, 32, 1)", "TEST": {"PATH": "x", "PADDING": "(0, 0)"}},
    "MODEL": {"FEATURE_MAPS": [4, 8]},
    "TEST": {"ENABLE": True},
}
SHAPE = (200, 300)


class Limited(torch.nn.Module):
    """A network that runs out of memory above a number of pixels."""

    def __init__(self, network, most):
        super().__init__()
        self.network, self.most, self.seen = network, most, []

    def forward(self, batch):
        self.seen.append(batch.shape[0] * batch.shape[2] * batch.shape[3])
        if self.seen[-1] > self.most:
            raise torch.OutOfMemoryError("simulated")
        return self.network(batch)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    config = config_from_dict(KEYS)
    return build_model(from_config.model_settings(config)).eval()


def maps(network, most, *, whole=False, keys=KEYS):
    config = config_from_dict(keys)
    limited = Limited(network, most)
    image = np.random.default_rng(0).integers(0, 255, (*SHAPE, 1)).astype(np.uint8)
    predictor = Predictor(limited, from_config.outputs(config))
    with captured_messages() as said:
        found = predict_maps(config, predictor, Normalizer("div"), image, whole=whole)
    return found, said, limited.seen


@pytest.mark.parametrize("most", [40_000, 9_000])
def test_tiles_shrink_until_they_fit_and_the_maps_stay(network, most):
    known, silent, _ = maps(network, 10**9)
    found, said, seen = maps(network, most)
    assert silent == []
    assert said
    assert all("not enough memory for 1 patch of " in line for line in said)
    assert seen[-1] <= most
    for name, values in known.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)


def test_batches_of_configured_patches_shrink_too(network):
    keys = {**KEYS, "TRAIN": {"BATCH_SIZE": 4}, "TEST": {"ENABLE": True, "TILE_SIZE": "patch"}}
    _, said, seen = maps(network, 2 * 32 * 32, keys=keys)
    assert said == [
        "not enough memory for 4 patches of 32 × 32 pixels at once: continuing with half"
    ]
    assert max(seen[1:]) == 2 * 32 * 32


def test_memory_for_less_than_a_patch_is_an_error(network):
    with pytest.raises(MemoryError, match="a single patch"):
        maps(network, 32 * 32 - 1)
    with pytest.raises(MemoryError, match=r"TEST\.FULL_IMG"):
        maps(network, 1000, whole=True)


def test_other_errors_are_not_treated_as_out_of_memory():
    class Broken(torch.nn.Module):
        def forward(self, batch):
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        maps(Broken(), 10**9)


def test_the_memory_of_a_gpu_determines_the_tiles():
    config = config_from_dict(KEYS)
    small, large, huge = (
        from_config.predict_settings(config, (4096, 4096), memory=memory).plan
        for memory in (2 * 10**8, 10**11, 10**12)
    )
    assert isinstance(small, AlignedTiles)
    assert small.patch[0] * small.patch[1] <= max_tile_pixels(2, 4, memory=2 * 10**8)
    # With one window there would be nothing to compute while it is read or written.
    assert 1 < large.count((4096, 4096)) < small.count((4096, 4096))
    assert huge == large
