"""Memory that whole test images need, compared with the free memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from singula.config import Config
from singula.dataset.facts.machine import free_memory
from singula.errors import UserError
from singula.io.pairing import Pair
from singula.io.read import read_header
from singula.pipeline import from_config
from singula.pipeline.readers import reader_for

# Bytes per pixel in addition to image and maps: labels, masks, queues (docs/benchmarks/memory.md,
# "Memory")
_DECODED = 12


def whole_bytes(config: Config, shape: Sequence[int], channels: int, itemsize: int) -> int:
    """Return the bytes of memory to predict and decode a whole image.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    shape : sequence of int
        Spatial shape of the image.
    channels, itemsize : int
        Number of channels, and bytes per value.
    """
    maps = len(from_config.channel_names(config))
    maps *= 2 if from_config.in_half(config, shape) else 4
    return prod(shape) * (channels * itemsize + maps + _DECODED)


def warn_if_too_large(config: Config, pairs: Sequence[Pair]) -> list[str]:
    """Return notices if the largest test image does not fit into memory.

    Files that cannot be read are skipped.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    pairs : sequence of Pair
        Files of the test images.

    Returns
    -------
    list of str
        Lines for the user; empty if all images fit.
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
        needed = whole_bytes(config, shape, config.in_channels, kind.itemsize)
        if needed > largest:
            sides = " × ".join(map(str, shape))
            largest, name = needed, f"{pair.image} ({sides} pixels)"
    free = min(free_memory(), config.SYSTEM.MAX_MEMORY or free_memory())
    if largest <= free:
        return []
    return [
        f"memory: {name} needs about {largest / 1e9:.1f} GB; {free / 1e9:.1f} GB are available",
        "  → set TEST.BY_CHUNKS.ENABLE: True to process the image block by block; run "
        "`singula check --config FILE` to estimate memory and time",
    ]
