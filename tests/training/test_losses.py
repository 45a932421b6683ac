"""Losses of binary channels compared with closed forms, limits, and finite gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import dice

from singula.config import config_from_dict
from singula.pipeline.from_config import instance_loss
from singula.training.losses import (
    BinaryLoss,
    InstanceLoss,
    Output,
    balanced_class_weights,
    focal_loss,
    pixel_weights,
    soft_dice_loss,
)

RNG = np.random.default_rng(0)
LOGITS = torch.from_numpy(RNG.normal(0, 2, (3, 8, 9)))
TRUTH = torch.from_numpy((RNG.random((3, 8, 9)) < 0.3).astype(float))
EVERY = {
    "CE": BinaryLoss(),
    "DICE": BinaryLoss(0, 1),
    "W_CE_DICE": BinaryLoss(0.66, 0.34),
    "FOCAL": BinaryLoss(0, 0, 1, alpha=0.25),
    "rebalanced": BinaryLoss(balance="auto"),
}


def test_dice_of_hard_guesses_is_the_dice_score() -> None:
    guess = torch.from_numpy(RNG.random((3, 8, 9))) < 0.5
    found = soft_dice_loss((guess * 2 - 1) * 100.0, TRUTH, smooth=1e-9)
    expected = dice(guess.numpy().ravel(), TRUTH.bool().numpy().ravel())
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_dice_by_hand() -> None:
    half = torch.zeros(4)  # probability 1/2 everywhere
    truth = torch.tensor([1.0, 0, 0, 0])
    assert soft_dice_loss(half, truth, 1.0).item() == pytest.approx(1 - (2 * 0.5 + 1) / (3 + 1))


def test_focal_loss_without_gamma_is_cross_entropy() -> None:
    expected = F.binary_cross_entropy_with_logits(LOGITS, TRUTH)
    assert focal_loss(LOGITS, TRUTH, 0).item() == pytest.approx(expected.item())
    assert focal_loss(LOGITS, TRUTH, 0, 0.5).item() == pytest.approx(expected.item() / 2)


def test_focal_loss_against_numpy() -> None:
    p, t = 1 / (1 + np.exp(-LOGITS.numpy())), TRUTH.numpy()
    q = np.where(t == 1, p, 1 - p)
    alpha = np.where(t == 1, 0.3, 0.7)
    expected = (-alpha * (1 - q) ** 1.5 * np.log(q)).mean()
    assert focal_loss(LOGITS, TRUTH, 1.5, 0.3).item() == pytest.approx(expected, rel=1e-9)


def test_the_weighted_sum_is_the_sum_of_its_parts() -> None:
    parts = [EVERY[name](LOGITS, TRUTH).item() for name in ("CE", "DICE")]
    expected = 0.66 * parts[0] + 0.34 * parts[1]
    assert EVERY["W_CE_DICE"](LOGITS, TRUTH).item() == pytest.approx(expected)


def test_rebalancing_weights_both_kinds_of_pixels_equally() -> None:
    weights = pixel_weights(TRUTH, "auto")
    assert weights is not None
    assert weights[TRUTH == 1].sum().item() == pytest.approx(TRUTH.numel() / 2)
    assert weights[TRUTH == 0].sum().item() == pytest.approx(TRUTH.numel() / 2)
    each = F.binary_cross_entropy_with_logits(LOGITS, TRUTH, reduction="none")
    expected = (each[TRUTH == 1].mean() + each[TRUTH == 0].mean()) / 2
    assert EVERY["rebalanced"](LOGITS, TRUTH).item() == pytest.approx(expected.item())
    given = BinaryLoss(balance=(1.0, 3.0))(LOGITS, TRUTH)
    assert given.item() == pytest.approx((each * (1 + 2 * TRUTH)).mean().item())


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("truth", [0.0, 1.0])
@pytest.mark.parametrize("logit", [0.0, 90.0, -90.0])
def test_loss_and_gradient_are_finite_with_one_kind_of_pixels(
    name: str, truth: float, logit: float
) -> None:
    logits = torch.full((2, 4, 4), logit, requires_grad=True)
    value = EVERY[name](logits, torch.full((2, 4, 4), truth))
    value.backward()
    assert torch.isfinite(value)
    assert value.item() >= 0
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", EVERY)
def test_gradients_equal_finite_differences(name: str) -> None:
    logits = LOGITS[:1, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: EVERY[name](x, TRUTH[:1, :3, :3]), (logits,))


def test_the_loss_is_shared_by_occurring_classes() -> None:
    classes = torch.tensor([0] * 6 + [2] * 2)
    weights = balanced_class_weights(classes, 4)
    np.testing.assert_allclose(weights[[0, 2]], [8 / 6 / 2, 8 / 2 / 2])
    logits = torch.randn(1, 1 + 4, 8)
    batch = {"target": torch.zeros(1, 1, 8), "foreground": torch.zeros(1, 1, 8, dtype=torch.bool)}
    batch["classes"] = classes[None]
    loss = InstanceLoss([Output("B", "bce", "sigmoid", 0.0)], 4, class_balance="auto")
    each = F.cross_entropy(logits[:, 1:], classes[None], reduction="none")[0]
    expected = (each[:6].mean() + each[6:].mean()) / 2
    assert loss(logits, batch).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, BinaryLoss()),
        ({"TYPE": "DICE", "DICE_SMOOTH": 2}, BinaryLoss(0, 1, smooth=2)),
        ({"TYPE": "w_ce_dice", "WEIGHTS": (0.2, 0.8)}, BinaryLoss(0.2, 0.8)),
        (
            {"TYPE": "FOCAL", "FOCAL_GAMMA": 1, "FOCAL_ALPHA": 0.4},
            BinaryLoss(0, 0, 1, gamma=1, alpha=0.4),
        ),
        ({"CLASS_REBALANCE": True}, BinaryLoss(balance="auto")),
        (
            {"CLASS_REBALANCE": "manual", "CLASS_WEIGHTS": (1, 4)},
            BinaryLoss(balance=(1.0, 4.0)),
        ),
    ],
)
def test_keys(keys: dict[str, object], expected: BinaryLoss) -> None:
    config = config_from_dict({"TRAIN": {"ENABLE": True}, "LOSS": keys})
    assert instance_loss(config).binary == expected


def test_weights_of_classes_are_for_the_class_head() -> None:
    keys = {"CLASS_REBALANCE": "manual", "CLASS_WEIGHTS": (1, 2, 3)}
    config = config_from_dict({"TRAIN": {"ENABLE": True}, "MODEL": {"N_CLASSES": 3}, "LOSS": keys})
    loss = instance_loss(config)
    assert loss.class_balance == (1, 2, 3)
    assert loss.binary.balance == "none"
