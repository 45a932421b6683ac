"""Mutex watershed of affinities.

Each pair of pixels with an affinity votes: above the threshold for one instance, below for two. The
votes are counted by descending certainty, the difference from the threshold. A vote for one
instance joins the clusters of the two pixels unless an earlier vote separates these clusters. A
vote for two instances separates the clusters unless they are already joined. Only votes of direct
neighbors join clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channel import axis_of_neighbor
from singula.util.boxes import pair_boxes

Offset = Sequence[int]


@dataclass(frozen=True)
class Votes:
    """Pairs of pixels that belong together or not.

    Parameters
    ----------
    pairs : ndarray of uint64, shape (n, 2)
        Numbers of two pixels, the smaller one first.
    certainty : ndarray of float32, shape (n,)
        Difference of the affinity from the threshold, above 0.
    """

    pairs: NDArray[np.uint64]
    certainty: NDArray[np.float32]


def mutex_watershed(
    affinities: Sequence[NDArray[np.floating[Any]]],
    offsets: Sequence[Offset],
    threshold: float = 0.5,
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Divide an image into instances by its affinities.

    Parameters
    ----------
    affinities : sequence of ndarray, (y, x) or (z, y, x)
        Probability that a pixel and the one at the offset belong to the same instance. Pixels
        whose partner is outside of the image are ignored.
    offsets : sequence of sequence of int
        Offset of each affinity. Affinities of direct neighbors join or separate clusters; other
        affinities only separate clusters.
    threshold : float
        Affinity of a pair of pixels that is undecided.
    mask : ndarray of bool, optional
        Foreground; other pixels are background.

    Returns
    -------
    ndarray of int32
        Labels in the order of their first pixels; 0 is background. Clusters of one pixel become
        background.

    References
    ----------
    S. Wolf et al.: The mutex watershed: efficient, parameter-free image partitioning. ECCV 2018.
    The signed graph is that of A. Bailoni et al.: GASP, a generalized framework for agglomerative
    clustering of signed graphs. CVPR 2022.
    """
    shape = affinities[0].shape
    clusters = cluster(int(np.prod(shape)), *count_votes(affinities, offsets, threshold, mask))
    pixels = np.bincount(clusters, minlength=1)
    numbers = np.zeros(len(pixels), np.int32)
    # Each pixel outside of the mask is a cluster of one pixel.
    several = np.flatnonzero(pixels > 1)
    numbers[several] = np.arange(1, len(several) + 1)
    result: NDArray[np.int32] = numbers[clusters].reshape(shape)
    return result


def cluster(size: int, joining: Votes, separating: Votes) -> NDArray[np.int64]:
    """Return the cluster of each node of a graph, from 0 in the order of their first nodes.

    Parameters
    ----------
    size : int
        Number of nodes.
    joining : Votes
        Pairs that belong together, sorted and each once.
    separating : Votes
        Pairs that do not.
    """
    from bioimage_cpp.graph import UndirectedGraph
    from bioimage_cpp.graph.mutex_watershed import mutex_watershed_clustering

    graph = UndirectedGraph.from_unique_edges(size, joining.pairs)
    clusters = mutex_watershed_clustering(
        graph, joining.certainty, separating.pairs, separating.certainty
    )
    result: NDArray[np.int64] = np.asarray(clusters).view(np.int64)
    return result


def count_votes(
    affinities: Sequence[NDArray[np.floating[Any]]],
    offsets: Sequence[Offset],
    threshold: float,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[Votes, Votes]:
    """Return the pairs of pixels that belong together, and those that do not.

    Parameters
    ----------
    affinities, offsets, threshold, mask
        As for `mutex_watershed`.

    Returns
    -------
    joining, separating : Votes
        Pairs of direct neighbors above the threshold, and pairs below it.
    """
    shape = affinities[0].shape
    numbers = np.arange(affinities[0].size, dtype=np.uint64).reshape(shape)
    # Pairs of neighbors by their first pixel and their axis, the last one first, are sorted.
    nearest = np.zeros((*shape, len(shape)), np.float32)
    separating = []
    for values, offset in zip(affinities, offsets, strict=True):
        first, second = pair_boxes(shape, offset)
        certainty = values[first].astype(np.float32) - np.float32(threshold)
        if mask is not None:
            certainty[~(mask[first] & mask[second])] = 0
        separating.append(_votes(numbers[first], numbers[second], -certainty))
        axis = axis_of_neighbor(offset)
        if axis is not None:
            before = first if offset[axis] > 0 else second
            pairs_along = nearest[before][..., -1 - axis]
            np.maximum(pairs_along, certainty, out=pairs_along)
    pixels, axis_from_end = np.nonzero(nearest.reshape(-1, len(shape)) > 0)
    steps = np.cumprod([1, *shape[:0:-1]])
    pairs = np.stack([pixels, pixels + steps[axis_from_end]], axis=1).astype(np.uint64)
    joining = Votes(pairs, nearest[nearest > 0])
    return joining, Votes(
        np.concatenate([each.pairs for each in separating]),
        np.concatenate([each.certainty for each in separating]),
    )


def _votes(
    first: NDArray[np.uint64], second: NDArray[np.uint64], certainty: NDArray[np.float32]
) -> Votes:
    counts = certainty > 0
    low, high = np.minimum(first, second)[counts], np.maximum(first, second)[counts]
    return Votes(np.stack([low, high], axis=1), certainty[counts])
