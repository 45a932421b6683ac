"""Stages of the prediction of an image file: read, predict, and write the instances."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from singula.config import Config
from singula.errors import UserError
from singula.inference.check_image import check_image
from singula.inference.image_scales import (
    ImageScales,
    read_for,
    with_shown_color,
)
from singula.inference.model import Model
from singula.inference.outputs import TABLE_SUFFIX, Outputs, complete_outputs
from singula.inference.scale import Factors
from singula.inference.slides import (
    BLOCK,
    GEOJSON_SUFFIX,
    describe_slide,
    is_slide,
    slide_pair,
    slide_spacing,
    write_slide_results,
)
from singula.inference.voxel_sizes import VoxelSizes
from singula.io.formats.table import stem_of
from singula.io.image import Image, resized_spacing
from singula.io.lazy_array import constant_image_notices
from singula.io.output_folder import OutputFolder
from singula.io.pairing import Pair
from singula.io.write import write_tiff
from singula.io.write_zarr import write_zarr_labels
from singula.labels import count_instances, with_class_channel
from singula.metrics import overlap, winning_classes
from singula.pipeline import from_config
from singula.pipeline.ensemble import Member
from singula.pipeline.normalization import with_statistics
from singula.pipeline.score import AXES
from singula.report.overlay import OVERLAY_SUFFIX
from singula.runs.instances import Instances
from singula.training.checkpoint import load_checkpoint
from singula.util.format import counted
from singula.util.messages import captured_messages, is_new

if TYPE_CHECKING:
    from singula.blocks.runner import Runner
    from singula.training.device import Device

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
# Image and its maps; the number of instances of an image in blocks; None for a finished image
Predicted = tuple[Image, dict[str, Array]] | int | None


@dataclass(frozen=True)
class PredictOptions:
    """Options of `predict_files`, the workers of ``--dask``, and the voxel size.

    Parameters
    ----------
    augment, tables, overlays, resume, dask
        As for `predict_files`.
    runner : Runner, optional
        Workers of ``--dask``.
    sizes : VoxelSizes
        Voxel size of ``--spacing`` and ``--unit``.
    factors : tuple of float or "auto", optional
        Factor of each axis by which images are enlarged before prediction.
    glass : bool
        Predict the glass of whole slides, too.
    """

    augment: bool | None
    tables: bool
    overlays: bool
    resume: bool
    dask: str | None
    runner: Runner | None
    sizes: VoxelSizes
    factors: Factors | Literal["auto"] | None = None
    glass: bool = False

    @property
    def outputs(self) -> Outputs:
        """Files to write next to label images."""
        return Outputs(self.tables, self.overlays)


@dataclass(frozen=True)
class PredictTask:
    """An image to predict.

    Parameters
    ----------
    pair : Pair
        Image without labels.
    number, count : int
        Number of the image, from 1, and of all images.
    title : str
        File name, with the name of the result if the file has several images.
    needed : int
        Bytes to predict the image in memory; 0 if its header cannot be read.
    in_blocks : bool
        True if the image is predicted in blocks.
    is_finished : bool
        True if the results were written before, and are kept.
    """

    pair: Pair
    number: int
    count: int
    title: str
    needed: int
    in_blocks: bool
    is_finished: bool

    @property
    def step(self) -> str:
        """Beginning of the messages about the image."""
        return f"[{self.number}/{self.count}] {self.title}"

    @property
    def full_name(self) -> str:
        """Path of the file, with the name of the result if the file has several images."""
        path, name = self.pair.image, self.pair.name
        return str(path) if name == stem_of(path) else f"{path} ({name})"


@dataclass(frozen=True)
class PredictionStages:
    """Stages of the prediction of an image file, which run in different threads.

    Parameters
    ----------
    model : Model
        Trained model.
    output : OutputFolder
        Folder of the results.
    count : int
        Number of images.
    options : PredictOptions
        Options of the prediction.
    inputs : frozenset of Path
        Resolved paths of the images, which are never removed.
    """

    model: Model
    output: OutputFolder
    count: int
    options: PredictOptions
    inputs: frozenset[Path] = frozenset()

    @cached_property
    def _scales(self) -> ImageScales:
        return ImageScales(self.model, self.options.factors, self.options.sizes)

    def task(self, number: int, pair: Pair, memory: int) -> PredictTask:
        """Return the task of an image, of which the header is read."""
        title = pair.image.name
        if pair.name != stem_of(pair.image):
            title += f" ({pair.name})"
        is_finished, needed = self.options.resume and self._result(pair) is not None, 0
        if not is_finished or self._missing(pair):
            # An error is raised again, and reported, when the image is read.
            with suppress(UserError):
                pair = self._resolved(pair)
                needed = self._scales.needed_memory(pair, memory)
        in_blocks = self.options.dask is not None or needed > memory or is_slide(pair.image)
        if in_blocks and not is_finished:
            with suppress(UserError):
                pair = with_shown_color(self.model, pair)
        return PredictTask(pair, number, self.count, title, needed, in_blocks, is_finished)

    def read(self, task: PredictTask) -> Image | None:
        """Verify and read an image; return None for an image in blocks or a finished one."""
        pair, model = task.pair, self.model
        if task.is_finished:
            return None
        if is_slide(pair.image):
            pair = self._resolved(pair)
        if task.in_blocks:
            pair = with_shown_color(model, pair)
            if not is_slide(pair.image):
                self._scales.check_in_blocks(pair, task.needed, self.options.dask, task.step)
        for note in check_image(model, pair, self._sizes(pair)):
            if is_new(note):
                _log.warning(f"{task.step}: {note}")
        if task.in_blocks:
            return None
        image = read_for(model, pair)
        for line in constant_image_notices(pair.image, image.array):
            _log.warning(line)
        return image

    def predict(self, task: PredictTask, read: Callable[[], Image | None]) -> Predicted:
        """Predict the maps of an image, or its instances in blocks."""
        image = read()
        if image is not None:
            factors = self._scales.of(task.pair, image, task.step)
            augment = self.options.augment
            return image, self.model.predict_maps(image.array, augment=augment, scale=factors)
        if task.is_finished:
            return None
        target = self._large(task.pair)
        _log.info(f"{task.step}: in blocks, to {target.name}")
        if is_slide(task.pair.image):
            _log.info(f"  {describe_slide(task.pair)}")
        return self._predict_blocks(task.pair, target)

    def finish(self, task: PredictTask, predicted: Predicted) -> None:
        """Decode an image in memory and write its results; report the number of instances."""
        if predicted is None:
            self._complete(task)
            return
        target, other = self._target(task.pair), self._large(task.pair)
        if isinstance(predicted, int):
            count, target, other = predicted, other, target
        else:
            self._remove_earlier(task.pair)
            count = _write_instances(self.model, *predicted, target, self.options)
        self._publish(task.pair)
        _log.info(f"{task.step}: {counted(count, 'instance')}")
        if other.exists():  # it may be the only copy of another result
            _log.warning(f"  {other} is the result of an earlier prediction")

    def _complete(self, task: PredictTask) -> None:
        """Write missing files of an image that was predicted before."""
        pair, outputs = task.pair, self._missing(task.pair)
        target = self._result(pair)
        names: list[str] = []
        if target is not None and outputs is not None:
            complete_outputs(self.model, pair, target, self._target(pair), outputs)
            names = outputs.names(target)
        if target is not None and target.parent == self.output.local:
            self._publish(pair)
        else:
            self.output.publish("", names)
        wrote = f"; wrote {', '.join(names)}" if names else ""
        _log.info(f"{task.step}: done already{wrote}")

    def _publish(self, pair: Pair) -> None:
        """Move the results of an image to the object store, if the output folder is in one."""
        ends = (TABLE_SUFFIX, OVERLAY_SUFFIX, GEOJSON_SUFFIX)
        self.output.publish(f"{pair.name}.zarr", [f"{pair.name}{end}" for end in ends])

    def _result(self, pair: Pair) -> Path | None:
        """Return the label image of an earlier prediction; None if there is none."""
        published = self.output.published(f"{pair.name}.zarr")
        if published is not None:
            return published
        target, large = self._target(pair), self._large(pair)
        if target.is_file():
            return target
        if not large.is_dir():
            return None
        from singula.pipeline.blocks.predict_file import work_folder

        # With the records of blocks, a prediction that replaces the label image was interrupted.
        return None if work_folder(large).is_dir() else large

    def _missing(self, pair: Pair) -> Outputs | None:
        """Return the files that are missing next to an earlier label image; None if complete."""
        target = self._result(pair)
        missing = None if target is None else self.options.outputs.missing(target)
        return missing if missing is not None and (missing.table or missing.overlay) else None

    def _remove_earlier(self, pair: Pair) -> None:
        """Remove the table and the picture of an earlier label image, but no input."""
        target, large = self._target(pair), self._large(pair)
        is_replaced = target.is_file() or large.is_dir()
        self.options.outputs.remove_earlier(target, self.inputs, all_files=is_replaced)

    def _predict_blocks(self, pair: Pair, target: Path) -> int:
        """Predict an image in blocks, and return the number of instances."""
        options, outputs = self.options, self.options.outputs

        def finish(labels: Path, table: Path | None) -> None:
            self._remove_earlier(pair)
            written = outputs
            if is_slide(pair.image):
                write_slide_results(pair, target, labels, table)
                written = replace(outputs, table=False)
            written.write_of_blocks(target, self.model, pair, labels, table)

        return _predict_blocks(self.model, pair, target, options, self._sizes(pair), finish)

    def _resolved(self, pair: Pair) -> Pair:
        """Return an image with the resolution at which it is read, if it is a slide."""
        options = self.options
        if not is_slide(pair.image):
            return pair
        return slide_pair(
            self.model, pair, options.sizes.spacing, options.sizes.unit, options.factors,
            glass=options.glass,
        )  # fmt: skip

    def _sizes(self, pair: Pair) -> VoxelSizes:
        """Return the voxel size of an image; that of a slide refers to the resolution read."""
        sizes = self.options.sizes
        if not is_slide(pair.image):
            return sizes
        return VoxelSizes(*slide_spacing(pair, sizes.spacing, sizes.unit), resampled=True)

    def _target(self, pair: Pair) -> Path:
        # Readers of object stores need Zarr.
        return self.output.local / f"{pair.name}{'.zarr' if self.output.is_remote else '.tif'}"

    def _large(self, pair: Pair) -> Path:
        return self.output.local / f"{pair.name}.zarr"


def _predict_blocks(
    model: Model,
    pair: Pair,
    target: Path,
    options: PredictOptions,
    sizes: VoxelSizes,
    finish: Callable[[Path, Path | None], None],
) -> int:
    from singula.pipeline.blocks.predict_file import predict_alone

    if model.checkpoint is None:
        raise _no_file(pair.image)
    config = _as_stored(model.config)
    others = [_member(other) for other in model.others]
    others = [replace(member, config=_as_stored(member.config)) for member in others]
    if is_slide(pair.image):
        if not config.TEST.BY_CHUNKS.BLOCK_SHAPE:
            config = config.replaced({"TEST.BY_CHUNKS.BLOCK_SHAPE": BLOCK})
        if model.reader.common is not None:  # the size of the stored images of the training
            config = config.replaced({"DATA.TEST.RESOLUTION": Config().DATA.TEST.RESOLUTION})
    if sizes.spacing is not None:
        config = config.replaced({"DATA.TEST.RESOLUTION": sizes.spacing})
    return predict_alone(
        config, model.checkpoint, pair, target, device_of(model),
        tables=options.tables, augment=options.augment, dask=options.dask, runner=options.runner,
        unit=sizes.unit, others=others, finish=finish,
    )  # fmt: skip


def _as_stored(config: Config) -> Config:
    """Return a configuration for images that are not resampled, or were when they were read."""
    defaults, of_training = Config().DATA, from_config.spacing(config, "TRAIN")
    return config.replaced(
        {
            "DATA.PREPROCESS.SPACING": defaults.PREPROCESS.SPACING,
            "DATA.TRAIN.RESOLUTION": of_training or defaults.TRAIN.RESOLUTION,
        }
    )


def _no_file(name: object) -> UserError:
    return UserError(
        f"{name}: got a model without a file, expected a checkpoint for other processes",
        "load the model with singula.load",
        "model.no_file",
    )


def _member(model: Model) -> Member:
    """Return a model of an ensemble for other processes, which load it from its file."""
    if model.checkpoint is None:
        raise _no_file("model of an ensemble")
    with captured_messages():  # `load` returned them
        checkpoint = with_statistics(model.config, load_checkpoint(model.checkpoint))
    return Member(model.config, checkpoint)


def _write_instances(
    model: Model, image: Image, maps: dict[str, Array], target: Path, options: PredictOptions
) -> int:
    """Decode maps, write the instances and their measurements, and return their number."""
    map_shape = next(iter(maps.values())).shape
    is_resized = model.reader.steps is not None and model.reader.steps.resize is not None
    resampled = not is_resized and map_shape != image.spatial_shape
    sizes = replace(options.sizes, resampled=resampled)
    given = sizes.of(model, image.spatial_shape)
    if given is not None:
        image = image.with_spacing(given, options.sizes.unit)
    of_maps = image.spacing
    if of_maps is not None:
        of_maps = resized_spacing(of_maps, image.spatial_shape, map_shape)
    # Morphology is in pixels unless the user gave the voxel size.
    labels, _ = model.instances(maps, spacing=None if given is None else of_maps, of_file=of_maps)
    confidence = model.confidence(labels, maps) if options.tables else None
    labels = model.restore(labels, image.spatial_shape)
    stored, axes, class_image = labels, AXES[labels.ndim], None
    if "class" in maps:
        class_image = model.restore(maps["class"], image.spatial_shape)
        stored = with_class_channel(labels, *winning_classes(overlap(labels, class_image)))
        axes += "C"
    # Files that are missing next to the label image are added by --resume.
    if target.suffix == ".zarr":
        write_zarr_labels(target, stored, labels.ndim, image.spacing, image.unit)
    else:
        write_tiff(target, stored, axes, image.spacing, image.unit)
    item = Instances(
        target.stem, labels, class_image, image.spacing, image.unit, image=image.array,
        confidence=confidence,
    )  # fmt: skip
    options.outputs.write(target, item)
    return count_instances(labels)


def device_of(model: Model) -> Device:
    """Return the device of a model, for the workers of blocks."""
    from singula.training.device import Device

    device = model.predictor.device
    return Device(device.type, () if device.index is None else (device.index,))
