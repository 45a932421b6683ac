"""Data loaders: batches of patches that worker processes prepare during the training steps."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from singula.data.dataset import EpochSampler, PatchDataset
from singula.util.object_stores import is_used
from singula.util.process import available_cores
from singula.util.signals import blocked_signals
from singula.util.slurm import deferrable_signals

Batch = dict[str, Tensor]
_MIN_PART = 4  # patches


class PartsSampler(Sampler[list[Any]]):
    """Sampler that divides each batch into parts of nearly equal length.

    Parameters
    ----------
    sampler : EpochSampler
        Order of the patches.
    batch_size : int
        Patches in a batch; the last batch may be smaller.
    parts : int
        Parts of a batch; a small last batch has fewer.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, parts: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.batches: list[list[int]] = []
        for first in range(0, len(sampler), batch_size):
            count = min(batch_size, len(sampler) - first)
            size = -(-count // parts)
            self.batches.append([min(size, count - i) for i in range(0, count, size)])

    def __len__(self) -> int:
        return sum(len(sizes) for sizes in self.batches)

    def remaining(self) -> list[list[int]]:
        """Return the sizes of the parts of each batch that the sampler does not skip."""
        return self.batches[self.sampler.first // self.batch_size :]

    def __iter__(self) -> Iterator[list[Any]]:
        items = iter(self.sampler)
        for sizes in self.remaining():
            for size in sizes:
                yield list(islice(items, size))


class _Loader(DataLoader[Batch]):
    """Loader whose workers start while the signals that a training defers are blocked.

    A worker inherits the blocked signals: one that arrives before `_prepare_worker` does not end
    it.
    """

    def __iter__(self) -> Any:
        with blocked_signals(deferrable_signals()):
            return super().__iter__()


class PartsLoader(_Loader):
    """Loader of batches as lists of parts, each prepared by another worker.

    A worker takes milliseconds per patch. If each worker prepared a whole large batch, the network
    would wait at the start of every epoch. `join_parts` concatenates the parts on the GPU.

    Parameters
    ----------
    dataset : PatchDataset
        Patches.
    parts : PartsSampler
        Patches of each part.
    **options
        Other arguments of `torch.utils.data.DataLoader`.
    """

    def __init__(self, dataset: PatchDataset, parts: PartsSampler, **options: Any) -> None:
        super().__init__(dataset, batch_sampler=parts, **options)
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts.batches)

    def __iter__(self) -> Iterator[list[Batch]]:  # type: ignore[override]
        parts = super().__iter__()
        for sizes in self.parts.remaining():
            yield [next(parts) for _ in sizes]


def join_parts(parts: Sequence[Batch]) -> Batch:
    """Return a batch from its parts, in the same order of patches.

    Parameters
    ----------
    parts : sequence of dict
        Tensors by name, of each part.
    """
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def counted_patches(batch: Batch) -> Batch:
    """Return a batch without ``counts``, and without the patches that another process counts.

    Parameters
    ----------
    batch : dict of Tensor
        Batch of `PatchDataset` in main memory.
    """
    counts = batch["counts"]
    batch = {name: values for name, values in batch.items() if name != "counts"}
    if counts.numpy().all():
        return batch
    return {name: values[counts] for name, values in batch.items()}


def set_epoch(loader: DataLoader[Batch], epoch: int, first_batch: int = 0) -> None:
    """Set the epoch of the sampler of a loader that `make_loader` returned.

    Parameters
    ----------
    loader : DataLoader
        Loader whose next iteration is the epoch.
    epoch : int
        Number of the epoch, from 0.
    first_batch : int
        Batches at the start of the epoch that are skipped.
    """
    batches: Any = loader.batch_sampler
    batches.sampler.set_epoch(epoch, first_batch * batches.batch_size)


def make_loader(
    dataset: PatchDataset,
    sampler: EpochSampler,
    batch_size: int,
    *,
    workers: int,
    pin_memory: bool,
    in_parts: bool,
) -> DataLoader[Batch]:
    """Return a loader of batches in the order of the sampler.

    Parameters
    ----------
    dataset : PatchDataset
        Patches.
    sampler : EpochSampler
        Order of the patches.
    batch_size : int
        Patches in a batch.
    workers : int
        Processes that prepare patches; 0 prepares them in this process, as do images at URLs.
    pin_memory : bool
        Use pinned memory for transfers to a GPU.
    in_parts : bool
        Let several workers prepare the parts of a large batch; see `PartsLoader`.
    """
    if is_used():  # forked workers cannot read from stores
        workers = 0
    options: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": pin_memory,
        "persistent_workers": workers > 0,
        "worker_init_fn": _prepare_worker,
    }
    parts = min(workers, batch_size // _MIN_PART) if in_parts else 1
    if parts > 1:
        return PartsLoader(dataset, PartsSampler(sampler, batch_size, parts), **options)
    return _Loader(dataset, batch_size=batch_size, sampler=sampler, **options)


def _prepare_worker(worker: int) -> None:
    """Limit a worker to one thread, and let it ignore signals that the training defers.

    More threads would compete with the network for cores. A batch system sends signals to all
    processes: without the worker, the training could not finish its step. It ends the worker later.
    """
    torch.set_num_threads(1)
    numbers = deferrable_signals()
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def loader_workers(configured: int, kind: str) -> int:
    """Return the number of processes that prepare patches.

    On a CPU, workers compete with the network, whose steps take much longer than the preparation of
    patches; the number is at most an eighth of the cores. On a GPU it is less than the number of
    cores.

    Parameters
    ----------
    configured : int
        Requested number; negative for up to 16 workers with a GPU, and up to 5 with a CPU.
    kind : {'cpu', 'cuda', 'mps'}
        Device of the network.
    """
    cores = available_cores()
    if configured < 0:
        configured = 5 if kind == "cpu" else 16
    spare = cores // 8 if kind == "cpu" else cores - 1
    return max(0, min(configured, spare))
