"""Expected duration of a training."""

from __future__ import annotations

from dataclasses import dataclass

VALIDATION_SHARE = 0.35
"""Assumed duration of a validation batch relative to a training step."""


@dataclass(frozen=True)
class TrainingSpeed:
    """Durations of the parts of a training on a machine, in seconds.

    Every estimate of the duration of a training uses `epoch_seconds`: the estimate of `singula
    check`, the number of epochs of `singula init` and `singula demo`, and the remaining time that
    is shown during the training.

    Parameters
    ----------
    step : float
        Training step with a batch of prepared patches.
    validation : float
        Validation batch, including the preparation of its patches.
    draw : float
        Reading, augmenting and encoding the patches of a training batch.
    epoch : float
        End of an epoch: checkpoints and logs.
    workers : int
        Processes that prepare patches during the steps; 0 prepares them between the steps.
    measured_on : str
        Processor on which the durations were measured; empty for an assumed speed.
    """

    step: float
    validation: float
    draw: float = 0.0
    epoch: float = 0.0
    workers: int = 0
    measured_on: str = ""

    @property
    def whole_step(self) -> float:
        """Seconds from one training step to the next."""
        if self.workers:
            return max(self.step, self.draw / self.workers)
        return self.step + self.draw

    def epoch_seconds(self, steps: float, validation_batches: float) -> float:
        """Return the duration of an epoch, in seconds.

        Parameters
        ----------
        steps : float
            Number of training steps.
        validation_batches : float
            Number of validation batches.
        """
        return steps * self.whole_step + validation_batches * self.validation + self.epoch
