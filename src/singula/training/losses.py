"""What the network is asked to minimise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the name everybody uses)
from torch import Tensor, nn


@dataclass(frozen=True)
class Output:
    """What one channel of the network's output means.

    Parameters
    ----------
    name : str
        The channel's code.
    loss : {'bce', 'l1'}
        Binary cross entropy on logits, or the absolute difference.
    activation : {'sigmoid', 'linear'}
        From the network's number to the channel's value.
    weight : float
        Its share in the loss.
    foreground_only : bool
        Count only pixels of instances.
    """

    name: str
    loss: str
    activation: str
    weight: float = 1.0
    foreground_only: bool = False


@dataclass(frozen=True)
class BinaryLoss:
    """What is minimised on binary channels.

    Each channel's cross entropy and focal loss is a mean over the pixels of the batch; its Dice
    loss is taken over all pixels of the batch at once, so a patch without foreground gives no
    jump.

    Parameters
    ----------
    cross_entropy, dice, focal : float
        Weights of the three terms; 0 leaves one out.
    smooth : float
        Pixels added to numerator and denominator of Dice, above 0.
    gamma : float
        Exponent of focal loss.
    alpha : float, optional
        Weight of foreground in focal loss, the background has ``1 - alpha``; None for 1 and 1.
    balance : {'none', 'auto'} or tuple of float
        Weights of background and foreground pixels in cross entropy. ``auto``: half of the sum
        goes to each, with the frequencies of the batch; a batch of one kind alone is not weighted.

    References
    ----------
    Soft Dice: Milletari, Navab, Ahmadi, "V-Net", 3DV 2016. Focal loss: Lin et al., "Focal loss for
    dense object detection", ICCV 2017.
    """

    cross_entropy: float = 1.0
    dice: float = 0.0
    focal: float = 0.0
    smooth: float = 1.0
    gamma: float = 2.0
    alpha: float | None = None
    balance: str | tuple[float, float] = "none"

    def __call__(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Scalar loss of one channel's logits against 0 and 1."""
        total = logits.new_zeros(())
        if self.cross_entropy:
            weights = pixel_weights(truth, self.balance)
            entropy = F.binary_cross_entropy_with_logits(logits, truth, weights)
            total = total + self.cross_entropy * entropy
        if self.dice:
            total = total + self.dice * soft_dice_loss(logits, truth, self.smooth)
        if self.focal:
            total = total + self.focal * focal_loss(logits, truth, self.gamma, self.alpha)
        return total


def soft_dice_loss(logits: Tensor, truth: Tensor, smooth: float = 1.0) -> Tensor:
    """``1 − (2 Σ p t + s) / (Σ p + Σ t + s)`` with ``p = sigmoid(logits)``."""
    guess = torch.sigmoid(logits)
    overlap, size = (guess * truth).sum(), guess.sum() + truth.sum()
    return 1 - (2 * overlap + smooth) / (size + smooth)


def focal_loss(
    logits: Tensor, truth: Tensor, gamma: float = 2.0, alpha: float | None = None
) -> Tensor:
    """Mean of ``−α (1 − q)^γ log q``, where q is the probability of what is true."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    # 1 − q as a sigmoid keeps its precision, and a finite gradient, where q is near 1.
    wrong = torch.sigmoid(logits * (1 - 2 * truth))
    value = wrong.clamp_min(1e-12) ** gamma * entropy
    if alpha is not None:
        value = value * (alpha * truth + (1 - alpha) * (1 - truth))
    return value.mean()


def pixel_weights(truth: Tensor, balance: str | tuple[float, float]) -> Tensor | None:
    """Weight of each pixel by whether it is background or foreground; see `BinaryLoss`."""
    if balance == "none":
        return None
    if isinstance(balance, tuple):
        return balance[0] + (balance[1] - balance[0]) * truth
    share = truth.mean()
    if not 0 < float(share) < 1:
        return None
    weights: Tensor = 0.5 * truth / share + 0.5 * (1 - truth) / (1 - share)
    return weights


class InstanceLoss(nn.Module):
    """Weighted sum of one loss per channel, plus cross entropy for the class head.

    Each channel's loss is a mean over its pixels, so the weights compare channels and not areas.

    Parameters
    ----------
    outputs : sequence of Output
    n_classes : int
        Classes after the channels, 0 for none.
    class_weight : float
        Share of the class head.
    binary : BinaryLoss, optional
        For channels whose loss is ``bce``; cross entropy by default.
    class_balance : 'none', 'auto' or tuple of float
        Weight of each class in the class head's cross entropy; ``auto`` gives the classes that
        occur in the batch equal shares.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        n_classes: int = 0,
        class_weight: float = 1.0,
        *,
        binary: BinaryLoss | None = None,
        class_balance: str | tuple[float, ...] = "none",
    ) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        self.n_classes = n_classes
        self.class_weight = class_weight
        self.binary = binary or BinaryLoss()
        self.class_balance = class_balance

    def forward(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Scalar loss of logits (N, channels + classes, …) against a batch of `PatchDataset`."""
        prediction = prediction.float()
        target, foreground = batch["target"], batch["foreground"][:, 0]
        total = prediction.new_zeros(())
        for index, output in enumerate(self.outputs):
            if output.weight == 0:
                continue
            guess, truth = prediction[:, index], target[:, index]
            if output.loss == "bce":
                value = self.binary(guess, truth)
            else:
                difference = (activate(guess, output.activation) - truth).abs()
                value = _masked_mean(difference, foreground if output.foreground_only else None)
            total = total + output.weight * value
        if self.n_classes:
            guess, classes = prediction[:, len(self.outputs) :], batch["classes"]
            weights = class_weights(classes, self.n_classes, self.class_balance)
            total = total + self.class_weight * F.cross_entropy(
                guess, classes, weights.to(guess) if weights is not None else None
            )
        return total


def class_weights(classes: Tensor, count: int, balance: str | tuple[float, ...]) -> Tensor | None:
    """Weight of each class; ``auto`` is the inverse of its frequency in the batch."""
    if balance == "none":
        return None
    if isinstance(balance, tuple):
        return torch.tensor(balance)
    pixels = torch.bincount(classes.reshape(-1), minlength=count).double()
    # A class that does not occur has no pixel to be weighted.
    return pixels.sum() / pixels.clamp_min(1) / (pixels > 0).sum()


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean()
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def activate(logits: Tensor, activation: str) -> Tensor:
    """From the network's numbers to probabilities or distances."""
    return torch.sigmoid(logits) if activation == "sigmoid" else logits
