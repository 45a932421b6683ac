"""Scores of the maps during training: IoU of binary channels, mean error of distances."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from singula.training.losses import Output, activate


class MapScores(Metric):
    """Sums over patches, so that the result does not depend on how they are batched or shared.

    ``iou_<channel>`` at 0.5 for sigmoid channels, ``mae_<channel>`` for distances, and
    ``class_accuracy`` over the foreground with a class head.
    """

    full_state_update = False

    def __init__(self, outputs: Sequence[Output], n_classes: int = 0) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        self.n_classes = n_classes
        size = len(self.outputs) + 1
        self.numerator: Tensor
        self.denominator: Tensor
        for name in ("numerator", "denominator"):
            zeros = torch.zeros(size, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, batch: dict[str, Tensor]) -> None:
        """Count one batch of logits (N, channels + classes, …)."""
        prediction = prediction.detach().float()
        foreground = batch["foreground"][:, 0]
        for index, output in enumerate(self.outputs):
            guess, truth = prediction[:, index], batch["target"][:, index]
            if output.activation == "sigmoid":
                on, true = guess > 0, truth > 0.5
                self.numerator[index] += (on & true).sum()
                self.denominator[index] += (on | true).sum()
            else:
                error = (activate(guess, output.activation) - truth).abs()
                mask = foreground if output.foreground_only else torch.ones_like(foreground)
                self.numerator[index] += (error * mask).sum().double()
                self.denominator[index] += mask.sum()
        if self.n_classes:
            chosen = prediction[:, len(self.outputs) :].argmax(1)
            self.numerator[-1] += ((chosen == batch["classes"]) & foreground).sum()
            self.denominator[-1] += foreground.sum()

    def compute(self) -> dict[str, Tensor]:
        """The scores by name; an IoU of nothing with nothing is 1."""
        scores: dict[str, Tensor] = {}
        for index, output in enumerate(self.outputs):
            kind = "iou" if output.activation == "sigmoid" else "mae"
            scores[f"{kind}_{output.name}"] = self._ratio(index, 1.0 if kind == "iou" else 0.0)
        if self.n_classes:
            scores["class_accuracy"] = self._ratio(len(self.outputs), 1.0)
        return scores

    def _ratio(self, index: int, empty: float) -> Tensor:
        bottom = self.denominator[index]
        safe = torch.where(bottom > 0, bottom, torch.ones_like(bottom))
        ratio = self.numerator[index] / safe
        return torch.where(bottom > 0, ratio, torch.full_like(ratio, empty)).float()
