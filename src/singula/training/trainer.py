"""Steps of a training, and losses and scores of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from singula.training.checkpoint import FORMAT, KEY, PREFIX
from singula.training.device import Device, to_device
from singula.training.loader import Batch
from singula.training.losses import InstanceLoss
from singula.training.map_metrics import EpochTotals, finish_epoch
from singula.training.optimizer import OptimizerSettings, Schedule, make_optimizer
from singula.training.processes import share_buffers, world_and_rank

DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}
SCALER = "MixedPrecision"
"""Key of the state of the gradient scaler in a checkpoint."""


@dataclass
class TrainingHistory:
    """Epochs so far.

    Parameters
    ----------
    rows : list of dict
        One row per epoch: ``epoch``, ``lr``, ``train_loss``, ``val_loss`` and the scores of
        `MapScores` with the prefixes ``train_`` and ``val_``.
    progress : dict
        ``best`` value of the monitored column, ``best_epoch``, and ``bad_epochs`` since then.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    progress: dict[str, Any] = field(
        default_factory=lambda: {"best": None, "best_epoch": -1, "bad_epochs": 0}
    )


class Trainer:
    """Network with its loss, optimizer and scores.

    Steps do not wait for a GPU: losses and scores are summed on the device.

    Parameters
    ----------
    network : Module
        Network to train; it is moved to the device.
    loss : InstanceLoss
        Loss of a batch.
    optimizer : OptimizerSettings
        Settings of the optimizer and the learning-rate schedule.
    device : Device
        Device and precision.
    history : TrainingHistory
        Epochs so far.
    steps_per_epoch : int
        Optimizer steps in an epoch.
    epochs : int
        Number of epochs.
    accumulate : int
        Batches whose gradients are summed for an optimizer step.
    clip : float
        Maximum norm of the gradient; 0 or less for no limit.
    seed : int
        Seed of dropout.
    description : dict
        Plain types that are stored in every checkpoint, for prediction.

    Attributes
    ----------
    first_batch : int
        Batch at which the next epoch starts, above 0 after an interruption within the epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: InstanceLoss,
        optimizer: OptimizerSettings,
        device: Device,
        history: TrainingHistory,
        *,
        steps_per_epoch: int,
        epochs: int,
        accumulate: int = 1,
        clip: float = -1.0,
        seed: int = 0,
        description: dict[str, Any],
    ) -> None:
        self.device = device.torch
        self.network = to_device(network, self.device).train()
        self.loss = loss.to(self.device)
        self.optimizer_settings = optimizer
        self.history = history
        self.epochs = epochs
        self.accumulate = accumulate
        self.clip = clip
        self.seed = seed
        self.description = description
        self.low_precision = DTYPES.get(device.precision)
        self.optimizer = make_optimizer(network.parameters(), optimizer)
        self.schedule = Schedule(self.optimizer, optimizer, steps_per_epoch, epochs)
        self.scaler = torch.amp.GradScaler("cuda", enabled=device.precision == "16")
        self.optimizer_steps = 0
        self.first_batch = 0
        self.world, self.rank = world_and_rank()
        self.model: nn.Module = self.network
        self.totals = {
            part: EpochTotals(loss.outputs, loss.n_classes, self.device)
            for part in ("train", "val")
        }

    def synchronize_gradients(self) -> None:
        """Average gradients over all processes from now on, and copy the first one's weights."""
        if self.world > 1:
            devices = [self.device.index] if self.device.type == "cuda" else None
            self.model = nn.parallel.DistributedDataParallel(self.network, device_ids=devices)

    def training_step(self, batch: Batch, index: int, *, is_last: bool) -> Tensor:
        """Add the gradients of a batch, and update the weights after the last accumulated batch.

        Parameters
        ----------
        batch : dict of Tensor
            Batch on the device.
        index : int
            Number of the batch in the epoch, from 0.
        is_last : bool
            True for the last batch of the epoch.

        Returns
        -------
        Tensor
            Loss of the batch, on the device.
        """
        self._seed(index)
        updates = self.updates_weights(index, is_last=is_last)
        if index % self.accumulate == 0:
            self.optimizer.zero_grad()
        with nullcontext() if updates else self._without_synchronization():
            loss = self._loss(batch, "train")
            scaled = self.scaler.scale(loss / self.accumulate)
            scaled.backward()  # type: ignore[no-untyped-call]
        if updates:
            self._update_weights()
        return loss.detach()

    def updates_weights(self, index: int, *, is_last: bool) -> bool:
        """Return True if a batch is the last of an optimizer step; see `training_step`."""
        return is_last or (index + 1) % self.accumulate == 0

    def _seed(self, index: int) -> None:
        """Seed dropout by seed, epoch, step and process, so that resumed runs are reproducible."""
        seed = hash((self.seed, len(self.history.rows), index, self.rank)) & 0x7FFFFFFF
        # `torch.manual_seed` seeds all kinds of devices, which takes milliseconds.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def _without_synchronization(self) -> AbstractContextManager[None]:
        if isinstance(self.model, nn.parallel.DistributedDataParallel):
            return self.model.no_sync()
        return nullcontext()

    def _loss(self, batch: Batch, part: str) -> Tensor:
        """Return the loss of a batch, and add it to the totals of the epoch."""
        low = self.low_precision
        # Each weight is used once in a forward pass, so a cache of converted weights gains nothing.
        with torch.autocast(self.device.type, low, enabled=low is not None, cache_enabled=False):
            prediction = (self.model if part == "train" else self.network)(batch["image"])
            loss: Tensor = self.loss(prediction, batch)
            self.totals[part].update(loss, prediction, batch)
        return loss

    def _update_weights(self) -> None:
        """Make an optimizer step, and update the learning rate."""
        if self.clip > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer_steps += 1
        self.schedule.after_step()

    def start_validation(self) -> None:
        """Set the network to evaluation, with the batch statistics of the first process."""
        self.network.eval()
        if self.world > 1:
            share_buffers(self.network)

    def validation_step(self, batch: Batch) -> None:
        """Add a batch on the device to the validation loss and scores."""
        self._loss(batch, "val")

    def finish_epoch(self) -> None:
        """Add the row of the epoch to the history, and update the schedule."""
        self.network.train()
        row = {
            "epoch": len(self.history.rows) + 1,
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            **finish_epoch(self.totals),
        }
        self.history.rows.append(row)
        self.schedule.after_epoch(row.get("val_loss", row["train_loss"]))

    def contents(
        self, *, with_state: bool, partial: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the contents of a checkpoint.

        Parameters
        ----------
        with_state : bool
            Include the state of the optimizer, from which the training can be resumed.
        partial : mapping, optional
            Steps after the last finished epoch, as `PartialEpoch`.
        """
        weights = self.network.state_dict()
        contents: dict[str, Any] = {
            "epoch": len(self.history.rows) - 1,
            "global_step": self.optimizer_steps,
            "state_dict": {f"{PREFIX}{name}": value for name, value in weights.items()},
            KEY: {
                "format": FORMAT,
                **self.description,
                "training": {
                    "history": self.history.rows,
                    "progress": self.history.progress,
                    "optimiser": asdict(self.optimizer_settings),
                    "schedule": self.schedule.state_dict(),
                    **({"partial": dict(partial)} if partial else {}),
                },
            },
        }
        if with_state:
            contents["optimizer_states"] = [self.optimizer.state_dict()]
            if self.scaler.is_enabled():
                contents[SCALER] = self.scaler.state_dict()
        return contents
