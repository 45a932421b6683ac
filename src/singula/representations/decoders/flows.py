"""Instances from flows: pixels that move along the flows to the same place are an instance.

Positions are those in the image, and pixels move independently of each other, so that the arrivals
of blocks are those of the image. If pixels leave the maps that were read around a block, larger
maps are read, and the pixels of the block move again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.representations.channels.flow import flows_of_labels
from singula.representations.decoders.components import planes
from singula.representations.decoders.flow_kernels import (
    add_errors,
    count_pixels,
    grow_sinks,
    move_in_2d,
    move_in_3d,
)
from singula.representations.decoders.offsets import relative_spacing
from singula.representations.decoders.places import merge_places
from singula.util.boxes import Box, grown, shape_of
from singula.util.process import compiled

_HALO = 32  # pixels around a block that are read first
_WINDOW = 2  # pixels on each side of a sink without a larger number of arrivals
_MIN_SINK, _MIN_PLACE = 10, 2  # arrivals that a sink and a pixel next to it exceed
_GROWTH = 5  # steps by which a sink grows

_OPERATIONS = {"counts": np.add, "starts": np.minimum, "stops": np.maximum}

ReadFlows = Callable[[Box], tuple[Sequence[np.ndarray], np.ndarray]]


@dataclass(frozen=True)
class Arrivals:
    """Pixels of the image at which other pixels arrive.

    Parameters
    ----------
    places : ndarray of int64, shape (n,)
        Positions in the flat image, ascending.
    counts : ndarray of int64, shape (n,)
        Number of pixels that arrive.
    starts, stops : ndarray of int64, shape (n, ndim)
        Bounding box of the pixels that arrive.
    """

    places: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    stops: np.ndarray


@dataclass(frozen=True)
class Sinks:
    """Sinks in the order of their pixels, with all pixels that belong to them.

    Parameters
    ----------
    points : ndarray of int64, shape (n, ndim)
        Pixel with the largest number of arrivals.
    starts, stops : ndarray of int64, shape (n, ndim)
        Bounding box of the pixels that arrive in the sink.
    places : ndarray of int64, shape (m,)
        Positions in the flat image, ascending.
    numbers : ndarray of int64, shape (m,)
        Number of the sink of each place, from 1.
    """

    points: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    places: np.ndarray
    numbers: np.ndarray


def follow_flows(
    read: ReadFlows,
    core: Box,
    shape: Sequence[int],
    steps: int,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Return the pixel at which each foreground pixel of a part of an image arrives.

    Parameters
    ----------
    read : callable
        Return the flows per axis and the foreground of a box of the image.
    core : Box
        The part.
    shape : sequence of int
        Shape of the image.
    steps : int
        Largest number of steps. A pixel moves by its interpolated flow in each step, in units of
        the finest axis, and stops where the flow is nearly 0.
    spacing : sequence of float, optional
        Voxel size per axis.

    Returns
    -------
    ndarray of int64
        Positions in the flat image, in the shape of the part; -1 in the background.
    """
    ndim, halo = len(shape), 0 if shape_of(core) == tuple(shape) else _HALO
    speeds = 1 / relative_spacing(spacing, ndim)
    whole = np.array(shape, np.int64)
    while True:
        outer = grown(core, (halo,) * ndim, shape)
        flows, foreground = read(outer)
        vectors = np.zeros((*foreground.shape, ndim), np.float32)
        for axis, values in enumerate(flows):
            np.copyto(vectors[..., axis], values, where=foreground, casting="unsafe")
        ends = np.full(shape_of(core), -1, np.int64)
        first, begin = _starts(outer), _starts(core)
        kernel = move_in_3d if ndim == 3 else move_in_2d
        if compiled(kernel)(vectors, foreground, first, begin, whole, speeds, steps, ends):
            return ends
        halo *= 2


def _starts(box: Box) -> np.ndarray:
    return np.array([side.start for side in box], np.int64)


def count_arrivals(ends: np.ndarray, core: Box, shape: Sequence[int]) -> Arrivals:
    """Return the arrivals of the pixels of a part of an image.

    Parameters
    ----------
    ends : ndarray of int64
        Result of `follow_flows`.
    core : Box
        The part.
    shape : sequence of int
        Shape of the image.
    """
    flat = ends.ravel()
    places, rows = np.unique(flat[flat >= 0], return_inverse=True)
    counts = np.zeros(len(places), np.int64)
    boxes = np.zeros((2, len(places), 3), np.int64)
    boxes[0] = np.iinfo(np.int64).max
    first = np.zeros(3, np.int64)
    first[3 - ends.ndim :] = _starts(core)
    compiled(count_pixels)(planes(ends), rows.ravel(), first, counts, boxes)
    skipped = 3 - ends.ndim
    return Arrivals(places, counts, boxes[0][:, skipped:], boxes[1][:, skipped:])


def find_sinks(parts: Sequence[Arrivals], shape: Sequence[int]) -> Sinks:
    """Return the sinks of an image.

    Parameters
    ----------
    parts : sequence of Arrivals
        Arrivals of parts that cover the image.
    shape : sequence of int
        Shape of the image.

    Notes
    -----
    As in Cellpose, a sink is a pixel at which more than 10 pixels arrive, and not more at any pixel
    of the 5 × 5 (× 5) pixels around it; of equal numbers, at the first. It grows for five steps
    over neighbors at which more than two pixels arrive. Where two sinks meet, the one with more
    arrivals is used.
    """
    ndim = len(shape)
    none, nowhere = np.zeros(0, np.int64), np.zeros((0, ndim), np.int64)
    every = [Arrivals(none, none, nowhere, nowhere), *parts]
    arrivals = Arrivals(**merge_places([vars(part) for part in every], _OPERATIONS))
    sizes = np.ones(3, np.int64)
    sizes[3 - ndim :] = shape
    numbers = np.zeros(len(arrivals.places), np.int64)
    candidates = np.flatnonzero(arrivals.counts > _MIN_SINK)
    # From few to many arrivals: later sinks replace the numbers of earlier ones.
    candidates = candidates[np.lexsort((-candidates, arrivals.counts[candidates]))]
    reach = np.array([_WINDOW if ndim == 3 else 0, _WINDOW, _WINDOW], np.int64)
    compiled(grow_sinks)(
        arrivals.places, arrivals.counts, sizes, candidates, reach, _MIN_PLACE, _GROWTH, numbers
    )
    used = numbers > 0
    chosen, rows = np.unique(numbers[used], return_inverse=True)  # 1 + row of the peak
    count, rows = len(chosen), rows.ravel()
    starts = np.full((count, ndim), np.iinfo(np.int64).max)
    stops = np.zeros((count, ndim), np.int64)
    np.minimum.at(starts, rows, arrivals.starts[used])
    np.maximum.at(stops, rows, arrivals.stops[used])
    points = np.stack(np.unravel_index(arrivals.places[chosen - 1], tuple(shape)), axis=1)
    return Sinks(points.astype(np.int64), starts, stops, arrivals.places[used], rows + 1)


def label_arrivals(ends: np.ndarray, sinks: Sinks) -> np.ndarray:
    """Return the number of the sink of each pixel, int32 in the shape of `ends`; 0 without any.

    Parameters
    ----------
    ends : ndarray of int64
        Result of `follow_flows`.
    sinks : Sinks
        Sinks of the whole image.
    """
    if not len(sinks.places):
        return np.zeros(ends.shape, np.int32)
    rows = np.minimum(np.searchsorted(sinks.places, ends), len(sinks.places) - 1)
    return np.where(sinks.places[rows] == ends, sinks.numbers[rows], 0).astype(np.int32)


def whole_objects(sinks: Sinks, box: Box) -> tuple[Box, np.ndarray]:
    """Return a box that contains all objects with pixels in a box, and the mask of their numbers.

    Parameters
    ----------
    sinks : Sinks
        Sinks of the whole image.
    box : Box
        Box of the image.

    Returns
    -------
    outer : Box
    is_inside : ndarray of bool, shape (n + 1,)
        True for the numbers of these objects.
    """
    first, last = _starts(box), np.array([side.stop for side in box], np.int64)
    inside = ((sinks.starts < last) & (sinks.stops > first)).all(axis=1)
    low = np.minimum(first, sinks.starts[inside].min(axis=0, initial=np.iinfo(np.int64).max))
    high = np.maximum(last, sinks.stops[inside].max(axis=0, initial=0))
    outer = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    return outer, np.concatenate([[False], inside])


def touch_border(sinks: Sinks, shape: Sequence[int]) -> np.ndarray:
    """Return the mask of the numbers of objects that touch the border of the image.

    Axes of one pixel have no border.

    Parameters
    ----------
    sinks : Sinks
        Sinks of the whole image.
    shape : sequence of int
        Shape of the image.

    Returns
    -------
    ndarray of bool, shape (n + 1,)
        False for the background.
    """
    sizes = np.array(shape, np.int64)
    touches = ((sinks.starts == 0) | (sinks.stops == sizes)) & (sizes > 1)
    return np.concatenate([[False], touches.any(axis=1)])


def flow_errors(
    labels: np.ndarray, flows: Sequence[np.ndarray], spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Return how much the flows of each instance differ from the predicted ones.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Numbers of the instances.
    flows : sequence of ndarray
        Predicted flow per axis.
    spacing : sequence of float, optional
        Voxel size per axis.

    Returns
    -------
    ndarray of float, shape (n + 1,)
        Mean squared length of the difference over the pixels of each instance; -inf for the
        background, and for numbers without pixels.
    """
    labels = labels.astype(np.int32, copy=False)
    count = int(labels.max(initial=0))
    expected: Any = flows_of_labels(labels, relative_spacing(spacing, labels.ndim).tolist())
    sums, pixels = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    flat = labels.ravel()
    for axis, values in enumerate(flows):
        predicted = np.ascontiguousarray(values, np.float32).ravel()
        compiled(add_errors)(flat, expected[..., axis].ravel(), predicted, sums, pixels)
    errors = np.full(count + 1, -np.inf)
    np.divide(sums * len(flows), pixels, out=errors, where=pixels > 0)
    errors[0] = -np.inf
    return errors
