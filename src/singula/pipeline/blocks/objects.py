"""Phases of the decoders that collect objects: candidates, merged objects and painted blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.pipeline.blocks.context import FLOODED, BlockContext, block_context
from singula.representations.decoders.morphology import labels_at_border
from singula.representations.objects import ObjectDecoder
from singula.util.process import release_memory

Array = npt.NDArray[Any]
Record = dict[str, Array]


def collect(folder: Path, number: int) -> Record:
    """Return the candidates of the block."""
    context = block_context(folder)
    record = _decoder(context).collect(
        context.decode_plan, context.box(number), context.shape, context.read_maps
    )
    release_memory()
    return dict(record)


def merge(context: BlockContext) -> None:
    """Store the objects of the image from the candidates of all blocks.

    Parameters
    ----------
    context : BlockContext
        Image whose blocks have records of their candidates. The tables of the phase ``seeds`` are
        written: the columns of the objects, their ``count``, and their ``ids``.
    """
    job = context.job
    parts = (job.load("seeds", number) for number in range(len(context.grid)))
    objects = _decoder(context).merge(context.decode_plan, parts, context.shape)
    for name, column in objects.items():
        job.save_table("seeds", name, column)
    count = len(next(iter(objects.values())))
    job.save_table("seeds", "count", np.array(count))
    job.save_table("seeds", "ids", np.arange(1, count + 1, dtype=np.uint32))


def paint(folder: Path, number: int) -> Record:
    """Paint and store the block; the record has the number of pixels of each instance."""
    context = block_context(folder)
    decoder, box = _decoder(context), context.box(number)
    objects = {name: context.job.open_table("seeds", name) for name in decoder.columns}
    labels = decoder.paint(context.decode_plan, objects, box, context.shape, context.read_maps)
    if labels.any():
        layer = context.layer(FLOODED)
        layer.write(box, labels.astype(layer.dtype, copy=False))
    ids, pixels = np.unique(labels, return_counts=True)
    release_memory()
    return {
        "ids": ids[ids > 0].astype(np.int64),
        "pixels": pixels[ids > 0],
        "at_border": labels_at_border(labels, box, context.shape).astype(np.int64),
    }


def _decoder(context: BlockContext) -> ObjectDecoder:
    decoder = context.object_decoder
    if decoder is None:
        raise RuntimeError("the decoder does not collect objects")
    return decoder
