"""How the memory of a machine is divided for the blocks of an image."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

from singula.config import Config
from singula.errors import UserError
from singula.scaleout.memory import Budget, min_memory, plan_blocks
from singula.stages import settings as from_config
from singula.survey.machine import free_memory
from singula.words import counted

_SHARE = 0.6
# Bytes per pixel of a decoded box beside its maps: surface, seeds, labels, masks, queues
_DECODED = 34
_MOST_BLOCKS = 10**9  # a petabyte has about ten million


def memory_of(config: Config) -> int:
    """Bytes that may be taken for images, as configured or as far as they are free."""
    return config.SYSTEM.MAX_MEMORY or int(_SHARE * free_memory())


def map_bytes(config: Config, shape: Sequence[int]) -> int:
    """Bytes of all maps of a pixel."""
    return len(from_config.channel_names(config)) * (2 if from_config.in_half(config, shape) else 4)


def decoding_bytes(config: Config, shape: Sequence[int]) -> int:
    """What decoding takes for each pixel of a box."""
    return map_bytes(config, shape) + _DECODED


def block_budget(
    config: Config,
    shape: Sequence[int],
    name: object,
    workers: int = 1,
    *,
    has_config_file: bool = True,
) -> Budget:
    """Return the blocks of an image for workers that share the memory.

    Parameters
    ----------
    config : Config
    shape : sequence of int
        Spatial shape of the image.
    name : object
        The image, for the message.
    workers : int
        Processes among which the memory is divided.
    has_config_file : bool
        False for a command without a configuration file: the hint then names no key.

    Raises
    ------
    UserError
        ``memory.too_little``: a worker has too little memory for any block.
    """
    memory = memory_of(config) // workers
    asked = config.TEST.BY_CHUNKS.BLOCK_SHAPE or None
    each = decoding_bytes(config, shape)
    budget = plan_blocks(shape, memory, each, block=asked)
    if budget is not None:
        return budget
    need = _tenths(min_memory(shape, each, block=asked))
    total = _tenths(need * workers)
    per_worker = f" for each of {counted(workers, 'worker')}" if workers > 1 else ""
    remedies = ["free memory", *(["use fewer workers"] if workers > 1 else [])]
    if has_config_file:
        remedies.append(f"set SYSTEM.MAX_MEMORY: {total / 1e9:.1f}GB where the machine has as much")
    raise UserError(
        f"{name}: got {memory / 1e9:.2g} GB of memory{per_worker}, expected at least "
        f"{need / 1e9:.1f} GB for the smallest block",
        f"{', or '.join(remedies)} ({_SHARE:.0%} of the free memory is used by default)",
        "memory.too_little",
    )


def _tenths(size: int) -> int:
    """Round bytes up to a tenth of a gigabyte."""
    return ceil(size / 1e8) * 100_000_000


def block_shape(budget: Budget, shape: Sequence[int], asked: Sequence[int]) -> tuple[int, ...]:
    """Sides of a block; those that were asked for are no larger than the image.

    Raises
    ------
    UserError
        ``chunks.too_many_blocks``: more blocks than can be planned.
    """
    block = budget.block
    if asked:
        block = tuple(min(b, s) for b, s in zip(block, shape, strict=True))
    count = prod(-(-s // b) for s, b in zip(shape, block, strict=True))
    if count > _MOST_BLOCKS:
        raise UserError(
            f"an image of {' × '.join(map(str, shape))} pixels has {counted(count, 'block')}, "
            f"expected at most {_MOST_BLOCKS}",
            "check the size that its metadata declare; raise SYSTEM.MAX_MEMORY for larger blocks",
            "chunks.too_many_blocks",
        )
    return block
