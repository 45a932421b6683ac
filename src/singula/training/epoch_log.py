"""Log of the epochs of a training: table, TensorBoard events and learning curves."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from singula.io.atomic import make_folder, write_error
from singula.io.record_tables import append_row
from singula.io.records.tables import EpochRow


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
            Draw the curves after this epoch in any case.

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
