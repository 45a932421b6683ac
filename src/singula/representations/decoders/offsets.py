"""Instances from offsets: pixels vote for centers and join the center to which they point.

A pixel at `p` with the offset `o` from its center points to `p - o`. Votes are counted at whole
pixels and smoothed with whole weights, so that the sums do not depend on their order: the votes of
the blocks of an image give the same centers as the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from singula.representations.decoders.components import planes
from singula.representations.decoders.offset_kernels import (
    join_nearest,
    measure_peaks,
    point,
    smooth,
)
from singula.representations.decoders.places import merge_places
from singula.util.boxes import grown, shape_of
from singula.util.process import compiled

_FRACTIONS = 16  # lengths are counted in fractions of a pixel
_TOP_WEIGHT = 256
_PIXELS_AT_ONCE = 1 << 22
_TILE = {2: 512, 3: 64}
_CENTERS_PER_BUCKET = 2
_MAX_LENGTHS = 2.0  # distance of a vote that still joins, relative to the mean length of votes


@dataclass(frozen=True)
class Votes:
    """Pixels to which other pixels point.

    Parameters
    ----------
    places : ndarray of int64, shape (n,)
        Positions in the flat image, ascending.
    counts : ndarray of int64, shape (n,)
        Number of pixels that point to the pixel.
    lengths : ndarray of int64, shape (n,)
        Sum of the lengths of their offsets, in sixteenths of a pixel.
    """

    places: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Centers:
    """Centers of instances, in the order of their pixels.

    Parameters
    ----------
    positions : ndarray of int64, shape (n, ndim)
        Pixels.
    lengths : ndarray of float64, shape (n,)
        Mean length of the offsets that point to the center, in pixels of the finest axis.
    """

    positions: np.ndarray
    lengths: np.ndarray


def relative_spacing(spacing: Sequence[float] | None, ndim: int) -> np.ndarray:
    """Return the voxel size per axis in units of the smallest one.

    Parameters
    ----------
    spacing : sequence of float, optional
        Voxel size per axis, in the order of the axes.
    ndim : int
        Number of axes, 2 or 3.
    """
    sizes = np.ones(ndim) if spacing is None else np.asarray(spacing, np.float64)
    return np.asarray(sizes / sizes.min())


def offsets_in_pixels(
    maps: Sequence[np.ndarray], spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Return offsets per axis in pixels of that axis.

    Parameters
    ----------
    maps : sequence of ndarray
        Offset of each pixel from its center per axis, in the order of the axes, all (y, x) or all
        (z, y, x), in the unit of the spacing.
    spacing : sequence of float, optional
        Voxel size per axis with which the offsets were encoded; pixels by default.

    Returns
    -------
    ndarray of float32, (axes, y, x) or (axes, z, y, x)
    """
    offsets = np.stack([np.asarray(values, np.float32) for values in maps])
    if spacing is not None:
        offsets /= np.asarray(spacing, np.float32).reshape(-1, *(1,) * (offsets.ndim - 1))
    return offsets


def cast_votes(
    offsets: np.ndarray,
    foreground: np.ndarray,
    spacing: Sequence[float] | None = None,
    origin: Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
) -> Votes:
    """Count the pixels that point to each pixel.

    Parameters
    ----------
    offsets : ndarray of float32, (axes, y, x) or (axes, z, y, x)
        As returned by `offsets_in_pixels`.
    foreground : ndarray of bool, (y, x) or (z, y, x)
        Pixels that vote. A vote beyond the image counts at its border.
    spacing : sequence of float, optional
        Voxel size per axis, for the lengths.
    origin : sequence of int, optional
        First pixel of `foreground` in the image; 0 by default.
    shape : sequence of int, optional
        Shape of the image; the one of `foreground` by default.
    """
    start, whole = _corner(origin), _corner(foreground.shape if shape is None else shape, 1)
    sizes = relative_spacing(spacing, foreground.ndim)
    allowed, arrows = planes(foreground), _volumes(offsets)
    parts = []
    rows = max(1, _PIXELS_AT_ONCE // max(1, allowed[0].size))
    for first in range(0, len(allowed), rows):
        here = allowed[first : first + rows]
        targets = np.empty((2, int(np.count_nonzero(here))), np.int64)
        begin = start + np.array([first, 0, 0])
        part = arrows[:, first : first + rows]
        compiled(point)(part, here, sizes, begin, whole, _FRACTIONS, targets)
        parts.append(Votes(targets[0], np.ones_like(targets[0]), targets[1]))
        parts = [merge_votes(parts)]
    return merge_votes(parts)


def merge_votes(parts: Sequence[Votes]) -> Votes:
    """Add votes of different pixels, for example of different blocks.

    Parameters
    ----------
    parts : sequence of Votes
        Votes for pixels of the same image; the order of `places` has no effect.
    """
    every = [Votes(*np.zeros((3, 0), np.int64)), *parts]
    sums = {"counts": np.add, "lengths": np.add}
    return Votes(**merge_places([vars(part) for part in every], sums))


def find_centers(
    votes: Votes,
    shape: Sequence[int],
    radius: float,
    min_share: float,
    spacing: Sequence[float] | None = None,
) -> Centers:
    """Return the peaks of the votes.

    Parameters
    ----------
    votes : Votes
        Votes of all pixels of the image.
    shape : sequence of int
        Shape of the image.
    radius : float
        Radius of the smoothing, and smallest distance of two centers, in pixels of the finest axis.
    min_share : float
        Smallest share of the pixels around a center that must point to it: the number of votes
        within `radius`, relative to the disk or ball in which their pixels would be if the instance
        were round. It is about 1 for round instances, less for long ones, and near 0 for
        pixels at the border of two instances that point between their centers.
    spacing : sequence of float, optional
        Voxel size per axis; the disk or ball is round in physical units.

    Returns
    -------
    Centers

    Notes
    -----
    The votes are smoothed with Epanechnikov's kernel, ``1 - (distance / (radius + 1))²``. A peak is
    a pixel with votes that has the largest value within `radius`; of equal values, the first in
    the order of the pixels.
    """
    ndim = len(shape)
    steps, weights = ball(radius, spacing, ndim)
    halo = 2 * np.abs(steps).max(axis=0)[3 - ndim :]
    sides = np.maximum(_TILE[ndim], halo)
    at = np.stack(np.unravel_index(votes.places, tuple(shape)), axis=1)
    tiles = _group_by_tile(at // sides)
    positions, sums = [np.zeros((0, ndim), np.int64)], [np.zeros((0, 2), np.int64)]
    for tile in tiles:
        core = tuple(slice(t * s, (t + 1) * s) for t, s in zip(tile, sides, strict=True))
        box = grown(core, halo.tolist(), shape)
        corner = np.array([part.start for part in box])
        near = [tiles[key] for key in product(*((t - 1, t, t + 1) for t in tile)) if key in tiles]
        entries = np.concatenate(near)
        entries = entries[((at[entries] >= corner) & (at[entries] < [p.stop for p in box])).all(1)]
        local = tuple((at[entries] - corner).T)
        counts, lengths, scores = np.zeros((3, *shape_of(box)), np.int64)
        counts[local], lengths[local] = votes.counts[entries], votes.lengths[entries]
        compiled(smooth)(planes(counts), steps, weights, planes(scores))
        here = at[tiles[tile]]
        voted = np.zeros((len(here), 3), np.int64)
        voted[:, 3 - ndim :] = here - corner
        measured = np.zeros((len(here), 2), np.int64)
        compiled(measure_peaks)(
            planes(counts), planes(lengths), planes(scores), voted, steps, measured
        )
        is_peak = measured[:, 0] > 0
        positions.append(here[is_peak])
        sums.append(measured[is_peak])
    points, (counts, lengths) = np.concatenate(positions), np.concatenate(sums).T
    means = lengths / (np.maximum(counts, 1) * float(_FRACTIONS))
    is_center = counts >= min_share * round_size(means, spacing, ndim)
    points, means = points[is_center], means[is_center]
    order = np.lexsort(points.T[::-1])
    return Centers(points[order], means[order])


def _group_by_tile(tiles: np.ndarray) -> dict[tuple[int, ...], np.ndarray]:
    """Return the rows of `tiles`, int64 (n, ndim), by tile."""
    if not len(tiles):
        return {}
    unique, inverse = np.unique(tiles, axis=0, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(inverse.ravel()))
    rows = np.split(order, ends[:-1])
    return {tuple(tile): entries for tile, entries in zip(unique.tolist(), rows, strict=True)}


def round_size(lengths: np.ndarray, spacing: Sequence[float] | None, ndim: int) -> np.ndarray:
    """Return the number of pixels of a disk or ball with a mean distance to its center.

    Parameters
    ----------
    lengths : ndarray of float, shape (n,)
        Mean distance of the pixels to the center, in pixels of the finest axis.
    spacing : sequence of float, optional
        Voxel size per axis.
    ndim : int
        Number of axes, 2 or 3.
    """
    radius = lengths * (ndim + 1) / ndim + 0.5
    volume = math.pi * radius**2 if ndim == 2 else 4 / 3 * math.pi * radius**3
    return np.asarray(volume / relative_spacing(spacing, ndim).prod())


def join_centers(
    offsets: np.ndarray,
    foreground: np.ndarray,
    centers: Centers,
    spacing: Sequence[float] | None = None,
    origin: Sequence[int] | None = None,
) -> np.ndarray:
    """Label each foreground pixel with the number of the center nearest to where it points.

    Parameters
    ----------
    offsets, foreground
        As for `cast_votes`.
    centers : Centers
        Centers of the whole image.
    spacing : sequence of float, optional
        Voxel size per axis.
    origin : sequence of int, optional
        First pixel of `foreground` in the image; 0 by default.

    Returns
    -------
    ndarray of int32
        Numbers from 1 in the order of `centers`; 0 in the background, and where a pixel points
        further from the center than twice the mean length of the offsets of its votes, plus one
        pixel. Of equally near centers, the first is used.
    """
    labels = np.zeros(foreground.shape, np.int32)
    if not len(centers.positions):
        return labels
    ndim = foreground.ndim
    positions = np.zeros((len(centers.positions), 3), np.int64)
    positions[:, 3 - ndim :] = centers.positions
    sizes = np.ones(3)
    sizes[3 - ndim :] = relative_spacing(spacing, ndim)
    limits = _MAX_LENGTHS * centers.lengths + 1
    compiled(join_nearest)(
        _volumes(offsets),
        planes(foreground),
        _corner(origin),
        positions,
        limits**2,
        sizes,
        *_buckets(positions, sizes),
        planes(labels),
    )
    return labels


def ball(
    radius: float, spacing: Sequence[float] | None, ndim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of a disk or ball, and their weights in Epanechnikov's kernel.

    Parameters
    ----------
    radius : float
        Radius in pixels of the finest axis.
    spacing : sequence of float, optional
        Voxel size per axis.
    ndim : int
        Number of axes, 2 or 3.

    Returns
    -------
    steps : ndarray of int64, shape (n, 3)
        Steps along z, y and x from the center, in the order of the pixels.
    weights : ndarray of int64, shape (n,)
        Whole numbers from 1, the largest at the center.
    """
    sizes = relative_spacing(spacing, ndim)
    grid = np.indices([2 * math.floor(radius / size) + 1 for size in sizes]).reshape(ndim, -1).T
    steps = grid - [math.floor(radius / size) for size in sizes]
    squared = ((steps * sizes) ** 2).sum(axis=1)
    steps, squared = steps[squared <= radius**2], squared[squared <= radius**2]
    result = np.zeros((len(steps), 3), np.int64)
    result[:, 3 - ndim :] = steps
    weights = np.floor(_TOP_WEIGHT * (1 - squared / (radius + 1) ** 2)).astype(np.int64)
    return result, np.maximum(weights, 1)


def _corner(values: Sequence[int] | None, missing: int = 0) -> np.ndarray:
    """Return numbers per axis along z, y and x, with `missing` for axes that are not given."""
    given = [] if values is None else list(values)
    return np.array([missing] * (3 - len(given)) + given, np.int64)


def _volumes(offsets: np.ndarray) -> np.ndarray:
    """Return a view of offsets as (axes, z, y, x)."""
    return offsets if offsets.ndim == 4 else offsets[:, None]


def _buckets(positions: np.ndarray, sizes: np.ndarray) -> tuple[Any, ...]:
    """Return a grid of cubes with the centers in each.

    Returns
    -------
    low : ndarray of float64, shape (3,)
        First corner of the grid.
    side : float
        Side of a cube.
    shape : ndarray of int64, shape (3,)
        Number of cubes per axis.
    starts : ndarray of int64, shape (cubes + 1,)
        First entry of each cube in `order`.
    order : ndarray of int64, shape (n,)
        Centers, cube by cube; ascending in a cube.
    """
    places = positions * sizes
    low = places.min(axis=0)
    extent = places.max(axis=0) - low + 1
    side = max(1.0, float((extent.prod() * _CENTERS_PER_BUCKET / len(places)) ** (1 / 3)))
    if extent[0] == 1:  # a 2D image
        side = max(1.0, float((extent.prod() * _CENTERS_PER_BUCKET / len(places)) ** (1 / 2)))
    shape = (extent // side).astype(np.int64) + 1
    cells = ((places - low) // side).astype(np.int64)
    flat = np.ravel_multi_index(tuple(cells.T), tuple(shape))
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(int(shape.prod()) + 1))
    return low, side, shape, starts, order
