"""The GPU of a Mac, simulated: the choice of the device, and a device without values."""

from collections.abc import Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from singula.autoconfig.training import assumed_speed
from singula.autoconfig.training import choose_device as propose_device
from singula.dataset.facts.machine import survey_machine
from singula.errors import UserError
from singula.models import ModelSettings, build_model
from singula.training import losses, map_metrics
from singula.training.device import Device, choose_device, choose_for_model, parse_gpu
from singula.training.loader import loader_workers
from singula.training.losses import InstanceLoss, Output
from singula.training.map_metrics import EpochTotals


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    return monkeypatch


@pytest.mark.parametrize("request_", ["mps", "auto", "0", "cuda:0", "gpu", "MPS"])
def test_the_gpu_of_a_mac_is_chosen(mac: pytest.MonkeyPatch, request_: str) -> None:
    for chosen in (choose_device(request_, "cpu", "auto"), choose_device(None, request_, "auto")):
        assert chosen == Device("mps", (), "32")
        assert chosen.torch == torch.device("mps")
    assert choose_for_model(None).kind == "mps"
    assert choose_for_model("cpu").kind == "cpu"


def test_the_cpu_is_used_elsewhere(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto", "cpu", "32").kind == "cpu"
    assert messages == []
    assert choose_device("mps", "cpu", "32").kind == "cpu"
    assert "not a Mac" in messages[0]
    assert parse_gpu("mps") is parse_gpu("auto") is None


def test_cuda_has_precedence(mac: pytest.MonkeyPatch) -> None:
    mac.setattr(torch.cuda, "is_available", lambda: True)
    mac.setattr(torch.cuda, "device_count", lambda: 1)
    mac.setattr(torch.cuda, "get_device_name", lambda index: "card")
    assert choose_device("auto", "cpu", "32") == Device("cuda", (0,), "32")
    assert choose_device("mps", "cpu", "32").kind == "mps"


@pytest.mark.parametrize(("recent", "precision"), [(True, "bf16"), (False, "32")])
def test_bfloat16_needs_a_recent_system(
    mac: pytest.MonkeyPatch, recent: bool, precision: str
) -> None:
    mac.setattr(torch.backends.mps, "is_macos_or_newer", lambda major, minor: recent)
    assert choose_device("mps", "cpu", "bf16").precision == precision
    assert choose_device("mps", "cpu", "16").precision == "32"


def test_several_processes_cannot_share_the_gpu(mac: pytest.MonkeyPatch) -> None:
    mac.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError) as error:
        choose_device("mps", "cpu", "32")
    assert error.value.code == "device.too_few"


def test_init_proposes_the_gpu_of_a_mac(mac: pytest.MonkeyPatch) -> None:
    mac.setattr(torch.mps, "recommended_max_memory", lambda: 12 << 30)
    machine = survey_machine()
    assert (machine.gpus, machine.gpu_device, machine.gpu_memory) == (1, "mps", 12 << 30)
    values = {choice.key: choice.value for choice in propose_device(machine)}
    assert values["SYSTEM.DEVICE"] == "mps"
    on_cuda = assumed_speed(type(machine)(8, 1, 1, "card", 1), 1.0, 1000)
    assert assumed_speed(machine, 1.0, 1000).step > on_cuda.step


def test_patches_are_prepared_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singula.training.loader.available_cores", lambda: 8)
    assert loader_workers(-1, "mps") == loader_workers(-1, "cuda") == 7


class Meta(TorchDispatchMode):
    """Let the device "meta" stand for a GPU without float64; copies to main memory are zeros."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        target = torch.device(kwargs.get("device") or "meta").type
        is_copy = function is torch.ops.aten._to_copy.default
        if is_copy and args[0].is_meta and target == "cpu":
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        result = function(*args, **kwargs)
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, torch.Tensor) and value.is_meta:
                assert value.dtype != torch.float64, function
        return result


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    for part in (losses, map_metrics):
        monkeypatch.setattr(part, "has_float64", lambda device: device.type == "cpu")
    with Meta():
        yield torch.device("meta")


def test_training_and_prediction_need_no_float64(meta: torch.device) -> None:
    """Shapes, types and devices of each operation are computed, but no values."""
    outputs = (Output("B", "bce", "sigmoid"), Output("D", "l1", "linear", 1.0, True))
    cpu = torch.device("cpu")
    network = build_model(ModelSettings(2, 1, len(outputs) + 3, feature_maps=(4, 8))).to(meta)
    loss = InstanceLoss(outputs, 3, class_balance="auto").to(meta)
    totals = EpochTotals(outputs, 3, meta)
    batch = {
        "image": torch.empty(2, 1, 32, 32, device=meta),
        "target": torch.empty(2, 2, 32, 32, device=meta),
        "foreground": torch.empty(2, 1, 32, 32, dtype=torch.bool, device=meta),
        "classes": torch.empty(2, 32, 32, dtype=torch.int64, device=meta),
    }
    prediction = network(batch["image"])
    assert prediction.is_meta
    value = loss(prediction, batch)
    value.backward()
    torch.optim.AdamW(network.parameters()).step()
    totals.update(value, prediction, batch)
    assert totals.scores.sums.device == totals.sums().device == cpu
    assert totals.sums().dtype == torch.float64
    assert all(weight.grad.is_meta for weight in network.parameters() if weight.grad is not None)
