"""Prediction of image files with a loaded model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from singula.errors import StorageError, UserError, refuse_if_out_of_memory
from singula.inference.model import Model
from singula.io.axes import TIME_POINTS
from singula.io.entries import check_openable, reader_path
from singula.io.formats.table import stem_of
from singula.io.geometry import geometry
from singula.io.image import check_spacing, resized_spacing
from singula.io.lazy_array import constant_image_notices
from singula.io.pairing import Pair
from singula.io.read import file_notes, image_layout, read_header, read_image
from singula.io.run_lock import hold, output_locks
from singula.io.units import check_unit, replaced_size
from singula.io.write import write_csv, write_tiff
from singula.labels import count_instances, with_class_channel
from singula.metrics import overlap, winning_classes
from singula.pipeline import from_config
from singula.pipeline.memory import available_memory, needed_memory
from singula.pipeline.results import with_classes
from singula.pipeline.score import AXES
from singula.util.arguments import flag, instance, items, of_class, text
from singula.util.format import counted
from singula.util.messages import is_new, messages_once
from singula.util.paths import user_path

if TYPE_CHECKING:
    from singula.blocks.runner import Runner
    from singula.training.device import Device

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]


def predict_files(
    model: Model,
    images: Sequence[Pair],
    output: Path,
    *,
    augment: bool | None,
    tables: bool,
    resume: bool,
    dask: str | None = None,
    spacing: tuple[float, ...] | None = None,
    unit: str | None = None,
) -> dict[str, str]:
    """Predict images and write the instances as ``<name>.tif``.

    An image that does not fit into memory is predicted in blocks and written as ``<name>.zarr``.

    Parameters
    ----------
    model : Model
        Trained model.
    images : sequence of Pair
        Images from `plan_predictions`.
    output : Path or str
        Folder to write to.
    augment : bool, optional
        Average over mirrored and rotated views; as configured by default.
    tables : bool
        Write the measurements as ``<name>_stats.csv``, too.
    resume : bool
        Skip images whose instances have been written.
    dask : str, optional
        Dask cluster for the blocks, as for ``--dask``; with it, every image is predicted in blocks.
    spacing : tuple of float, optional
        Voxel size of the images, z first; it replaces the size in the configuration and in the
        files.
    unit : str, optional
        Unit of `spacing`.

    Returns
    -------
    dict
        Messages of the images that failed, by name.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; `spacing` does not have one number for each axis of the model;
        ``predict.unit_alone``: `unit` without `spacing`; ``run.locked``: another process writes to
        the folder.
    """
    model = instance(model, "model", Model)
    images = items(images, "images", of_class(Pair))
    output = user_path(output, "output")
    augment = None if augment is None else flag(augment, "augment")
    tables, resume = flag(tables, "tables"), flag(resume, "resume")
    dask = None if dask is None else text(dask, "dask")
    unit = None if unit is None else text(unit, "unit")
    failed: dict[str, str] = {}
    if spacing is not None:
        spacing = check_spacing(spacing, model.ndim, "spacing (--spacing)")
    elif unit is not None:
        raise UserError(
            f"--unit: got {unit!r} without --spacing, expected both",
            "give the voxel size with --spacing, or omit --unit",
            "predict.unit_alone",
        )
    sizes = _Sizes(spacing, check_unit(unit, "--unit"))
    locks = hold(output_locks(output), "predict")
    with locks, messages_once(), _workers(model, dask) as runner:
        for number, pair in enumerate(images, 1):
            target = output / f"{pair.name}.tif"
            large = target.with_name(f"{pair.name}.zarr")
            is_part = pair.name != stem_of(pair.image)
            title = f"{pair.image.name} ({pair.name})" if is_part else pair.image.name
            step = f"[{number}/{len(images)}] {title}"
            if resume and (target.is_file() or large.is_dir()):
                _log.info(f"{step}: done already")
                continue
            try:
                with refuse_if_out_of_memory():
                    for note in _check(model, pair, sizes):
                        if is_new(note):
                            _log.warning(f"{step}: {note}")
                    in_memory = dask is None and _fits(model, pair)
                    if in_memory:
                        count = _predict_file(
                            model, pair, target, augment=augment, tables=tables, sizes=sizes
                        )
                    else:
                        _log.info(f"{step}: in blocks, to {large.name}")
                        count = _predict_blocks(
                            model, pair, large,
                            augment=augment, tables=tables, dask=dask, runner=runner, sizes=sizes,
                        )  # fmt: skip
                    _log.info(f"{step}: {counted(count, 'instance')}")
                    other = large if in_memory else target
                    if other.exists():  # it may be the only copy of another result
                        _log.warning(f"  {other} is the result of an earlier prediction")
            except StorageError:
                raise
            except UserError as error:
                name = f"{pair.image} ({pair.name})" if is_part else str(pair.image)
                failed[name] = str(error)
                _log.warning(f"[{number}/{len(images)}] {title}: FAILED: {failed[name]}")
    return failed


def _workers(model: Model, dask: str | None) -> AbstractContextManager[Runner | None]:
    """Return the workers of ``--dask``, which serve all images; None without the option."""
    if dask is None:
        return nullcontext()
    from singula.pipeline.blocks.test import runner_for

    return runner_for(dask, model.config, _device(model))


def _device(model: Model) -> Device:
    from singula.training.device import Device

    device = model.predictor.device
    return Device(device.type, () if device.index is None else (device.index,))


@dataclass(frozen=True)
class _Sizes:
    """Voxel size of the options ``--spacing`` and ``--unit``.

    Parameters
    ----------
    spacing : tuple of float, optional
        Voxel size of the stored images, z first.
    unit : str, optional
        Unit of the voxel size.
    """

    spacing: tuple[float, ...] | None
    unit: str | None

    def of(self, model: Model, shape: tuple[int, ...]) -> tuple[float, ...] | None:
        """Return the voxel size of an image: from the option, or else from the model.

        The voxel size of the model refers to preprocessed images.

        Parameters
        ----------
        model : Model
            Trained model.
        shape : tuple of int
            Spatial shape of the stored image, in pixels.
        """
        configured = from_config.spacing(model.config, "TEST", model.ndim)
        if self.spacing is not None or configured is None:
            return self.spacing
        steps = model.reader.steps
        if steps is None or steps.resize is None:
            return configured
        return resized_spacing(configured, steps.resize.shape, shape)


def _check(model: Model, pair: Pair, sizes: _Sizes) -> list[str]:
    """Verify that an image matches the model, and return the notes on its file.

    Raises
    ------
    UserError
        ``predict.image_shape``: the dimensions or channels differ.
    """
    path, channels, gray = pair.image, model.config.in_channels, model.reader.gray
    header = read_header(path, pair.arrays)
    try:
        layout = image_layout(path, header, model.ndim, channels, allow_gray=gray)
    except UserError as error:
        if error.code == TIME_POINTS:
            raise
        axes, allowed = model.axes, counted(channels, "channel")
        raise UserError(
            f"{path}: got {header}, expected an image ({axes}) with "
            f"{allowed}{' or one channel' if gray else ''} for this model",
            "give images like the training images, or a model for such images; correct wrong axes "
            "of a TIFF in Fiji: Image > Properties…, then save",
            "predict.image_shape",
        ) from error
    given = sizes.of(model, layout.spatial_shape)
    notes = file_notes(header, layout, sized=given is not None)
    if given is not None:
        option = "--spacing" if sizes.spacing is not None else "DATA.TEST.RESOLUTION of the model"
        line = replaced_size(option, given, *geometry(header, model.ndim), sizes.unit)
        if line is not None and sizes.spacing is None:
            line += "; set --spacing to use another size"
        notes += [line] if line else []
    return notes


def _fits(model: Model, pair: Pair) -> bool:
    """Return True if the memory suffices to predict the whole image at once."""
    return needed_memory(model.config, model.reader, pair) <= available_memory(model.config)


def _predict_blocks(
    model: Model,
    pair: Pair,
    target: Path,
    *,
    augment: bool | None,
    tables: bool,
    dask: str | None,
    runner: Runner | None,
    sizes: _Sizes,
) -> int:
    from singula.pipeline.blocks.predict_file import predict_alone

    if model.checkpoint is None:
        raise UserError(
            f"{pair.image}: got a model without a file, expected a checkpoint for other processes",
            "load the model with singula.load",
            "model.no_file",
        )
    config = model.config
    if sizes.spacing is not None:
        config = config.replaced({"DATA.TEST.RESOLUTION": sizes.spacing})
    return predict_alone(
        config, model.checkpoint, pair, target, _device(model),
        tables=tables, augment=augment, dask=dask, runner=runner, unit=sizes.unit,
    )  # fmt: skip


def _predict_file(
    model: Model,
    pair: Pair,
    target: Path,
    *,
    augment: bool | None,
    tables: bool,
    sizes: _Sizes,
) -> int:
    from singula.measure import additional_columns, measure_instances

    channels, gray = model.config.in_channels, model.reader.gray
    image = read_image(pair.image, model.ndim, channels, allow_gray=gray, arrays=pair.arrays)
    for line in constant_image_notices(pair.image, image.array):
        _log.warning(line)
    maps = model.predict_maps(image.array, augment=augment)
    given = sizes.of(model, image.spatial_shape)
    if given is not None:
        image = image.with_spacing(given, sizes.unit)
    of_maps = image.spacing
    if of_maps is not None:
        shape = next(iter(maps.values())).shape
        of_maps = resized_spacing(of_maps, image.spatial_shape, shape)
    # Morphology is in pixels unless the user gave the voxel size.
    labels, _ = model.instances(maps, spacing=None if given is None else of_maps, of_file=of_maps)
    labels = model.restore(labels, image.spatial_shape)
    stored, axes, classes = labels, AXES[labels.ndim], None
    if "class" in maps:
        votes = overlap(labels, model.restore(maps["class"], image.spatial_shape))
        classes = winning_classes(votes)
        stored, axes = with_class_channel(labels, *classes), axes + "C"
    if tables:
        table = measure_instances(labels, spacing=image.spacing)
        columns = additional_columns(labels, image.array, spacing=image.spacing)
        table = table.assign(**columns)
        if classes is not None:
            table = with_classes(table, *classes)
        write_csv(target.with_name(f"{target.stem}_stats.csv"), table)
    write_tiff(target, stored, axes, image.spacing, image.unit)
    return count_instances(labels)


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
                "correct the path",
                "paths.missing",
            )
        files += _images_of(path) if path.is_dir() else [path]
    return files
