"""Train a network: the settings, the loaders, and Lightning's loop around them."""

from __future__ import annotations

import logging
import math
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from singula.data.dataset import EpochSampler, PatchDataset
from singula.errors import UserError
from singula.models import ModelSettings
from singula.training.callbacks import (
    CheckpointSettings,
    EpochLog,
    Notify,
    ProgressReport,
    SaveCheckpoints,
)
from singula.training.checkpoint import KEY, AtomicCheckpointIO, load_checkpoint, read_checkpoint
from singula.training.device import Device, world_and_rank
from singula.training.losses import InstanceLoss
from singula.training.module import InstanceModule
from singula.training.optimise import OptimiserSettings

_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


@dataclass(frozen=True)
class FitSettings:
    """How long and in what portions to train.

    Parameters
    ----------
    epochs, batch_size, accumulate : int
        Batch size is per process; the gradient of `accumulate` batches makes one step.
    workers : int
        Processes that prepare patches; 0 prepares them between the steps.
    clip : float
        Largest gradient norm; not positive for none.
    seed : int
    shuffle, shuffle_validation : bool
    pin_memory : bool
        For transfers to a GPU.
    live : bool
        Draw a progress bar.
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


@dataclass(frozen=True)
class FitResult:
    """What a training left.

    Parameters
    ----------
    history : list of dict
        One row per epoch.
    best, last : Path
        Checkpoints.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best: Path = Path()
    last: Path = Path()


def fit(
    network: nn.Module,
    loss: InstanceLoss,
    training: PatchDataset,
    validation: PatchDataset | None,
    *,
    settings: FitSettings,
    optimiser: OptimiserSettings,
    checkpoints: CheckpointSettings,
    log: EpochLog,
    device: Device,
    description: dict[str, Any],
    resume: bool,
    notify: Notify,
) -> FitResult:
    """Train, with a checkpoint after each epoch, and leave the best weights in `network`.

    Parameters
    ----------
    network : Module
        Changed in place.
    loss : InstanceLoss
        With the meaning of each output channel.
    training, validation : PatchDataset
        Without validation the training loss chooses the best epoch.
    description : dict
        Plain types, stored in the checkpoints.
    resume : bool
        Go on from the last checkpoint when there is one.

    Returns
    -------
    FitResult

    Raises
    ------
    UserError
        When a checkpoint is damaged or does not fit.
    """
    world, rank = world_and_rank()
    steps = math.ceil(len(training) / world / settings.batch_size)
    module = InstanceModule(
        network,
        loss,
        optimiser,
        math.ceil(steps / settings.accumulate),
        settings.epochs,
        settings.seed,
        description,
    )
    start = checkpoints.last if resume and checkpoints.last.is_file() else None
    if start is not None and _is_finished(start, settings.epochs, checkpoints.patience, module):
        notify(f"training is complete already ({len(module.history)} epochs): {start}")
        return _finish(network, module, checkpoints)
    if start is not None:
        notify(f"resuming after epoch {len(module.history)} of {settings.epochs}: {start}")
    report = ProgressReport(settings.epochs, notify, settings.live and rank == 0)

    def after_epoch(history: list[dict[str, float]]) -> None:
        log.write(history, final=int(history[-1]["epoch"]) == settings.epochs)
        report.epoch_done(history[-1])

    trainer = _trainer(
        settings, device, [report, SaveCheckpoints(checkpoints, notify, after_epoch)]
    )
    train_loader = _loader(training, settings, device, train=True)
    val_loader = None
    if validation is not None:
        val_loader = _loader(validation, settings, device, train=False)
    with warnings.catch_warnings():
        # Advice of the trainer's authors to people who write loops, not to people who run them.
        warnings.filterwarnings("ignore", module="pytorch_lightning.*")
        warnings.filterwarnings("ignore", module="torch.utils.data.*")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
        try:
            trainer.fit(module, train_loader, val_loader, ckpt_path=start, weights_only=True)
        except SystemExit:
            # How the trainer ends after Ctrl-C; the command line says it in its own words.
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise
        finally:
            log.close()
    return _finish(network, module, checkpoints)


def _finish(
    network: nn.Module, module: InstanceModule, checkpoints: CheckpointSettings
) -> FitResult:
    """Put the best weights into the network."""
    if module.progress["best"] is None:
        raise UserError(
            "training gave no finite loss in any epoch",
            "lower TRAIN.LR, and look at the images' normalisation (DATA.NORMALIZATION)",
        )
    network.load_state_dict(load_checkpoint(checkpoints.best).weights)
    return FitResult(module.history, checkpoints.best, checkpoints.last)


def _is_finished(path: Path, epochs: int, patience: int, module: InstanceModule) -> bool:
    """True when nothing is left to train; the module learns the history either way."""
    contents = read_checkpoint(path)
    module.on_load_checkpoint(contents)
    if _network(contents[KEY]) != _network(module.description):
        raise UserError(
            f"{path}: was trained with another network than the configured one",
            "drop --resume to start anew, use another --run_id, or restore the MODEL.* keys",
        )
    return len(module.history) >= epochs or 0 < patience <= module.progress["bad_epochs"]


def _network(description: dict[str, Any]) -> ModelSettings | None:
    """What a description says of the network; what an earlier version did not say is default."""
    stored = description.get("model")
    return ModelSettings.from_dict(stored) if stored else None


def _trainer(settings: FitSettings, device: Device, callbacks: list[pl.Callback]) -> pl.Trainer:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    world, _ = world_and_rank()
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    devices: int | list[int] = max(1, world // nodes)
    if device.kind == "cuda":
        devices = list(device.indices)
    many = world > 1 or (isinstance(devices, list) and len(devices) > 1)
    return pl.Trainer(
        accelerator="gpu" if device.kind == "cuda" else "cpu",
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if many else "auto",
        precision=_PRECISIONS[device.precision],
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip if settings.clip > 0 else None,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


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
    return DataLoader(
        dataset,
        batch_size=settings.batch_size,
        sampler=sampler,
        num_workers=settings.workers,
        pin_memory=settings.pin_memory and device.kind == "cuda",
        persistent_workers=settings.workers > 0,
        worker_init_fn=_one_thread,
    )


def _one_thread(worker: int) -> None:
    """Workers must not compete with the network for cores."""
    torch.set_num_threads(1)
