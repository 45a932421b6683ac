"""Order of the patches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """Indices with their epoch, in an order that depends only on the seed and the epoch.

    A resumed run therefore equals an uninterrupted one. Each of several processes takes every
    `world`-th index; the first indices are repeated at the end, so that all processes have the same
    number of steps.

    Parameters
    ----------
    size : int
        Number of patches.
    shuffle : bool
        Shuffle the indices in each epoch.
    vary : bool
        If False (validation), every epoch equals epoch 0, and a repeated index i is replaced by
        -1 - i, so that it is not counted twice.
    seed : int
        Seed of the order.
    rank, world : int
        Number of this process, and number of processes.
    """

    def __init__(
        self,
        size: int,
        *,
        shuffle: bool,
        vary: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.size = size
        self.shuffle = shuffle
        self.vary = vary
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.first = 0

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Set the epoch; the trainer calls this before each epoch.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0.
        first : int
            Indices of this process at the start of the epoch that are skipped, because they were
            used before an interruption.
        """
        self.epoch = epoch
        self.first = first

    def __len__(self) -> int:
        return -(-self.size // self.world)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch if self.vary else 0
        order = np.arange(self.size)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        order = np.resize(order, len(self) * self.world)
        if not self.vary:
            order[self.size :] = -1 - order[self.size :]
        return ((epoch, int(i)) for i in order[self.rank :: self.world][self.first :])
