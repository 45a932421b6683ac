"""Prediction of the blocks of an image by the network of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from singula.config import Config
from singula.data.patches import TilePlan
from singula.io.records.blocks import DeviceNote, FillNote
from singula.models import receptive_radius
from singula.pipeline import from_config
from singula.pipeline.blocks.context import BlockContext
from singula.pipeline.checkpoints import predictor_from
from singula.pipeline.normalization import with_statistics
from singula.prediction import BlockPredictor, block_halo, block_plan, max_tile_pixels
from singula.prediction.blocks import TOO_LITTLE_MEMORY
from singula.prediction.ensemble import EnsembleBlockPredictor
from singula.prediction.tile_plan import max_large_tile_pixels, pixels_within, reduced_halos
from singula.training.checkpoint import load_checkpoint
from singula.training.device import free_gpu_memory, use_cores
from singula.util.boxes import Box, grown, pixels_in
from singula.util.format import shape_text
from singula.util.messages import captured_messages

DEVICE = "device"
"""Name of the note with the device of the run."""


def block_predictor(context: BlockContext) -> BlockPredictor | EnsembleBlockPredictor:
    """Return the network or networks on the device of this process, loaded once per context."""
    if context.predictor is None:
        members = [_block_predictor(context, number) for number in range(len(context.members))]
        context.predictor = members[0] if len(members) == 1 else EnsembleBlockPredictor(members)
    return context.predictor


def _block_predictor(context: BlockContext, number: int) -> BlockPredictor:
    """Return the network of one of the models."""
    member = context.members[number]
    config = member.config
    note = context.job.find_note(DEVICE, DeviceNote)
    name = "cpu" if note is None else note.name
    device = torch.device(name)
    if device.type == "cpu":
        use_cores(context.config.SYSTEM.NUM_CPUS)
    with captured_messages():  # the main process logs them
        checkpoint = with_statistics(config, load_checkpoint(member.checkpoint))
        predictor, _ = predictor_from(config, checkpoint, device)
    scaling = context.scaling(number)
    if scaling is None:
        raise RuntimeError("the scaling is not stored yet")
    outside = context.job.find_note("fill", FillNote)
    fill = None if outside is None else np.array(outside.values, np.float64)
    settings = from_config.predict_settings(config, context.shape)
    settings = replace(settings, class_probabilities=len(context.members) > 1)
    limits = max_pixels_of_tile(config, device, context.spec.network)
    min_shape = from_config.patch_of_tiles(config)
    reach = receptive_radius(from_config.model_settings(config)) or ()
    plan = block_plan(context.shape, settings, member.halo, reach, min_shape, *limits)
    return BlockPredictor(predictor, plan, context.image.read, scaling, settings, fill)


def with_wider_halo(
    context: BlockContext, core: Box
) -> BlockPredictor | EnsembleBlockPredictor | None:
    """Return the network with the widest halo with which it predicts a box in one tile.

    Parameters
    ----------
    context : BlockContext
        Image whose blocks are predicted with a reduced halo.
    core : Box
        The box, in pixels of the image.

    Returns
    -------
    BlockPredictor, EnsembleBlockPredictor or None
        None if no tile with a wider halo fits into memory.
    """
    usual = block_predictor(context)
    if isinstance(usual, BlockPredictor):
        return _with_wider_halo(context, usual, context.config, core)
    pairs = zip(usual.members, context.members, strict=True)
    wider = [_with_wider_halo(context, each, member.config, core) for each, member in pairs]
    if all(member is None for member in wider):
        return None
    pairs_of_halos = zip(wider, usual.members, strict=True)
    return EnsembleBlockPredictor([after or before for after, before in pairs_of_halos])


def _with_wider_halo(
    context: BlockContext, usual: BlockPredictor, config: Config, core: Box
) -> BlockPredictor | None:
    device, memory = usual.predictor.device, context.spec.network
    _, max_pixels = max_pixels_of_tile(config, device, memory)
    for halo in reduced_halos(usual.plan.margin, usual.plan.reach, usual.plan.multiple):
        if all(h <= u for h, u in zip(halo, usual.plan.halo, strict=True)):
            return None
        plan = replace(usual.plan, halo=halo, max_pixels=max_pixels, min_shape=(1,) * len(halo))
        if pixels_in(grown(core, halo, context.shape)) > max_pixels:
            continue
        try:
            plan.region(core)
        except MemoryError:
            continue
        return BlockPredictor(
            usual.predictor, plan, usual.read, usual.scaling, usual.settings, usual.fill
        )
    return None


def max_pixels_of_tile(config: Config, device: torch.device, memory: int) -> tuple[int, int]:
    """Return the maximum numbers of pixels of a tile: usually, and for a complete halo.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    device : torch.device
        Device of the network. A GPU is limited by its free memory.
    memory : int
        Bytes of memory for the network on a CPU.
    """
    model = from_config.model_settings(config)
    width, free = model.pixel_width, free_gpu_memory(device)
    if free is None:
        large = max_large_tile_pixels(memory, width)
        usual = min(max_tile_pixels(model.ndim, width), pixels_within(memory, width))
    else:
        large = usual = max_tile_pixels(model.ndim, width, memory=free)
    batch = from_config.predict_settings(config, config.patch).batch_size
    return max(1, usual // batch), max(1, large // batch)


def prediction_halo(
    config: Config, shape: Sequence[int], block: Sequence[int], device: torch.device, memory: int
) -> tuple[int, ...]:
    """Return the halo with which blocks are predicted, in pixels per axis.

    The halo is 0 if blended tiles are configured, which have their own padding, or if the receptive
    field is not known.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    shape, block : sequence of int
        Spatial shapes of the image and of a block.
    device : torch.device
        Device of the network.
    memory : int
        Bytes of memory for the network on a CPU.

    Raises
    ------
    MemoryError
        The memory does not suffice for one patch.
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
        *max_pixels_of_tile(config, device, memory),
    )
    if halo is None:
        raise MemoryError(TOO_LITTLE_MEMORY)
    return halo


def halo_notice(
    config: Config, shape: Sequence[int], block: Sequence[int], halo: Sequence[int]
) -> str | None:
    """Return a notice if the halo is smaller than the receptive field, else None.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    shape, block : sequence of int
        Spatial shapes of the image and of a block.
    halo : sequence of int
        Result of `prediction_halo`.
    """
    reach = receptive_radius(from_config.model_settings(config))
    plan = from_config.predict_settings(config, shape).plan
    if reach is None or isinstance(plan, TilePlan):
        return None
    axes = zip(halo, reach, block, shape, strict=True)
    if not any(h < r and b < s for h, r, b, s in axes):
        return None
    return (
        f"blocks are predicted with a halo of {shape_text(halo)} pixels; the radius of the "
        f"receptive field is {shape_text(reach)}, which needs larger tiles or blocks than fit into "
        "the memory. Near the faces of blocks, channels and instances may differ from a prediction "
        "in memory; raise SYSTEM.MAX_MEMORY, or set TEST.TILE_SIZE: patch to avoid this"
    )
