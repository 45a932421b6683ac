"""Whole trainings of a tiny network: resumption, seeds, logs, patience."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from singula.data.augment import AugmentSettings
from singula.data.dataset import EpochSampler, PatchDataset, PatchSettings, Sample
from singula.data.normalize import Normalizer
from singula.errors import UserError
from singula.io.record_tables import append_row
from singula.io.records.tables import EpochRow
from singula.models import ModelSettings, build_model
from singula.representations.channels import EncodeSettings
from singula.training import fit as fit_module
from singula.training import loader as loader_module
from singula.training.checkpoint import KEY, load_checkpoint, write_checkpoint
from singula.training.checkpoint_saver import CheckpointSaver, CheckpointSettings
from singula.training.device import Device
from singula.training.epoch_log import EpochLog
from singula.training.fit import FitResult, FitSettings, Training, fit
from singula.training.loader import PartsLoader, PartsSampler, make_loader
from singula.training.losses import InstanceLoss, Output
from singula.training.optimizer import OptimizerSettings
from singula.training.trainer import Trainer
from singula.util import slurm
from singula.util.signals import INTERRUPTION

MODEL = ModelSettings(2, 1, 2, feature_maps=(4, 8), dropout=(0.0, 0.3))
WARNING = getattr(signal, "SIGUSR1", signal.SIGTERM)  # Windows does not have it
OUTPUTS = (Output("B", "bce", "sigmoid"), Output("C", "bce", "sigmoid"))


def disks() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    labels = np.zeros((64, 64, 1), np.uint8)
    for number in range(1, 9):
        cy, cx = rng.integers(6, 58, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 25] = number
    image = (labels > 0) * 0.7 + 0.1 * rng.standard_normal(labels.shape)
    return image.astype(np.float32), labels


def dataset(augment: bool) -> PatchDataset:
    image, labels = disks()
    return PatchDataset(
        [Sample("disks", image, labels)],
        PatchSettings((16, 16), (0.0, 0.0), (0, 0)),
        Normalizer("scale_range"),
        EncodeSettings(("B", "C")),
        AugmentSettings(0.5, rotation=(-90, 90), hflip=True) if augment else None,
        seed=1,
    )


def train(
    folder: Path, *, resume: bool = False, **changes: object
) -> tuple[FitResult, torch.nn.Module]:
    options: dict[str, object] = {"epochs": 4, "batch_size": 4, "seed": 3, **changes}
    optimizer = {"name": "ADAMW", "lr": 1e-2, "schedule": "warmupcosine", "warmup_epochs": 1}
    optimizer.update(
        {k: options.pop(k) for k in list(options) if k in OptimizerSettings.__annotations__}
    )
    patience = int(str(options.pop("patience", -1)))
    monitor = str(options.pop("monitor", "val_loss"))
    start = options.pop("start", None)
    torch.manual_seed(7)
    network = build_model(MODEL)
    job = Training(
        network,
        InstanceLoss(OUTPUTS),
        dataset(augment=True),
        dataset(augment=False),
        settings=FitSettings(**options),  # type: ignore[arg-type]
        optimizer=OptimizerSettings(**optimizer),  # type: ignore[arg-type]
        checkpoints=CheckpointSettings(
            folder / "best.pth", folder / "last.pth", monitor=monitor, patience=patience
        ),
        log=EpochLog(folder / "log.csv"),
        device=Device("cpu"),
        description={"model": MODEL.to_dict()},
        resume=resume,
        start=start,  # type: ignore[arg-type]
    )
    return fit(job), network


@pytest.fixture(autouse=True)
def no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow workers, also after a test of this process that read from an object store."""
    monkeypatch.setattr(loader_module, "is_used", lambda: False)


def test_a_checkpoint_without_an_architecture_is_resumed(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)
    contents = torch.load(tmp_path / "last.pth", weights_only=True)
    del contents[KEY]["model"]["transformer"]
    write_checkpoint(contents, tmp_path / "last.pth")
    result, _ = train(tmp_path, epochs=2, resume=True)
    assert len(result.history) == 2


def weights(folder: Path, name: str = "last.pth") -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / name).weights


def assert_equal_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=0, msg=name)


def stop_after(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the process right after the last checkpoint of an epoch was written."""
    save = CheckpointSaver.end_epoch

    def dying(self: CheckpointSaver) -> bool:
        stops = save(self)
        if len(self.trainer.history.rows) == epoch:
            raise RuntimeError("killed")
        return stops

    monkeypatch.setattr(CheckpointSaver, "end_epoch", dying)


@pytest.mark.parametrize("schedule", ["warmupcosine", "onecycle", "reduceonplateau", ""])
def test_a_resumed_training_equals_an_uninterrupted_one(
    schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    options = {"schedule": schedule, "plateau_patience": 1, "accumulate": 2}
    whole, _ = train(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path / "parts", **options)
    messages.clear()
    parts, _ = train(tmp_path / "parts", resume=True, **options)
    assert any("resuming after epoch 2 of 4" in line for line in messages)
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert_equal_weights(
        weights(tmp_path / "whole", "best.pth"), weights(tmp_path / "parts", "best.pth")
    )
    assert whole.history == parts.history
    assert (tmp_path / "whole/log.csv").read_text() == (tmp_path / "parts/log.csv").read_text()


def test_a_training_that_lightning_began_is_resumed(tmp_path: Path) -> None:
    """Checkpoints of earlier versions also have the state of loops, which is not read."""
    whole, _ = train(tmp_path / "whole", schedule="")
    train(tmp_path / "parts", epochs=2, schedule="")
    contents = torch.load(tmp_path / "parts/last.pth", weights_only=True)
    earlier = {"loops": {"fit_loop": {}}, "callbacks": {}, "lr_schedulers": []}
    contents = {**contents, **earlier, "pytorch-lightning_version": "2.6.6"}
    write_checkpoint(contents, tmp_path / "parts/last.pth")
    parts, _ = train(tmp_path / "parts", resume=True, schedule="")
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert whole.history == parts.history


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(tmp_path / name, epochs=2)
    train(tmp_path / "c", epochs=2, seed=4)
    assert_equal_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    first, other = weights(tmp_path / "a"), weights(tmp_path / "c")
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_workers_do_not_change_the_result(tmp_path: Path) -> None:
    train(tmp_path / "none", epochs=1)
    train(tmp_path / "two", epochs=1, workers=2)
    assert_equal_weights(weights(tmp_path / "none"), weights(tmp_path / "two"))


@pytest.mark.parametrize("batch_size", [8, 13])
def test_batches_in_parts_do_not_change_the_result(
    batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole", epochs=2, batch_size=batch_size)
    made = []

    def in_parts(*args: object, **how: object) -> object:
        made.append(make_loader(*args, **{**how, "in_parts": True}))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(fit_module, "make_loader", in_parts)
    train(tmp_path / "parts", epochs=2, batch_size=batch_size, workers=2)
    assert {type(loader) for loader in made} == {PartsLoader}
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_parts_of_a_batch_are_its_patches_in_their_order() -> None:
    sampler = EpochSampler(29, shuffle=True, seed=1)
    parts = list(PartsSampler(sampler, 12, 5))
    assert [len(part) for part in parts] == [3, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1]
    assert [item for part in parts for item in part] == list(sampler)
    assert len(PartsSampler(sampler, 12, 5)) == 13


def test_training_learns_and_returns_the_best_weights(tmp_path: Path) -> None:
    result, network = train(tmp_path, epochs=12, lr=3e-2)
    losses = [row["val_loss"] for row in result.history]
    assert min(losses) < 0.7 * losses[0]
    assert result.history[-1]["val_iou_B"] > 0.5
    assert_equal_weights(dict(network.state_dict()), weights(tmp_path, "best.pth"))


def test_a_finished_training_is_not_repeated(tmp_path: Path, messages: list[str]) -> None:
    train(tmp_path, epochs=2)
    before = (tmp_path / "last.pth").stat().st_mtime_ns
    messages.clear()
    result, _ = train(tmp_path, epochs=2, resume=True)
    assert (tmp_path / "last.pth").stat().st_mtime_ns == before
    assert len(result.history) == 2
    assert any("already complete" in line for line in messages)


def test_patience_ends_a_training_without_improvement(tmp_path: Path, messages: list[str]) -> None:
    result, _ = train(tmp_path, epochs=30, lr=1e-12, schedule="", patience=2)
    assert len(result.history) < 30
    assert any("stopped: no better val_loss for 2 epochs" in line for line in messages)


def test_the_monitored_score_can_be_an_iou(tmp_path: Path) -> None:
    result, _ = train(tmp_path, epochs=3, monitor="val_iou_B")
    best = max(result.history, key=lambda row: row["val_iou_B"])
    assert load_checkpoint(result.best).epoch + 1 == best["epoch"]


def test_no_finite_loss_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finite loss"):
        train(tmp_path, epochs=1, name="SGD", lr=1e30, schedule="")


def test_another_network_does_not_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, epochs=1)
    monkeypatch.setitem(
        globals(), "MODEL", ModelSettings(2, 1, 2, feature_maps=(6, 8), dropout=(0, 0))
    )
    with pytest.raises(UserError, match="another network"):
        train(tmp_path, epochs=2, resume=True)


def test_the_log_has_exactly_one_row_per_epoch(tmp_path: Path) -> None:
    train(tmp_path, epochs=2)
    append_row(tmp_path / "log.csv", EpochRow(epoch=2, train_loss=99.0), "epoch")
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"lr", "train_loss", "val_loss", "train_iou_B", "val_iou_C"} <= set(rows[0])
    assert float(rows[1]["train_loss"]) < 99


def test_learning_rate_follows_the_schedule(tmp_path: Path) -> None:
    result, _ = train(tmp_path, epochs=4, lr=1e-2, warmup_epochs=1)
    rates = [row["lr"] for row in result.history]
    assert rates[0] == pytest.approx(1e-2, rel=0.01)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def test_curves_are_drawn(tmp_path: Path) -> None:
    from singula.training.charts import draw_charts

    result, _ = train(tmp_path, epochs=2)
    drawn = draw_charts(result.history, "run_1", lambda metric: tmp_path / f"run_1_{metric}.png")
    names = {path.name for path in drawn}
    assert names == {"run_1_loss.png", "run_1_iou_B.png", "run_1_iou_C.png"}
    for path in drawn:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_training_continues_in_another_folder(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", schedule="")
    train(tmp_path / "first", epochs=2, schedule="")
    parts, _ = train(tmp_path / "second", start=tmp_path / "first/last.pth", schedule="")
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "second"))
    assert whole.history == parts.history


def test_weights_alone_cannot_be_resumed(tmp_path: Path) -> None:
    train(tmp_path / "first", epochs=1)
    with pytest.raises(UserError, match="contains only weights"):
        train(tmp_path / "second", epochs=2, start=tmp_path / "first/best.pth")


def small_memory(monkeypatch: pytest.MonkeyPatch, most: int, after: int = 0) -> None:
    """Raise an out-of-memory error in steps with more than `most` patches."""
    step = Trainer.training_step
    done = []

    def limited(
        self: Trainer, batch: dict[str, torch.Tensor], index: int, *, is_last: bool
    ) -> torch.Tensor:
        done.append(index)
        if len(batch["image"]) > most and len(done) > after:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(self, batch, index, is_last=is_last)

    monkeypatch.setattr(Trainer, "training_step", limited)


def test_a_batch_that_does_not_fit_in_memory_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    train(tmp_path / "small", epochs=2, batch_size=2, accumulate=2)
    messages.clear()
    with monkeypatch.context() as patch:
        small_memory(patch, 2)
        train(tmp_path / "shrunk", epochs=2, batch_size=4)
    assert any("TRAIN.BATCH_SIZE 2 and TRAIN.ACCUM_ITER 2" in line for line in messages)
    # The failed steps left no trace: all is as if the small batch had been asked for.
    assert_equal_weights(weights(tmp_path / "small"), weights(tmp_path / "shrunk"))


def test_running_out_of_memory_later_repeats_only_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    steps_per_epoch = 4
    small_memory(monkeypatch, 2, after=steps_per_epoch + 1)
    result, _ = train(tmp_path, epochs=3, batch_size=4)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert any("resuming after epoch 1 of 3" in line for line in messages)


def test_no_memory_for_a_single_patch_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_memory(monkeypatch, 0)
    with pytest.raises(UserError, match=r"TRAIN\.BATCH_SIZE: training ran out of memory"):
        train(tmp_path, epochs=1)


def test_without_a_compiler_the_network_runs_uncompiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    monkeypatch.setattr(fit_module.shutil, "which", lambda name: None)
    train(tmp_path / "compiled", epochs=1, compile=True)
    train(tmp_path / "plain", epochs=1)
    assert any("no C++ compiler" in line for line in messages)
    assert_equal_weights(weights(tmp_path / "compiled"), weights(tmp_path / "plain"))


def test_a_kill_between_last_and_best_checkpoint_loses_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"lr": 3e-2, "epochs": 4}
    train(tmp_path / "whole", **options)
    save = CheckpointSaver.save
    saved: list[int] = []

    def dying(self: CheckpointSaver, path: Path, *, with_state: bool = False) -> None:
        if path.name == "best.pth":
            saved.append(len(self.trainer.history.rows) - 1)
            if len(saved) == 2:
                raise RuntimeError("killed")
        save(self, path, with_state=with_state)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointSaver, "save", dying)
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path / "parts", **options)
    parts = tmp_path / "parts"
    assert load_checkpoint(parts / "best.pth").epoch == saved[0]
    # Nothing is left to train, and still the best checkpoint becomes what it should have been.
    train(parts, resume=True, **{**options, "epochs": saved[1] + 1})
    assert load_checkpoint(parts / "best.pth").epoch == saved[1]
    train(parts, resume=True, **options)
    assert_equal_weights(weights(tmp_path / "whole", "best.pth"), weights(parts, "best.pth"))


def test_a_lost_best_checkpoint_is_replaced_by_the_last(
    tmp_path: Path, messages: list[str]
) -> None:
    train(tmp_path, epochs=2)
    (tmp_path / "best.pth").unlink()
    train(tmp_path, epochs=2, resume=True)
    assert_equal_weights(weights(tmp_path, "best.pth"), weights(tmp_path))


def monitored(folder: Path, monitor: str, **changes: object) -> tuple[FitResult, dict[str, object]]:
    result, _ = train(folder, monitor=monitor, **changes)
    progress = torch.load(result.last, weights_only=True)["singula"]["training"]["progress"]
    return result, progress


@pytest.mark.parametrize("monitor", ["train_loss", "val_iou_B", "val_iou"])
def test_the_monitored_score_decides_the_best_epoch(tmp_path: Path, monitor: str) -> None:
    result, progress = monitored(tmp_path, monitor)
    rows = result.history
    if monitor == "val_iou":
        values = [(row["val_iou_B"] + row["val_iou_C"]) / 2 for row in rows]
    else:
        values = [row[monitor] for row in rows]
    best = int(np.argmin(values) if "loss" in monitor else np.argmax(values))
    assert progress["best_epoch"] == best + 1
    assert progress["best"] == pytest.approx(values[best])
    assert load_checkpoint(result.best).epoch == best


def test_another_monitored_score_restarts_its_history(tmp_path: Path) -> None:
    monitored(tmp_path, "val_iou", epochs=2)
    result, progress = monitored(tmp_path, "val_loss", epochs=4, resume=True)
    later = [row["val_loss"] for row in result.history[2:]]
    assert progress["best"] == pytest.approx(min(later))


class _Stop:
    """Signals at a given step of the training, as a batch system sends them."""

    def __init__(self, number: signal.Signals, step: int) -> None:
        self.number, self.left = number, step

    def __call__(self, original: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(self.number)
            return original(*arguments, **options)

        return step


def interrupt(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    method: str = "training_step",
    number: signal.Signals = WARNING,
    **options: object,
) -> None:
    """Train in a job of SLURM until a signal."""
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_JOB_ID", "1")
        patch.setattr(Trainer, method, _Stop(number, step)(getattr(Trainer, method)))
        with INTERRUPTION.in_progress(), pytest.raises(KeyboardInterrupt):
            train(folder, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [WARNING, signal.SIGTERM])
@pytest.mark.parametrize("schedule", ["warmupcosine", "onecycle", "reduceonplateau"])
@pytest.mark.parametrize(("step", "method"), [(2, "training_step"), (7, "training_step"),
                                              (6, "validation_step")])  # fmt: skip
def test_a_training_continues_within_an_epoch(
    step: int, method: str, schedule: str, number: signal.Signals,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Weights, history and best epoch equal those of an uninterrupted training."""
    if number == signal.SIGTERM and schedule != "onecycle":
        pytest.skip("one schedule suffices for the second signal")
    options = {"schedule": schedule, "plateau_patience": 1, "accumulate": 2, "epochs": 3}
    whole, _ = train(tmp_path / "whole", **options)
    parts = tmp_path / "parts"
    interrupt(parts, monkeypatch, step, method, number, **options)
    state = torch.load(parts / "last.pth", weights_only=True)[KEY]["training"]
    # Four batches of four patches in an epoch; a step has two batches.
    steps = {2: 8, 7: 16, 6: 16}[step]
    assert (len(state["history"]), state["partial"]["patches"]) == (int(step > 4), steps)
    again, _ = train(parts, resume=True, **options)
    assert_equal_weights(weights(tmp_path / "whole"), weights(parts))
    assert_equal_weights(weights(tmp_path / "whole", "best.pth"), weights(parts, "best.pth"))
    assert whole.history == again.history
    assert (tmp_path / "whole/log.csv").read_text() == (parts / "log.csv").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_training_can_be_interrupted_in_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole", epochs=2)
    parts = tmp_path / "parts"
    for _ in range(6):
        interrupt(parts, monkeypatch, 1, epochs=2, resume=True)
    train(parts, epochs=2, resume=True)
    assert_equal_weights(weights(tmp_path / "whole"), weights(parts))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [WARNING, signal.SIGTERM])
def test_workers_ignore_the_signals_that_a_training_defers(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM sends them to all processes; torch would raise an error if a worker ended."""

    def signal_workers(trainer: Trainer, *arguments: object, **options: object) -> object:
        workers = [str(pid) for pid in children() - earlier]
        assert len(workers) == 2
        # From another process: torch lets a worker end well after SIGTERM of its parent.
        subprocess.run(["kill", f"-{int(number)}", *workers], check=True)
        for _ in range(20):  # torch raises its error between two steps of the interpreter
            time.sleep(0.01)
        return original(trainer, *arguments, **options)

    def children() -> set[int]:
        return {child.pid for child in psutil.Process().children()}

    # Of other tests in this process: pools, servers, workers of an interrupted training.
    earlier = children()
    original = Trainer.training_step
    monkeypatch.setattr(Trainer, "training_step", signal_workers)
    interrupt(tmp_path, monkeypatch, 1, number=number, epochs=1, workers=2)
    state = torch.load(tmp_path / "last.pth", weights_only=True)[KEY]["training"]
    assert state["partial"]["patches"] == 4


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [WARNING, signal.SIGTERM])
def test_signals_do_not_end_workers_that_are_starting(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signal_worker(threads: int) -> None:
        """Called by torch in a worker before the function that prepares the worker."""
        if os.getpid() != trainer:
            signal.raise_signal(number)
        original(threads)

    trainer = os.getpid()
    original = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", signal_worker)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    result, _ = train(tmp_path, epochs=1, workers=2)
    assert len(result.history) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_repeated_validation_is_not_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job whose time limit is shorter than the validation must not be requeued forever."""
    for is_new in (True, False):
        monkeypatch.setattr(slurm._Progress, "is_stored", False)
        interrupt(tmp_path, monkeypatch, 1, "validation_step", epochs=1, resume=True)
        assert slurm._Progress.is_stored == is_new
    train(tmp_path, epochs=1, resume=True)
    assert slurm._Progress.is_stored


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("batch_size", [2, 3, 16])
def test_another_batch_size_continues_an_interrupted_epoch(
    batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(tmp_path, monkeypatch, 2, epochs=1)
    result, _ = train(tmp_path, resume=True, epochs=1, batch_size=batch_size)
    assert len(result.history) == 1
    assert np.isfinite(result.history[0]["train_loss"])


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_damaged_position_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(tmp_path, monkeypatch, 2, epochs=1)
    contents = torch.load(tmp_path / "last.pth", weights_only=True)
    contents[KEY]["training"]["partial"]["sums"] = [[1.0]]
    write_checkpoint(contents, tmp_path / "last.pth")
    with pytest.raises(UserError) as error:
        train(tmp_path, resume=True, epochs=1)
    assert error.value.code == "checkpoint.training_state"


def test_parts_of_batches_continue_within_an_epoch() -> None:
    sampler = EpochSampler(29, shuffle=True, seed=1)
    parts = PartsSampler(sampler, 12, 5)
    whole = list(parts)
    sampler.set_epoch(0, 12)
    assert [sum(sizes) for sizes in parts.remaining()] == [12, 5]
    assert list(parts) == whole[4:]
    sampler.set_epoch(0)
    assert list(parts) == whole
