"""Checkpoints, the epoch log and curves of a training."""

from __future__ import annotations

import csv
import math
import os
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint as CheckpointCallback

from singula.errors import overflow_hint
from singula.io.atomic import make_folder, write_error
from singula.io.record_files import append_text, read_rows, table_columns
from singula.io.records import EpochRow
from singula.training.module import InstanceModule
from singula.words import counted

Notify = Callable[[str], None]


@dataclass(frozen=True)
class CheckpointSettings:
    """Where checkpoints go and when.

    Parameters
    ----------
    best, last : Path
    monitor : str
        Column of the epoch's row that is best when smallest (IoU and accuracy: largest), or
        ``val_iou`` or ``train_iou``, the mean over the channels that have one.
    every : int
        Keep a copy of every n-th epoch as well; not positive for none.
    patience : int
        Stop after so many epochs without a better one; not positive for never.
    """

    best: Path
    last: Path
    monitor: str = "val_loss"
    every: int = -1
    patience: int = -1


class SaveCheckpoints(CheckpointCallback):
    """Best and last checkpoint after each epoch, and the end of patience.

    It runs after all other callbacks and hooks of the epoch, so that what it stores is complete.
    """

    def __init__(
        self,
        settings: CheckpointSettings,
        notify: Notify,
        after_epoch: Callable[[list[dict[str, float]]], None],
    ) -> None:
        self.settings = settings
        self.notify = notify
        self.after_epoch = after_epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare, store, and stop when patience is over."""
        if not isinstance(pl_module, InstanceModule):
            raise TypeError(type(pl_module).__name__)
        row, progress = pl_module.history[-1], pl_module.progress
        monitor, value = self._monitored(row)
        if progress.setdefault("monitor", monitor) != monitor:
            # A resumed training that asks for something else cannot compare with what was best.
            progress.update(best=None, bad_epochs=0, monitor=monitor)
        best = progress["best"]
        larger = "iou" in monitor or "accuracy" in monitor
        if not math.isfinite(value):
            hint = overflow_hint("training")
            self.notify(f"epoch {row['epoch']:.0f}: {monitor} is {value}: {hint}")
        better = math.isfinite(value) and (
            best is None or (value > best if larger else value < best)
        )
        if better:
            progress.update(best=value, best_epoch=int(row["epoch"]), bad_epochs=0)
        else:
            progress["bad_epochs"] += 1
        if trainer.is_global_zero:
            self.after_epoch(pl_module.history)
        # The whole state first: were the best one newer than it, a resumed run would not know.
        trainer.save_checkpoint(self.settings.last)
        if better:
            trainer.save_checkpoint(self.settings.best, weights_only=True)
        if self.settings.every > 0 and int(row["epoch"]) % self.settings.every == 0:
            name = self.settings.last.name.replace("last", f"epoch-{int(row['epoch']):04d}")
            trainer.save_checkpoint(self.settings.last.with_name(name), weights_only=True)
        if 0 < self.settings.patience <= progress["bad_epochs"]:
            trainer.should_stop = True
            self.notify(
                f"stopped: no better {monitor} for {counted(progress['bad_epochs'], 'epoch')} "
                f"(best {progress['best']:.4f} in epoch {progress['best_epoch']})"
            )

    def _monitored(self, row: Mapping[str, float]) -> tuple[str, float]:
        """Name and value of what is compared; without validation the training loss."""
        wanted = self.settings.monitor
        if wanted in row:
            return wanted, row[wanted]
        parts = [value for name, value in row.items() if name.startswith(f"{wanted}_")]
        if wanted.endswith("_iou") and parts:
            return wanted, sum(parts) / len(parts)
        name = "val_loss" if "val_loss" in row else "train_loss"
        return name, row[name]


class EpochLog:
    """Append one row per epoch to a CSV file, TensorBoard's events, and the curves.

    Parameters
    ----------
    table : Path
        The CSV file; rows are only ever added.
    tensorboard : Path, optional
        Folder for events.
    draw : callable, optional
        Draws the curves of the whole history.
    every : int
        Draw after every so many epochs, and after the last.
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
        """Put the newest row everywhere."""
        row = history[-1]
        append_row(self.table, row)
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
        """Close the file of events; an error there must not hide the one that ended the run."""
        if self.events is not None:
            with suppress(OSError):
                self.events.close()
            self.events = None


class EventFile:
    """Scalars for TensorBoard.

    The writer of torch writes in a thread, which prints a traceback when the disk is full.

    Parameters
    ----------
    folder : Path
        Created if it does not exist; gets a new file.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        make_folder(folder)
        place = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.0"
        self._file = (folder / f"events.out.tfevents.{place}").open("ab")
        self._records = RecordWriter(self._file)
        self._event = Event
        self._add(file_version="brain.Event:2")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step, by tag.

        Raises
        ------
        OSError
            Such as a full disk.
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


def append_row(path: Path, row: Mapping[str, float], notify: Notify = warnings.warn) -> None:
    """Append a row to a CSV file, once per epoch: a repeated epoch is not written twice.

    A file without a readable first line is renamed, and a new one begun.
    """
    columns = table_columns(path) if path.exists() else []
    if path.exists() and "epoch" not in columns:
        aside = path.with_name(f"{path.stem}.damaged{path.suffix}")
        try:
            path.replace(aside)
        except OSError as error:
            raise write_error(path, error) from error
        notify(f"{path}: has no column epoch; it is now {aside.name}, and a new table is begun")
        columns = []
    if columns and int(row["epoch"]) in {int(r.epoch) for r in read_rows(path, EpochRow, notify)}:
        return
    values = {name: f"{value:.8g}" for name, value in row.items()}
    text = StringIO(newline="")
    writer = csv.DictWriter(text, columns or list(row), extrasaction="ignore", restval="")
    if not columns:
        writer.writeheader()
    writer.writerow({**values, "epoch": int(row["epoch"])})
    append_text(path, text.getvalue())
