"""Outlines and measurements of label images that are read in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.exports.outlines import Outline, trace_slices
from singula.io.lazy_array import LazyArray, iter_blocks
from singula.labels.block_table import Block
from singula.labels.index import Extents, extents
from singula.measure.intensity import Intensities, intensities, intensity_columns
from singula.measure.moments import Moments, axis_ratio, second_moments
from singula.measure.morphology import HALO, Shapes, shapes
from singula.runs.instances import Instances
from singula.util.boxes import Box, boxes, grown, local

_SIDE = 2048  # pixels of a part of a plane
_DEPTH_SIDE = 160  # voxels of a part of a volume


def trace_instances(item: Instances) -> Iterator[tuple[int | None, Outline]]:
    """Yield the outlines of `trace_slices`, in pixels of the slide if the image is of a slide.

    A lazy label image is read in parts, which bounds the memory. The order of the instances is then
    that of the parts.

    Parameters
    ----------
    item : Instances
        Label image.
    """
    if not isinstance(item.labels, LazyArray):
        parts = [((0, 0), item.labels)]
    else:
        parts = _complete_parts(item.labels)
    scale = None if item.slide is None else np.array(item.slide.downsample)
    for origin, labels in parts:
        for z, outline in trace_slices(labels):
            if scale is None:
                yield z, outline
                continue
            polygons = tuple(
                tuple(np.round((ring + origin) * scale, 2) for ring in polygon)
                for polygon in outline.polygons
            )
            yield z, Outline(outline.label, polygons)


def max_id(labels: npt.NDArray[Any]) -> int:
    """Return the largest id of a label image; 0 without instances."""
    return max(int(part.max(initial=0)) for _, part in iter_blocks(labels))


def count_ids(labels: npt.NDArray[Any]) -> int:
    """Return the number of instances of a label image."""
    ids = np.unique(np.concatenate([np.unique(part) for _, part in iter_blocks(labels)]))
    return int(np.count_nonzero(ids))


def _complete_parts(labels: LazyArray) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
    """Yield parts of a plane, and their origin, so that each instance is complete in one part."""
    extent = Extents.merge([extents(core, block) for core, block in _blocks(labels, 0)])
    squares = extent.low // _SIDE
    order = np.lexsort(squares.T[::-1])
    starts = np.flatnonzero(np.any(np.diff(squares[order], axis=0, prepend=-1), axis=1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        low, high = extent.low[rows].min(0), extent.high[rows].max(0)
        part = labels[tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))]
        part = np.where(np.isin(part, extent.ids[rows]), part, 0)
        yield tuple(low.tolist()), part


def _blocks(labels: LazyArray, halo: int) -> Iterator[tuple[npt.NDArray[Any], Block]]:
    """Yield the parts of a label image with instances, and an empty part, with their positions."""
    side = _SIDE if labels.ndim == 2 else _DEPTH_SIDE
    for core in boxes(labels.shape, (side,) * labels.ndim):
        outer: Box = grown(core, (halo,) * labels.ndim, labels.shape)
        part = labels[outer]
        if part.any():
            yield part, Block(local(core, outer), tuple(side.start for side in outer), labels.shape)
    empty = np.zeros((1,) * labels.ndim, labels.dtype)
    yield empty, Block.whole(empty.shape)


def measure_parts(
    labels: LazyArray, spacing: tuple[float, ...] | None, image: LazyArray | None = None
) -> tuple[Shapes, dict[str, npt.NDArray[np.float64]]]:
    """Measure the instances of a lazy label image.

    Parameters
    ----------
    labels : LazyArray
        Label image (y, x) or (z, y, x).
    spacing : tuple of float, optional
        Pixel size.
    image : LazyArray, optional
        Raw image, (y, x, c) or (z, y, x, c), for the intensities.

    Returns
    -------
    shapes : Shapes
        Extents and outlines.
    columns : dict of str to ndarray
        ``axis_ratio`` and, with `image`, the intensities, sorted by id.
    """
    measured, moments, values = [], [], []
    for part, block in _blocks(labels, HALO[labels.ndim]):
        measured.append(shapes(part, block, spacing=spacing))
        moments.append(second_moments(part, block))
        if image is not None:
            core = tuple(
                slice(first + side.start, first + side.stop)
                for first, side in zip(block.origin, block.core, strict=True)
            )
            values.append(intensities(part[block.core], image[core]))
    columns = {"axis_ratio": axis_ratio(Moments.merge(moments), spacing=spacing)}
    if image is not None:
        columns |= intensity_columns(Intensities.merge(values))
    return Shapes.merge(measured), columns
