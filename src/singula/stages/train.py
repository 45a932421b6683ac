"""Train the configured network on the configured data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from singula.channels import encode
from singula.config import Config
from singula.data.dataset import PatchDataset, Sample
from singula.data.normalize import Normalizer, Statistics
from singula.errors import UserError
from singula.io.results import ResultsTree
from singula.io.write import write_npy
from singula.models import build_model, channels_last
from singula.report.model_plot import draw_model
from singula.stages import settings as from_config
from singula.stages.augmentation import augment_settings
from singula.stages.data import load_training
from singula.stages.samples import write_samples
from singula.training.callbacks import CheckpointSettings, EpochLog
from singula.training.charts import draw_charts
from singula.training.checkpoint import Checkpoint, load_checkpoint, load_weights
from singula.training.device import join_processes, main_first, world_and_rank
from singula.training.fit import FitResult, fit
from singula.training.losses import InstanceLoss

if TYPE_CHECKING:
    from singula.training.device import Device

Notify = Callable[[str], None]


@dataclass(frozen=True)
class TrainReport:
    """What the results folder says about a training.

    Parameters
    ----------
    result : FitResult
    patches : int
        Training patches of one epoch.
    parameters : int
        Numbers that were learned.
    """

    result: FitResult
    patches: int
    parameters: int


def train(
    config: Config,
    tree: ResultsTree,
    device: Device,
    notify: Notify,
    *,
    resume: bool,
    workers: int,
    live: bool,
    main: bool = True,
) -> TrainReport:
    """Read the data, train, and leave checkpoints, logs and charts.

    `main` is False in every process but the first one of several.
    """
    join_processes(device)
    training, validation = main_first(lambda: load_training(config, notify))
    normalizer = _fitted(config, tree, training, main=main)
    channels = from_config.channel_names(config)
    model = from_config.model_settings(config)

    train_set = _dataset(config, "TRAIN", training, normalizer, channels)
    val_set = _dataset(config, "VAL", validation, normalizer, channels)
    torch.manual_seed(config.SYSTEM.SEED)
    network = build_model(model)
    if config.MODEL.LOAD_CHECKPOINT and not resume:
        start = find_checkpoint(config, tree)
        load_weights(network, load_checkpoint(start))
        notify(f"starting from the weights of {start}")
    network = channels_last(network, config.ndim)
    parameters = sum(p.numel() for p in network.parameters())
    notify(
        f"training {model.architecture} ({parameters / 1e6:.2f} M parameters) on "
        f"{len(train_set)} patches {config.patch}, {len(val_set)} for validation, "
        f"{config.TRAIN.EPOCHS} epochs, precision {device.precision}"
    )
    world, _ = world_and_rank()
    if world > 1 or config.TRAIN.ACCUM_ITER > 1:
        effective = world * config.TRAIN.BATCH_SIZE * config.TRAIN.ACCUM_ITER
        notify(
            f"effective batch: {world} processes × {config.TRAIN.BATCH_SIZE} patches × "
            f"{config.TRAIN.ACCUM_ITER} accumulated = {effective}"
        )
    if main:
        draw_model(tree.model_plot, model, config.patch, channels)
        write_samples(config, tree, training, train_set)
    if not resume and main:
        for path in (tree.checkpoint_best, tree.checkpoint_last, _log_table(tree)):
            set_aside(path, notify)
    result = fit(
        network,
        InstanceLoss(
            from_config.outputs(config), from_config.n_classes(config), config.class_weight
        ),
        train_set,
        val_set,
        settings=from_config.fit_settings(config, workers=workers, live=live),
        optimiser=from_config.optimiser_settings(config),
        checkpoints=CheckpointSettings(
            tree.checkpoint_best,
            tree.checkpoint_last,
            monitor=config.TRAIN.CHECKPOINT_MONITOR,
            every=config.MODEL.SAVE_CKPT_FREQ,
            patience=config.TRAIN.PATIENCE,
        ),
        log=EpochLog(
            _log_table(tree),
            tree.tensorboard,
            lambda history: draw_charts(history, tree.job_id, tree.chart),
            config.LOG.CHART_CREATION_FREQ,
        ),
        device=device,
        description=from_config.describe(config, model, normalizer),
        resume=resume,
        notify=notify,
    )
    return TrainReport(result, len(train_set), parameters)


def _dataset(
    config: Config,
    part: str,
    samples: list[Sample],
    normalizer: Normalizer,
    channels: tuple[str, ...],
) -> PatchDataset:
    """Patches of the training or validation samples."""
    # A part of the training images is encoded as these are.
    own = part if part == "TRAIN" or not config.DATA.VAL.FROM_TRAIN else "TRAIN"
    encoding = from_config.encode_settings(config, own)
    augment = augment_settings(config) if part == "TRAIN" else None
    if augment is not None:
        # Changed labels are encoded anew: the stored channels need not be held in memory.
        samples = [replace(sample, targets=None) for sample in samples]
    return PatchDataset(
        samples,
        from_config.patch_settings(config, part),
        normalizer,
        channels,
        partial(
            encode,
            channels=channels,
            spacing=encoding.spacing,
            contour_mode=encoding.contour_mode,
            point_radius=encoding.point_radius,
        ),
        augment=augment,
        seed=config.SYSTEM.SEED,
    )


def _log_table(tree: ResultsTree) -> Path:
    return tree.train_logs / f"{tree.job_id}.csv"


def _fitted(config: Config, tree: ResultsTree, training: list[Sample], *, main: bool) -> Normalizer:
    """The normalisation with the statistics of the training images.

    With ``custom`` the mean and standard deviation are stored as the format wants, also where
    each image is normalised by its own.
    """
    normalizer = from_config.normalizer(config)
    images = [s.image for s in training]
    if normalizer.needs_fit:
        normalizer = normalizer.fit(images)
    if normalizer.kind == "custom" and main:
        statistics = normalizer.statistics
        if statistics is None:
            gathered = Statistics(normalizer.clip)
            for image in images:
                gathered.add(image)
            statistics = gathered.summary()
        write_npy(tree.mean_file, np.array(statistics["mean"]))
        write_npy(tree.std_file, np.array(statistics["std"]))
    return normalizer


def set_aside(path: Path, notify: Notify) -> None:
    """Rename a file of an earlier training instead of writing over it."""
    if path.exists():
        kept = path.with_name(f"{path.stem}.previous{path.suffix}")
        path.replace(kept)
        notify(f"training anew (without --resume): the earlier {path.name} is now {kept.name}")


def find_checkpoint(config: Config, tree: ResultsTree) -> Path:
    """The checkpoint that the configuration names, else the run's own.

    Raises
    ------
    UserError
        Naming the places where one was looked for.
    """
    named = config.PATHS.CHECKPOINT_FILE
    if named:
        path = Path(named)
        if not path.is_file():
            raise UserError(
                f"PATHS.CHECKPOINT_FILE: there is no file {path}",
                "correct the path, or leave the key out to use the run's own checkpoint",
            )
        return path
    wanted = config.MODEL.LOAD_CHECKPOINT_EPOCH
    first = tree.checkpoint_last if "last" in str(wanted) else tree.checkpoint_best
    for path in (first, tree.checkpoint_best, tree.checkpoint_last):
        if path.is_file():
            return path
    raise UserError(
        f"{first}: there is no checkpoint to predict with",
        "train first (TRAIN.ENABLE: True), or name one with PATHS.CHECKPOINT_FILE",
    )


def network_from(config: Config, checkpoint: Checkpoint) -> tuple[torch.nn.Module, Normalizer]:
    """The configured network with a checkpoint's weights and normalisation."""
    model = from_config.model_settings(config)
    network = build_model(model)
    load_weights(network, checkpoint)
    normalizer = Normalizer.from_dict(checkpoint.description["normalizer"])
    wanted = from_config.normalizer(config)
    same = (normalizer.kind, normalizer.per_image, normalizer.clip) == (
        wanted.kind,
        wanted.per_image,
        wanted.clip,
    )
    if not same:
        raise UserError(
            f"{checkpoint.path}: was trained with DATA.NORMALIZATION {normalizer.to_dict()}, "
            "the configuration asks for another one",
            "give DATA.NORMALIZATION the values of the training",
        )
    return network, normalizer
