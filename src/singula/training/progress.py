"""Progress of a training: a line per epoch with status lines, or a progress bar."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from singula.training.speed import VALIDATION_SHARE, TrainingSpeed
from singula.util.progress import ProgressBar, StatusLines, can_draw

_log = logging.getLogger(__name__)
_REDRAW_INTERVAL = 0.1  # seconds


@dataclass
class _Durations:
    """Mean duration of repeated steps, without the first step, which is slower."""

    count: int = 0
    first: float = 0.0
    total: float = 0.0

    def add(self, seconds: float) -> None:
        if self.count == 0:
            self.first = seconds
        else:
            self.total += seconds
        self.count += 1

    @property
    def mean(self) -> float:
        return self.total / (self.count - 1) if self.count > 1 else self.first


class ProgressReport:
    """Report of epochs, steps, the loss and the remaining time.

    Parameters
    ----------
    epochs : int
        Number of epochs.
    live : bool
        Draw a progress bar on the terminal instead of status lines.
    clock : callable
        Function that returns the time in seconds.

    Attributes
    ----------
    status : StatusLines
        Status lines, which are open during the training.
    """

    def __init__(
        self,
        epochs: int,
        *,
        live: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.epochs = epochs
        self.live = live and can_draw()
        self.clock = clock
        self.status = StatusLines(describe=self.describe, enabled=not self.live, clock=clock)
        self.bar: ProgressBar | None = None
        self.drawn = float("-inf")
        self.epoch = 1
        self.n_steps = self.n_validation = 0
        self.steps_done = self.validation_done = 0
        self.loss: torch.Tensor | None = None  # of the last step
        self.patches = 0
        self.last = self.epoch_began = clock()
        self.steps, self.validations, self.ends = _Durations(), _Durations(), _Durations()

    def start(self, epoch: int, n_steps: int) -> None:
        """Start the clock and the progress bar.

        Parameters
        ----------
        epoch : int
            Number of the first epoch, from 1.
        n_steps : int
            Steps of an epoch.
        """
        self.epoch = epoch
        self.last = self.epoch_began = self.clock()
        if self.live:
            self.bar = ProgressBar(self._title(), n_steps)

    def start_epoch(self, epoch: int, n_steps: int, n_validation: int, steps_done: int = 0) -> None:
        """Start a new epoch.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 1.
        n_steps, n_validation : int
            Steps and validation batches of the epoch.
        steps_done : int
            Steps of the epoch before an interruption.
        """
        self._lap(self.ends if self.steps.count else None)
        self.epoch = epoch
        self.n_steps = n_steps
        self.n_validation = n_validation
        self.steps_done = steps_done
        self.validation_done = self.patches = 0
        self._draw()

    def step_done(self, loss: torch.Tensor, patches: int) -> None:
        """Count a training step.

        Parameters
        ----------
        loss : Tensor
            Loss of the step. It is converted to a number only for a status line, because this waits
            for a GPU.
        patches : int
            Patches of the step in all processes.
        """
        self._lap(self.steps)
        self.steps_done += 1
        self.patches += patches
        self.loss = loss
        if self.status.due or self._redraw_due() or self.steps_done == self.n_steps:
            self._show()

    def validation_batch_done(self) -> None:
        """Count a validation batch."""
        self._lap(self.validations)
        self.validation_done += 1
        self._show()

    def _lap(self, durations: _Durations | None) -> None:
        """Add the time since the last event."""
        now = self.clock()
        if durations is not None:
            durations.add(now - self.last)
        self.last = now

    def describe(self) -> str:
        """Return the status line of the current step."""
        if not self.steps_done:
            return f"{self._title()}, step 0/{self.n_steps}: preparing the first patches"
        step = f"step {self.steps_done}/{self.n_steps}"
        if self.validation_done:
            step = f"validation step {self.validation_done}/{self.n_validation}"
        return f"{self._title()}, {step}: {self._loss_and_time()}"

    def _title(self) -> str:
        return f"epoch {self.epoch}/{self.epochs}"

    def _loss_and_time(self) -> str:
        loss = "" if self.loss is None else f"loss {float(self.loss):.4f}, "
        return f"{loss}{_clock(self.seconds_left())} left"

    def speed(self) -> TrainingSpeed:
        """Return the mean speed so far."""
        step = self.steps.mean
        validation = self.validations.mean if self.validations.count else VALIDATION_SHARE * step
        return TrainingSpeed(step, validation, epoch=self.ends.mean)

    def seconds_left(self) -> float:
        """Return the expected seconds until the end of the last epoch."""
        speed = self.speed()
        steps, validation = self.n_steps - self.steps_done, self.n_validation - self.validation_done
        later = self.epochs - self.epoch
        return speed.epoch_seconds(steps, validation) + later * speed.epoch_seconds(
            self.n_steps, self.n_validation
        )

    def epoch_done(self, row: Mapping[str, float]) -> None:
        """Report the losses, scores and duration of an epoch.

        Parameters
        ----------
        row : mapping
            Row of the epoch in the history.
        """
        now = self.clock()
        scores = ", ".join(
            f"{name.removeprefix('val_').replace('_', ' ')} {value:.3f}"
            for name, value in row.items()
            if name.startswith("val_") and name != "val_loss"
        )
        val = f", val {row['val_loss']:.4f}" if "val_loss" in row else ""
        _log.info(
            f"epoch {int(row['epoch'])}/{self.epochs}: loss {row['train_loss']:.4f}{val}"
            f"{', ' + scores if scores else ''} "
            f"({now - self.epoch_began:.1f} s, {_clock(self.seconds_left())} left)"
        )
        self.epoch_began = now

    def close(self) -> None:
        """Remove the progress bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _redraw_due(self) -> bool:
        return self.bar is not None and self.clock() - self.drawn > _REDRAW_INTERVAL

    def _show(self) -> None:
        """Update the progress bar, or report a status line if it is due."""
        self.status.poll()
        if self._redraw_due() or self.steps_done == self.n_steps:
            self._draw()

    def _draw(self) -> None:
        if self.bar is None:
            return
        self.drawn = self.clock()
        title, done, total, note = self._title(), self.steps_done, self.n_steps, ""
        if self.steps_done:
            speed = self.patches / max(1e-9, self.steps_done * self.steps.mean)
            note = f"{self._loss_and_time()}, {speed:.1f} patches/s"
        if self.validation_done:
            title += ", validation"
            done, total = self.validation_done, self.n_validation
        self.bar.update(done, total, description=title, note=note)


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
