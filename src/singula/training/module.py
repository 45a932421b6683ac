"""One training step, and what is counted over an epoch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from singula.training.checkpoint import FORMAT, KEY
from singula.training.loader import joined
from singula.training.losses import InstanceLoss
from singula.training.metrics import MapScores
from singula.training.optimise import OptimiserSettings, Schedule, make_optimiser


class InstanceModule(pl.LightningModule):
    """A network with its loss, optimiser and scores.

    After each epoch `history` has a row: ``epoch``, ``lr``, ``train_loss``, ``val_loss`` and the
    scores of `MapScores` with the same two prefixes.

    Parameters
    ----------
    network : Module
    loss : InstanceLoss
    optimiser : OptimiserSettings
    steps_per_epoch, epochs : int
        Optimiser steps in an epoch; epochs in all.
    seed : int
    description : dict
        Plain types; stored in every checkpoint for prediction.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: InstanceLoss,
        optimiser: OptimiserSettings,
        steps_per_epoch: int,
        epochs: int,
        seed: int,
        description: dict[str, Any],
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimiser_settings = optimiser
        self.steps_per_epoch = steps_per_epoch
        self.epochs = epochs
        self.seed = seed
        self.description = description
        self.schedule: Schedule | None = None
        self.history: list[dict[str, float]] = []
        self.progress: dict[str, Any] = {"best": None, "best_epoch": -1, "bad_epochs": 0}
        self.forgets_best = False
        self._restored: dict[str, Any] | None = None
        # To look for NaN in each loss would let a GPU wait; the mean of the epoch shows it as well.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.train_scores = MapScores(loss.outputs, loss.n_classes)
        self.val_scores = MapScores(loss.outputs, loss.n_classes)

    def _counters(self, part: str) -> tuple[MeanMetric, MapScores]:
        if part == "train":
            return self.train_loss, self.train_scores
        return self.val_loss, self.val_scores

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser; its schedule is stepped here, so that a checkpoint holds it exactly."""
        optimiser = make_optimiser(self.network.parameters(), self.optimiser_settings)
        self.schedule = Schedule(
            optimiser, self.optimiser_settings, self.steps_per_epoch, self.epochs
        )
        if self._restored is not None:
            self.schedule.load_state_dict(self._restored)
        return optimiser

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Dropout's random numbers follow from (seed, epoch, step, process), for resumed runs."""
        place = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed = hash(place) & 0x7FFFFFFF
        # `torch.manual_seed` asks every kind of device and takes milliseconds to do so.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> dict[str, Tensor]:
        """Join the parts that several workers prepared."""
        return joined(batch)

    def _step(self, batch: dict[str, Tensor], part: str) -> Tensor:
        logits = self.network(batch["image"])
        loss: Tensor = self.loss(logits, batch)
        mean, scores = self._counters(part)
        mean.update(loss.detach(), weight=len(batch["image"]))
        scores.update(logits, batch)
        return loss

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Count one batch; a patch that another process has as well is counted there."""
        counts = batch["counts"]
        if bool(counts.all()):
            self._step(batch, "val")
        elif bool(counts.any()):
            self._step({name: values[counts] for name, values in batch.items()}, "val")
        else:
            self.val_loss.update(0.0, weight=0.0)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step of the weights, then of the schedule."""
        super().optimizer_step(*args, **kwargs)
        if self.schedule is not None:
            self.schedule.after_step()

    def on_train_epoch_start(self) -> None:
        """Nothing of a validation before training is counted."""
        for part in ("train", "val"):
            for counter in self._counters(part):
                counter.reset()

    def on_train_epoch_end(self) -> None:
        """Make the epoch's row and tell the schedule."""
        optimiser = self.trainer.optimizers[0]
        row: dict[str, float] = {
            "epoch": self.current_epoch + 1,
            "lr": float(optimiser.param_groups[0]["lr"]),
        }
        for part in ("train", "val"):
            mean, scores = self._counters(part)
            if mean.update_called:
                row[f"{part}_loss"] = float(mean.compute())
                for name, value in scores.compute().items():
                    row[f"{part}_{name}"] = float(value)
            mean.reset()
            scores.reset()
        self.history.append(row)
        if self.schedule is not None:
            self.schedule.after_epoch(row.get("val_loss", row["train_loss"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what prediction and a resumed run need."""
        checkpoint[KEY] = {
            "format": FORMAT,
            **self.description,
            "training": {
                "history": self.history,
                "progress": self.progress,
                "optimiser": asdict(self.optimiser_settings),
                "schedule": self.schedule.state_dict() if self.schedule else {},
            },
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on where the checkpoint was written."""
        training = checkpoint[KEY]["training"]
        self.history = list(training["history"])
        if not self.forgets_best:
            self.progress = dict(training["progress"])
        self._restored = dict(training["schedule"])
