"""Join the seeds of the blocks to the seeds of the image."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.blocks.stitch import (
    Face,
    edges_of,
    face_pairs,
    label_in_raster_order,
    sum_over,
    union_edges,
)
from singula.labels import Extents, close_ids
from singula.labels.block_table import ArrayList
from singula.pipeline.blocks import tasks
from singula.pipeline.blocks.context import BlockContext
from singula.representations.decoders.morphology import is_large

Array = npt.NDArray[Any]


@dataclass
class _Columns:
    """Columns of the records of all blocks.

    Parameters
    ----------
    lengths : ndarray of float64, shape (ndim,)
        Largest 90th percentile of the sides of the seeds of a block.
    offsets : array of int64
        Number of seeds before each block, and of all seeds.
    first, pixels, at_border : ArrayList
        Columns of the seeds; see `singula.representations.decoders.blockwise.SeedPart`.
    extents : list of (int, Extents)
        Number of the seeds before a block, and the extents of its seeds if they are needed.
    """

    lengths: Array
    offsets: array[int] = field(default_factory=lambda: array("q", [0]))
    first: ArrayList = field(default_factory=lambda: ArrayList([np.zeros(0, np.int64)]))
    pixels: ArrayList = field(default_factory=lambda: ArrayList([np.zeros(0, np.int64)]))
    at_border: ArrayList = field(default_factory=lambda: ArrayList([np.zeros(0, bool)]))
    extents: list[tuple[int, Extents]] = field(default_factory=list)

    def add(self, record: Mapping[str, Array]) -> None:
        """Add the record of the next block."""
        if "extents.ids" in record:
            self.extents.append((self.offsets[-1], tasks.unpack(Extents, "extents", record)))
        self.offsets.append(self.offsets[-1] + len(record["first"]))
        self.first.append(record["first"])
        self.pixels.append(record["pixels"])
        self.at_border.append(record["at_border"])
        if len(record["first"]):
            sides = np.percentile(record["extent"], 90, axis=0)
            self.lengths = np.maximum(self.lengths, sides)


def join_seeds(context: BlockContext) -> None:
    """Store the ids of the seeds of all blocks; each record is read once.

    Parameters
    ----------
    context : BlockContext
        Image whose blocks have records of their seeds. The tables of the phase ``seeds`` are
        written: ``ids`` of all seeds, ``offsets`` of the blocks in ``ids``, the ``count`` of ids,
        and ``lengths``, the largest 90th percentile of the sides of the seeds of a block.
    """
    columns = _Columns(np.zeros(len(context.spec.shape)))
    # A list, because the union needs the number of all seeds. It has few rows: pairs at faces.
    pairs = face_pairs(context.grid, _faces(context, columns))
    edges = list(edges_of(columns.offsets, pairs))
    component = union_edges(columns.offsets[-1], edges)
    del edges
    job, settings, is_kept = context.job, context.decode_plan.settings, None
    if settings.remove_before:
        sizes = sum_over(component, columns.pixels.joined())
        cut = sum_over(component, columns.at_border.joined().astype(np.int64)) > 0
        is_kept = is_large(sizes, cut, settings.remove_small, settings.min_border_pixels)
    ids = label_in_raster_order(component, columns.first.joined(), is_kept)
    count = int(ids.max(initial=0))
    if context.post.close_radius is not None and count:
        close = _too_close(ids, columns.extents, context.post.close_radius, context.spec.spacing)
        ids[np.isin(ids, close)] = 0
    job.save_table("seeds", "offsets", np.array(columns.offsets, np.int64))
    job.save_table("seeds", "count", np.array(count))
    job.save_table("seeds", "ids", ids.astype(np.uint32 if count < 2**32 else np.uint64))
    job.save_table("seeds", "lengths", columns.lengths)


def _faces(context: BlockContext, columns: _Columns) -> Iterator[Callable[[int, int], Face]]:
    """Yield the faces of each block, and add its record to the columns."""
    for number in range(len(context.grid)):
        record = context.job.load("seeds", number)
        columns.add(record)
        yield partial(tasks.face_in, record)


def _too_close(
    ids: Array,
    extents: list[tuple[int, Extents]],
    radius: float,
    spacing: tuple[float, ...] | None,
) -> Array:
    """Return the ids of seeds whose centers are too close to the center of a larger seed."""
    parts = []
    for offset, part in extents:
        seed_ids = ids[offset:][part.ids - 1]
        is_valid = seed_ids > 0
        columns = {name: getattr(part, name) for name in ("npixels", "sums", "low", "high")}
        rows = {name: column[is_valid] for name, column in columns.items()}
        parts.append(Extents.of_rows(ids=seed_ids[is_valid], **rows))
    if not parts:
        return np.zeros(0, np.int64)
    return close_ids(Extents.merge(parts), radius, spacing=spacing)
