"""The network of a run, for the blocks of an image."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from singula.boxes import Box
from singula.config import Config
from singula.data.patches import TilePlan
from singula.errors import is_out_of_memory
from singula.io.records import DeviceNote, FillNote
from singula.models import receptive_radius
from singula.prediction import BlockPredictor, block_halo, block_plan, max_tile_pixels
from singula.prediction.predict import FloatArray
from singula.prediction.windows import pixels_within
from singula.stages import settings as from_config
from singula.stages.normalization import with_statistics
from singula.stages.weights import predictor_from
from singula.training.checkpoint import load_checkpoint
from singula.training.device import free_memory, use_cores

if TYPE_CHECKING:
    from singula.stages.chunks.bench import Bench

DEVICE = "device"
"""Name of the note that says where this run computes."""
_TOO_LITTLE = "not enough memory to predict a single patch of DATA.PATCH_SIZE"


class SparingPredictor:
    """Predicts blocks; where memory runs out, with half as many pixels at a time from then on.

    Parameters
    ----------
    blocks : BlockPredictor
    """

    def __init__(self, blocks: BlockPredictor) -> None:
        self.blocks = blocks

    def __call__(self, core: Box) -> dict[str, FloatArray]:
        """Maps by name, each of the block's shape.

        Raises
        ------
        MemoryError
            When not even one patch fits.
        """
        while True:
            try:
                return self.blocks(core)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not self._halve():
                    raise MemoryError(_TOO_LITTLE) from error
            # Outside of the handler, whose error holds on to all that the forward pass needed.
            gc.collect()
            if self.blocks.predictor.device.type == "cuda":
                torch.cuda.empty_cache()

    def _halve(self) -> bool:
        plan, settings = self.blocks.plan, self.blocks.settings
        if plan.tiles is None:
            self.blocks.plan = replace(plan, max_pixels=plan.max_pixels // 2)
            return plan.max_pixels > 1
        self.blocks.settings = replace(settings, batch_size=max(1, settings.batch_size // 2))
        return settings.batch_size > 1


def block_predictor(bench: Bench) -> SparingPredictor:
    """The network with its weights, on the device of this process."""
    config = bench.config
    note = bench.job.find_note(DEVICE, DeviceNote)
    name = "cpu" if note is None else note.name
    device = torch.device(name)
    if device.type == "cpu":
        use_cores(config.SYSTEM.NUM_CPUS)
    path = Path(bench.plan.checkpoint)
    # The main process reports normalization and backend.
    checkpoint = with_statistics(config, load_checkpoint(path), lambda line: None)
    predictor, _ = predictor_from(config, checkpoint, device, lambda line: None)
    if bench.scaling is None:
        raise RuntimeError("the normalisation is not settled")
    outside = bench.job.find_note("fill", FillNote)
    fill = None if outside is None else np.array(outside.values, np.float64)
    settings = from_config.predict_settings(config, bench.shape)
    most = most_pixels(config, device, bench.plan.network)
    halo = bench.plan.halo
    least = from_config.patch_of_tiles(config)
    reach = receptive_radius(from_config.model_settings(config)) or ()
    plan = block_plan(bench.shape, settings, halo, reach, least, most)
    return SparingPredictor(
        BlockPredictor(predictor, plan, bench.image.read, bench.scaling, settings, fill)
    )


def most_pixels(config: Config, device: torch.device, memory: int) -> int:
    """Pixels of a window at most, on a CPU within so many bytes."""
    model = from_config.model_settings(config)
    width, free = model.feature_maps[0], free_memory(device)
    if free is None:
        most = min(max_tile_pixels(model.ndim, width), pixels_within(memory, width))
    else:
        most = max_tile_pixels(model.ndim, width, memory=free)
    batch = from_config.predict_settings(config, config.patch).batch_size
    return max(1, most // batch)


def halo_of(
    config: Config, shape: Sequence[int], block: Sequence[int], device: torch.device, memory: int
) -> tuple[int, ...]:
    """What every process predicts a block together with; none where tiles bring their own.

    Raises
    ------
    MemoryError
        When not even one patch fits.
    """
    settings = from_config.predict_settings(config, shape)
    model = from_config.model_settings(config)
    reach = receptive_radius(model)
    if isinstance(settings.plan, TilePlan) or reach is None:
        return (0,) * model.ndim
    halo = block_halo(
        shape,
        block,
        settings.plan.halo,
        settings.plan.margin,
        reach,
        settings.plan.multiple,
        from_config.patch_of_tiles(config),
        most_pixels(config, device, memory),
    )
    if halo is None:
        raise MemoryError(_TOO_LITTLE)
    return halo


def cut_halo(
    config: Config, shape: Sequence[int], block: Sequence[int], halo: Sequence[int]
) -> str | None:
    """What is to be said where blocks are predicted with less than the network sees; else None."""
    reach = receptive_radius(from_config.model_settings(config))
    plan = from_config.predict_settings(config, shape).plan
    if reach is None or isinstance(plan, TilePlan):
        return None
    axes = zip(halo, reach, block, shape, strict=True)
    if not any(h < r and b < s for h, r, b, s in axes):
        return None
    kept, seen = (" × ".join(map(str, sides)) for sides in (halo, reach))
    return (
        f"blocks are predicted with {kept} pixels around them of the {seen} that the network "
        "sees: more would be too dear. Near the faces of blocks channels may differ from those in "
        "memory, and instances with them; with TEST.TILE_SIZE: patch they do not"
    )
