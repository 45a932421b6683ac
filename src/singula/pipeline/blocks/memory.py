"""Size of the blocks of an image, from the memory of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

from singula.blocks.memory import Budget, min_memory, plan_blocks
from singula.config import Config
from singula.dataset.facts.machine import free_memory
from singula.errors import UserError
from singula.pipeline import from_config
from singula.util.format import counted

_SHARE = 0.6
# Bytes per pixel of a decoded box in addition to its maps: surface, seeds, labels, masks, queues
_DECODED = 34
_MAX_BLOCKS = 10**9  # a petabyte has about ten million


def memory_of(config: Config) -> int:
    """Return the configured bytes of memory, or a share of the free memory."""
    return config.SYSTEM.MAX_MEMORY or int(_SHARE * free_memory())


def map_bytes(config: Config, shape: Sequence[int]) -> int:
    """Return the bytes of all maps per pixel."""
    return len(from_config.channel_names(config)) * (2 if from_config.in_half(config, shape) else 4)


def decoding_bytes(config: Config, shape: Sequence[int]) -> int:
    """Return the bytes that decoding needs per pixel of a box."""
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
        Configuration of the run.
    shape : sequence of int
        Spatial shape of the image.
    name : object
        Name of the image for the error message.
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
    configured = config.TEST.BY_CHUNKS.BLOCK_SHAPE or None
    pixel_bytes = decoding_bytes(config, shape)
    budget = plan_blocks(shape, memory, pixel_bytes, block=configured)
    if budget is not None:
        return budget
    min_bytes = _tenths(min_memory(shape, pixel_bytes, block=configured))
    total = _tenths(min_bytes * workers)
    per_worker = f" for each of {counted(workers, 'worker')}" if workers > 1 else ""
    remedies = ["free memory", *(["use fewer workers"] if workers > 1 else [])]
    if has_config_file:
        remedies.append(f"set SYSTEM.MAX_MEMORY: {total / 1e9:.1f}GB where the machine has as much")
    raise UserError(
        f"{name}: got {memory / 1e9:.2g} GB of memory{per_worker}, expected at least "
        f"{min_bytes / 1e9:.1f} GB for the smallest block",
        f"{', or '.join(remedies)} ({_SHARE:.0%} of the free memory is used by default)",
        "memory.too_little",
    )


def _tenths(size: int) -> int:
    """Round bytes up to a tenth of a gigabyte."""
    return ceil(size / 1e8) * 100_000_000


def block_shape(budget: Budget, shape: Sequence[int], configured: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the blocks.

    Parameters
    ----------
    budget : Budget
        Result of `block_budget`.
    shape : sequence of int
        Spatial shape of the image.
    configured : sequence of int
        Configured shape of a block; it is limited to the shape of the image. Empty: not configured.

    Raises
    ------
    UserError
        ``chunks.too_many_blocks``: more blocks than can be planned.
    """
    block = budget.block
    if configured:
        block = tuple(min(b, s) for b, s in zip(block, shape, strict=True))
    count = prod(-(-s // b) for s, b in zip(shape, block, strict=True))
    if count > _MAX_BLOCKS:
        raise UserError(
            f"an image of {' × '.join(map(str, shape))} pixels has {counted(count, 'block')}, "
            f"expected at most {_MAX_BLOCKS}",
            "check the size in the metadata of the image, or raise SYSTEM.MAX_MEMORY",
            "chunks.too_many_blocks",
        )
    return block
