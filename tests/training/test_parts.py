"""Losses, scores, schedules, checkpoints and devices compared with plain computations."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.errors import UserError
from singula.training.checkpoint import (
    load_checkpoint,
    load_fitting_weights,
    load_weights,
    write_checkpoint,
)
from singula.training.device import choose_device, choose_for_model, parse_gpu
from singula.training.losses import InstanceLoss, Output
from singula.training.map_metrics import MapScores
from singula.training.optimizer import OptimizerSettings, Schedule, make_optimizer, warmup_cosine

B = Output("B", "bce", "sigmoid")
D = Output("D", "l1", "linear", foreground_only=True)


def batch(
    rng: np.random.Generator, *, classes: int = 0
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    shape = (3, 8, 9)
    foreground = torch.from_numpy(rng.random(shape) < 0.4)
    target = torch.stack(
        [foreground.float(), torch.from_numpy(rng.random(shape) * 5) * foreground], dim=1
    ).float()
    found = {"target": target, "foreground": foreground[:, None]}
    if classes:
        found["classes"] = torch.from_numpy(rng.integers(0, classes, shape)) * foreground
    logits = torch.from_numpy(rng.normal(size=(3, 2 + classes, 8, 9))).float()
    return logits, found


def test_loss_against_numpy() -> None:
    logits, found = batch(np.random.default_rng(0), classes=3)
    loss = InstanceLoss((B, Output("D", "l1", "linear", 0.5, True)), 3, class_weight=2.0)
    p = 1 / (1 + np.exp(-logits[:, 0].double().numpy()))
    t = found["target"].double().numpy()
    bce = -(t[:, 0] * np.log(p) + (1 - t[:, 0]) * np.log(1 - p)).mean()
    inside = found["foreground"][:, 0].numpy()
    l1 = np.abs(logits[:, 1].double().numpy() - t[:, 1])[inside].mean()
    z = logits[:, 2:].double().numpy()
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    ce = -np.take_along_axis(log_p, found["classes"].numpy()[:, None], 1).mean()
    assert loss(logits, found).item() == pytest.approx(bce + 0.5 * l1 + 2 * ce, rel=1e-5)


def test_distance_loss_without_mask_and_with_an_empty_patch() -> None:
    logits, found = batch(np.random.default_rng(1))
    everywhere = InstanceLoss((Output("B", "bce", "sigmoid", 0.0), Output("D", "l1", "linear")))
    expected = (logits[:, 1] - found["target"][:, 1]).abs().mean()
    assert everywhere(logits, found).item() == pytest.approx(expected.item(), rel=1e-6)
    found["foreground"] = torch.zeros_like(found["foreground"])
    assert InstanceLoss((Output("B", "bce", "sigmoid", 0.0), D))(logits, found).item() == 0


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_scores_do_not_depend_on_batching(seed: int, size: int) -> None:
    logits, found = batch(np.random.default_rng(seed), classes=3)
    whole, parts = MapScores((B, D), 3), MapScores((B, D), 3)
    whole.update(logits, found)
    for start in range(0, 3, size):
        cut = slice(start, start + size)
        parts.update(logits[cut], {name: value[cut] for name, value in found.items()})
    one, many = whole.compute(), parts.compute()
    for name in one:
        assert one[name] == pytest.approx(many[name], rel=1e-6)
    on, true = logits[:, 0].numpy() > 0, found["target"][:, 0].numpy() > 0.5
    assert one["iou_B"] == pytest.approx((on & true).sum() / (on | true).sum(), rel=1e-6)
    inside = found["foreground"][:, 0].numpy()
    right = (logits[:, 2:].argmax(1) == found["classes"]).numpy()[inside]
    assert one["class_accuracy"] == pytest.approx(right.mean(), rel=1e-6)


def test_empty_prediction_of_an_empty_image_scores_one() -> None:
    scores = MapScores((B, D))
    empty = torch.zeros(1, 2, 4, 4)
    scores.update(
        empty - 1, {"target": empty, "foreground": torch.zeros(1, 1, 4, 4, dtype=torch.bool)}
    )
    assert scores.compute() == {"iou_B": 1.0, "mae_D": 0.0}


def test_warmup_rises_and_cosine_falls() -> None:
    rates = [warmup_cosine(step, 10, 100, 0.1) for step in range(101)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[-1] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.1 + 0.9 / 2)


def test_plateau_lowers_the_rate_to_its_minimum() -> None:
    chosen = OptimizerSettings(
        "SGD", lr=1.0, schedule="reduceonplateau", plateau_patience=1, min_lr=0.2
    )
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(1))], chosen)
    schedule = Schedule(optimizer, chosen, 5, 10)
    rates = []
    for _ in range(8):
        schedule.after_epoch(1.0)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:3] == [1.0, 1.0, 0.5]
    assert rates[-1] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("SGD", torch.optim.SGD), ("ADAM", torch.optim.Adam), ("ADAMW", torch.optim.AdamW)],
)
def test_optimizers_by_name(name: str, kind: type) -> None:
    chosen = OptimizerSettings(name, lr=0.3, weight_decay=0.1, betas=(0.8, 0.9))
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(1))], chosen)
    assert kind in type(optimizer).__mro__[:2]
    assert optimizer.defaults["weight_decay"] == 0.1
    if name != "SGD":
        assert optimizer.defaults["betas"] == (0.8, 0.9)


class TestCheckpoint:
    @staticmethod
    def save(path: Path, **more: object) -> None:
        network = torch.nn.Linear(2, 3)
        contents = {
            "state_dict": {f"network.{k}": v for k, v in network.state_dict().items()},
            "epoch": 4,
            "singula": {"format": 1, "channels": "BC"},
            **more,
        }
        write_checkpoint(contents, path)

    def test_round_trip(self, tmp_path: Path) -> None:
        self.save(tmp_path / "a.pth")
        checkpoint = load_checkpoint(tmp_path / "a.pth")
        assert checkpoint.epoch == 4
        assert checkpoint.description["channels"] == "BC"
        network = torch.nn.Linear(2, 3)
        load_weights(network, checkpoint)
        torch.testing.assert_close(network.weight.data, checkpoint.weights["weight"])

    def test_a_failed_write_keeps_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "a.pth"
        self.save(path)
        before = path.read_bytes()

        write = Path.write_bytes

        def half(self: Path, contents: bytes) -> int:
            write(self, contents[:100])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", half)
        with pytest.raises(UserError, match="disk is full"):
            self.save(path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_a_hostile_pickle_is_refused_and_not_run(self, tmp_path: Path) -> None:
        flag = tmp_path / "ran"

        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return (open, (str(flag), "w"))  # type: ignore[return-value]

        torch.save({"state_dict": {}, "singula": Evil()}, tmp_path / "evil.pth")
        (tmp_path / "raw.pth").write_bytes(pickle.dumps(Evil()))
        for name in ("evil.pth", "raw.pth"):
            with pytest.raises(UserError, match="not a readable checkpoint") as refused:
                load_checkpoint(tmp_path / name)
            assert "weights_only" not in str(refused.value)
        assert not flag.exists()

    def test_wrong_files_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError) as missing:
            load_checkpoint(tmp_path / "none.pth")
        assert missing.value.code == "checkpoint.missing"
        (tmp_path / "text.pth").write_text("hello")
        with pytest.raises(UserError, match="not a readable checkpoint"):
            load_checkpoint(tmp_path / "text.pth")
        torch.save({"state_dict": {}, "singula": {}}, tmp_path / "whole.pth")
        whole = (tmp_path / "whole.pth").read_bytes()
        (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "random.pth").write_bytes(bytes(range(1, 200)))
        for name in ("half.pth", "random.pth"):
            with pytest.raises(UserError, match="incomplete") as refused:
                load_checkpoint(tmp_path / name)
            assert refused.value.code == "checkpoint.unreadable"
        (tmp_path / "empty.pth").write_bytes(b"")
        with pytest.raises(UserError, match="not a readable checkpoint"):
            load_checkpoint(tmp_path / "empty.pth")
        for description in ("x", None):
            torch.save({"state_dict": {}, "singula": description}, tmp_path / "odd.pth")
            with pytest.raises(UserError, match="not a Singula checkpoint"):
                load_checkpoint(tmp_path / "odd.pth")
        torch.save({"weights": 1}, tmp_path / "other.pth")
        with pytest.raises(UserError, match="not a Singula checkpoint"):
            load_checkpoint(tmp_path / "other.pth")
        torch.save({"state_dict": {}, "singula": {"format": 99}}, tmp_path / "new.pth")
        with pytest.raises(UserError, match="format 99"):
            load_checkpoint(tmp_path / "new.pth")

    def test_layers_that_do_not_fit_are_listed(self, tmp_path: Path) -> None:
        self.save(tmp_path / "a.pth")
        with pytest.raises(UserError, match=r"bias: \(3,\) in the file, \(4,\) configured"):
            load_weights(torch.nn.Linear(2, 4), load_checkpoint(tmp_path / "a.pth"))

    def test_fitting_layers_are_loaded_and_others_listed(self, tmp_path: Path) -> None:
        def network(width: int) -> torch.nn.Module:
            return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, width))

        old, new = network(2), network(5)
        fresh = {name: value.clone() for name, value in new.state_dict().items()}
        states = {f"network.{k}": v for k, v in old.state_dict().items()}
        self.save(tmp_path / "a.pth", state_dict=states)
        left_out = load_fitting_weights(new, load_checkpoint(tmp_path / "a.pth"))
        assert left_out == [
            "1.bias: (2,) in the file, (5,) configured",
            "1.weight: (2, 3) in the file, (5, 3) configured",
        ]
        loaded = new.state_dict()
        torch.testing.assert_close(loaded["0.weight"], old.state_dict()["0.weight"])
        torch.testing.assert_close(loaded["1.weight"], fresh["1.weight"])

    def test_a_checkpoint_of_which_nothing_fits_is_refused(self, tmp_path: Path) -> None:
        self.save(tmp_path / "a.pth")
        with pytest.raises(UserError, match="no layer matches"):
            load_fitting_weights(torch.nn.Linear(7, 3), load_checkpoint(tmp_path / "a.pth"))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("0", (0,)),
        ("cuda:0", (0,)),
        ("0, 1, 2", (0, 1, 2)),
        ("cuda:0,1", (0, 1)),
        ("cuda:0, 1, 2", (0, 1, 2)),
        ("cpu", None),
        ("", None),
        ("cuda", (0,)),
    ],
)
def test_gpu_spellings(request_: str, expected: tuple[int, ...] | None) -> None:
    assert parse_gpu(request_) == expected


@pytest.mark.parametrize("wrong", ["gpu0", "cuda:x", "0;1", "0,0", "-2"])
def test_other_spellings_are_refused(wrong: str) -> None:
    with pytest.raises(UserError, match="--gpu"):
        parse_gpu(wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_trained_network_needs_no_gpu(messages: list[str]) -> None:
    assert choose_for_model(None).kind == "cpu"
    assert messages == []
    assert choose_for_model("0").kind == "cpu"
    assert "ATTENTION" in messages[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_reported(messages: list[str]) -> None:
    device = choose_device("cuda:0", "cpu", "32")
    assert device.kind == "cpu"
    assert any("ATTENTION" in line and "cuda:0" in line for line in messages)
