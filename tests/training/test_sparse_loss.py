"""Pixels without a target have no influence on losses, gradients and scores of maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.training.losses import BinaryLoss, InstanceLoss, Output
from singula.training.map_metrics import MapScores

OUTPUTS = (
    Output("B", "bce", "sigmoid"),
    Output("D", "l1", "linear", 0.5, foreground_only=True),
    Output("Dv2", "l1", "linear"),
)
BINARY = [
    BinaryLoss(),
    BinaryLoss(balance="auto"),
    BinaryLoss(balance=(0.2, 0.8)),
    BinaryLoss(0.0, 1.0),
    BinaryLoss(0.5, 0.5, 1.0, alpha=0.3),
]
CLASSES = ["none", "auto", (0.2, 0.3, 0.5)]


def batch_of(rng: np.random.Generator, share: float) -> tuple[torch.Tensor, dict]:
    shape = (2, 6, 7)
    foreground = torch.from_numpy(rng.random((2, 1, 6, 7)) > 0.5)
    known = torch.from_numpy(rng.random((2, 4, 6, 7)) < share)
    target = torch.from_numpy(rng.random((2, 3, 6, 7)).astype(np.float32))
    target[:, 0] = (target[:, 0] > 0.5).float()
    batch = {
        "image": torch.zeros(2, 1, 6, 7),
        "target": target,
        "foreground": foreground & known[:, 3:],
        "known": known,
        "classes": torch.from_numpy(rng.integers(0, 3, shape)),
    }
    prediction = torch.from_numpy(rng.normal(size=(2, 6, 6, 7)).astype(np.float32))
    return prediction, batch


def loss_and_gradient(loss: InstanceLoss, prediction: torch.Tensor, batch: dict) -> tuple:
    prediction = prediction.clone().requires_grad_()
    value = loss(prediction, batch)
    value.backward()
    return value.detach(), prediction.grad


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    binary=st.sampled_from(BINARY),
    classes=st.sampled_from(CLASSES),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_unknown_pixels_have_no_influence(seed, binary, classes, share) -> None:
    rng = np.random.default_rng(seed)
    loss = InstanceLoss(OUTPUTS, 3, binary=binary, class_balance=classes)
    prediction, batch = batch_of(rng, share)
    value, gradient = loss_and_gradient(loss, prediction, batch)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()

    known = batch["known"]
    other_prediction, other = batch_of(rng, share)
    changed = dict(batch)
    changed["target"] = torch.where(known[:, :3], batch["target"], other["target"])
    changed["classes"] = torch.where(known[:, 3], batch["classes"], other["classes"])
    mask = torch.cat([known[:, :3], known[:, 3:].expand(-1, 3, -1, -1)], 1)
    value2, gradient2 = loss_and_gradient(
        loss, torch.where(mask, prediction, other_prediction), changed
    )
    assert value == value2
    torch.testing.assert_close(gradient, gradient2, rtol=0, atol=0)
    assert (gradient[~mask] == 0).all()
    if share == 0:
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("binary", BINARY)
@pytest.mark.parametrize("classes", CLASSES)
def test_a_complete_mask_changes_nothing(binary, classes) -> None:
    prediction, batch = batch_of(np.random.default_rng(0), 1.0)
    loss = InstanceLoss(OUTPUTS, 3, binary=binary, class_balance=classes)
    masked = loss_and_gradient(loss, prediction, batch)
    plain = loss_and_gradient(loss, prediction, {k: v for k, v in batch.items() if k != "known"})
    torch.testing.assert_close(masked, plain)


def test_a_batch_of_known_pixels_equals_the_smaller_batch() -> None:
    """The loss of a patch of which the left half is known equals that of the left half."""
    prediction, batch = batch_of(np.random.default_rng(1), 1.0)
    batch["known"][..., 3:] = False
    half = {name: values[..., :3] for name, values in batch.items() if name != "known"}
    for binary in BINARY:
        loss = InstanceLoss(OUTPUTS, 3, binary=binary)
        torch.testing.assert_close(loss(prediction, batch), loss(prediction[..., :3], half))
    scores = [MapScores(OUTPUTS, 3), MapScores(OUTPUTS, 3)]
    batch["foreground"][..., 3:] = False
    scores[0].update(prediction, batch)
    scores[1].update(prediction[..., :3], half)
    assert scores[0].compute() == pytest.approx(scores[1].compute())
