"""Choose the seed of a run's training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from singula.config import Config

if TYPE_CHECKING:
    from singula.training.checkpoint import Checkpoint

_SEEDS = 2**32
STORED = "seed"
"""Name of the seed in a checkpoint's description."""


def run_seed(config: Config, run_id: int) -> int:
    """Return the seed of the weights, patches and augmentation of a run.

    With ``SYSTEM.SEED`` in the file or in an override, it is that value for every run id. Without
    it, each run id has a seed of its own, and the same run id always has the same one. Every
    process of a run gets the same seed. What must be alike in all runs, such as the images that
    validate, depends on ``SYSTEM.SEED`` only.

    Parameters
    ----------
    config : Config
    run_id : int
        Number of the run, from 0.
    """
    seed: int = config.SYSTEM.SEED
    return seed if config.is_set("SYSTEM.SEED") else (seed + run_id - 1) % _SEEDS


def training_seed(
    config: Config, run_id: int, begun: Checkpoint | None, notify: Callable[[str], None]
) -> int:
    """Return the seed of a training, and report where it comes from.

    Parameters
    ----------
    config : Config
    run_id : int
    begun : Checkpoint, optional
        The checkpoint with which an interrupted training continues; its seed is kept.
    notify : callable
        Takes the line.
    """
    seed = run_seed(config, run_id)
    if begun is not None:
        # Checkpoints of earlier versions name no seed; it was that of the configuration.
        stored = int(begun.description.get(STORED, config.SYSTEM.SEED))
        if stored != seed:
            notify(f"seed: {stored}, with which this training began; {seed} would be the seed now")
            return stored
    if config.is_set("SYSTEM.SEED"):
        notify(f"seed: {seed} from SYSTEM.SEED; every run id gives the same result")
    else:
        notify(
            f"seed: {seed} from run id {run_id}, as SYSTEM.SEED is not set; each run id gives "
            "another result"
        )
    return seed
