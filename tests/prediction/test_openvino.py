"""The OpenVINO backend gives the same maps, and falls back to torch."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from singula.data.normalize import Normalizer
from singula.models import ModelSettings, build_model
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.prediction import openvino as backend
from singula.prediction.openvino import OpenVinoNetwork, has_openvino
from singula.training.losses import Output

needs_it = pytest.mark.skipif(not has_openvino(), reason="OpenVINO is not installed")


def accelerated(network: nn.Module, **how: bool) -> OpenVinoNetwork:
    given = {"bfloat16": False, "at_once": True, **how}
    return OpenVinoNetwork(network, 1, (32, 32), **given).eval()


def small() -> nn.Module:
    torch.manual_seed(0)
    return build_model(ModelSettings(2, 1, 2, feature_maps=(4, 8), dropout=(0, 0))).eval()


@needs_it
@pytest.mark.parametrize("bfloat16", [False, True])
def test_maps_equal_those_of_torch(bfloat16: bool, messages: list[str]) -> None:
    network, outputs = small(), (Output("B", "bce", "sigmoid"), Output("D", "l1", "linear"))
    fast = accelerated(network, bfloat16=bfloat16)
    for seed, shape in enumerate([(40, 52), (40, 52), (64, 34)]):
        image = np.random.default_rng(seed).integers(0, 255, (*shape, 1)).astype(np.uint8)
        settings = PredictSettings(whole_plan(shape, (2, 2)))
        expected, found = (
            Predictor(n, outputs).predict(image, Normalizer("div").scaling(image), settings)
            for n in (network, fast)
        )
        for name in expected:
            tolerance = 0.05 if bfloat16 else 1e-4
            np.testing.assert_allclose(found[name], expected[name], atol=tolerance)
    assert messages == []
    assert fast.request is not None


class Request:
    """Request that returns wrong numbers, or fails."""

    def __init__(self, result: np.ndarray | None) -> None:
        self.result = result

    def infer(self, batch: np.ndarray) -> list[np.ndarray]:
        if self.result is None:
            raise RuntimeError("no such operation\nand more")
        return [self.result]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, "RuntimeError: no such operation"),
        (np.ones((1, 2, 8, 8), np.float32), "differs by"),
        (np.zeros((1, 1), np.float32), "another shape"),
    ],
)
def test_torch_continues_if_openvino_fails(
    result: np.ndarray | None, reason: str, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    network = small()
    fast = accelerated(network)
    monkeypatch.setattr(fast, "_compile", lambda: Request(result))
    with torch.inference_mode():
        for _ in range(2):
            batch = torch.rand(1, 1, 8, 8)
            torch.testing.assert_close(fast(batch), network(batch))
    assert len(messages) == 1
    assert reason in messages[0]
    assert "and more" not in messages[0]


class Counted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def test_openvino_is_used_from_a_minimum_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_MIN_PIXELS", 150 / torch.get_num_threads())
    fast = accelerated(Counted(), at_once=False)
    made = []
    monkeypatch.setattr(fast, "_compile", lambda: made.append(1) or Request(None))
    with torch.inference_mode():
        for number in range(1, 5):
            fast(torch.rand(1, 1, 10, 10))
            assert len(made) == (number > 2)
