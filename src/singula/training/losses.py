"""Loss functions of the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Tensor, nn

from singula.util.citation import Citation, Method

_DICE = Citation(
    "milletari2016",
    "Milletari, F.; Navab, N.; Ahmadi, S.-A.",
    "V-Net: fully convolutional neural networks for volumetric medical image segmentation",
    "International Conference on 3D Vision",
    2016,
    "10.1109/3DV.2016.79",
)
_FOCAL = Citation(
    "lin2017",
    "Lin, T.-Y.; Goyal, P.; Girshick, R.; He, K.; Dollár, P.",
    "Focal loss for dense object detection",
    "ICCV",
    2017,
    "10.1109/ICCV.2017.324",
)
LOSSES = {
    "CE": Method("binary cross-entropy"),
    "DICE": Method("soft Dice loss", (_DICE,)),
    "W_CE_DICE": Method("weighted sum of binary cross-entropy and soft Dice loss", (_DICE,)),
    "FOCAL": Method("focal loss", (_FOCAL,)),
}
"""Losses of binary channels by ``LOSS.TYPE``: name in a text, and citations."""


@dataclass(frozen=True)
class Output:
    """Loss and activation of an output channel of the network.

    Parameters
    ----------
    name : str
        Code of the channel, such as ``B``.
    loss : {'bce', 'l1'}
        Binary cross entropy of logits, or absolute error.
    activation : {'sigmoid', 'linear'}
        Function from the output of the network to the value of the channel.
    weight : float
        Weight of the channel in the loss.
    foreground_only : bool
        Compute the loss only on pixels of instances.
    """

    name: str
    loss: str
    activation: str
    weight: float = 1.0
    foreground_only: bool = False


@dataclass(frozen=True)
class BinaryLoss:
    """Weighted sum of cross entropy, Dice loss and focal loss of a binary channel.

    Cross entropy and focal loss are means over the pixels of the batch. The Dice loss is computed
    once over all pixels of the batch, so that a patch without foreground does not dominate it.

    Parameters
    ----------
    cross_entropy, dice, focal : float
        Weights of the three terms; 0 omits a term.
    smooth : float
        Pixels added to the numerator and denominator of the Dice loss, above 0.
    gamma : float
        Exponent of the focal loss.
    alpha : float, optional
        Weight of the foreground in the focal loss; the background has ``1 - alpha``. None weights
        neither.
    balance : {'none', 'auto'} or tuple of float
        Weights of background and foreground pixels in the cross entropy. ``auto``: background and
        foreground of the batch have equal total weight; a batch with only one of them is not
        weighted.

    References
    ----------
    See `LOSSES`.
    """

    cross_entropy: float = 1.0
    dice: float = 0.0
    focal: float = 0.0
    smooth: float = 1.0
    gamma: float = 2.0
    alpha: float | None = None
    balance: str | tuple[float, float] = "none"

    def __call__(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the scalar loss of a channel.

        Parameters
        ----------
        logits : Tensor
            Output of the network.
        truth : Tensor
            Ground truth of the same shape, 0 or 1.
        """
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
    """Return ``1 − (2 Σ p t + s) / (Σ p + Σ t + s)`` with ``p = sigmoid(logits)``.

    Parameters
    ----------
    logits : Tensor
        Output of the network.
    truth : Tensor
        Ground truth t of the same shape, 0 or 1.
    smooth : float
        Pixels s added to the numerator and the denominator.
    """
    probability = torch.sigmoid(logits)
    overlap, size = (probability * truth).sum(), probability.sum() + truth.sum()
    return 1 - (2 * overlap + smooth) / (size + smooth)


def focal_loss(
    logits: Tensor, truth: Tensor, gamma: float = 2.0, alpha: float | None = None
) -> Tensor:
    """Return the mean of ``−α (1 − q)^γ log q``, where q is the probability of the true class.

    Parameters
    ----------
    logits : Tensor
        Output of the network.
    truth : Tensor
        Ground truth of the same shape, 0 or 1.
    gamma, alpha : float
        Exponent and weight; see `BinaryLoss`.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    # 1 − q as a sigmoid has full precision and a finite gradient for q near 1.
    wrong = torch.sigmoid(logits * (1 - 2 * truth))
    value = wrong.clamp_min(1e-12) ** gamma * entropy
    if alpha is not None:
        value = value * (alpha * truth + (1 - alpha) * (1 - truth))
    return value.mean()


def pixel_weights(truth: Tensor, balance: str | tuple[float, float]) -> Tensor | None:
    """Return the weight of each pixel; None for equal weights.

    Whether the batch has background and foreground is decided on its device, so that a training
    step does not wait for a GPU.

    Parameters
    ----------
    truth : Tensor
        Ground truth, 0 or 1.
    balance : 'none', 'auto' or tuple of float
        Weights of background and foreground; see `BinaryLoss`.
    """
    if balance == "none":
        return None
    if isinstance(balance, tuple):
        return balance[0] + (balance[1] - balance[0]) * truth
    fraction = truth.mean()
    weights: Tensor = 0.5 * truth / fraction + 0.5 * (1 - truth) / (1 - fraction)
    return torch.where((fraction > 0) & (fraction < 1), weights, 1.0)


class InstanceLoss(nn.Module):
    """Weighted sum of one loss per channel and the cross entropy of the class head.

    The loss of each channel is a mean over its pixels, so that the weights do not depend on areas.

    Parameters
    ----------
    outputs : sequence of Output
        Channels in the order of the network.
    n_classes : int
        Classes after the channels, 0 for none.
    class_weight : float
        Weight of the class head.
    binary : BinaryLoss, optional
        Loss of the channels with ``bce``; cross entropy by default.
    class_balance : 'none', 'auto' or tuple of float
        Weight of each class in the cross entropy of the class head; ``auto``: all classes in the
        batch have equal total weight.
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
        # A buffer is copied to a GPU once, and not in each step.
        given = torch.tensor(class_balance) if isinstance(class_balance, tuple) else None
        self.register_buffer("class_weights", given, persistent=False)
        self.class_weights: Tensor | None

    def forward(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return the scalar loss of a batch.

        Parameters
        ----------
        prediction : Tensor, (N, channels + classes, [z,] y, x)
            Output of the network.
        batch : dict of Tensor
            Batch of `PatchDataset`: ``target``, ``foreground`` and, with classes, ``classes``.
        """
        prediction = prediction.float()
        target, foreground = batch["target"], batch["foreground"][:, 0]
        total = prediction.new_zeros(())
        for index, output in enumerate(self.outputs):
            if output.weight == 0:
                continue
            logits, truth = prediction[:, index], target[:, index]
            if output.loss == "bce":
                value = self.binary(logits, truth)
            else:
                error = (activate(logits, output.activation) - truth).abs()
                value = _masked_mean(error, foreground if output.foreground_only else None)
            total = total + output.weight * value
        if self.n_classes:
            logits, classes = prediction[:, len(self.outputs) :], batch["classes"]
            weights = self.class_weights
            if self.class_balance == "auto":
                weights = balanced_class_weights(classes, self.n_classes).to(logits)
            total = total + self.class_weight * F.cross_entropy(logits, classes, weights)
        return total


def balanced_class_weights(classes: Tensor, count: int) -> Tensor:
    """Return the inverse frequency of each class in a batch, with which all have equal weight.

    Parameters
    ----------
    classes : Tensor of int, (N, [z,] y, x)
        Class of each pixel.
    count : int
        Number of classes.
    """
    # `torch.bincount` waits for a GPU.
    pixels = torch.stack([(classes == number).sum() for number in range(count)]).double()
    # The weight of an absent class has no effect; clamping avoids a division by zero.
    return pixels.sum() / pixels.clamp_min(1) / (pixels > 0).sum()


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean()
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def activate(logits: Tensor, activation: str) -> Tensor:
    """Return probabilities for activation ``sigmoid``, else the unchanged values (distances)."""
    return torch.sigmoid(logits) if activation == "sigmoid" else logits
