"""Training step, and losses and scores of an epoch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from singula.training.checkpoint import FORMAT, KEY
from singula.training.loader import join_parts
from singula.training.losses import InstanceLoss
from singula.training.map_metrics import MapScores
from singula.training.optimizer import OptimizerSettings, Schedule, make_optimizer


class InstanceModule(pl.LightningModule):
    """Network with its loss, optimizer and scores.

    After each epoch, a row is added to `history`: ``epoch``, ``lr``, ``train_loss``, ``val_loss``
    and the scores of `MapScores` with the prefixes ``train_`` and ``val_``.

    Parameters
    ----------
    network : Module
        Network to train.
    loss : InstanceLoss
        Loss of a batch.
    optimizer : OptimizerSettings
        Settings of the optimizer and the learning-rate schedule.
    steps_per_epoch : int
        Optimizer steps in an epoch.
    epochs : int
        Number of epochs.
    seed : int
        Seed of dropout.
    description : dict
        Plain types that are stored in every checkpoint, for prediction.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: InstanceLoss,
        optimizer: OptimizerSettings,
        steps_per_epoch: int,
        epochs: int,
        seed: int,
        description: dict[str, Any],
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.optimizer_settings = optimizer
        self.steps_per_epoch = steps_per_epoch
        self.epochs = epochs
        self.seed = seed
        self.description = description
        self.schedule: Schedule | None = None
        self.history: list[dict[str, float]] = []
        self.progress: dict[str, Any] = {"best": None, "best_epoch": -1, "bad_epochs": 0}
        self.resets_best = False
        self._restored: dict[str, Any] | None = None
        # A check for NaN in each step would wait for the GPU; the mean of the epoch shows NaN, too.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.train_scores = MapScores(loss.outputs, loss.n_classes)
        self.val_scores = MapScores(loss.outputs, loss.n_classes)

    def _counters(self, part: str) -> tuple[MeanMetric, MapScores]:
        if part == "train":
            return self.train_loss, self.train_scores
        return self.val_loss, self.val_scores

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; the module updates the schedule, so that checkpoints store it."""
        optimizer = make_optimizer(self.network.parameters(), self.optimizer_settings)
        self.schedule = Schedule(
            optimizer, self.optimizer_settings, self.steps_per_epoch, self.epochs
        )
        if self._restored is not None:
            self.schedule.load_state_dict(self._restored)
        return optimizer

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed dropout by seed, epoch, step and process, so that resumed runs are reproducible."""
        key = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed = hash(key) & 0x7FFFFFFF
        # `torch.manual_seed` seeds all kinds of devices, which takes milliseconds.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> dict[str, Tensor]:
        """Join the parts of a batch that several workers prepared."""
        return join_parts(batch)

    def _step(self, batch: dict[str, Tensor], part: str) -> Tensor:
        logits = self.network(batch["image"])
        loss: Tensor = self.loss(logits, batch)
        mean, scores = self._counters(part)
        mean.update(loss.detach(), weight=len(batch["image"]))
        scores.update(logits, batch)
        return loss

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add a batch to the scores; a patch of several processes counts in one of them only."""
        counts = batch["counts"]
        if bool(counts.all()):
            self._step(batch, "val")
        elif bool(counts.any()):
            self._step({name: values[counts] for name, values in batch.items()}, "val")
        else:
            self.val_loss.update(0.0, weight=0.0)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the weights, and then the schedule."""
        super().optimizer_step(*args, **kwargs)
        if self.schedule is not None:
            self.schedule.after_step()

    def on_train_epoch_start(self) -> None:
        """Reset the losses and scores."""
        for part in ("train", "val"):
            for counter in self._counters(part):
                counter.reset()

    def on_train_epoch_end(self) -> None:
        """Add the row of the epoch to the history, and update the schedule."""
        optimizer = self.trainer.optimizers[0]
        row: dict[str, float] = {
            "epoch": self.current_epoch + 1,
            "lr": float(optimizer.param_groups[0]["lr"]),
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
        """Add the description of the network and the state of the training."""
        checkpoint[KEY] = {
            "format": FORMAT,
            **self.description,
            "training": {
                "history": self.history,
                "progress": self.progress,
                "optimiser": asdict(self.optimizer_settings),
                "schedule": self.schedule.state_dict() if self.schedule else {},
            },
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the history, the progress and the schedule."""
        training = checkpoint[KEY]["training"]
        self.history = list(training["history"])
        if not self.resets_best:
            self.progress = dict(training["progress"])
        self._restored = dict(training["schedule"])
