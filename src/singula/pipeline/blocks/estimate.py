"""Estimate of the memory, disk space and tiles that a test of an image in blocks needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from singula.blocks import Grid
from singula.blocks.memory import HALO_FACTOR
from singula.config import Config
from singula.errors import UserError
from singula.io.lazy import LazyImage
from singula.io.pairing import Pair
from singula.pipeline import from_config
from singula.pipeline.blocks.map_scores import DISTANCES
from singula.pipeline.blocks.memory import block_budget, block_shape
from singula.pipeline.memory import box_bytes, map_bytes, predicted_block_bytes
from singula.pipeline.readers import reader_for
from singula.util.boxes import Box, evenly_spaced
from singula.util.format import counted, shape_text

_MAX_SAMPLED, _SIDE = 128, {2: 64, 3: 16}
# Compressed bytes on disk, per byte of the maps or per pixel, where the image is not constant:
# noise compresses little, labels compress well. See docs/check.md.
_MAPS, _LABELS, _TEMPORARY = 0.8, 0.06, 0.15
_RECORD_BYTES = 40_000
# Bytes per pixel of the distances to contours, at most: along an axis, and the axis after it
_DISTANCES = 8


@dataclass(frozen=True)
class BlockWork:
    """Estimated work for an image in blocks.

    Parameters
    ----------
    name : str
        Name of the image.
    shape, block : tuple of int
        Spatial shapes of the image and of a block.
    blocks : int
        Number of blocks.
    sampled, filled : int
        Number of blocks of which pixels were read, and of those that are not constant.
    pixels : float
        Fraction of the sampled boxes that are not constant.
    tile : tuple of int
        Spatial shape of a tile of the network.
    tiles : int
        Number of tiles of a block.
    tile_batch : int
        Number of tiles per forward pass.
    decoding : int
        Bytes of memory for the largest box that is decoded.
    predicting : int
        Bytes of memory for the pixels and maps of a block, in addition to the network.
    maps, labels, temporary : int
        Bytes on disk of the maps, of the instances, and of files that are deleted at the end.
    notice : str, optional
        Notice about a halo that is smaller than the receptive field.
    """

    name: str
    shape: tuple[int, ...]
    block: tuple[int, ...]
    blocks: int
    sampled: int
    filled: int
    pixels: float
    tile: tuple[int, ...]
    tiles: int
    tile_batch: int
    decoding: int
    predicting: int
    maps: int
    labels: int
    temporary: int
    notice: str | None = None

    @property
    def computed(self) -> int:
        """Estimated number of blocks that the network computes."""
        return ceil(self.blocks * self.filled / self.sampled)

    @property
    def filled_pixels(self) -> float:
        """Estimated number of pixels that are not in constant areas."""
        return prod(self.shape) * self.pixels


def count_blocks(config: Config, pairs: Sequence[Pair], *, workers: int = 1) -> list[BlockWork]:
    """Plan the blocks of test images like a run; skip files that cannot be read.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    pairs : sequence of Pair
        Files of the images.
    workers : int
        Number of processes that share the memory.

    Raises
    ------
    UserError
        ``memory.too_little``: the memory does not suffice for any block.
    """
    reader, estimates = reader_for(config, "TEST"), []
    for pair in pairs:
        try:
            image = reader.open_image(pair.image, pair.arrays)
        except UserError:
            continue
        estimates.append(_count(config, image, pair, workers))
    return estimates


def _count(config: Config, image: LazyImage, pair: Pair, workers: int) -> BlockWork:
    import torch

    from singula.models import receptive_radius
    from singula.pipeline.blocks.network import halo_notice, max_pixels_of_tile, prediction_halo
    from singula.prediction import block_plan

    shape, ndim = image.spatial_shape, image.ndim
    budget = block_budget(config, shape, pair.image, workers)
    block = block_shape(budget, shape, config.TEST.BY_CHUNKS.BLOCK_SHAPE)
    grid = Grid(shape, block)
    cpu, settings = torch.device("cpu"), from_config.predict_settings(config, shape)
    halo = prediction_halo(config, shape, block, cpu, budget.network)
    plan = block_plan(
        shape,
        settings,
        halo,
        receptive_radius(from_config.model_settings(config)) or (),
        from_config.patch_of_tiles(config),
        *max_pixels_of_tile(config, cpu, budget.network),
    )
    center = grid.number([count // 2 for count in grid.counts])
    region, tiles = plan.region(grid.box(center))
    sides = [part.stop - part.start for part in region]
    sampled, filled, pixels = _sample_blocks(image, grid)
    with_halo = [min(s, ceil(HALO_FACTOR * b)) for s, b in zip(shape, block, strict=True)]
    pixel_bytes, total = map_bytes(config, shape), prod(shape) * pixels
    pyramid = 4 / 3 if ndim == 2 else 8 / 7
    channels = 2 if from_config.n_classes(config) else 1  # of instances
    scored = config.DATA.TEST.LOAD_GT and pair.label is not None
    has_distances = scored and set(DISTANCES) & set(from_config.channel_names(config))
    temporary = _TEMPORARY * total + (_DISTANCES * prod(shape) if has_distances else 0)
    return BlockWork(
        name=pair.name,
        shape=shape,
        block=block,
        blocks=len(grid),
        sampled=sampled,
        filled=filled,
        pixels=pixels,
        tile=tiles.patch,
        tiles=tiles.count(sides),
        tile_batch=settings.batch_size,
        decoding=min(budget.max_pixels, prod(with_halo)) * box_bytes(config, shape),
        predicting=predicted_block_bytes(
            config, shape, sides, block, image.channels * image.dtype.itemsize
        ),
        maps=int(_MAPS * pyramid * pixel_bytes * total),
        labels=int(_LABELS * channels * pyramid * total),
        temporary=int(temporary) + _RECORD_BYTES * len(grid),
        notice=halo_notice(config, shape, block, halo),
    )


def _sample_blocks(image: LazyImage, grid: Grid) -> tuple[int, int, float]:
    """Return the number of sampled blocks and of those not constant, and the fraction of boxes.

    The samples are the corners and the center of up to 128 blocks at regular distances.
    """
    numbers = evenly_spaced(len(grid), _MAX_SAMPLED)
    filled, n_boxes, n_varying = 0, 0, 0
    for number in numbers:
        varies = [_varies(image, box) for box in _sample_boxes(grid.box(number), image.ndim)]
        filled += any(varies)
        n_boxes, n_varying = n_boxes + len(varies), n_varying + sum(varies)
    return len(numbers), filled, n_varying / n_boxes


def _sample_boxes(block: Box, ndim: int) -> list[Box]:
    """Return small boxes in the corners and the center of a block."""
    axes = []
    for part in block:
        side = min(_SIDE[ndim], part.stop - part.start)
        starts = (part.start, (part.start + part.stop - side) // 2, part.stop - side)
        axes.append([slice(start, start + side) for start in starts])
    positions = [*product(*[(0, 2)] * ndim), (1,) * ndim]
    return [tuple(axis[i] for axis, i in zip(axes, index, strict=True)) for index in positions]


def _varies(image: LazyImage, box: Box) -> bool:
    values = image.read(box)
    return bool((values != values[(0,) * (values.ndim - 1)]).any())


def block_lines(work: BlockWork) -> list[str]:
    """Return the lines of text about an image in blocks."""
    blocks = f"{counted(work.blocks, 'block')} of {shape_text(work.block)}"
    return [
        f"{work.name}: {shape_text(work.shape)} pixels in {blocks}; "
        f"{work.filled} of {counted(work.sampled, 'sampled block')} not empty",
        f"  on disk: maps {_size(work.maps)}, instances {_size(work.labels)}, temporary files "
        f"{_size(work.temporary)}",
    ]


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
