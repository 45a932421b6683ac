"""Training of a network."""

from __future__ import annotations

import logging
import math
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from singula.data.dataset import EpochSampler, PatchDataset
from singula.errors import UserError, overflow_hint
from singula.models import ModelSettings
from singula.training.checkpoint import KEY, load_checkpoint, read_checkpoint
from singula.training.checkpoint_saver import CheckpointSaver, CheckpointSettings
from singula.training.device import Device, training_arithmetic
from singula.training.epoch_log import EpochLog
from singula.training.loader import make_loader
from singula.training.loop import run_epochs
from singula.training.losses import InstanceLoss
from singula.training.optimizer import OptimizerSettings
from singula.training.processes import (
    deferred_signal,
    report_lost_process,
    share_from_main,
    world_and_rank,
)
from singula.training.progress import ProgressReport
from singula.training.resume import (
    check_optimizer,
    load_partial,
    load_state,
    restore_best,
    save_light,
    training_state,
)
from singula.training.trainer import Trainer, TrainingHistory
from singula.util.format import counted
from singula.util.memory import retry_with_less_memory
from singula.util.signals import INTERRUPTION, Interrupted
from singula.util.slurm import deferrable_signals, is_in_job

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitSettings:
    """Settings of the training loop.

    Parameters
    ----------
    epochs : int
        Number of epochs.
    batch_size : int
        Patches in a batch of one process.
    accumulate : int
        Batches whose gradients are summed for an optimizer step.
    workers : int
        Processes that prepare patches; 0 prepares them between the steps.
    clip : float
        Maximum norm of the gradient; 0 or less for no limit.
    seed : int
        Seed of the order of patches and of dropout.
    shuffle, shuffle_validation : bool
        Draw training and validation patches in random order.
    pin_memory : bool
        Use pinned memory for transfers to a GPU.
    live : bool
        Draw a progress bar.
    compile : bool
        Compile the network with torch, which takes a minute at the start.
    """

    epochs: int
    batch_size: int = 2
    accumulate: int = 1
    workers: int = 0
    clip: float = -1.0
    seed: int = 0
    shuffle: bool = True
    shuffle_validation: bool = False
    pin_memory: bool = True
    live: bool = False
    compile: bool = False


@dataclass(frozen=True)
class FitResult:
    """Result of a training.

    Parameters
    ----------
    history : list of dict
        One row per epoch; see `TrainingHistory`.
    best, last : Path
        Files of the best and of the last checkpoint.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best: Path = Path()
    last: Path = Path()


@dataclass(frozen=True)
class Training:
    """Network, data and settings of a training.

    Parameters
    ----------
    network : Module
        Network; trained in place.
    loss : InstanceLoss
        Loss with the meaning of each output channel.
    training : PatchDataset
        Training patches.
    validation : PatchDataset, optional
        Validation patches; without them, the training loss decides which epoch is best.
    settings : FitSettings
        Settings of the training loop.
    optimizer : OptimizerSettings
        Settings of the optimizer and the learning-rate schedule.
    checkpoints : CheckpointSettings
        Files of the checkpoints.
    log : EpochLog
        Log of the epochs.
    device : Device
        Device to train on.
    description : dict
        Plain types that are stored in the checkpoints.
    resume : bool
        Continue from the last checkpoint if it exists.
    start : Path, optional
        Checkpoint of another run whose training is continued if there is no checkpoint to resume.
    preview : callable, optional
        Function that is called with network, device and epoch after each epoch, in one process. A
        compiled network is not previewed, since it would be compiled again.
    """

    network: nn.Module
    loss: InstanceLoss
    training: PatchDataset
    validation: PatchDataset | None
    settings: FitSettings
    optimizer: OptimizerSettings
    checkpoints: CheckpointSettings
    log: EpochLog
    device: Device
    description: dict[str, Any]
    resume: bool = False
    start: Path | None = None
    preview: Callable[[nn.Module, torch.device, int], None] | None = None


def fit(job: Training) -> FitResult:
    """Train a network, write a checkpoint after each epoch, and load the best weights.

    If memory is exhausted, the batch size is halved and twice as many batches are accumulated, so
    that a step has the same number of patches. The training continues from the last checkpoint.

    Parameters
    ----------
    job : Training
        Network, data and settings.

    Returns
    -------
    FitResult
        History and files of the checkpoints.

    Raises
    ------
    UserError
        As for `read_checkpoint` and `check_state`; ``checkpoint.other_network``;
        ``training.out_of_memory``: a single patch does not fit into memory, or a run of several
        processes is out of memory; ``training.overflow``: no epoch has a finite loss.
    """
    initial = {name: value.clone() for name, value in job.network.state_dict().items()}

    def reduce(job: Training, reason: str) -> Training:
        smaller = _halve_batch(job.settings, reason)
        _log.warning(
            f"not enough memory for batches of {job.settings.batch_size}: continuing with "
            f"TRAIN.BATCH_SIZE {smaller.batch_size} and TRAIN.ACCUM_ITER {smaller.accumulate}"
        )
        job.network.load_state_dict(initial)
        resume = job.resume or job.checkpoints.last.is_file()
        return replace(job, settings=smaller, resume=resume)

    try:
        return retry_with_less_memory(_fit, job, reduce)
    finally:
        job.log.close()


def _halve_batch(settings: FitSettings, reason: str) -> FitSettings:
    world, rank = world_and_rank()
    if settings.batch_size == 1 or world > 1:
        where = f"process {rank} ran" if world > 1 else "training ran"
        raise UserError(
            f"TRAIN.BATCH_SIZE: {where} out of memory with batches of {settings.batch_size} "
            f"({reason[:120]})",
            "lower TRAIN.BATCH_SIZE (and raise TRAIN.ACCUM_ITER accordingly), DATA.PATCH_SIZE or "
            "MODEL.FEATURE_MAPS",
            "training.out_of_memory",
        )
    batch = settings.batch_size // 2
    accumulate = math.ceil(settings.accumulate * settings.batch_size / batch)
    return replace(settings, batch_size=batch, accumulate=accumulate)


def _fit(job: Training) -> FitResult:
    checkpoints, epochs = job.checkpoints, job.settings.epochs
    history = TrainingHistory()
    start = checkpoints.last if job.resume and checkpoints.last.is_file() else job.start
    contents: dict[str, Any] = {}
    if start is not None:
        contents = read_checkpoint(start)
        history = _stored_history(job, start, contents)
        done, bad_epochs = len(history.rows), history.progress["bad_epochs"]
        if done >= epochs or 0 < checkpoints.patience <= bad_epochs:
            _log.info(f"training is already complete ({counted(done, 'epoch')}): {start}")
            return _load_best(job, history, start)
        partial = training_state(start, contents).get("partial")
        within = f" and {counted(partial['patches'], 'patch', 'patches')}" if partial else ""
        _log.info(f"resuming after epoch {done}{within} of {epochs}: {start}")
    if job.settings.compile:
        _compile(job.network, job.device)
    try:
        _run(job, history, start, contents)
    finally:
        job.network.zero_grad()
        job.network.cpu()
    share_from_main(None)  # the first process has written the best checkpoint
    return _load_best(job, history, start)


def _stored_history(job: Training, start: Path, contents: dict[str, Any]) -> TrainingHistory:
    """Return the epochs of a checkpoint, and make its best checkpoint that of this run."""
    _, rank = world_and_rank()
    # A training of another run has no best checkpoint here yet; use its last checkpoint.
    is_other_run = start != job.checkpoints.last
    training = training_state(start, contents)
    if rank == 0 and is_other_run:
        save_light(contents, job.checkpoints.best)
    elif rank == 0:
        restore_best(start, contents, job.checkpoints.best)
    share_from_main(None)  # other processes read the checkpoint that the first one wrote
    check_optimizer(start, contents, job.optimizer)
    if _network(contents[KEY]) != _network(job.description):
        raise UserError(
            f"{start}: got a checkpoint of another network, expected the configured network",
            "restore the MODEL.* keys, use another --run_id, or omit --resume to train again",
            "checkpoint.other_network",
        )
    history = TrainingHistory(list(training["history"]))
    if not is_other_run:
        history.progress = dict(training["progress"])
    return history


def _run(
    job: Training, history: TrainingHistory, start: Path | None, contents: dict[str, Any]
) -> None:
    """Train for the remaining epochs, from the contents of a checkpoint if there is one."""
    settings = job.settings
    _, rank = world_and_rank()
    train_loader = _loader(job.training, settings, job.device, train=True)
    val_loader = None
    if job.validation is not None:
        val_loader = _loader(job.validation, settings, job.device, train=False)
    trainer = Trainer(
        job.network,
        job.loss,
        job.optimizer,
        job.device,
        history,
        steps_per_epoch=math.ceil(len(train_loader) / settings.accumulate),
        epochs=settings.epochs,
        accumulate=settings.accumulate,
        clip=settings.clip,
        seed=settings.seed,
        description=job.description,
    )
    if start is not None:
        load_state(start, contents, trainer)
        load_partial(
            start,
            contents,
            trainer,
            batch_size=settings.batch_size,
            n_batches=len(train_loader),
        )
    report = ProgressReport(settings.epochs, live=settings.live and rank == 0)
    saver = CheckpointSaver(job.checkpoints, trainer)

    def after_epoch() -> bool:
        row = history.rows[-1]
        if rank == 0:
            job.log.write(history.rows, final=int(row["epoch"]) == settings.epochs)
            report.epoch_done(row)
            if job.preview is not None and not settings.compile:
                job.preview(trainer.network, trainer.device, int(row["epoch"]))
        return saver.end_epoch()

    def interrupt_if_requested(batches: int) -> None:
        if deferred_signal():
            saver.interrupt(batches * settings.batch_size * trainer.world)
            raise Interrupted

    # The processes of a run agree on the step at which all of them stop, only within a job.
    defers = trainer.world == 1 or is_in_job()
    signals = INTERRUPTION.deferred(deferrable_signals() if defers else ())
    with warnings.catch_warnings(), training_arithmetic(), report.status, signals:
        # These warnings address authors of training loops, not users.
        warnings.filterwarnings("ignore", module="torch.utils.data.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        try:
            with report_lost_process():
                run_epochs(
                    trainer, train_loader, val_loader, report, after_epoch, interrupt_if_requested
                )
        finally:
            report.close()


def _compile(network: nn.Module, device: Device) -> None:
    """Compile a network in place, so that the weights keep their names."""
    compilers = (os.environ.get("CXX", "g++"), "clang++", "cl")
    if device.kind == "cpu" and not any(shutil.which(name) for name in compilers):
        _log.warning("TRAIN.COMPILE: this machine has no C++ compiler; the network runs uncompiled")
        return
    # A layer that cannot be compiled runs uncompiled.
    torch._dynamo.config.suppress_errors = True
    network.compile()


def _load_best(job: Training, history: TrainingHistory, start: Path | None) -> FitResult:
    """Load the best weights into the network, and return the result of the training."""
    checkpoints = job.checkpoints
    has_best = history.progress["best"] is not None
    if not has_best and (start is None or start == checkpoints.last):
        raise UserError(
            "training gave no finite loss in any epoch",
            overflow_hint("training"),
            "training.overflow",
        )
    job.network.load_state_dict(load_checkpoint(checkpoints.best).weights)
    return FitResult(history.rows, checkpoints.best, checkpoints.last)


def _network(description: dict[str, Any]) -> ModelSettings | None:
    """Return the settings of the network, with defaults for settings of later versions."""
    stored = description.get("model")
    return ModelSettings.from_dict(stored) if stored else None


def _loader(
    dataset: PatchDataset, settings: FitSettings, device: Device, *, train: bool
) -> DataLoader[dict[str, Tensor]]:
    world, rank = world_and_rank()
    sampler = EpochSampler(
        len(dataset),
        shuffle=settings.shuffle if train else settings.shuffle_validation,
        vary=train,
        seed=settings.seed,
        rank=rank,
        world=world,
    )
    cuda = device.kind == "cuda"
    return make_loader(
        dataset,
        sampler,
        settings.batch_size,
        workers=settings.workers,
        pin_memory=settings.pin_memory and cuda,
        in_parts=device.kind != "cpu",
    )
