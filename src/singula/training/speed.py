"""Expected duration of a training from the durations of its parts."""

from __future__ import annotations

from dataclasses import dataclass

VALIDATION_SHARE = 0.35
"""Duration of a validation batch relative to a training step, where it was not measured."""


@dataclass(frozen=True)
class TrainingSpeed:
    """Seconds that the parts of a training take on one machine.

    Every estimate of a training's duration comes from `epoch_seconds`: that of `singula check`,
    the number of epochs that `singula init` and `singula demo` choose, and the remaining time
    shown while a network is trained.

    Parameters
    ----------
    step : float
        A training step with one batch of prepared patches.
    validation : float
        A validation batch with its patches.
    draw : float
        Reading, augmenting and encoding the patches of a training batch.
    epoch : float
        The end of an epoch: checkpoints and logs.
    workers : int
        Processes that draw patches during the steps; 0 draws them between the steps.
    measured_on : str
        The processor; empty for an assumed speed.
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
        """Return the seconds of an epoch of so many training steps and validation batches."""
        return steps * self.whole_step + validation_batches * self.validation + self.epoch
