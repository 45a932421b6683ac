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
    from bioimage_cpp.segmentation import mutex_watershed as divide

    near = [row for row, offset in enumerate(offsets) if axis_of_neighbor(offset) is not None]
    shape = affinities[0].shape
    # A pair votes twice, and its vote for the less certain decision comes too late to count.
    votes = np.empty((len(near) + len(offsets), *shape), np.float32)
    for row, number in enumerate([*near, *range(len(offsets))]):
        votes[row] = affinities[number]
    np.subtract(np.float32(2 * threshold), votes[len(near) :], out=votes[len(near) :])
    clusters = divide(
        votes, [*(tuple(offsets[row]) for row in near), *map(tuple, offsets)], len(near), mask=mask
    ).ravel()
    del votes
    pixels = np.bincount(clusters, minlength=1)
    pixels[0] = 0  # outside of the mask
    numbers = np.zeros(len(pixels), np.int32)
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
