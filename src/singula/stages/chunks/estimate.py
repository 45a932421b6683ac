"""What an image in blocks will take, from its header and a look at some of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np

from singula.boxes import Box
from singula.config import Config
from singula.errors import UserError
from singula.io.lazy import LazyImage
from singula.io.pairs import Pair
from singula.scaleout import Grid
from singula.scaleout.memory import HALO_FACTOR
from singula.stages import settings as from_config
from singula.stages.chunks.budget import (
    block_budget,
    block_shape,
    decoding_bytes,
    map_bytes,
)
from singula.stages.reading import reader_for
from singula.words import counted

_LOOKED_AT, _SIDE = 128, {2: 64, 3: 16}
# Of what is stored per pixel that is not of one value, beside the maps' own size: noise shrinks
# little, labels much; a pyramid adds a seventh (a third in 2D). See docs/check.md.
_MAPS, _LABELS, _PASSING = 0.8, 0.06, 0.15
_RECORD = 40_000


@dataclass(frozen=True)
class BlockWork:
    """An image in blocks, counted before anything is done.

    Parameters
    ----------
    name : str
    shape, block : tuple of int
        Spatial shapes of the image and of a block.
    blocks : int
    looked_at, filled : int
        Blocks of which some pixels were read, and those of them that are not of one value.
    pixels : float
        Share of pixels that are in places of more than one value.
    tile, tiles : tuple of int, int
        Shape of a window of the network, and how many a block has.
    tile_batch : int
    decoding : int
        Bytes of the largest box that is decoded.
    predicting : int
        Bytes of the maps and pixels of a block that is predicted, beside the network.
    maps, labels, passing : int
        Bytes on disk of the maps, of instances, and of what is deleted at the end.
    notice : str, optional
        What is to be said of the halo with which blocks are predicted.
    """

    name: str
    shape: tuple[int, ...]
    block: tuple[int, ...]
    blocks: int
    looked_at: int
    filled: int
    pixels: float
    tile: tuple[int, ...]
    tiles: int
    tile_batch: int
    decoding: int
    predicting: int
    maps: int
    labels: int
    passing: int
    notice: str | None = None

    @property
    def computed(self) -> int:
        """Blocks that go through the network, as far as it can be told."""
        return ceil(self.blocks * self.filled / self.looked_at)

    @property
    def filled_pixels(self) -> float:
        """Pixels where there is something to be decoded."""
        return prod(self.shape) * self.pixels


def count_blocks(config: Config, pairs: Sequence[Pair], *, workers: int = 1) -> list[BlockWork]:
    """Plan the blocks of test images as a run would; files that cannot be read are left out.

    Parameters
    ----------
    config : Config
    pairs : sequence of Pair
    workers : int
        Processes that share the memory.

    Raises
    ------
    UserError
        When memory is too little for any block.
    """
    reader, found = reader_for(config, "TEST"), []
    for pair in pairs:
        try:
            image = reader.open_image(pair.image, pair.arrays)
        except UserError:
            continue
        found.append(_count(config, image, pair, workers))
    return found


def _count(config: Config, image: LazyImage, pair: Pair, workers: int) -> BlockWork:
    import torch

    from singula.models import receptive_radius
    from singula.prediction import block_plan
    from singula.stages.chunks.network import cut_halo, halo_of, most_pixels

    shape, ndim = image.spatial_shape, image.ndim
    budget = block_budget(config, shape, pair.image, workers)
    block = block_shape(budget, shape, config.TEST.BY_CHUNKS.BLOCK_SHAPE)
    grid = Grid(shape, block)
    cpu, settings = torch.device("cpu"), from_config.predict_settings(config, shape)
    halo = halo_of(config, shape, block, cpu, budget.network)
    plan = block_plan(
        shape,
        settings,
        halo,
        receptive_radius(from_config.model_settings(config)) or (),
        from_config.patch_of_tiles(config),
        most_pixels(config, cpu, budget.network),
    )
    middle = grid.number([count // 2 for count in grid.counts])
    region, windows = plan.region(grid.box(middle))
    sides = [part.stop - part.start for part in region]
    looked_at, filled, pixels = _look(image, grid)
    around = [min(s, ceil(HALO_FACTOR * b)) for s, b in zip(shape, block, strict=True)]
    each, total = map_bytes(config, shape), prod(shape) * pixels
    level = 4 / 3 if ndim == 2 else 8 / 7
    channels = 2 if from_config.n_classes(config) else 1  # of instances
    return BlockWork(
        name=pair.name,
        shape=shape,
        block=block,
        blocks=len(grid),
        looked_at=looked_at,
        filled=filled,
        pixels=pixels,
        tile=windows.patch,
        tiles=windows.count(sides),
        tile_batch=settings.batch_size,
        decoding=min(budget.max_pixels, prod(around)) * decoding_bytes(config, shape),
        predicting=prod(sides) * (each + image.channels * image.dtype.itemsize) + 3 * prod(block),
        maps=int(_MAPS * level * each * total),
        labels=int(_LABELS * channels * level * total),
        passing=int(_PASSING * total) + _RECORD * len(grid),
        notice=cut_halo(config, shape, block, halo),
    )


def _look(image: LazyImage, grid: Grid) -> tuple[int, int, float]:
    """Blocks that were looked into, those with more than one value, and the share of such places.

    The corners and the middle of up to 128 blocks, spread over the image.
    """
    count = min(len(grid), _LOOKED_AT)
    numbers = np.unique(np.linspace(0, len(grid) - 1, count).round().astype(int)).tolist()
    filled, places, full = 0, 0, 0
    for number in numbers:
        found = [_varies(image, box) for box in _places(grid.box(number), image.ndim)]
        filled += any(found)
        places, full = places + len(found), full + sum(found)
    return len(numbers), filled, full / places


def _places(block: Box, ndim: int) -> list[Box]:
    """Small boxes in the corners and the middle of a block."""
    axes = []
    for part in block:
        side = min(_SIDE[ndim], part.stop - part.start)
        starts = (part.start, (part.start + part.stop - side) // 2, part.stop - side)
        axes.append([slice(start, start + side) for start in starts])
    chosen = [*product(*[(0, 2)] * ndim), (1,) * ndim]
    return [tuple(axis[i] for axis, i in zip(axes, place, strict=True)) for place in chosen]


def _varies(image: LazyImage, box: Box) -> bool:
    values = image.read(box)
    return bool((values != values[(0,) * (values.ndim - 1)]).any())


def block_lines(work: BlockWork) -> list[str]:
    """For people."""
    sides, block = (" × ".join(map(str, shape)) for shape in (work.shape, work.block))
    return [
        f"{work.name}: {sides} pixels in {counted(work.blocks, 'block')} of {block}; of "
        f"{work.looked_at} "
        f"looked into, {work.filled} with something in them",
        f"  on disk: maps {_size(work.maps)}, instances {_size(work.labels)}, and until the end "
        f"{_size(work.passing)}",
    ]


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
