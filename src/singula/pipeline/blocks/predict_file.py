"""Prediction of one large image, block by block, without a configuration file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from singula.blocks.runner import Runner
from singula.config import Config
from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.io.pairing import Pair
from singula.io.replace import replace_path
from singula.io.run_folder import ResultsTree
from singula.pipeline.blocks.test import BlockTest
from singula.pipeline.ensemble import Member
from singula.training.device import Device

_POST = "TEST.POST_PROCESSING"


def predict_alone(
    config: Config,
    checkpoint: Path,
    pair: Pair,
    target: Path,
    device: Device,
    *,
    tables: bool,
    others: Sequence[Member] = (),
    augment: bool | None = None,
    dask: str | None = None,
    runner: Runner | None = None,
    unit: str | None = None,
    finish: Callable[[Path, Path | None], None],
) -> int:
    """Write the instances of an image as OME-Zarr, block by block, and return their number.

    The records of the blocks are stored next to `target` until it is complete. After an
    interruption, the same call continues with the remaining blocks.

    Parameters
    ----------
    config : Config
        Configuration with which the model was trained.
    checkpoint : Path
        File of the weights.
    pair : Pair
        The image file, without labels.
    target : Path
        ``NAME.zarr``; an existing folder is replaced.
    device : Device
        Device of the network.
    tables : bool
        Measure the instances.
    others : sequence of Member
        Other models, whose maps are averaged with those of `checkpoint`.
    augment : bool, optional
        Use test-time augmentation. Default: as configured.
    dask : str, optional
        Dask workers that process the blocks, as for ``--dask``.
    runner : Runner, optional
        Runner to use if the workers of `dask` have already started.
    unit : str, optional
        Unit of the configured voxel size.
    finish : callable
        Function of the complete label image and its table (None without `tables`), which is called
        before the label image is moved to `target`.

    Returns
    -------
    int
        Number of instances.

    Raises
    ------
    UserError
        ``chunks.preprocessing``: the model preprocesses whole images. ``chunks.failed``: the
        prediction fails.
    """
    configs = [config, *(member.config for member in others)]
    if any(each.DATA.PREPROCESS.TEST or each.DATA.PREPROCESS.SPACING for each in configs):
        raise UserError(
            f"{pair.image}: got an image larger than the memory, expected a smaller one "
            "(this model preprocesses whole images)",
            "divide the image into parts, or train a model without DATA.PREPROCESS.TEST and "
            "DATA.PREPROCESS.SPACING",
            "chunks.preprocessing",
        )
    folder = work_folder(target)
    tree = ResultsTree(make_folder(folder), "image", 1)
    config = config.replaced(
        {
            "DATA.TEST.LOAD_GT": False,
            "DATA.TEST.USE_VAL_AS_TEST": False,
            "TEST.AUGMENTATION": config.TEST.AUGMENTATION if augment is None else augment,
            "TEST.FULL_IMG": False,
            "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": False,
            "PROBLEM.INSTANCE_SEG.DATA_CHECK_MW": False,
            "TEST.BY_CHUNKS.WORKFLOW_PROCESS.ENABLE": True,
            "TEST.BY_CHUNKS.SAVE_OUT_TIF": False,
            "TEST.BY_CHUNKS.FORMAT": "Zarr",
            f"{_POST}.APPLY_MASK": False,
            f"{_POST}.MEASURE_PROPERTIES.ENABLE": tables or config.TEST.POST_PROCESSING
            .MEASURE_PROPERTIES.ENABLE,
        }
    )  # fmt: skip
    if augment is not None:
        view = {"TEST.AUGMENTATION": augment}
        others = [replace(m, config=m.config.replaced(view)) for m in others]
    run = BlockTest(
        config,
        tree,
        device,
        resume=True,
        dask=dask,
        pairs=[pair],
        runner=runner,
        weights=checkpoint,
        others=tuple(others),
        unit=unit,
        additional_columns=tables,
    )
    run.run()
    if pair.name in run.failed:
        raise UserError(run.failed[pair.name], None, "chunks.failed")
    processed = run.results.post.has_own_result
    labels = (tree.post_processed() if processed else tree.instances()) / f"{pair.name}.zarr"
    # Move the image last: `singula predict` skips images whose instances exist.
    table = tree.filtered_stats(pair.name) if processed else tree.full_stats(pair.name)
    finish(labels, table if tables else None)
    try:
        shutil.rmtree(target, ignore_errors=True)
        replace_path(labels, target)
    except OSError as error:
        raise write_error(target, error) from error
    shutil.rmtree(folder, ignore_errors=True)
    return run.results.instances[pair.name]


def work_folder(target: Path) -> Path:
    """Return the folder with the records of the blocks, which exists until `target` is complete."""
    return target.with_name(f".{target.stem}.blocks")
