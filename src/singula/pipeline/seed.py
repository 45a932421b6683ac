"""Seed of the training of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from singula.config import Config

if TYPE_CHECKING:
    from singula.training.checkpoint import Checkpoint

_log = logging.getLogger(__name__)
_SEEDS = 2**32
STORED = "seed"
"""Name of the seed in the description of a checkpoint."""


def run_seed(config: Config, run_id: int) -> int:
    """Return the seed of the weights, patches and augmentation of a run.

    If the file or an override sets ``SYSTEM.SEED``, all run ids use this seed. Otherwise, the seed
    depends on the run id. All processes of a run use the same seed. Choices that must agree between
    runs, such as the validation images, depend on ``SYSTEM.SEED`` only.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    run_id : int
        Number of the run, from 0.
    """
    seed: int = config.SYSTEM.SEED
    return seed if config.is_set("SYSTEM.SEED") else (seed + run_id - 1) % _SEEDS


def training_seed(config: Config, run_id: int, resumed: Checkpoint | None) -> int:
    """Return the seed of a training, and report its origin.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    run_id : int
        Number of the run, from 0.
    resumed : Checkpoint, optional
        Checkpoint from which an interrupted training continues; its seed is kept.
    """
    seed = run_seed(config, run_id)
    if resumed is not None:
        # Checkpoints of earlier versions do not contain the seed, which was always SYSTEM.SEED.
        stored = int(resumed.description.get(STORED, config.SYSTEM.SEED))
        if stored != seed:
            _log.info(
                f"seed: {stored}, with which this training began; a new training would use {seed}"
            )
            return stored
    if config.is_set("SYSTEM.SEED"):
        _log.info(f"seed: {seed} from SYSTEM.SEED; every run id gives the same result")
    else:
        _log.info(
            f"seed: {seed} from run id {run_id}, because SYSTEM.SEED is not set; each run id gives "
            "a different result"
        )
    return seed
