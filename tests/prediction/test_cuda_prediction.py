"""On a GPU: maps compared with the CPU, tiles by free memory, and too little memory."""

import numpy as np
import pytest
import torch
from torch import nn

from singula.config import config_from_dict
from singula.data.normalize import Normalizer
from singula.data.patches import TilePlan
from singula.models import (
    ModelSettings,
    build_model,
    channels_last,
    downsampling,
    fold_batch_norm,
    receptive_radius,
)
from singula.pipeline.predict_image import predict_maps
from singula.prediction import AlignedTiles, Predictor, PredictSettings, max_tile_pixels, plan_tiles
from singula.training.device import free_gpu_memory
from singula.training.losses import Output

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.xdist_group("gpu"),
]
GPU = torch.device("cuda:0")
OUTPUTS = (Output("B", "bce", "sigmoid"), Output("D", "l1", "linear"))
MODELS = {
    2: ModelSettings(2, 1, 2, n_classes=3),
    3: ModelSettings(3, 1, 2, feature_maps=(16, 32, 64), dropout=(0,) * 3, z_down=(1, 2)),
}


def picture(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*shape, 1)).astype(np.uint8)


def trained(model: ModelSettings) -> nn.Module:
    """Return a network whose normalization layers are not the identity."""
    torch.manual_seed(1)
    network = build_model(model).train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(2, 1, *(4 * m for m in downsampling(model))))
    return network.eval()


def predictor(model: ModelSettings, device: torch.device, **how: bool) -> Predictor:
    network = channels_last(fold_batch_norm(trained(model)), model.ndim)
    return Predictor(network, OUTPUTS, model.n_classes, device, **how)


def windows(model: ModelSettings, shape: tuple[int, ...], largest: int) -> AlignedTiles:
    reach = receptive_radius(model)
    assert reach is not None
    multiple = downsampling(model)
    plan = plan_tiles(shape, multiple, reach, multiple, multiple, largest)
    assert plan is not None
    return plan


@pytest.mark.parametrize(
    ("ndim", "shape", "largest"), [(2, (700, 531), 200_000), (3, (20, 90, 101), 200_000)]
)
@pytest.mark.parametrize("way", ["windows", "overlapping patches", "augmented"])
def test_maps_equal_those_of_the_cpu(
    ndim: int, shape: tuple[int, ...], largest: int, way: str
) -> None:
    model, image = MODELS[ndim], picture(shape)
    plan = windows(model, shape, largest)
    assert plan.count(shape) > 1
    settings = PredictSettings(plan, 2, augment=way == "augmented")
    if way == "overlapping patches":
        patch = ((8,) if ndim == 3 else ()) + (64, 64)
        halo = ((2,) if ndim == 3 else ()) + (16, 16)
        settings = PredictSettings(
            TilePlan(patch, (0.25,) * ndim, halo, downsampling(model)), 4, half=True
        )
    scaling = Normalizer("scale_range", clip=(1, 99)).scaling(image)
    own = predictor(model, torch.device("cpu")).predict(image, scaling, settings)
    found = predictor(model, GPU).predict(image, scaling, settings)
    assert own.keys() == found.keys()
    for name in ("B", "D"):
        assert np.ptp(own[name]) > 0.01
        scale = max(1.0, float(np.abs(own[name]).max()))
        atol = (1e-3 if settings.half else 2e-5) * scale
        np.testing.assert_allclose(found[name], own[name], atol=atol, rtol=0)
    if model.n_classes:
        assert (own["class"] != found["class"]).mean() < 1e-4


def test_bfloat16_differs_by_little_and_float32_by_much_less() -> None:
    model, image = MODELS[2], picture((256, 256))
    scaling = Normalizer("div").scaling(image)
    settings = PredictSettings(windows(model, (256, 256), 10**6))
    exact = predictor(model, torch.device("cpu")).predict(image, scaling, settings)["B"]
    errors = {
        short: float(
            np.abs(
                predictor(model, GPU, bfloat16=short).predict(image, scaling, settings)["B"] - exact
            ).max()
        )
        for short in (False, True)
    }
    assert errors[False] < 1e-5
    assert 10 * errors[False] < errors[True] < 0.1


def test_settings_of_torch_are_restored() -> None:
    image = picture((64, 64))
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled
    predictor(MODELS[2], GPU).predict(
        image,
        Normalizer("div").scaling(image),
        PredictSettings(windows(MODELS[2], (64, 64), 10**6)),
    )
    assert before == (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_largest_tile_needs_at_most_the_predicted_memory(ndim: int) -> None:
    model = MODELS[ndim]
    for short in (False, True):
        one = predictor(model, GPU, bfloat16=short)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        side = 1024 if ndim == 2 else 128
        batch = torch.rand(1, 1, *(side,) * ndim, device=GPU)
        before = torch.cuda.memory_allocated()
        with torch.inference_mode():
            one.forward(batch)
        taken = torch.cuda.max_memory_allocated() - before
        width = model.feature_maps[0]
        budget = int(taken * 5 / 4) + 1
        assert max_tile_pixels(ndim, width, memory=budget) <= batch.numel()


KEYS = {
    "PROBLEM": {"NDIM": "2D"},
    "DATA": {
        "PATCH_SIZE": [64, 64, 1],
        "TEST": {"PADDING": [16, 16]},
        "NORMALIZATION": {"TYPE": "div"},
    },
    "MODEL": {"FEATURE_MAPS": [16, 32, 64]},
    "TRAIN": {"ENABLE": True, "BATCH_SIZE": 1},
}
SMALL = ModelSettings(2, 1, 2, feature_maps=(16, 32, 64), dropout=(0, 0, 0))


class TestMemory:
    @pytest.fixture(autouse=True)
    def _all_of_it_afterwards(self):
        yield
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()

    @staticmethod
    def leave(free: int) -> None:
        """Limit the additional memory of this process, in bytes."""
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + free) / total)

    def test_smaller_tiles_continue_with_the_same_maps(self, messages: list[str]) -> None:
        config = config_from_dict(KEYS)
        image, one = picture((1500, 1400)), predictor(SMALL, GPU)
        plenty = predict_maps(config, one, Normalizer("div"), image)
        assert messages == []
        # The driver knows nothing of the limit: only the failing tile shows that there is one.
        free = free_gpu_memory(GPU)
        assert free is not None
        self.leave(1 << 28)
        little = predict_maps(config, one, Normalizer("div"), image)
        assert messages
        assert all("not enough memory" in line and "half" in line for line in messages)
        for name, values in plenty.items():
            np.testing.assert_allclose(little[name], values, atol=2e-5 * np.abs(values).max())

    def test_memory_for_less_than_a_patch_is_an_error(self) -> None:
        image, one = picture((256, 256)), predictor(SMALL, GPU)
        self.leave(1 << 20)
        with pytest.raises(MemoryError, match="a single patch"):
            predict_maps(config_from_dict(KEYS), one, Normalizer("div"), image)
