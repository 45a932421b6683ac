"""Size of the blocks of an image, from the memory of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

from singula.blocks.memory import Budget, min_memory, plan_blocks
from singula.config import Config
from singula.errors import UserError
from singula.pipeline.memory import MEMORY_SHARE, available_memory, box_bytes
from singula.util.format import counted, shape_text

_MAX_BLOCKS = 10**9  # a petabyte has about ten million


def block_budget(
    config: Config,
    shape: Sequence[int],
    name: object,
    workers: int = 1,
    *,
    worker_memory: int | None = None,
    has_config_file: bool = True,
) -> Budget:
    """Return the blocks of an image for the memory of each worker.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    shape : sequence of int
        Spatial shape of the image.
    name : object
        Name of the image for the error message.
    workers : int
        Processes on this machine among which its memory is divided.
    worker_memory : int, optional
        Bytes of each worker of a cluster; SYSTEM.MAX_MEMORY can only reduce them. Default: this
        machine processes the blocks.
    has_config_file : bool
        False for a command without a configuration file: the hint then names no key.

    Raises
    ------
    UserError
        ``memory.too_little``: a worker has too little memory for any block.
    """
    if worker_memory is None:
        memory = available_memory(config) // workers
    else:
        memory = min(worker_memory, config.SYSTEM.MAX_MEMORY or worker_memory)
    configured = config.TEST.BY_CHUNKS.BLOCK_SHAPE or None
    pixel_bytes = box_bytes(config, shape)
    budget = plan_blocks(shape, memory, pixel_bytes, block=configured)
    if budget is not None:
        return budget
    min_bytes = _tenths(min_memory(shape, pixel_bytes, block=configured))
    total = _tenths(min_bytes * workers)
    if worker_memory is not None:
        raise UserError(
            f"{name}: got {memory / 1e9:.2g} GB of memory for each worker, expected at least "
            f"{min_bytes / 1e9:.1f} GB for the smallest block",
            "start workers or request jobs with more memory"
            + (", and raise SYSTEM.MAX_MEMORY" if memory < worker_memory else ""),
            "memory.too_little",
        )
    per_worker = f" for each of {counted(workers, 'worker')}" if workers > 1 else ""
    remedies = ["free memory", *(["use fewer workers"] if workers > 1 else [])]
    if has_config_file:
        remedies.append(f"set SYSTEM.MAX_MEMORY: {total / 1e9:.1f}GB where the machine has as much")
    raise UserError(
        f"{name}: got {memory / 1e9:.2g} GB of memory{per_worker}, expected at least "
        f"{min_bytes / 1e9:.1f} GB for the smallest block",
        f"{', or '.join(remedies)} ({MEMORY_SHARE:.0%} of the free memory is used by default)",
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
            f"an image of {shape_text(shape)} pixels has {counted(count, 'block')}, "
            f"expected at most {_MAX_BLOCKS}",
            "check the size in the metadata of the image, or raise SYSTEM.MAX_MEMORY",
            "chunks.too_many_blocks",
        )
    return block
