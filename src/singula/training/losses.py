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


class InstanceLoss(nn.Module):
    """Weighted sum of one loss per channel, plus cross entropy for the class head.

    Each channel's loss is a mean over its pixels, so the weights compare channels and not areas.
    """

    def __init__(
        self, outputs: Sequence[Output], n_classes: int = 0, class_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        self.n_classes = n_classes
        self.class_weight = class_weight

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
                value = F.binary_cross_entropy_with_logits(guess, truth)
            else:
                difference = (activate(guess, output.activation) - truth).abs()
                value = _masked_mean(difference, foreground if output.foreground_only else None)
            total = total + output.weight * value
        if self.n_classes:
            guess = prediction[:, len(self.outputs) :]
            total = total + self.class_weight * F.cross_entropy(guess, batch["classes"])
        return total


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return values.mean()
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def activate(logits: Tensor, activation: str) -> Tensor:
    """From the network's numbers to probabilities or distances."""
    return torch.sigmoid(logits) if activation == "sigmoid" else logits
