"""How the memory of a machine is divided for the blocks of an image."""

from __future__ import annotations

from collections.abc import Sequence

from singula.config import Config
from singula.scaleout.memory import Budget, plan_blocks
from singula.stages import settings as from_config
from singula.survey.machine import free_memory

_SHARE = 0.6
# Bytes per pixel of a decoded box beside its maps: surface, seeds, labels, masks, queues
_DECODED = 34


def memory_of(config: Config) -> int:
    """Bytes that may be taken for images, as configured or as far as they are free."""
    return config.SYSTEM.MAX_MEMORY or int(_SHARE * free_memory())


def map_bytes(config: Config, shape: Sequence[int]) -> int:
    """Bytes of all maps of a pixel."""
    return len(from_config.channel_names(config)) * (2 if from_config.in_half(config, shape) else 4)


def decoding_bytes(config: Config, shape: Sequence[int]) -> int:
    """What decoding takes for each pixel of a box."""
    return map_bytes(config, shape) + _DECODED


def block_budget(config: Config, shape: Sequence[int], memory: int) -> Budget | None:
    """Blocks of an image for a worker with so much memory; None where it is too little."""
    asked = config.TEST.BY_CHUNKS.BLOCK_SHAPE
    return plan_blocks(shape, memory, decoding_bytes(config, shape), block=asked or None)


def block_shape(budget: Budget, shape: Sequence[int], asked: Sequence[int]) -> tuple[int, ...]:
    """Sides of a block; those that were asked for are no larger than the image."""
    if not asked:
        return budget.block
    return tuple(min(b, s) for b, s in zip(budget.block, shape, strict=True))
