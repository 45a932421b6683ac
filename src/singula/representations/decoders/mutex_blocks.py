"""Mutex watershed of an image in blocks.

Each block is divided with a halo of the longest offset. The segments of blocks that touch across a
face are joined if the mean affinity of the pairs of pixels across the face exceeds the threshold,
the most certain pairs of segments first. Pairs with a mean below the threshold, across a face or
within a block, separate the segments: this is a mutex watershed of the segments.

The result can differ from that of the whole image where an instance is decided by affinities
beyond the halo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from singula.representations.channel import axis_of_neighbor
from singula.representations.decoders.mutex import Votes, cluster
from singula.util.boxes import Box, local

Array: TypeAlias = NDArray[Any]
Segments: TypeAlias = Mapping[str, Array]
"""Segments of a block.

A segment is identified by the flat position in the image of its first pixel in the block; -1 is
background. ``first``: the segments. ``within`` and ``mean``: pairs of segments that touch in the
block, and the mean affinity of their pixels. ``start`` and ``stop``: the block. For each axis with
a neighboring block, ``low0`` or ``high0``: the segments at the face, and ``affinity0``: the
affinities across the upper face.
"""


def segments_of(
    labels: NDArray[np.int32],
    affinities: Sequence[Array],
    offsets: Sequence[Sequence[int]],
    core: Box,
    outer: Box,
    shape: Sequence[int],
) -> dict[str, Array]:
    """Return the segments of a block and their contacts.

    Parameters
    ----------
    labels : ndarray of int32
        Instances of the box `outer`.
    affinities : sequence of ndarray
        Affinities of the box `outer`.
    offsets : sequence of sequence of int
        Offset of each affinity.
    core : Box
        The block.
    outer : Box
        The block with its halo.
    shape : sequence of int
        Shape of the image.

    Returns
    -------
    dict of str to ndarray
        See `Segments`.
    """
    inner = local(core, outer)
    numbers, first = _first_pixels(labels[inner], core, shape)
    pairs, mean = _contacts(numbers, [values[inner] for values in affinities], offsets)
    named = np.concatenate([[-1], first])
    record = {
        "first": first,
        "within": named[pairs],
        "mean": mean,
        "start": np.array([part.start for part in core]),
        "stop": np.array([part.stop for part in core]),
    }
    across = _across_faces(affinities, offsets, inner)
    for axis, (part, size) in enumerate(zip(core, shape, strict=True)):
        if part.start > 0:
            record[f"low{axis}"] = named[numbers.take(0, axis)]
        if part.stop < size:
            record[f"high{axis}"] = named[numbers.take(-1, axis)]
            record[f"affinity{axis}"] = across[axis]
    return record


def join_segments(
    parts: Iterable[Segments], threshold: float, shape: Sequence[int]
) -> dict[str, Array]:
    """Return the instances that the segments of all blocks form.

    Parameters
    ----------
    parts : iterable of mapping
        Results of `segments_of`, in any order.
    threshold : float
        Affinity that is undecided.
    shape : sequence of int
        Shape of the image.

    Returns
    -------
    dict of str to ndarray
        ``points``: first pixel of each instance, in their order, int64 (count, ndim). ``segments``
        and ``instances``: the segments in ascending order, and the instance of each, from 1.
    """
    segments, across, within = [], _Contacts(), _Contacts()
    unpaired_faces: dict[tuple[int, ...], tuple[Array, ...]] = {}
    for part in parts:
        segments.append(part["first"])
        within.add(part["within"], part["mean"])
        start, stop = part["start"].tolist(), part["stop"].tolist()
        for axis in range(len(shape)):
            for side, at in (("low", start), ("high", stop)):
                if f"{side}{axis}" not in part:
                    continue
                position = (axis, *start[:axis], at[axis], *start[axis + 1 :])
                names = ("high", "affinity") if side == "high" else ("low",)
                face = tuple(np.array(part[f"{name}{axis}"]) for name in names)
                if position not in unpaired_faces:
                    unpaired_faces[position] = face
                    continue
                faces = (face, unpaired_faces.pop(position))
                high, low = faces if side == "high" else faces[::-1]
                across.add_pixels(high[0], low[0], high[1])
    first = np.sort(np.concatenate([np.zeros(0, np.int64), *segments]))
    clusters = _cluster(first, across, within, threshold)
    _, beginnings, ids = np.unique(clusters, return_index=True, return_inverse=True)
    order = np.argsort(beginnings)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    points = np.stack(np.unravel_index(first[beginnings[order]], tuple(shape)), axis=1)
    return {"points": points.astype(np.int64), "segments": first, "instances": rank[ids]}


def paint_segments(
    labels: NDArray[np.int32],
    objects: Mapping[str, Array],
    core: Box,
    outer: Box,
    shape: Sequence[int],
) -> NDArray[np.int32]:
    """Return the ids of the instances in a block.

    Parameters
    ----------
    labels : ndarray of int32
        Instances of the box `outer`, as for `segments_of`.
    objects : mapping of str to ndarray
        Result of `join_segments`.
    core, outer, shape
        As for `segments_of`.
    """
    numbers, first = _first_pixels(labels[local(core, outer)], core, shape)
    rows = np.searchsorted(objects["segments"], first)
    ids = np.concatenate([[0], objects["instances"][rows]]).astype(np.int32)
    result: NDArray[np.int32] = ids[numbers]
    return result


class _Contacts:
    """Mean affinities of pairs of segments."""

    def __init__(self) -> None:
        self.pairs: list[Array] = [np.zeros((0, 2), np.int64)]
        self.means: list[Array] = [np.zeros(0)]

    def add(self, pairs: Array, means: Array) -> None:
        """Add pairs of segments with their means; a pair is added once."""
        self.pairs.append(np.array(pairs, np.int64).reshape(-1, 2))
        self.means.append(np.array(means, np.float64))

    def add_pixels(self, first: Array, second: Array, affinity: Array) -> None:
        """Add the segments and affinities of pairs of pixels."""
        is_pair = ((first >= 0) & (second >= 0)).ravel()
        pairs = np.stack([first.ravel()[is_pair], second.ravel()[is_pair]], axis=1)
        unique, row = np.unique(pairs, axis=0, return_inverse=True)
        weights = affinity.ravel()[is_pair].astype(np.float64)
        row = row.reshape(-1)
        sums, pixels = np.bincount(row, weights, len(unique)), np.bincount(row, None, len(unique))
        self.add(unique, sums / np.maximum(pixels, 1))

    def votes(self, first: Array, threshold: float, *, join: bool) -> Votes:
        """Return the pairs above or below the threshold, by the rows of the segments."""
        rows = np.searchsorted(first, np.concatenate(self.pairs))
        rows.sort(axis=1)
        certainty = np.concatenate(self.means) - threshold
        certainty = certainty if join else -certainty
        selected = np.flatnonzero(certainty > 0)
        selected = selected[np.lexsort(rows[selected].T[::-1])]
        return Votes(rows[selected].astype(np.uint64), certainty[selected].astype(np.float32))


def _cluster(first: Array, across: _Contacts, within: _Contacts, threshold: float) -> Array:
    """Return the cluster of each segment by a mutex watershed."""
    joining = across.votes(first, threshold, join=True)
    votes = [contacts.votes(first, threshold, join=False) for contacts in (across, within)]
    separating = Votes(
        np.concatenate([each.pairs for each in votes]),
        np.concatenate([each.certainty for each in votes]),
    )
    return cluster(len(first), joining, separating)


def _first_pixels(labels: Array, core: Box, shape: Sequence[int]) -> tuple[Array, Array]:
    """Return the labels of a block from 1, and the flat position of the first pixel of each."""
    present, index, numbers = np.unique(labels, return_index=True, return_inverse=True)
    numbers = numbers.reshape(labels.shape)
    if len(present) and present[0] == 0:
        index = index[1:]
    else:
        numbers = numbers + 1
    at = np.unravel_index(index, labels.shape)
    pixels = [a + part.start for a, part in zip(at, core, strict=True)]
    return numbers, np.ravel_multi_index(pixels, tuple(shape)).astype(np.int64)


def _contacts(
    numbers: Array, affinities: Sequence[Array], offsets: Sequence[Sequence[int]]
) -> tuple[Array, Array]:
    """Return the pairs of segments that touch, and the mean affinity of their pixels."""
    from bioimage_cpp.graph import region_adjacency_graph
    from bioimage_cpp.graph.features import affinity_features

    labels = np.ascontiguousarray(numbers, np.uint32)
    graph = region_adjacency_graph(labels)
    pairs = np.array(graph.uv_ids()).astype(np.int64).reshape(-1, 2)
    if not len(pairs):
        return pairs, np.zeros(0)
    stacked = np.stack([values.astype(np.float32) for values in affinities])
    means = affinity_features(graph, labels, stacked, offsets, number_of_threads=1)[:, 0]
    is_pair = (pairs > 0).all(axis=1)
    return pairs[is_pair], np.asarray(means[is_pair], np.float64)


def _across_faces(
    affinities: Sequence[Array], offsets: Sequence[Sequence[int]], inner: Box
) -> dict[int, Array]:
    """Return the affinities of the pairs of pixels across the upper face along each axis."""
    result: dict[int, Array] = {}
    for values, offset in zip(affinities, offsets, strict=True):
        axis = axis_of_neighbor(offset)
        if axis is None:
            continue
        # The pair is stored at the pixel beyond the face for a negative offset.
        at = inner[axis].stop - (1 if offset[axis] > 0 else 0)
        if at >= values.shape[axis]:
            continue
        plane = (*inner[:axis], at, *inner[axis + 1 :])
        face = values[plane].astype(np.float32)
        result[axis] = np.maximum(result[axis], face) if axis in result else face
    return result
