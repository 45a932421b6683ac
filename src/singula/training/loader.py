"""Batches of patches, prepared by other processes while the network computes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from singula.data.dataset import EpochSampler, PatchDataset
from singula.runtime import available_cores

Batch = dict[str, Tensor]
_LEAST = 4  # patches in a part


class PartsSampler(Sampler[list[Any]]):
    """Every batch as so many lists of nearly equal length, one after the other.

    Parameters
    ----------
    sampler : EpochSampler
    batch_size, parts : int
        The last batch may be smaller, and then has fewer parts.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, parts: int) -> None:
        self.sampler = sampler
        self.batches: list[list[int]] = []
        for first in range(0, len(sampler), batch_size):
            count = min(batch_size, len(sampler) - first)
            size = -(-count // parts)
            self.batches.append([min(size, count - i) for i in range(0, count, size)])

    def __len__(self) -> int:
        return sum(len(sizes) for sizes in self.batches)

    def __iter__(self) -> Iterator[list[Any]]:
        items = iter(self.sampler)
        for sizes in self.batches:
            for size in sizes:
                yield list(islice(items, size))


class PartsLoader(DataLoader[Batch]):
    """Batches as lists of parts, each of which another worker prepares.

    A worker takes milliseconds per patch: with a whole large batch for each of them the network
    would wait at the start of every epoch, and in short epochs throughout. `joined` makes one batch
    of the parts where they are needed, on the GPU.
    """

    def __init__(self, dataset: PatchDataset, parts: PartsSampler, **how: Any) -> None:
        super().__init__(dataset, batch_sampler=parts, **how)
        self.batches = parts.batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Batch]]:  # type: ignore[override]
        parts = super().__iter__()
        for sizes in self.batches:
            yield [next(parts) for _ in sizes]


def joined(batch: Batch | list[Batch]) -> Batch:
    """One batch of its parts; the order of the patches stays."""
    if isinstance(batch, dict):
        return batch
    if len(batch) == 1:
        return batch[0]
    return {name: torch.cat([part[name] for part in batch]) for name in batch[0]}


def make_loader(
    dataset: PatchDataset,
    sampler: EpochSampler,
    batch_size: int,
    *,
    workers: int,
    pin_memory: bool,
    in_parts: bool,
) -> DataLoader[Batch]:
    """Batches in the sampler's order.

    Parameters
    ----------
    dataset : PatchDataset
    sampler : EpochSampler
    batch_size : int
    workers : int
        Processes that prepare patches; 0 prepares them when they are asked for.
    pin_memory : bool
        For transfers to a GPU.
    in_parts : bool
        Let several workers share in a batch, where it is large enough for that.
    """
    how: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": pin_memory,
        "persistent_workers": workers > 0,
        "worker_init_fn": _one_thread,
    }
    parts = min(workers, batch_size // _LEAST) if in_parts else 1
    if parts > 1:
        return PartsLoader(dataset, PartsSampler(sampler, batch_size, parts), **how)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, **how)


def _one_thread(worker: int) -> None:
    """Workers must not compete with the network for cores."""
    torch.set_num_threads(1)


def loader_workers(configured: int, kind: str) -> int:
    """Return the number of processes that prepare patches.

    On a CPU they compete with the network, whose steps take far longer than the preparation of
    patches, so there are none unless the machine has many cores. On a GPU it is the configured
    number, at most the number of cores less one; -1 means all of these, up to 16.
    """
    cores = available_cores()
    if configured < 0:
        configured = 16 if kind == "cuda" else 5
    spare = cores - 1 if kind == "cuda" else cores // 8
    return max(0, min(configured, spare))
