"""Loop over the epochs of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from singula.training.loader import Batch, counted_patches, join_parts, set_epoch
from singula.training.processes import set_position
from singula.training.progress import ProgressReport
from singula.training.trainer import Trainer

Loader = DataLoader[Batch]
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


def run_epochs(
    trainer: Trainer,
    training: Loader,
    validation: Loader | None,
    report: ProgressReport,
    after_epoch: Callable[[], bool],
    after_step: Callable[[int], object] = int,
) -> None:
    """Train for the remaining epochs.

    Parameters
    ----------
    trainer : Trainer
        Network and optimizer, with the history of the epochs so far.
    training, validation : DataLoader
        Batches of an epoch.
    report : ProgressReport
        Progress to report to.
    after_epoch : callable
        Function that is called after each epoch. It returns True to stop the training.
    after_step : callable
        Function that is called after each optimizer step with the number of batches of the epoch
        so far, in all processes; also after validation batches, if there is one process.
    """
    trainer.synchronize_gradients()
    n_steps, n_validation = len(training), len(validation or ())
    report.start(len(trainer.history.rows) + 1, n_steps)
    for epoch in range(len(trainer.history.rows), trainer.epochs):
        first, trainer.first_batch = trainer.first_batch, 0
        report.start_epoch(epoch + 1, n_steps, n_validation, first)
        set_epoch(training, epoch, first)
        for index, batch in enumerate(device_batches(training, trainer.device), first):
            set_position(f"epoch {epoch + 1}, step {index + 1}")
            loss = trainer.training_step(batch, index, is_last=index + 1 == n_steps)
            report.step_done(loss, len(batch["image"]) * trainer.world)
            if trainer.updates_weights(index, is_last=index + 1 == n_steps):
                after_step(index + 1)
        set_position(f"epoch {epoch + 1}, validation")
        if validation is not None:
            trainer.start_validation()
            with torch.inference_mode():
                for batch in device_batches(validation, trainer.device):
                    trainer.validation_step(batch)
                    report.validation_batch_done()
                    if trainer.world == 1:  # others can have fewer batches
                        after_step(n_steps)
        trainer.finish_epoch()
        set_position(f"end of epoch {epoch + 1}")
        if after_epoch():
            return


def device_batches(loader: Loader, device: torch.device) -> Iterator[Batch]:
    """Yield batches on a device, without validation patches that another process counts.

    Parameters
    ----------
    loader : DataLoader
        Batches, or lists of their parts, in main memory.
    device : torch.device
        Device of the network.
    """
    move: Callable[[list[Batch]], Batch] = partial(_move, device)
    if device.type != "mps":
        move = _Transfer(device) if device.type == "cuda" else join_parts
    for loaded in loader:
        parts = [
            counted_patches(part) for part in (loaded if isinstance(loaded, list) else [loaded])
        ]
        parts = [part for part in parts if len(part["image"])]
        if parts:
            yield move(parts)


def _move(device: torch.device, parts: list[Batch]) -> Batch:
    """Copy a batch to the GPU of a Mac, which has neither streams nor pinned memory."""
    return {name: value.to(device) for name, value in join_parts(parts).items()}


class _Transfer:
    """Function that copies a batch to a GPU while the GPU computes the steps before.

    Parameters
    ----------
    device : torch.device
        GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, parts: list[Batch]) -> Batch:
        with torch.cuda.stream(self.stream):
            batch = join_parts(
                [
                    {name: value.to(self.device, non_blocking=True) for name, value in part.items()}
                    for part in parts
                ]
            )
            image = batch["image"]
            batch["image"] = image.contiguous(memory_format=_LAYOUTS[image.ndim])
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.stream)
        for value in batch.values():
            value.record_stream(current)  # the memory is not reused before the step has ended
        return batch
