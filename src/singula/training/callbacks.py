"""Callbacks of a training: checkpoints, the epoch log and learning curves."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint as CheckpointCallback

from singula.errors import overflow_hint
from singula.io.atomic import make_folder, write_error
from singula.io.record_tables import append_row
from singula.io.records.tables import EpochRow
from singula.training.module import InstanceModule
from singula.util.format import counted

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


class SaveCheckpoints(CheckpointCallback):
    """Callback that writes the best and the last checkpoint, and stops a training without progress.

    It runs after all other callbacks and hooks of an epoch, so that the stored state is complete.

    Parameters
    ----------
    settings : CheckpointSettings
        Files, monitored column and patience.
    after_epoch : callable
        Function that receives the history after each epoch, in the first process only.
    """

    def __init__(
        self,
        settings: CheckpointSettings,
        after_epoch: Callable[[list[dict[str, float]]], None],
    ) -> None:
        self.settings = settings
        self.after_epoch = after_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Update the best epoch, write checkpoints, and stop if the patience is exhausted."""
        if not isinstance(pl_module, InstanceModule):
            raise TypeError(type(pl_module).__name__)
        row, progress = pl_module.history[-1], pl_module.progress
        monitor, value = self._monitored(row)
        if progress.setdefault("monitor", monitor) != monitor:
            # Values of another column cannot be compared with the stored best value.
            progress.update(best=None, bad_epochs=0, monitor=monitor)
        best = progress["best"]
        larger = "iou" in monitor or "accuracy" in monitor
        if not math.isfinite(value):
            hint = overflow_hint("training")
            _log.warning(f"epoch {row['epoch']:.0f}: {monitor} is {value}: {hint}")
        better = math.isfinite(value) and (
            best is None or (value > best if larger else value < best)
        )
        if better:
            progress.update(best=value, best_epoch=int(row["epoch"]), bad_epochs=0)
        else:
            progress["bad_epochs"] += 1
        if trainer.is_global_zero:
            self.after_epoch(pl_module.history)
        # Write the last checkpoint first: `restore_best` can update an outdated best checkpoint.
        trainer.save_checkpoint(self.settings.last)
        if better:
            trainer.save_checkpoint(self.settings.best, weights_only=True)
        if self.settings.every > 0 and int(row["epoch"]) % self.settings.every == 0:
            name = self.settings.last.name.replace("last", f"epoch-{int(row['epoch']):04d}")
            trainer.save_checkpoint(self.settings.last.with_name(name), weights_only=True)
        if 0 < self.settings.patience <= progress["bad_epochs"]:
            trainer.should_stop = True
            _log.info(
                f"stopped: no better {monitor} for {counted(progress['bad_epochs'], 'epoch')} "
                f"(best {progress['best']:.4f} in epoch {progress['best_epoch']})"
            )

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


class EpochLog:
    """Log of the epochs as a CSV file, TensorBoard events and learning curves.

    Parameters
    ----------
    table : Path
        CSV file to which rows are appended.
    tensorboard : Path, optional
        Folder for TensorBoard events; None writes no events.
    draw : callable, optional
        Function that draws the curves of the history.
    every : int
        Interval in epochs at which curves are drawn; they are also drawn after the last epoch.
    """

    def __init__(
        self,
        table: Path,
        tensorboard: Path | None = None,
        draw: Callable[[list[dict[str, float]]], object] | None = None,
        every: int = 5,
    ) -> None:
        self.table = table
        self.tensorboard = tensorboard
        self.draw = draw
        self.every = every
        self.events: EventFile | None = None

    def write(self, history: list[dict[str, float]], *, final: bool = False) -> None:
        """Write the newest row of the history to the table, the events and the curves.

        Parameters
        ----------
        history : list of dict
            One row per epoch.
        final : bool
            Draw the curves whatever the epoch.

        Raises
        ------
        StorageError
            A file cannot be written.
        """
        row = history[-1]
        append_row(self.table, EpochRow.model_validate(row), "epoch")
        if self.tensorboard is not None:
            try:
                self._write_events(self.tensorboard, row)
            except OSError as error:
                raise write_error(self.tensorboard, error) from error
        if self.draw is not None and (final or int(row["epoch"]) % max(1, self.every) == 0):
            self.draw(history)

    def _write_events(self, folder: Path, row: Mapping[str, float]) -> None:
        if self.events is None:
            self.events = EventFile(folder)
        values = {name.replace("_", "/", 1): row[name] for name in row if name != "epoch"}
        self.events.write(int(row["epoch"]), values)

    def close(self) -> None:
        """Close the event file, without errors that could hide the error that ended the run."""
        if self.events is not None:
            with suppress(OSError):
                self.events.close()
            self.events = None


class EventFile:
    """Event file of TensorBoard with scalars.

    The writer of torch uses a thread that prints a traceback if the disk is full.

    Parameters
    ----------
    folder : Path
        Folder in which a new file is created; it is created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        make_folder(folder)
        suffix = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._file = (folder / f"events.out.tfevents.{suffix}").open("ab")
        self._records = RecordWriter(self._file)
        self._event = Event
        self._add(file_version="brain.Event:2")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step.

        Parameters
        ----------
        step : int
            Number of the epoch.
        values : mapping
            Values by tag.

        Raises
        ------
        OSError
            The file cannot be written, for example because the disk is full.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        for tag, value in values.items():
            scalar = Summary.Value(tag=tag, simple_value=value)
            self._add(step=step, summary=Summary(value=[scalar]))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _add(self, **content: Any) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())
