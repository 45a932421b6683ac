"""Whether a test image fits into memory as a whole, said before anything long begins."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from singula.config import Config
from singula.errors import UserError
from singula.io.pairs import Pair
from singula.io.read import read_header
from singula.stages import settings as from_config
from singula.stages.reading import reader_for
from singula.survey.machine import free_memory

# Bytes per pixel beside image and maps: labels, masks, queues (docs/benchmarks.md, "Memory")
_DECODED = 12


def whole_bytes(config: Config, shape: Sequence[int], channels: int, itemsize: int) -> int:
    """What an image that is predicted and decoded as a whole takes."""
    maps = len(from_config.channel_names(config))
    maps *= 2 if from_config.in_half(config, shape) else 4
    return prod(shape) * (channels * itemsize + maps + _DECODED)


def notice_large(config: Config, pairs: Sequence[Pair]) -> list[str]:
    """Lines about the largest test image, if it is too large to be done as a whole.

    Files that cannot be read are left out.
    """
    if not config.TEST.ENABLE or config.TEST.BY_CHUNKS.ENABLE:
        return []
    reader, largest, name = reader_for(config, "TEST"), 0, ""
    for pair in pairs:
        try:
            kind = read_header(pair.image, pair.arrays).dtype
            shape = reader.shape(pair.image, pair.arrays)
        except UserError:
            continue
        taken = whole_bytes(config, shape, config.in_channels, kind.itemsize)
        if taken > largest:
            sides = " × ".join(map(str, shape))
            largest, name = taken, f"{pair.image} ({sides} pixels)"
    free = min(free_memory(), config.SYSTEM.MAX_MEMORY or free_memory())
    if largest <= free:
        return []
    return [
        f"memory: {name} takes about {largest / 1e9:.1f} GB as a whole, and {free / 1e9:.1f} GB "
        "are there",
        "  → set TEST.BY_CHUNKS.ENABLE: True, which does it block by block; "
        "`singula check --config FILE` says what that takes",
    ]
