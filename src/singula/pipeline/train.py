"""Training of the configured network on the configured data."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from singula.config import Config
from singula.data.dataset import PatchDataset
from singula.data.normalize import Normalizer
from singula.data.samples import AnySample
from singula.errors import StorageError, UserError
from singula.io import written
from singula.io.atomic import write_error
from singula.io.run_folder import ResultsTree
from singula.models import build_model, channels_last
from singula.pipeline import from_config
from singula.pipeline.augmentation import augment_settings
from singula.pipeline.checkpoints import check_same_training, find_start
from singula.pipeline.load_data import load_training
from singula.pipeline.normalization import write_statistics
from singula.pipeline.object_size import ObjectSizes
from singula.pipeline.preview import make_preview
from singula.pipeline.sample_sheets import write_generated, write_probability_maps, write_samples
from singula.pipeline.seed import STORED, training_seed
from singula.report.model_plot import draw_model
from singula.training.charts import draw_charts
from singula.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_fitting_weights,
)
from singula.training.checkpoint_saver import CheckpointSettings
from singula.training.epoch_log import EpochLog
from singula.training.fit import FitResult, Training, fit
from singula.training.processes import main_first, share_from_main, world_and_rank
from singula.util.format import counted
from singula.util.progress import StatusLines

if TYPE_CHECKING:
    from singula.training.device import Device

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """Report of a training.

    Parameters
    ----------
    result : FitResult
        History and checkpoints of the training.
    patches : int
        Number of training patches per epoch.
    seed : int
        Seed of the weights, patches and augmentation.
    parameters : int
        Number of parameters of the network.
    images, validation_images : int
        Number of images; if a part of each image is held out, both count these images.
    min_shape, max_shape : tuple of int
        Smallest and largest size along each axis of the training images, or of their parts, pixels.
    annotated : float
        Share of the pixels of the training images that are annotated.
    """

    result: FitResult
    patches: int
    seed: int
    parameters: int
    images: int
    validation_images: int
    min_shape: tuple[int, ...]
    max_shape: tuple[int, ...]
    annotated: float


def train(
    config: Config,
    tree: ResultsTree,
    device: Device,
    *,
    resume: bool,
    workers: int,
    live: bool,
    main: bool = True,
) -> TrainReport:
    """Read the data, train the network, and write checkpoints, logs and charts.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    device : Device
        Device of the network.
    resume : bool
        Continue an interrupted training.
    workers : int
        Number of processes that prepare patches.
    live : bool
        Draw a progress bar.
    main : bool
        True in the process that writes the results.
    """
    # Encoding labels and reading images can take minutes before the first step.
    with StatusLines("preparing the training", enabled=main) as status:
        job, facts = _prepare(
            config, tree, device, status, resume=resume, workers=workers, live=live, main=main
        )
    try:
        result = fit(job)
    except (KeyboardInterrupt, StorageError):
        if main:
            _report_last_checkpoint(tree.checkpoint_last)
        raise
    return TrainReport(result, len(job.training), job.settings.seed, **facts)


def _prepare(
    config: Config,
    tree: ResultsTree,
    device: Device,
    status: StatusLines,
    *,
    resume: bool,
    workers: int,
    live: bool,
    main: bool,
) -> tuple[Training, dict[str, Any]]:
    """Read and encode the data and build the network.

    Returns
    -------
    job : Training
        Arguments of the training loop.
    facts : dict
        Size of the network and of the data, arguments of `TrainReport`.
    """
    origin = _origin(config, tree, resume=resume)  # reported before images are read
    sizes = ObjectSizes()
    training, validation = main_first(
        lambda: load_training(config, status.update, channels=tree.channels, sizes=sizes)
    )
    status.update("preparing the training: normalization and patches")
    normalizer = _fitted(config, tree, training, main=main)
    channels = from_config.channel_names(config)
    model = from_config.model_settings(config, origin.description.get("model") if origin else None)

    resumed = origin if resume and origin and origin.path == tree.checkpoint_last else None
    seed = training_seed(config, tree.run_id, resumed)
    train_set = _dataset(config, "TRAIN", training, normalizer, seed)
    val_set = _dataset(config, "VAL", validation, normalizer, seed)
    for line in dict.fromkeys((*train_set.notices, *val_set.notices)):
        _log.warning(line)
    _check_foreground(config, train_set)
    _check_annotated(val_set, "validation")
    torch.manual_seed(seed)
    network = build_model(model)
    start = _load_start(config, network, origin, tree, resume=resume)
    network = channels_last(network, config.ndim)
    parameters = sum(p.numel() for p in network.parameters())
    _log.info(
        f"training {model.architecture} ({parameters / 1e6:.2f} M parameters) on "
        f"{counted(len(train_set), 'patch', 'patches')} {config.patch}, {len(val_set)} for "
        "validation, "
        f"{counted(config.TRAIN.EPOCHS, 'epoch')}, precision {device.precision}"
    )
    world, _ = world_and_rank()
    if world > 1 or config.TRAIN.ACCUM_ITER > 1:
        effective = world * config.TRAIN.BATCH_SIZE * config.TRAIN.ACCUM_ITER
        _log.info(
            f"effective batch: {counted(world, 'process', 'processes')} × "
            f"{counted(config.TRAIN.BATCH_SIZE, 'patch', 'patches')} × "
            f"{config.TRAIN.ACCUM_ITER} accumulated = {effective}"
        )
    if main:
        draw_model(tree.model_plot, model, config.patch, channels)
        write_samples(config, tree, training, train_set)
        write_probability_maps(config, tree, training)
        write_generated(config, tree, {"train": train_set, "val": val_set})
    if not resume and main:
        start = _set_earlier_aside(tree, start)
    start = share_from_main(start)
    loss = from_config.instance_loss(config)
    job = Training(
        network,
        loss,
        train_set,
        val_set,
        settings=from_config.fit_settings(config, seed, workers=workers, live=live),
        optimizer=from_config.optimizer_settings(config),
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
        description=from_config.describe(config, model, normalizer)
        | {**sizes.describe(), STORED: seed},
        resume=resume,
        start=start,
        preview=make_preview(tree.preview, val_set or train_set, loss.outputs) if main else None,
    )
    facts = {**_data_facts(training, validation), "annotated": sizes.annotated}
    return job, {"parameters": parameters, **facts}


def _data_facts(training: list[AnySample], validation: list[AnySample]) -> dict[str, Any]:
    """Return number and size of the images, arguments of `TrainReport`."""
    shapes = [sample.shape for sample in training]
    return {
        "images": len(training),
        "validation_images": len(validation),
        "min_shape": tuple(map(min, zip(*shapes, strict=True))),
        "max_shape": tuple(map(max, zip(*shapes, strict=True))),
    }


def _report_last_checkpoint(last: Path) -> None:
    """Report the checkpoint from which an interrupted training can continue."""
    # After an error of the disk, the log may not be writable either.
    with suppress(UserError):
        if last.is_file():
            checkpoint = load_checkpoint(last)
            partial = (checkpoint.description.get("training") or {}).get("partial")
            within = f" and {counted(partial['patches'], 'patch', 'patches')}" if partial else ""
            epochs = checkpoint.epoch + 1
            _log.info(f"the last checkpoint is complete, after epoch {epochs}{within}: {last}")
        else:
            _log.info("no checkpoint exists yet, because no epoch was finished")


def _origin(config: Config, tree: ResultsTree, *, resume: bool) -> Checkpoint | None:
    """Return the checkpoint to continue or to start from; None for new weights."""
    if resume and tree.checkpoint_last.is_file():
        return load_checkpoint(tree.checkpoint_last, report=True)
    return (
        load_checkpoint(find_start(config, tree), report=True)
        if config.MODEL.LOAD_CHECKPOINT
        else None
    )


def _load_start(
    config: Config,
    network: torch.nn.Module,
    origin: Checkpoint | None,
    tree: ResultsTree,
    *,
    resume: bool,
) -> Path | None:
    """Load the weights from which the training starts.

    Returns
    -------
    Path, optional
        Checkpoint of another run, whose training is continued with its optimizer state.
    """
    if origin is None:
        return None
    resumed = resume and origin.path == tree.checkpoint_last
    if resumed or not config.MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS:
        check_same_training(config, origin)
        return None if resumed else origin.path
    skipped = load_fitting_weights(network, origin)
    names, missing = network.state_dict().keys(), {line.split(":")[0] for line in skipped}
    count, loaded = len(names), len(names - missing)
    _log.info(f"starting from the weights of {origin.path}: {loaded} of {count} loaded")
    for line in skipped:
        _log.warning(f"  not loaded: {line}")
    return None


def _dataset(
    config: Config,
    part: str,
    samples: list[AnySample],
    normalizer: Normalizer,
    seed: int,
) -> PatchDataset:
    """Return the patches of the training or validation samples."""
    # Validation images held out of TRAIN are encoded with its voxel size.
    encoded_as = part if part == "TRAIN" or not config.DATA.VAL.FROM_TRAIN else "TRAIN"
    augment = augment_settings(config) if part == "TRAIN" else None
    if augment is not None:
        # Augmented labels are encoded again, so the stored channels are not kept in memory.
        samples = [sample.without_targets() for sample in samples]
    return PatchDataset(
        samples,
        from_config.patch_settings(config, part),
        normalizer,
        from_config.encode_settings(config, encoded_as),
        augment=augment,
        seed=seed,
    )


def _check_foreground(config: Config, dataset: PatchDataset) -> None:
    """Report the number of patches with too little foreground.

    Raises
    ------
    UserError
        ``data.no_foreground``: no patch has enough foreground.
    """
    key, minimum = "DATA.TRAIN.MINIMUM_FOREGROUND_PER", config.DATA.TRAIN.MINIMUM_FOREGROUND_PER
    total = len(dataset.places) + dataset.left_out
    noun = ("image", "images") if dataset.patches.random else ("patch", "patches")
    training = counted(total, f"training {noun[0]}", f"training {noun[1]}")
    if minimum <= 0:
        _check_annotated(dataset, "training")
        if dataset.left_out:
            _log.info(
                f"{dataset.left_out} of {training} skipped: none of their pixels is annotated"
            )
        return
    if not dataset.places:
        raise UserError(
            f"{key}: got {minimum:g}, which no patch of {training} reaches",
            "lower it, or choose another DATA.PATCH_SIZE",
            "data.no_foreground",
        )
    if dataset.left_out:
        _log.info(
            f"{dataset.left_out} of {training} skipped: less than {minimum:g} of foreground ({key})"
        )


def _check_annotated(dataset: PatchDataset, part: str) -> None:
    """Refuse a set of labels without any annotated pixel.

    Raises
    ------
    UserError
        ``data.not_annotated``
    """
    if dataset.left_out and not dataset.places:
        raise UserError(
            f"labels ({part}): got no annotated pixel in "
            f"{counted(dataset.left_out, 'patch', 'patches')}, expected ids of 0 or more",
            "annotate a part of these images, or remove the images without annotation",
            "data.not_annotated",
        )


def _log_table(tree: ResultsTree) -> Path:
    return tree.train_logs / f"{tree.job_id}.csv"


def _fitted(
    config: Config, tree: ResultsTree, training: list[AnySample], *, main: bool
) -> Normalizer:
    """Return the normalization with the statistics of the training images.

    If every image is normalized with the mean and standard deviation, both are also written to
    files.
    """
    normalizer = from_config.normalizer(config)
    if normalizer.needs_fit:
        normalizer = normalizer.fit(s.opened().image for s in training)
    if main:
        write_statistics(tree, normalizer)
    return normalizer


def _set_earlier_aside(tree: ResultsTree, start: Path | None) -> Path | None:
    """Rename the files of an earlier training; return the new path of the start checkpoint."""
    for path in (tree.checkpoint_best, tree.checkpoint_last, _log_table(tree)):
        renamed = set_aside(path)
        start = renamed if start == path else start
    return start


def set_aside(path: Path) -> Path:
    """Rename a file of an earlier training so that it is not overwritten.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Path
        New path of the file; `path` if it does not exist.
    """
    if not path.exists():
        return path
    target = path.with_name(f"{path.stem}.previous{path.suffix}")
    try:
        written.make_way(target)
        written.rename(path, target)
    except OSError as error:
        raise write_error(target, error) from error
    _log.info(f"new training (without --resume): the earlier {path.name} is now {target.name}")
    return target
