"""Metrics of the predicted maps: IoU of binary channels, mean absolute error of distances."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from singula.training.losses import Output, activate


class MapScores(Metric):
    """Scores of all patches of an epoch.

    Binary channels have ``iou_<channel>`` at a threshold of 0.5, distances have ``mae_<channel>``,
    and a class head has ``class_accuracy`` over the foreground. Sums are accumulated, so that the
    scores do not depend on batches and processes.

    Parameters
    ----------
    outputs : sequence of Output
        Channels in the order of the network.
    n_classes : int
        Classes after the channels, 0 for none.
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
        """Add a batch.

        Parameters
        ----------
        prediction : Tensor, (N, channels + classes, [z,] y, x)
            Output of the network.
        batch : dict of Tensor
            Batch of `PatchDataset`.
        """
        prediction = prediction.detach().float()
        foreground = batch["foreground"][:, 0]
        for index, output in enumerate(self.outputs):
            logits, truth = prediction[:, index], batch["target"][:, index]
            if output.activation == "sigmoid":
                predicted, expected = logits > 0, truth > 0.5
                self.numerator[index] += (predicted & expected).sum()
                self.denominator[index] += (predicted | expected).sum()
            else:
                error = (activate(logits, output.activation) - truth).abs()
                mask = foreground if output.foreground_only else torch.ones_like(foreground)
                self.numerator[index] += (error * mask).sum().double()
                self.denominator[index] += mask.sum()
        if self.n_classes:
            chosen = prediction[:, len(self.outputs) :].argmax(1)
            self.numerator[-1] += ((chosen == batch["classes"]) & foreground).sum()
            self.denominator[-1] += foreground.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the scores by name; the IoU is 1 if prediction and ground truth are empty."""
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
