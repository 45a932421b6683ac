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

    If the file or an override sets ``SYSTEM.SEED``, every run id has that value. Otherwise each
    run id has its own seed, which is always the same. Every process of a run gets the same seed.
    Choices that must agree between runs, such as the validation images, depend on ``SYSTEM.SEED``
    only.

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
    """Return the seed of a training, and report its origin.

    Parameters
    ----------
    config : Config
    run_id : int
    begun : Checkpoint, optional
        Checkpoint from which an interrupted training continues; its seed is kept.
    notify : callable
        Takes the line.
    """
    seed = run_seed(config, run_id)
    if begun is not None:
        # Checkpoints of earlier versions store no seed; theirs was that of the configuration.
        stored = int(begun.description.get(STORED, config.SYSTEM.SEED))
        if stored != seed:
            notify(f"seed: {stored}, with which this training began; {seed} would be the seed now")
            return stored
    if config.is_set("SYSTEM.SEED"):
        notify(f"seed: {seed} from SYSTEM.SEED; every run id gives the same result")
    else:
        notify(
            f"seed: {seed} from run id {run_id}, as SYSTEM.SEED is not set; each run id gives "
            "a different result"
        )
    return seed
