"""Checkpoints at the end of an epoch, and the decision to stop a training."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from singula.errors import overflow_hint
from singula.training.checkpoint import write_checkpoint
from singula.training.processes import gather_to_main, share_from_main
from singula.training.trainer import Trainer
from singula.util.format import counted
from singula.util.slurm import record_progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointSettings:
    """Files of the checkpoints, and conditions for writing them.

    Parameters
    ----------
    best, last : Path
        Files of the best and of the last checkpoint.
    monitor : str
        Column of the log that decides which epoch is best: the largest value for IoU and accuracy,
        the smallest value otherwise. ``val_iou`` and ``train_iou`` are the mean over the channels
        that have an IoU.
    every : int
        Interval in epochs at which additional copies are written; 0 or less for none.
    patience : int
        Number of epochs without improvement after which the training stops; 0 or less for never.
    """

    best: Path
    last: Path
    monitor: str = "val_loss"
    every: int = -1
    patience: int = -1


class CheckpointSaver:
    """Writer of the best and the last checkpoint, which also stops a training without progress.

    Parameters
    ----------
    settings : CheckpointSettings
        Files, monitored column and patience.
    trainer : Trainer
        Training whose state is stored.
    """

    def __init__(self, settings: CheckpointSettings, trainer: Trainer) -> None:
        self.settings = settings
        self.trainer = trainer
        self._steps = trainer.optimizer_steps

    def end_epoch(self) -> bool:
        """Update the best epoch and write checkpoints; return True if the patience is exhausted."""
        history = self.trainer.history
        row, progress = history.rows[-1], history.progress
        epoch = int(row["epoch"])
        monitor, is_better = self._update_best(row)
        # Write the last checkpoint first: `restore_best` can update an outdated best checkpoint.
        self.save(self.settings.last, with_state=True)
        record_progress()
        if is_better:
            self.save(self.settings.best)
        if self.settings.every > 0 and epoch % self.settings.every == 0:
            name = self.settings.last.name.replace("last", f"epoch-{epoch:04d}")
            self.save(self.settings.last.with_name(name))
        if not 0 < self.settings.patience <= progress["bad_epochs"]:
            return False
        _log.info(
            f"stopped: no better {monitor} for {counted(progress['bad_epochs'], 'epoch')} "
            f"(best {progress['best']:.4f} in epoch {progress['best_epoch']})"
        )
        return True

    def interrupt(self, patches: int) -> None:
        """Write the last checkpoint within an epoch, before the training ends by a signal.

        Parameters
        ----------
        patches : int
            Patches of the steps of the epoch so far, of all processes.
        """
        trainer = self.trainer
        sums = gather_to_main(trainer.totals["train"].sums().tolist())
        if trainer.rank == 0:
            partial = {"patches": patches, "sums": sums}
            write_checkpoint(trainer.contents(with_state=True, partial=partial), self.settings.last)
            if trainer.optimizer_steps > self._steps:  # not in a validation that is repeated
                record_progress()
        share_from_main(None)  # no process ends before the checkpoint is complete

    def save(self, path: Path, *, with_state: bool = False) -> None:
        """Write a checkpoint, in the first process.

        Parameters
        ----------
        path : Path
            File to write.
        with_state : bool
            Include the state of the optimizer.
        """
        if self.trainer.rank == 0:
            write_checkpoint(self.trainer.contents(with_state=with_state), path)

    def _update_best(self, row: Mapping[str, float]) -> tuple[str, bool]:
        """Compare an epoch with the best one; return the monitored column, and True if better."""
        progress = self.trainer.history.progress
        monitor, value = self._monitored(row)
        if progress.setdefault("monitor", monitor) != monitor:
            # Values of another column cannot be compared with the stored best value.
            progress.update(best=None, bad_epochs=0, monitor=monitor)
        best = progress["best"]
        larger = "iou" in monitor or "accuracy" in monitor
        if not math.isfinite(value):
            hint = overflow_hint("training")
            _log.warning(f"epoch {row['epoch']:.0f}: {monitor} is {value}: {hint}")
        is_better = math.isfinite(value) and (
            best is None or (value > best if larger else value < best)
        )
        if is_better:
            progress.update(best=value, best_epoch=int(row["epoch"]), bad_epochs=0)
        else:
            progress["bad_epochs"] += 1
        return monitor, is_better

    def _monitored(self, row: Mapping[str, float]) -> tuple[str, float]:
        """Return the monitored column and its value; without validation, the training loss."""
        monitor = self.settings.monitor
        if monitor in row:
            return monitor, row[monitor]
        values = [value for name, value in row.items() if name.startswith(f"{monitor}_")]
        if monitor.endswith("_iou") and values:
            return monitor, sum(values) / len(values)
        name = "val_loss" if "val_loss" in row else "train_loss"
        return name, row[name]
