"""On a GPU: losses, scores, gradients and whole trainings, compared with the CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from singula.data.augment import AugmentSettings
from singula.data.dataset import PatchDataset, PatchSettings, Sample
from singula.data.normalize import Normalizer
from singula.errors import UserError, is_out_of_memory
from singula.models import ModelSettings, TransformerSettings, build_model, channels_last
from singula.models.variants import ARCHITECTURES
from singula.representations.channels import EncodeSettings
from singula.training.checkpoint import load_checkpoint
from singula.training.checkpoint_saver import CheckpointSaver, CheckpointSettings
from singula.training.device import (
    Device,
    check_gpus,
    choose_device,
    choose_for_model,
    free_gpu_memory,
    training_arithmetic,
    without_tf32,
)
from singula.training.epoch_log import EpochLog
from singula.training.fit import FitResult, FitSettings, Training, fit
from singula.training.losses import BinaryLoss, InstanceLoss, Output
from singula.training.map_metrics import MapScores
from singula.training.optimizer import OptimizerSettings

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.xdist_group("gpu"),
]
GPU = torch.device("cuda:0")
OUTPUTS = (Output("B", "bce", "sigmoid"), Output("D", "l1", "linear", foreground_only=True))


def batch_of(device: torch.device, classes: bool = False) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    target = torch.rand(2, 2, 32, 32, generator=random)
    target[:, 0] = (target[:, 0] > 0.6).float()
    batch = {
        "image": torch.rand(2, 1, 32, 32, generator=random),
        "target": target,
        "foreground": target[:, :1] > 0,
    }
    if classes:
        batch["classes"] = torch.randint(0, 3, (2, 32, 32), generator=random)
    return {name: values.to(device) for name, values in batch.items()}


class TestOneStep:
    @pytest.mark.parametrize("classes", [0, 3])
    @pytest.mark.parametrize("balance", ["none", "auto"])
    def test_losses_and_scores_equal_those_of_the_cpu(self, classes: int, balance: str) -> None:
        binary = BinaryLoss(1.0, 0.5, 0.5, balance=balance)
        loss = InstanceLoss(OUTPUTS, classes, binary=binary, class_balance=balance)
        logits = torch.randn(2, 2 + classes, 32, 32, generator=torch.Generator().manual_seed(1))
        found = []
        for device in (torch.device("cpu"), GPU):
            batch = batch_of(device, classes=bool(classes))
            scores = MapScores(OUTPUTS, classes, device)
            scores.update(logits.to(device), batch)
            values = {"loss": loss(logits.to(device), batch), **scores.compute()}
            found.append({name: float(value) for name, value in values.items()})
        assert found[0] == pytest.approx(found[1], rel=1e-5)

    @pytest.mark.parametrize("ndim", [2, 3])
    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_every_network_has_the_cpus_output_and_gradients(self, name: str, ndim: int) -> None:
        shape = (32, 32) if ndim == 2 else (16, 16, 16)
        settings = ModelSettings(
            ndim, 1, 2, architecture=name, feature_maps=(4, 8, 12), dropout=(0.0,) * 3,
            z_down=(1, 2), activation="elu",
            transformer=TransformerSettings(
                4, 16, 4, 2, 2.0, every=2, filters=4, activation="elu", patch=shape
            ),
        )  # fmt: skip
        random = torch.Generator().manual_seed(1)
        image = torch.randn((2, 1, *shape), generator=random)
        results, gradients = [], []
        for device in (torch.device("cpu"), GPU):
            torch.manual_seed(0)
            network = channels_last(build_model(settings).double(), ndim).to(device)
            result = network(image.double().to(device))
            result.square().mean().backward()
            results.append(result.detach().cpu())
            gradients.append([p.grad.cpu() for p in network.parameters() if p.grad is not None])
        torch.testing.assert_close(results[1], results[0], rtol=1e-8, atol=1e-8)
        assert len(gradients[0]) == len(gradients[1])
        for own, other in zip(*gradients, strict=True):
            torch.testing.assert_close(other, own, rtol=1e-6, atol=1e-8)

    def test_tf32_is_set_within_the_block_and_restored_after_it(self) -> None:
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(GPU)
        image = torch.randn(4, 64, 64, 64, device=GPU)
        matrix = torch.randn(512, 512, device=GPU)
        before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()

        def errors() -> list[float]:
            with torch.no_grad():
                exact = layer.double()(image.double())
                convolved = layer.float()(image)
            products = (matrix @ matrix, matrix.double() @ matrix.double())
            pairs = ((convolved, exact), products)
            return [float((a - b).norm() / b.norm()) for a, b in pairs]

        with without_tf32():
            assert errors()[0] < 1e-5
        with training_arithmetic():
            assert min(errors()) > 3e-5
        assert before == (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision())
        assert not torch.backends.cudnn.deterministic


def dataset(*, augment: bool = False, size: int = 64) -> PatchDataset:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    labels = np.zeros((128, 128, 1), np.uint8)
    for number in range(1, 30):
        cy, cx = rng.integers(8, 120, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 36] = number
    image = ((labels > 0) * 0.7 + 0.1 * rng.standard_normal(labels.shape)).astype(np.float32)
    return PatchDataset(
        [Sample("disks", image, labels)],
        PatchSettings((size, size), (0.0, 0.0), (0, 0), replicate=max(1, size * size // 1024)),
        Normalizer("scale_range"),
        EncodeSettings(("B", "C")),
        AugmentSettings(0.5, rotation=(-90, 90), hflip=True) if augment else None,
        seed=1,
    )


MODEL = ModelSettings(2, 1, 2, feature_maps=(8, 16), dropout=(0.0, 0.2))


def train(
    folder: Path,
    device: Device,
    *,
    resume: bool = False,
    size: int = 32,
    model: ModelSettings = MODEL,
    **changes: object,
) -> tuple[FitResult, torch.nn.Module]:
    options: dict[str, object] = {"epochs": 4, "batch_size": 4, "seed": 3, **changes}
    torch.manual_seed(7)
    network = channels_last(build_model(model), 2)
    job = Training(
        network,
        InstanceLoss((Output("B", "bce", "sigmoid"), Output("C", "bce", "sigmoid"))),
        dataset(augment=True, size=size),
        dataset(size=size),
        settings=FitSettings(**options),  # type: ignore[arg-type]
        optimizer=OptimizerSettings("ADAMW", 1e-2, schedule="onecycle"),
        checkpoints=CheckpointSettings(folder / "best.pth", folder / "last.pth"),
        log=EpochLog(folder / "log.csv"),
        device=device,
        description={"model": model.to_dict()},
        resume=resume,
    )
    return fit(job), network


def cuda(precision: str = "32") -> Device:
    return Device("cuda", (0,), precision)


def losses(result: FitResult) -> list[float]:
    return [row[name] for row in result.history for name in ("train_loss", "val_loss")]


class TestTraining:
    @pytest.mark.parametrize(
        ("precision", "tolerance"), [("32", 0.01), ("bf16", 0.05), ("16", 0.03)]
    )
    def test_losses_equal_those_of_the_cpu_and_decrease(
        self, precision: str, tolerance: float, tmp_path: Path
    ) -> None:
        # Without dropout, whose random numbers are others on a GPU.
        model = ModelSettings(2, 1, 2, feature_maps=(8, 16), dropout=(0.0, 0.0))
        on_cpu, _ = train(tmp_path / "cpu", Device("cpu"), model=model)
        on_gpu, network = train(tmp_path / "gpu", cuda(precision), model=model, workers=2)
        assert losses(on_gpu) == pytest.approx(losses(on_cpu), rel=tolerance)
        assert on_gpu.history[-1]["train_loss"] < 0.8 * on_gpu.history[0]["train_loss"]
        assert on_gpu.history[-1]["val_iou_B"] == pytest.approx(
            on_cpu.history[-1]["val_iou_B"], abs=0.05
        )
        assert {p.device.type for p in network.parameters()} == {"cpu"}

    @pytest.mark.parametrize("precision", ["32", "16"])
    def test_a_training_resumes_on_the_same_and_on_the_other_device(
        self, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]
    ) -> None:
        whole, _ = train(tmp_path / "whole", cuda(precision))
        save = CheckpointSaver.end_epoch

        def dying(self: CheckpointSaver) -> bool:
            stops = save(self)
            if len(self.trainer.history.rows) == 2:
                raise RuntimeError("killed")
            return stops

        for first, second in (
            (cuda(precision), cuda(precision)),
            (Device("cpu"), cuda(precision)),
            (cuda(precision), Device("cpu")),
        ):
            folder = tmp_path / f"{first.kind}-{second.kind}"
            with monkeypatch.context() as patch:
                patch.setattr(CheckpointSaver, "end_epoch", dying)
                with pytest.raises(RuntimeError, match="killed"):
                    train(folder, first)
            messages.clear()
            parts, _ = train(folder, second, resume=True)
            assert any("resuming after epoch 2 of 4" in line for line in messages)
            assert [row["lr"] for row in parts.history] == [row["lr"] for row in whole.history]
            assert losses(parts) == pytest.approx(losses(whole), rel=0.1)
            if (first.kind, second.kind) == ("cuda", "cuda"):
                assert parts.history == whole.history

    def test_equal_seeds_give_equal_bits(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            train(tmp_path / name, cuda("bf16"), epochs=2, batch_size=8, workers=2)
        own, other = (load_checkpoint(tmp_path / name / "last.pth").weights for name in ("a", "b"))
        for name in own:
            torch.testing.assert_close(own[name], other[name], rtol=0, atol=0, msg=name)

    def test_a_checkpoint_of_a_gpu_contains_the_weights_of_the_network(
        self, tmp_path: Path
    ) -> None:
        result, network = train(tmp_path, cuda(), epochs=2)
        stored = load_checkpoint(result.best)
        assert {value.device.type for value in stored.weights.values()} == {"cpu"}
        for name, value in network.state_dict().items():
            torch.testing.assert_close(stored.weights[name], value, rtol=0, atol=0, msg=name)
        raw = torch.load(result.best, weights_only=True)["state_dict"]
        assert {value.device.type for value in raw.values()} == {"cuda"}


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

    def test_out_of_memory_is_recognized(self) -> None:
        self.leave(1 << 26)
        with pytest.raises(RuntimeError) as caught:
            torch.empty(1 << 30, device=GPU)
        assert is_out_of_memory(caught.value)

    def test_a_batch_that_does_not_fit_is_halved(self, tmp_path: Path, messages: list[str]) -> None:
        model = ModelSettings(2, 1, 2, feature_maps=(32, 64), dropout=(0.0, 0.0))
        torch.cuda.reset_peak_memory_stats()
        train(tmp_path / "one", cuda(), batch_size=1, epochs=1, size=128, model=model)
        one = torch.cuda.max_memory_allocated()
        messages.clear()
        self.leave(6 * one)
        result, _ = train(tmp_path / "many", cuda(), batch_size=16, epochs=2, size=128, model=model)
        assert [row["epoch"] for row in result.history] == [1, 2]
        assert "not enough memory for batches of 16" in messages[0]
        assert "TRAIN.BATCH_SIZE 8 and TRAIN.ACCUM_ITER 2" in messages[0]
        self.leave(one // 4)
        with pytest.raises(UserError, match=r"TRAIN\.BATCH_SIZE: training ran out of memory"):
            train(tmp_path / "none", cuda(), batch_size=2, epochs=1, size=128, model=model)

    def test_free_memory_includes_the_cache_of_torch(self) -> None:
        torch.cuda.empty_cache()
        before = free_gpu_memory(GPU)
        block = torch.empty(1 << 28, dtype=torch.uint8, device=GPU)
        held = free_gpu_memory(GPU)
        del block
        after = free_gpu_memory(GPU)
        assert before is not None
        assert held is not None
        assert after is not None
        assert before - held >= 1 << 28
        assert abs(after - before) < 1 << 26


class TestChoice:
    def test_spellings_of_an_existing_gpu(self, messages: list[str]) -> None:
        for spelling in ("0", "cuda:0", "cuda", "gpu"):
            device = choose_device(spelling, "cpu", "auto")
            assert device.torch == GPU
            assert device.precision in ("bf16", "16")
            assert messages == [f"using {torch.cuda.get_device_name(0)}"]
        assert choose_device(None, "cuda:0", "32").kind == "cuda"

    def test_an_unused_gpu_is_mentioned(self, messages: list[str]) -> None:
        assert choose_device(None, "cpu", "32").kind == "cpu"
        assert "a GPU is available but not requested" in messages[0]
        assert choose_device("cpu", "cuda:0", "32").kind == "cpu"
        assert len(messages) == 1  # the CPU was asked for

    def test_a_trained_network_uses_the_gpu_by_default(self, messages: list[str]) -> None:
        assert choose_for_model(None).torch == GPU
        assert messages == [f"using {torch.cuda.get_device_name(0)}"]
        assert choose_for_model("cpu").kind == "cpu"
        assert len(messages) == 1

    def test_a_missing_gpu_is_an_error(self) -> None:
        beyond = torch.cuda.device_count()
        for spelling in (str(beyond), f"0, {beyond}", f"cuda:0,{beyond}"):
            with pytest.raises(UserError, match=f"got CUDA device {beyond}, expected 0"):
                choose_device(spelling, "cpu", "32")
        with pytest.raises(UserError, match="got CUDA device 9999, expected 0"):
            check_gpus("--gpu '9999'", (9999,))

    def test_more_processes_than_gpus_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        with pytest.raises(UserError, match="each of 2 processes"):
            choose_device("cuda:0", "cpu", "32")
