"""Estimate of the patches, tiles, memory, disk space and time of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from singula.config import Config
from singula.data.patches import TilePlan, training_starts
from singula.dataset.checks import Inspection
from singula.errors import UserError
from singula.io.pairing import Pair
from singula.io.read import read_header
from singula.pipeline import from_config
from singula.pipeline.blocks.estimate import BlockWork, block_lines, count_blocks
from singula.pipeline.memory import whole_image_bytes
from singula.pipeline.patches import are_tiles_of, scored_patches
from singula.pipeline.readers import reader_for
from singula.pipeline.split import split_pairs
from singula.representations.channel_table import CHANNELS
from singula.training.speed import TrainingSpeed
from singula.util.format import counted, shape_text

if TYPE_CHECKING:
    from singula.pipeline.timing import Timing

# Ratio of whole runs to their estimates, at most; see docs/check.md
FACTOR = 2.0
# Time of an image in blocks relative to its time in memory (see docs/check.md): decoding with halo,
# tables and pyramids of filled and of empty pixels, and prediction relative to forward passes
_IN_BLOCKS, _EMPTY, _PREDICTION = 15.0, 3.0, 1.4
# Weights and two moments of the optimizer, in float32
_CHECKPOINT_BYTES = 12


@dataclass(frozen=True)
class Work:
    """Amount of work of a run, counted from headers.

    Parameters
    ----------
    patches, val_patches : int
        Number of training and validation patches per epoch.
    steps : int
        Number of training batches per epoch.
    images : int
        Number of images to predict.
    tiles : int
        Number of tiles of all images.
    tile_pixels : int
        Number of pixels of all tiles.
    tile : tuple of int
        Most frequent spatial shape of a tile.
    tile_batch : int
        Number of tiles per forward pass.
    stored : int
        Bytes on disk of the encoded channels next to the labels.
    in_memory : int
        Bytes of images and labels kept in memory.
    max_image_memory : int
        Bytes of memory to predict and decode the largest test image.
    results : int
        Bytes on disk of maps and instances in the results folder.
    blocks : tuple of BlockWork
        Estimated work for each test image in blocks.
    """

    patches: int = 0
    val_patches: int = 0
    steps: int = 0
    images: int = 0
    tiles: int = 0
    tile_pixels: int = 0
    tile: tuple[int, ...] = ()
    tile_batch: int = 1
    stored: int = 0
    in_memory: int = 0
    max_image_memory: int = 0
    results: int = 0
    blocks: tuple[BlockWork, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """Estimated time, memory and disk space of a run.

    Parameters
    ----------
    work : Work
        Amount of work.
    timing : Timing, optional
        Measured times. None: only counts are estimated.
    device : str
        Name of the processor of the measurement.
    epochs : int
        Number of epochs.
    augment : int
        Number of views of the test-time augmentation.
    workers : int
        Number of processes that prepare patches; 0: the training process prepares them.
    """

    work: Work
    timing: Timing | None
    device: str = ""
    epochs: int = 0
    augment: int = 1
    workers: int = 0

    @property
    def training_seconds(self) -> float:
        """Estimated seconds of all epochs."""
        if self.timing is None:
            return 0.0
        batch = max(1, ceil(self.work.patches / max(1, self.work.steps)))
        timing = self.timing
        speed = TrainingSpeed(
            timing.step, timing.validation, timing.draw, timing.epoch, self.workers
        )
        validation = ceil(self.work.val_patches / batch)
        return self.epochs * speed.epoch_seconds(self.work.steps, validation)

    @property
    def prediction_seconds(self) -> float:
        """Estimated seconds of the network for all test images."""
        if self.timing is None or not self.work.tile:
            return 0.0
        batch_pixels = prod(self.work.tile) * self.work.tile_batch
        seconds = self.augment * self.timing.tile * self.work.tile_pixels / batch_pixels
        return seconds * (_PREDICTION if self.work.blocks else 1)

    @property
    def decoding_seconds(self) -> float:
        """Estimated seconds of all steps after the network, for images in blocks."""
        if self.timing is None:
            return 0.0
        filled = sum(image.filled_pixels for image in self.work.blocks)
        empty = sum(prod(image.shape) for image in self.work.blocks) - filled
        return self.timing.decoding * (_IN_BLOCKS * filled + _EMPTY * empty)

    @property
    def memory(self) -> int:
        """Estimated peak memory in bytes; 0 without measured times."""
        if self.timing is None:
            return 0
        if self.work.blocks:
            training = self.timing.training + self.work.in_memory if self.work.patches else 0
            predicting = (
                max(image.predicting for image in self.work.blocks) + self.timing.predicting
            )
            decoding = max(image.decoding for image in self.work.blocks) + self.timing.resting
            return max(training, predicting, decoding)
        training = self.timing.training + self.work.in_memory if self.work.patches else 0
        predicting = self.timing.predicting + self.work.max_image_memory if self.work.images else 0
        return max(training, predicting)

    @property
    def disk(self) -> int:
        """Estimated bytes on disk of all files that a run writes."""
        checkpoints = 0
        if self.timing is not None and self.work.patches:
            checkpoints = 2 * _CHECKPOINT_BYTES * self.timing.parameters
        temporary = max((block.temporary for block in self.work.blocks), default=0)
        return self.work.stored + self.work.results + temporary + checkpoints

    def lines(self) -> list[str]:
        """Return the lines of text about the estimate."""
        work, lines = self.work, []
        if work.patches:
            patches = counted(work.patches, "patch", "patches")
            line = f"training: {patches} and {work.val_patches} for validation"
            steps, epochs = counted(work.steps, "step"), counted(self.epochs, "epoch")
            lines.append(f"{line} in {steps} per epoch, {epochs}")
        if work.images:
            line = f"prediction: {counted(work.images, 'image')} in {counted(work.tiles, 'tile')}"
            views = f", each {self.augment} times" if self.augment > 1 else ""
            lines.append(f"{line}, most of them {shape_text(work.tile)}{views}")
        for image in work.blocks:
            lines += block_lines(image)
        lines += dict.fromkeys(f"  {image.notice}" for image in work.blocks if image.notice)
        if self.timing is not None:
            times = []
            if work.patches:
                times.append(f"training {duration(self.training_seconds)}")
            if work.images:
                times.append(f"prediction {duration(self.prediction_seconds)}")
            if work.blocks:
                times.append(f"decoding and the rest {duration(self.decoding_seconds)}")
            lines.append(f"time on {self.device}: {', '.join(times)}")
            lines.append(f"memory at the peak: {size(self.memory)}")
        lines.append(f"disk: {size(self.disk)}{'' if self.timing else ' without checkpoints'}")
        if self.timing is not None:
            lines.append(
                "measured on one training step and one tile: correct within a factor of "
                f"{FACTOR:g} while the machine does nothing else"
            )
        return lines


def count_work(config: Config, inspection: Inspection) -> Work:
    """Count patches, tiles and bytes from the headers of the files.

    Files that cannot be read are skipped.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    inspection : Inspection
        Files of the data.
    """
    parts = {part.name: _sized(config, part.name, part.pairs) for part in inspection.parts}
    train, val = parts.get("train", {}), parts.get("val", {})
    if train and config.DATA.VAL.FROM_TRAIN:
        train, val = _split(config, train)
    patches = sum(_patches(config, "TRAIN", file.shape) for file in train.values())
    validation = sum(_patches(config, "VAL", file.shape) for file in val.values())
    if train and not val:  # a part of each image is held out
        validation = round(patches * config.DATA.VAL.SPLIT_TRAIN)
        patches -= validation
    test = parts.get("test", {})
    shapes = [file.shape for file in test.values()]
    blocks: tuple[BlockWork, ...] = ()
    if config.TEST.BY_CHUNKS.ENABLE and test:
        pairs = [pair for part in inspection.parts if part.name == "test" for pair in part.pairs]
        blocks = tuple(count_blocks(config, [p for p in pairs if p.image in test]))
    if blocks:
        image = max(blocks, key=lambda image: prod(image.shape))
        tile, batch = image.tile, image.tile_batch
        tiles = sum(image.computed * image.tiles for image in blocks)
        pixels = sum(image.computed * image.tiles * prod(image.tile) for image in blocks)
    else:
        tiles, tile, batch, pixels = _tiles(config, shapes)
    channels = len(config.decoder.channels)
    floats = any(CHANNELS[name].kind != "binary" for name in from_config.channel_names(config))
    itemsize = 4 if floats else 1
    labeled = [file.shape for part in parts.values() for file in part.values()]
    if test and not config.DATA.TEST.LOAD_GT:
        labeled = [file.shape for part in (train, val) for file in part.values()]
    in_memory = 0
    for name, part in (("TRAIN", train), ("VAL", val)):
        if getattr(config.DATA, name).IN_MEMORY:
            in_memory += sum(file.in_memory for file in part.values())
    return Work(
        patches=patches,
        val_patches=validation,
        steps=ceil(patches / config.TRAIN.BATCH_SIZE),
        images=len(test),
        tiles=tiles,
        tile_pixels=pixels,
        tile=tile,
        tile_batch=batch,
        stored=sum(prod(shape) * channels * itemsize for shape in labeled),
        in_memory=in_memory,
        max_image_memory=max((file.needed for file in test.values()), default=0),
        # Maps as float32, binary maps as uint8, and compressed instances
        results=sum(image.maps + image.labels for image in blocks)
        if blocks
        else sum(prod(shape) * (5 * channels + 1) for shape in shapes),
        blocks=blocks,
    )


def estimate(
    config: Config,
    inspection: Inspection,
    device: object | None,
    *,
    timed: bool = True,
    workers: int = 0,
) -> Estimate:
    """Count the work, and measure one training step and one tile.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    inspection : Inspection
        Files of the data.
    device : Device, optional
        Device of the network, required to measure.
    timed : bool
        Measure times; otherwise only count.
    workers : int
        Number of processes that prepare patches.
    """
    from singula.training.device import Device

    work = count_work(config, inspection)
    timing, name = None, ""
    if timed and isinstance(device, Device) and (work.patches or work.images):
        from singula.pipeline.timing import first_sample, measure_network

        sample = first_sample(config, inspection) if work.patches else None
        tile = (work.tile_batch, *work.tile) if work.images else None
        timing, name = measure_network(config, device, sample, tile)
    augment = config.view_count if config.TEST.AUGMENTATION else 1
    return Estimate(work, timing, name, config.TRAIN.EPOCHS, augment, workers)


class _Size(NamedTuple):
    """Spatial shape, bytes of image and labels in memory, and bytes to predict and decode."""

    shape: tuple[int, ...]
    in_memory: int
    needed: int


_Sized = dict[Path, _Size]


def _sized(config: Config, part: str, pairs: Sequence[Pair]) -> _Sized:
    """Return the size of each readable image."""
    reader = reader_for(config, part.upper())
    sized: _Sized = {}
    for pair in pairs:
        try:
            header = read_header(pair.image, pair.arrays)
            shape = reader.shape(pair.image, pair.arrays)
        except UserError:
            continue
        bytes_ = prod(shape) * config.in_channels * header.dtype.itemsize
        if pair.label is not None:
            try:
                bytes_ += prod(shape) * min(
                    4, read_header(pair.label, pair.label_arrays, labels=True).dtype.itemsize
                )
            except UserError:
                continue
        needed = whole_image_bytes(config, shape, header.dtype.itemsize)
        sized[pair.image] = _Size(shape, bytes_, needed)
    return sized


def _split(config: Config, sized: _Sized) -> tuple[_Sized, _Sized]:
    pairs = [Pair(path, None, path.stem) for path in sized]
    try:
        parts = split_pairs(config, pairs, [file.shape for file in sized.values()])
    except UserError:
        parts = None
    if parts is None:
        return sized, {}
    train, val = ({pair.image: sized[pair.image] for pair in part} for part in parts)
    return train, val


def _patches(config: Config, part: str, shape: tuple[int, ...]) -> int:
    settings = from_config.patch_settings(config, part)
    if settings.random:
        return settings.replicate
    starts = training_starts(shape, settings.shape, settings.overlap, settings.padding)
    return len(starts) * settings.replicate


def _scores_patches(config: Config) -> bool:
    keys = config.DATA.TEST
    scored = config.TEST.EVALUATE and (keys.LOAD_GT or keys.USE_VAL_AS_TEST)
    return bool(scored and config.TEST.STATS.PER_PATCH)


def _tiles(
    config: Config, shapes: Sequence[tuple[int, ...]]
) -> tuple[int, tuple[int, ...], int, int]:
    """Return the number of tiles, their most frequent shape, the batch size, and their pixels."""
    if not shapes:
        return 0, (), 1, 0
    tiles: Counter[tuple[int, ...]] = Counter()
    batch, pixels = 1, 0
    for shape, images in Counter(shapes).items():
        settings = from_config.predict_settings(config, shape)
        plan, batch = settings.plan, settings.batch_size
        count = plan.count(shape) * images
        tiles[plan.patch] += count
        pixels += count * prod(plan.patch)
        if _scores_patches(config):
            patches = scored_patches(config, shape)
            if not are_tiles_of(plan, shape, config.patch, patches):
                pixels += len(patches) * images * prod(config.patch)
        if isinstance(plan, TilePlan):
            batch = min(batch, plan.count(shape))
    return sum(tiles.values()), tiles.most_common(1)[0][0], batch, pixels


def duration(seconds: float) -> str:
    """Return a text with a duration, rounded to seconds, minutes or hours."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Return a text with a number of bytes, in MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
