"""Training steps and epochs: synchronizations, weights of batches, and imports."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from singula.training.loader import counted_patches
from singula.training.losses import BinaryLoss, InstanceLoss, Output
from singula.training.map_metrics import EpochTotals, finish_epoch
from singula.training.trainer import Trainer

from . import test_training
from .test_training import OUTPUTS, train

# Each of them waits until a GPU has finished its work.
WAITING_OPERATORS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "bincount", "unique")
WAITING_METHODS = ("cpu", "numpy", "tolist", "item", "__bool__", "__float__", "__int__")


class Synchronizations(TorchDispatchMode):
    """Counter of the operations that wait for a GPU, while the network computes on it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.inside = False
        for name in WAITING_METHODS:
            patch.setattr(torch.Tensor, name, self._counted(name))

    def _counted(self, name: str) -> Any:
        original = getattr(torch.Tensor, name)

        def method(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
            if self.inside:
                self.counts[name] += 1
            return original(tensor, *args, **options)

        return method

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITING_OPERATORS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))

    def count_in(self, method: Any) -> Any:
        """Return a method that is counted."""

        def counted(*args: Any, **options: Any) -> Any:
            self.inside = True
            try:
                with self:
                    return method(*args, **options)
            finally:
                self.inside = False

        return counted


@pytest.mark.parametrize("method", ["training_step", "validation_step", "finish_epoch"])
@pytest.mark.parametrize("balance", ["none", "auto", (0.3, 0.7)], ids=str)
def test_steps_do_not_wait_for_a_gpu(
    method: str, balance: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = InstanceLoss(OUTPUTS, binary=BinaryLoss(1.0, 0.5, 0.5, balance=balance))
    monkeypatch.setattr(test_training, "InstanceLoss", lambda outputs: loss)
    with monkeypatch.context() as patch:
        waits = Synchronizations(patch)
        calls = []

        def counted(*args: Any, **options: Any) -> Any:
            calls.append(1)
            return run(*args, **options)

        run = waits.count_in(getattr(Trainer, method))
        patch.setattr(Trainer, method, counted)
        # Adam counts its steps in main memory on a CPU, and on the GPU if it is fused.
        train(tmp_path, epochs=2, accumulate=2, clip=1.0, name="SGD")
    assert len(calls) == (2 if method == "finish_epoch" else 8)
    if method == "finish_epoch":
        # One transfer of all sums, whatever the number of steps and channels
        assert waits.counts["cpu"] == 2
    else:
        assert not waits.counts


def test_classes_do_not_wait_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.zeros(2, 1, 4, 4),
        "target": torch.rand(2, 1, 4, 4, generator=random),
        "foreground": torch.ones(2, 1, 4, 4, dtype=torch.bool),
        "classes": torch.randint(0, 3, (2, 4, 4), generator=random),
    }
    outputs = (Output("D", "l1", "linear", foreground_only=True),)
    prediction = torch.rand(2, 4, 4, 4, generator=random, requires_grad=True)
    for balance in ("none", "auto", (1.0, 2.0, 3.0)):
        loss = InstanceLoss(outputs, 3, class_balance=balance)
        totals = EpochTotals(outputs, 3, torch.device("cpu"))
        with monkeypatch.context() as patch:
            waits = Synchronizations(patch)

            def step(loss: InstanceLoss = loss, totals: EpochTotals = totals) -> None:
                value = loss(prediction, batch)
                totals.update(value, prediction, batch)
                value.backward()

            waits.count_in(step)()
        assert not waits.counts


def test_every_patch_has_the_same_weight_in_the_mean_loss() -> None:
    outputs = (Output("B", "bce", "sigmoid"),)
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 1, 4, 4, generator=random)
    batch = {
        "image": torch.zeros(5, 1, 4, 4),
        "target": (torch.rand(5, 1, 4, 4, generator=random) > 0.5).float(),
        "foreground": torch.ones(5, 1, 4, 4, dtype=torch.bool),
    }
    loss = InstanceLoss(outputs)
    rows = []
    for sizes in ((5,), (4, 1), (2, 2, 1)):
        totals, start = EpochTotals(outputs, 0, torch.device("cpu")), 0
        for size in sizes:
            part = {name: values[start : start + size] for name, values in batch.items()}
            prediction = logits[start : start + size]
            totals.update(loss(prediction, part), prediction, part)
            start += size
        rows.append(finish_epoch({"train": totals}))
    for row in rows[1:]:
        assert row == pytest.approx(rows[0], rel=1e-6)
    assert rows[0]["train_loss"] == pytest.approx(float(loss(logits, batch)), rel=1e-6)


def test_patches_that_another_process_counts_are_left_out() -> None:
    batch = {"image": torch.arange(4.0).reshape(4, 1), "counts": torch.tensor([1, 0, 1, 0]) > 0}
    assert counted_patches(batch)["image"].ravel().tolist() == [0.0, 2.0]
    batch["counts"] = torch.zeros(4, dtype=torch.bool)
    assert len(counted_patches(batch)["image"]) == 0
    assert "counts" not in counted_patches(batch)


def test_an_epoch_without_patches_has_no_row() -> None:
    totals = EpochTotals(OUTPUTS, 0, torch.device("cpu"))
    assert finish_epoch({"val": totals}) == {}


def test_totals_are_reset_after_an_epoch() -> None:
    totals = EpochTotals(OUTPUTS, 0, torch.device("cpu"))
    batch = {
        "image": torch.zeros(2, 1, 4, 4),
        "target": torch.ones(2, 2, 4, 4),
        "foreground": torch.ones(2, 1, 4, 4, dtype=torch.bool),
    }
    rows = []
    for value in (1.0, 3.0):
        totals.update(torch.tensor(value), torch.ones(2, 2, 4, 4), batch)
        rows.append(finish_epoch({"train": totals}))
    assert [row["train_loss"] for row in rows] == [1.0, 3.0]
    assert np.all([row["train_iou_B"] == 1.0 for row in rows])


def test_a_training_does_not_import_the_compiler(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.training.test_training import train\n"
        "train(Path(sys.argv[1]), epochs=1)\n"
        "print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stderr[-2000:]
