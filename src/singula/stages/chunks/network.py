"""The network of a run, for the blocks of an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from singula.config import Config
from singula.models import receptive_radius
from singula.prediction import BlockPlan, BlockPredictor, block_plan, largest_window
from singula.stages import settings as from_config
from singula.stages.weights import predictor_from
from singula.training.checkpoint import load_checkpoint
from singula.training.device import cpu_threads, free_memory

if TYPE_CHECKING:
    from singula.stages.chunks.bench import Bench

DEVICE = "device"
"""Name of the note that says where this run computes."""


def block_predictor(bench: Bench) -> BlockPredictor:
    """The network with its weights, on the device of this process."""
    config = bench.config
    name = (bench.job.read_note(DEVICE) or {}).get("name", "cpu")
    device = torch.device(name)
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cpu_threads(config.SYSTEM.NUM_CPUS))
    checkpoint = load_checkpoint(Path(bench.plan.checkpoint))
    predictor, _ = predictor_from(config, checkpoint, device, lambda line: None)
    if bench.scaling is None:
        raise RuntimeError("the normalisation is not settled")
    note = bench.job.read_note("fill")
    fill = None if note is None else np.array(note["values"], np.float32)
    settings = from_config.predict_settings(config, bench.shape)
    return BlockPredictor(
        predictor,
        plan_of(bench, device),
        bench.image.read,
        bench.scaling,
        settings,
        fill,
    )


def plan_of(bench: Bench, device: torch.device) -> BlockPlan:
    """How blocks are cut for the network."""
    return plan_for(bench.config, bench.shape, bench.plan.block, bench.plan.largest, device)


def plan_for(
    config: Config,
    shape: Sequence[int],
    block: Sequence[int],
    largest: int,
    device: torch.device,
) -> BlockPlan:
    """How blocks of such an image are cut for the network.

    Raises
    ------
    MemoryError
        When no window is small enough.
    """
    settings = from_config.predict_settings(config, shape)
    model = from_config.model_settings(config)
    reach = receptive_radius(model)
    memory = free_memory(device)
    width = model.feature_maps[0]
    if memory is not None:
        most = largest_window(model.ndim, width, memory=memory)
    else:
        most = min(largest_window(model.ndim, width), largest)
    plan = block_plan(
        shape,
        block,
        settings,
        reach or (0,) * model.ndim,
        from_config.tile_plan(config, model).patch,
        max(1, most // settings.batch_size),
    )
    if plan is None:
        raise MemoryError("not enough memory to predict a single patch")
    return plan
