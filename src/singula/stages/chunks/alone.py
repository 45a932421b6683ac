"""One image that is too large for memory, predicted by a model without any configuration file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path

from singula.config import Config
from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.io.lazy import open_image
from singula.io.pairs import Pair
from singula.io.results import ResultsTree
from singula.scaleout.runner import Runner
from singula.stages import settings as from_config
from singula.stages.chunks.budget import memory_of
from singula.stages.chunks.run import ChunkRun
from singula.training.device import Device

Notify = Callable[[str], None]
# Bytes per pixel in memory beside the image and its maps: labels, masks, what decoding needs
_BESIDE = 14
_POST = "TEST.POST_PROCESSING"


def fits_in_memory(config: Config, pair: Pair) -> bool:
    """Whether an image can be predicted whole, by what its header says."""
    image = open_image(
        pair.image,
        config.ndim,
        config.in_channels,
        allow_gray=config.DATA.FORCE_RGB,
        arrays=pair.arrays,
    )
    channels = len(from_config.channel_names(config))
    each = channels * (2 if from_config.in_half(config, image.spatial_shape) else 4)
    each += image.dtype.itemsize * image.channels + _BESIDE
    return prod(image.spatial_shape) * each < memory_of(config)


def predict_alone(
    config: Config,
    checkpoint: Path,
    pair: Pair,
    target: Path,
    device: Device,
    notify: Notify,
    *,
    tables: bool,
    augment: bool | None = None,
    dask: str | None = None,
    runner: Runner | None = None,
    unit: str | None = None,
) -> int:
    """Write the instances of an image as OME-Zarr, block by block; gives how many there are.

    What is known of the blocks is kept beside `target` until it is complete, so the same call goes
    on after an interruption.

    Parameters
    ----------
    config : Config
        Of the model's training.
    checkpoint : Path
    pair : Pair
        The image; it has no labels.
    target : Path
        ``NAME.zarr``; what is there is replaced.
    device : Device
    notify : callable
    tables : bool
        Write the measurements as ``NAME_stats.csv`` as well.
    augment : bool, optional
        Average over mirrored and turned views; as configured by default.
    dask : str, optional
        Who works on the blocks.
    runner : Runner, optional
        They themselves, where they are there already.
    unit : str, optional
        Unit of the configured voxel size.

    Raises
    ------
    UserError
        When a key of the configuration needs whole images, or the prediction fails.
    """
    if config.DATA.PREPROCESS.TEST:
        raise UserError(
            f"{pair.image}: is too large for memory, and this model preprocesses whole images",
            "cut the image in parts, or train a model without DATA.PREPROCESS.TEST",
        )
    working = target.with_name(f".{target.stem}.blocks")
    tree = ResultsTree(make_folder(working), "image", 1)
    config = config.replaced(
        {
            "DATA.TEST.LOAD_GT": False,
            "DATA.TEST.USE_VAL_AS_TEST": False,
            "TEST.AUGMENTATION": config.TEST.AUGMENTATION if augment is None else augment,
            "TEST.FULL_IMG": False,
            "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": False,
            "PROBLEM.INSTANCE_SEG.DATA_CHECK_MW": False,
            f"{_POST}.APPLY_MASK": False,
            f"{_POST}.MEASURE_PROPERTIES.ENABLE": tables or config.TEST.POST_PROCESSING
            .MEASURE_PROPERTIES.ENABLE,
        }
    )  # fmt: skip
    run = ChunkRun(
        config,
        tree,
        device,
        notify,
        resume=True,
        dask=dask,
        pairs=[pair],
        runner=runner,
        weights=checkpoint,
        unit=unit,
    )
    run.run()
    if pair.name in run.failed:
        raise UserError(run.failed[pair.name])
    processed = run.finish.post.has_own_result
    folder = tree.post_processed() if processed else tree.instances()
    # The image comes last: what has one is done.
    if tables:
        table = tree.filtered_stats(pair.name) if processed else tree.full_stats(pair.name)
        _write_table(table, target.with_name(f"{target.stem}_stats.csv"))
    try:
        shutil.rmtree(target, ignore_errors=True)
        os.replace(folder / f"{pair.name}.zarr", target)
    except OSError as error:
        raise write_error(target, error) from error
    shutil.rmtree(working, ignore_errors=True)
    return run.finish.instances[pair.name]


def _write_table(source: Path, target: Path) -> None:
    """The measurements without what conditions say, which `singula predict` does not tell."""
    import pandas as pd

    from singula.io.write import write_csv

    write_csv(target, pd.read_csv(source).drop(columns=["comment", "conditions"]))
