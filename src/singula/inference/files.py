"""Prediction of image files with a loaded model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from singula.errors import UserError
from singula.inference.auto_scale import trained_sizes
from singula.inference.failures import FailureReport
from singula.inference.image_scales import is_resampling, scale_with_dask
from singula.inference.model import Model
from singula.inference.scale import Factors, Scale, factors_from_spacing
from singula.inference.slides import is_slide
from singula.inference.stages import (
    PredictionStages,
    PredictOptions,
    device_of,
)
from singula.inference.voxel_sizes import VoxelSizes
from singula.io.entries import check_openable, reader_path
from singula.io.image import check_spacing
from singula.io.output_folder import OutputFolder
from singula.io.pairing import Pair
from singula.io.run_lock import hold, output_locks
from singula.io.units import check_unit
from singula.pipeline.memory import available_memory
from singula.pipeline.overlap import Stages, finishing_threads, run_stages
from singula.util.arguments import flag, instance, integer, items, of_class, text
from singula.util.format import show
from singula.util.messages import messages_once
from singula.util.paths import user_path

if TYPE_CHECKING:
    from singula.blocks.runner import Runner

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]


def predict_files(
    model: Model,
    images: Sequence[Pair],
    output: Path,
    *,
    augment: bool | None,
    tables: bool,
    overlays: bool = False,
    resume: bool,
    dask: str | None = None,
    spacing: tuple[float, ...] | None = None,
    unit: str | None = None,
    scale: Scale = None,
    glass: bool = False,
    first: int = 1,
    total: int | None = None,
) -> dict[str, UserError]:
    """Predict images and write the instances as ``<name>.tif``.

    An image that does not fit into memory is predicted in blocks and written as ``<name>.zarr``.

    Parameters
    ----------
    model : Model
        Trained model.
    images : sequence of Pair
        Images from `plan_predictions`.
    output : Path or str
        Folder to write to, or URL of an object store (``s3://…``), to which the results of each
        image are uploaded as ``<name>.zarr``.
    augment : bool, optional
        Average over mirrored and rotated views; as configured by default.
    tables : bool
        Write the measurements as ``<name>_stats.csv``, too.
    overlays : bool
        Write the outlines of the instances over the image as ``<name>_overlay.png``, too.
    resume : bool
        Skip images whose instances have been written.
    dask : str, optional
        Dask cluster for the blocks, as for ``--dask``; with it, every image is predicted in blocks.
    spacing : tuple of float, optional
        Voxel size of the images, z first; it replaces the size in the configuration and in the
        files.
    unit : str, optional
        Unit of `spacing`.
    scale : float, sequence of float or "auto", optional
        Factor by which images are enlarged before prediction, for all axes or for each axis, z
        first. "auto": estimated for each image; all time points of a file have the same factor.
        Default: the ratio of `spacing` to the voxel size of the training images, if both
        are known and differ by more than 25 %. Instances are returned at the size of the image.
    glass : bool
        Predict the glass of whole slides, too.
    first : int
        Number of the first image in messages, if another model predicted images before.
    total : int, optional
        Number of the images of all models in messages. Default: that of `images`.

    Returns
    -------
    dict of str to UserError
        Errors of the images that failed, by the path of the file. They are also logged.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; `spacing` does not have one number for each axis of the model;
        ``predict.unit_alone``: `unit` without `spacing`; ``predict.scale``,
        ``predict.scale_resize``, ``predict.scale_unknown``: `scale` is not valid;
        ``predict.scale_dask``: `scale` with
        `dask`; ``run.locked``: another process writes to the folder.
    """
    model = instance(model, "model", Model)
    images = items(images, "images", of_class(Pair))
    output = user_path(output, "output")
    augment = None if augment is None else flag(augment, "augment")
    tables, resume = flag(tables, "tables"), flag(resume, "resume")
    overlays = flag(overlays, "overlays")
    glass = flag(glass, "glass")
    first = integer(first, "first", at_least=1)
    count = len(images) if total is None else integer(total, "total", at_least=0)
    dask = None if dask is None else text(dask, "dask")
    unit = None if unit is None else text(unit, "unit")
    if spacing is not None:
        spacing = check_spacing(spacing, model.ndim, "--spacing")
    elif unit is not None:
        raise UserError(
            f"--unit: got {unit!r} without --spacing, expected both",
            "give the voxel size with --spacing, or omit --unit",
            "predict.unit_alone",
        )
    unit = check_unit(unit, "--unit")
    factors = _factors(model, scale, spacing, unit)
    stored = [pair.image for pair in images if not is_slide(pair.image)]
    if factors is not None and is_resampling(factors) and dask is not None and stored:
        raise scale_with_dask(dask, factors, stored[0])
    resampled = isinstance(factors, tuple) and is_resampling(factors)
    sizes = VoxelSizes(spacing, unit, resampled=resampled)
    folder = OutputFolder(output)
    folder.check()
    locks = hold(output_locks(folder.local), "predict")
    with locks, messages_once(), _workers(model, dask) as runner:
        options = PredictOptions(
            augment, tables, overlays, resume, dask, runner, sizes, factors, glass
        )
        inputs = frozenset(pair.image.resolve() for pair in images)
        stages = PredictionStages(model, folder, count, options, inputs)
        return _predict_all(stages, images, first)


def _factors(
    model: Model, scale: Scale, spacing: tuple[float, ...] | None, unit: str | None
) -> Factors | Literal["auto"] | None:
    """Return the factors of `scale`, or else of the voxel sizes; None without resampling."""
    if scale is None and spacing is not None and model.reader.common is None:
        scale = factors_from_spacing(spacing, unit, model.objects)
        if scale is not None:
            _log.info(
                f"--spacing: images are resampled by {show(scale)} to the voxel size of the "
                "training images; --scale 1 prevents this"
            )
    factors = model.factors(scale)
    if factors == "auto":
        trained_sizes(model.objects)
    if factors is None and scale is not None:
        return (1.0,) * model.ndim  # neither to the common voxel size, nor a coarse level
    return factors


def _predict_all(
    prediction: PredictionStages, images: Sequence[Pair], first: int
) -> dict[str, UserError]:
    """Predict images, log the errors of images that failed, and return the errors.

    While the network predicts an image in memory, threads read the next one and finish the previous
    one. Images in blocks are predicted alone, and their messages appear at once.
    """
    config = prediction.model.config
    memory = available_memory(config)
    stages = Stages(
        prediction.read, prediction.predict, prediction.finish, lambda task: task.needed
    )
    workers = finishing_threads(config, prediction.model.predictor.device.type)
    report = FailureReport()
    tasks = (prediction.task(number, pair, memory) for number, pair in enumerate(images, first))
    for in_blocks, group in groupby(tasks, lambda task: task.in_blocks):
        outcomes = run_stages(group, stages, workers=0 if in_blocks else workers, memory=memory)
        with closing(outcomes):
            for task, error in ((outcome.item, outcome.error) for outcome in outcomes):
                if error is not None:
                    report.add(task.pair.image, error, name=task.full_name, step=task.step)
    return report.errors


def _workers(model: Model, dask: str | None) -> AbstractContextManager[Runner | None]:
    """Return the workers of ``--dask``, which serve all images; None without the option."""
    if dask is None:
        return nullcontext()
    from singula.pipeline.blocks.test import runner_for

    return runner_for(dask, model.config, device_of(model))


def _images_of(folder: Path) -> list[Path]:
    """Return the images of a folder without label images, such as `cell1_mask.tif`."""
    from singula.io.list_images import list_images
    from singula.io.pairing import has_label_word, match_files

    files = list_images(folder, "IMAGES")
    images = [path for path in files if not has_label_word(path)]
    labels = {pair.label for pair in match_files(images, [p for p in files if p not in images])[0]}
    return [path for path in files if path not in labels]


def gather_images(paths: Sequence[Path]) -> list[Path]:
    """List files and the images of folders in natural order, without label images of the folders.

    Parameters
    ----------
    paths : sequence of Path or str
        Image files and folders.

    Returns
    -------
    list of Path
        Image files.

    Raises
    ------
    TypeError, UserError
        An argument is not a path; ``paths.missing``: a path does not exist; a folder has no images.
    """
    files: list[Path] = []
    for path in items(paths, "paths", reader_path):
        check_openable(path)
        if not path.exists():
            raise UserError(
                f"{path}: does not exist, expected a file or folder",
                "correct the path or URL",
                "paths.missing",
            )
        files += _images_of(path) if path.is_dir() else [path]
    return files
