"""Halo with which the blocks of an image are decoded."""

from __future__ import annotations

from math import ceil

import numpy as np

from singula.labels import extents
from singula.pipeline.blocks.context import BlockContext
from singula.representations.decoders.blockwise import flood_part

_MEASURED_BLOCKS = 3  # blocks decoded to find the halo
_FIRST_HALO = 16  # pixels with which painted instances start to grow


def measure_halo(context: BlockContext) -> list[int]:
    """Return the halo of a block in pixels, from instances in the blocks with most seeds."""
    job, ndim = context.job, len(context.spec.shape)
    if context.object_decoder is not None:
        return [_FIRST_HALO] * ndim
    n_seeds = np.diff(job.open_table("seeds", "offsets"))
    if not n_seeds.any():
        return [1] * ndim
    start = [ceil(1.5 * side) + 4 for side in job.open_table("seeds", "lengths")]
    measured = []
    for number in np.argsort(n_seeds)[::-1][:_MEASURED_BLOCKS]:
        box = context.grid.box(int(number))
        part = flood_part(
            context.decode_plan,
            box,
            context.spec.shape,
            context.read_maps,
            context.read_seeds,
            halo=start,
            max_pixels=context.spec.most,
        )
        boxes = extents(part.labels)
        inner = (boxes.low > 0).all(axis=1) & (boxes.high < part.labels.shape).all(axis=1)
        if inner.any():
            lengths = (boxes.high - boxes.low)[inner]
            measured.append(np.percentile(lengths, 99, axis=0))
    if not measured:
        return start
    return [ceil(1.1 * side) + 2 for side in np.max(measured, axis=0)]
