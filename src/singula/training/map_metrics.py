"""Metrics of the predicted maps: IoU of binary channels, mean absolute error of distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from singula.training.device import has_float64
from singula.training.losses import Output, activate, grouped
from singula.training.processes import sum_over_processes


class MapScores:
    """Scores of all patches of an epoch.

    Binary channels have ``iou_<channel>`` at a threshold of 0.5, distances have ``mae_<channel>``,
    groups such as the rays have one score, embeddings have none, and a class head has
    ``class_accuracy`` over the foreground. Sums are accumulated on the device, so that the scores
    do not depend on batches and processes, and a step does not wait for a GPU.

    Parameters
    ----------
    outputs : sequence of Output
        Channels in the order of the network.
    n_classes : int
        Classes after the channels, 0 for none.
    device : torch.device or str
        Device of the predictions.

    Attributes
    ----------
    sums : Tensor of float64, (2, groups + 1)
        Numerators and denominators of the scores, on the device of the predictions. If the device
        lacks float64, they are in main memory.
    """

    def __init__(
        self, outputs: Sequence[Output], n_classes: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.outputs = tuple(outputs)
        self.groups = scored_groups(self.outputs)
        self.n_classes = n_classes
        device = torch.device(device)
        self.sums = torch.zeros(
            2,
            len(self.groups) + 1,
            dtype=torch.float64,
            device=device if has_float64(device) else "cpu",
        )

    def update(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Parameters
        ----------
        prediction : Tensor, (N, channels + classes, [z,] y, x)
            Output of the network.
        batch : mapping of Tensor
            Batch of `PatchDataset`.
        """
        prediction = prediction.detach().float()
        foreground, has_targets = batch["foreground"][:, 0], batch.get("known")
        numerator, denominator = self.sums
        for index, (start, stop, output) in enumerate(self.groups):
            logits, truth = prediction[:, start:stop], batch["target"][:, start:stop]
            if output.loss == "bce":
                predicted, expected = logits > 0, truth > 0.5
                if has_targets is not None:
                    has_target = has_targets[:, start:stop]
                    predicted, expected = predicted & has_target, expected & has_target
                numerator[index] += (predicted & expected).sum().to(numerator.device)
                denominator[index] += (predicted | expected).sum().to(numerator.device)
            else:
                error = (activate(logits, output.activation) - truth).abs()
                inside = foreground[:, None].expand_as(truth)
                mask = inside if output.foreground_only else torch.ones_like(inside)
                if has_targets is not None:
                    mask = mask & has_targets[:, start:stop]
                numerator[index] += (error * mask).sum().to(numerator.device).double()
                denominator[index] += mask.sum().to(numerator.device)
        if self.n_classes:
            chosen = prediction[:, len(self.outputs) :].argmax(1)
            is_correct = (chosen == batch["classes"]) & foreground
            numerator[-1] += is_correct.sum().to(numerator.device)
            denominator[-1] += foreground.sum().to(numerator.device)

    def compute(self) -> dict[str, float]:
        """Return the scores by name; the IoU is 1 if prediction and ground truth are empty."""
        numerators, denominators = self.sums.tolist()
        names, empty = [], []
        for _, _, output in self.groups:
            kind = "iou" if output.loss == "bce" else "mae"
            names.append(f"{kind}_{output.group or output.name}")
            empty.append(1.0 if kind == "iou" else 0.0)
        if self.n_classes:
            names.append("class_accuracy")
            empty.append(1.0)
        sums = zip(numerators, denominators, strict=True)
        return {
            name: float(np.float32(top / bottom)) if bottom > 0 else default
            for name, default, (top, bottom) in zip(names, empty, sums, strict=False)
        }


def scored_groups(outputs: Sequence[Output]) -> list[tuple[int, int, Output]]:
    """Return the groups of outputs that have a score; see `grouped`."""
    return [group for group in grouped(outputs) if group[2].loss != "embedding"]


class EpochTotals:
    """Mean loss and scores of the training or validation patches of an epoch.

    Parameters
    ----------
    outputs : sequence of Output
        Channels in the order of the network.
    n_classes : int
        Classes after the channels, 0 for none.
    device : torch.device
        Device of the predictions.
    """

    def __init__(self, outputs: Sequence[Output], n_classes: int, device: torch.device) -> None:
        self.scores = MapScores(outputs, n_classes, device)
        self.loss = torch.zeros((), device=device)
        self.patches = 0

    def update(self, loss: Tensor, prediction: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Add the mean loss and the predictions of a batch; see `MapScores.update`."""
        count = len(batch["image"])
        self.loss += loss.detach() * count
        self.patches += count
        self.scores.update(prediction, batch)

    def sums(self) -> Tensor:
        """Return all sums as a vector of float64."""
        scores = self.scores.sums.flatten()
        loss = self.loss.to(scores.device).double()
        return torch.cat([loss[None], scores.new_tensor([self.patches]), scores])

    def restore(self, sums: Sequence[float]) -> None:
        """Continue from the sums of an interrupted epoch, as `sums` returned them.

        Raises
        ------
        ValueError
            The number of values is wrong.
        """
        loss, patches, *scores = sums
        values = torch.tensor(scores, dtype=torch.float64).reshape(self.scores.sums.shape)
        self.loss.fill_(loss)
        self.patches = int(patches)
        self.scores.sums = values.to(self.scores.sums.device)

    def row(self, sums: Tensor) -> dict[str, float]:
        """Return the mean loss and the scores, and reset the sums for the next epoch.

        Parameters
        ----------
        sums : Tensor, in main memory
            Sums of all processes.

        Returns
        -------
        dict
            ``loss`` and the scores of `MapScores`; empty without patches.
        """
        loss, patches = (np.float32(value) for value in sums[:2].tolist())
        device, self.scores.sums = self.scores.sums.device, sums[2:].reshape(2, -1)
        row = {"loss": float(loss / patches), **self.scores.compute()} if patches else {}
        self.scores.sums = torch.zeros_like(self.scores.sums, device=device)
        self.loss.zero_()
        self.patches = 0
        return row


def finish_epoch(totals: Mapping[str, EpochTotals]) -> dict[str, float]:
    """Return the losses and scores of an epoch over all processes, and reset the totals.

    Parameters
    ----------
    totals : mapping of EpochTotals
        Totals by the prefix of their columns, such as ``train``.
    """
    # The outputs are the same in all parts, so the vectors have the same length.
    vectors = torch.stack([total.sums() for total in totals.values()])
    summed = sum_over_processes(vectors).cpu()
    row: dict[str, float] = {}
    for (prefix, total), sums in zip(totals.items(), summed, strict=True):
        row.update({f"{prefix}_{name}": value for name, value in total.row(sums).items()})
    return row
