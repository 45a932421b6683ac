"""Voronoi growth: every background pixel of an area is assigned to the nearest instance.

See ``docs/internals/voronoi.md`` for the method and its invariants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.io.image import check_spacing
from singula.labels.block_table import Block
from singula.labels.index import index_labels, look_up
from singula.representations.channel_table import CHANNELS
from singula.representations.combination import whole_foreground
from singula.representations.decoders.thresholds import MIN_AUTO, histogram, otsu_from_histogram
from singula.util.arguments import as_array, function, instance, label_image, number, same_shape
from singula.util.process import compiled

_NO_OTSU = 0.5
_SLACK = 1e-6
"""Tolerance of the crossing points of parabolas.

Parabolas that cross within it are compared exactly, so that ties do not depend on where the array
begins.
"""


def voronoi(
    labels: np.ndarray, area: np.ndarray, *, spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Assign every background pixel of an area to the nearest instance.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    area : ndarray of bool
        Pixels that instances may grow into, with the shape of `labels`. Instances keep their own
        pixels, inside and outside of the area.
    spacing : sequence of float, optional
        Voxel size per axis, in the order of the axes; 1 by default.

    Returns
    -------
    ndarray
        A new array with the dtype of `labels`; a copy if there are no instances.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not an area; labels and area of different shapes; an invalid spacing.

    Notes
    -----
    Uses the exact Euclidean distance between pixel centers. The first axis is scanned in two
    passes; along each other axis, the lower envelope of parabolas is computed (P. Felzenszwalb and
    D. Huttenlocher, 2012), in linear time. Of instances at the same distance, the one with the
    lowest id gets the pixel.
    """
    labels = as_array(labels, "labels", ndim=(2, 3))
    grown, _ = _grow(labels, area, check_spacing(spacing, labels.ndim))
    return grown


@dataclass(frozen=True, eq=False)
class Grown:
    """Result of `voronoi_block`.

    Parameters
    ----------
    labels : ndarray of int
        Grown labels of the core.
    is_exact : ndarray of bool
        True for pixels of the core with the same label as in the whole image. For the others, an
        instance outside of the halo may be closer.
    halo : tuple of int or None
        Width of the halo in pixels that would make all pixels exact. None if it is unknown because
        the array has no instances.
    """

    labels: np.ndarray
    is_exact: np.ndarray
    halo: tuple[int, ...] | None


def voronoi_block(
    labels: np.ndarray,
    area: np.ndarray,
    block: Block,
    *,
    spacing: Sequence[float] | None = None,
) -> Grown:
    """Grow the instances of a block and its halo over the core; see `voronoi`.

    Parameters
    ----------
    labels : ndarray of int
        Labels of the block with a halo of any width, (y, x) or (z, y, x). A wider halo makes more
        pixels exact.
    area : ndarray of bool
        Pixels that instances may grow into, with the shape of `labels`.
    block : Block
        Position of `labels` in the image.
    spacing : sequence of float, optional
        Voxel size per axis, in the order of the axes; 1 by default.

    Raises
    ------
    TypeError, UserError
        Not a block; see `voronoi`.
    """
    labels = as_array(labels, "labels", ndim=(2, 3))
    area = as_array(area, "area", kinds="biu")
    block = Block.of(instance(block, "block", Block), labels)
    sizes = check_spacing(spacing, labels.ndim)
    core = block.box(labels)
    grown, distance = _grow(labels, area, sizes)
    weights = _weights(sizes)
    outside = np.array(np.inf)  # squared distance to the first pixel after the array
    for axis, box in enumerate(core):
        at = np.arange(box.start, box.stop, dtype=float)
        gaps = []
        if block.origin[axis] > 0:
            gaps.append(at + 1)
        if block.origin[axis] + labels.shape[axis] < block.shape[axis]:
            gaps.append(labels.shape[axis] - at)
        for gap in gaps:
            line = np.expand_dims(
                weights[axis] * gap**2, [a for a in range(len(core)) if a != axis]
            )
            outside = np.minimum(outside, line)
    decided = (labels[core] != 0) | ~area[core].astype(bool)
    # "<", not "<=": an instance outside of the array at the same distance may have a lower id.
    is_exact = decided | (distance[core] < outside) | np.isinf(outside)
    farthest = distance[core][~is_exact].max(initial=0)
    halo = None
    if np.isfinite(farthest):
        halo = tuple((np.sqrt(farthest / weights) + 1).astype(int).tolist())
    return Grown(grown[core], is_exact, halo)


def _grow(
    labels: np.ndarray, area: np.ndarray, sizes: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return grown labels, and the squared distance of each pixel to the nearest instance.

    The unit of the distance is the smallest voxel size.
    """
    checked = label_image(labels)
    area = as_array(area, "area", kinds="biu")
    same_shape(checked, area, "labels and area")
    index, ids = index_labels(checked)
    if not index.any():
        nothing = np.broadcast_to(np.inf, checked.shape)
        return checked.astype(np.asarray(labels).dtype), nothing
    weights = _weights(sizes)
    nearest = index.astype(np.uint32)
    distance = np.empty(nearest.shape)
    shape = (len(nearest), -1)
    compiled(_along_first)(nearest.reshape(shape), distance.reshape(shape), weights[0])
    for axis in range(1, nearest.ndim):
        lines = (math.prod(nearest.shape[:axis]), nearest.shape[axis], -1)
        compiled(_along)(nearest.reshape(lines), distance.reshape(lines), weights[axis])
    np.copyto(nearest, index, where=(index != 0) | ~area.astype(bool), casting="unsafe")
    return look_up(ids.astype(np.asarray(labels).dtype), nearest), distance


def _weights(sizes: tuple[float, ...]) -> np.ndarray:
    """Return the squared voxel size along each axis, in units of the smallest one."""
    weights: np.ndarray = (np.array(sizes) / min(sizes)) ** 2
    return weights


def growth_area(maps: Mapping[str, np.ndarray], threshold: float = 0.0) -> tuple[np.ndarray, float]:
    """Return the foreground of predicted maps, into which `voronoi` may grow instances.

    Parameters
    ----------
    maps : mapping of str to ndarray
        Probabilities by channel name, all of the same shape; see `growth_foreground`.
    threshold : float
        ``VORONOI_TH``. 0 selects Otsu's threshold of the map, or 0.5 if the map has no two classes
        of values.

    Returns
    -------
    area : ndarray of bool
        True where the map exceeds the threshold.
    threshold : float
        The threshold that was used.

    Raises
    ------
    TypeError, UserError
        Not maps, missing maps, or a threshold that is not in [0, 1].
    """
    foreground = growth_foreground(maps)
    threshold = growth_threshold(threshold, lambda: histogram(foreground))
    return foreground > threshold, threshold


def growth_foreground(maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the map whose foreground is the area to grow into.

    Parameters
    ----------
    maps : mapping of str to ndarray
        Probabilities by channel name. The result is the first mask of the instances, ``M`` or
        ``F``, or the complement of the background ``Bg``; otherwise ``B`` + ``C``.

    Raises
    ------
    TypeError, UserError
        Not maps, or missing maps.
    """
    maps = instance(maps, "maps", Mapping)  # type: ignore[type-abstract]
    names = whole_foreground(maps)
    parts = [as_array(maps[name], f"maps[{name!r}]") for name in names]
    if len(parts) == 2:
        body, contour = parts
        same_shape(body, contour, f"maps[{names[0]!r}] and maps[{names[1]!r}]")
        foreground: np.ndarray = np.add(body, contour, dtype=np.float32)
        return foreground
    if parts and CHANNELS[names[0]].inside == "low":
        complement: np.ndarray = np.subtract(1, parts[0], dtype=np.float32)
        return complement
    if parts:
        return parts[0]
    raise UserError(
        f"maps: got {', '.join(map(str, maps)) or 'none'}, expected one of the maps M, F and "
        "Bg, or B and C (VORONOI_ON_MASK)",
        "select DATA_CHANNELS BC, BCM, BCD or BCDv2, or a list with F",
        "voronoi.missing_map",
    )


def growth_threshold(threshold: float, counts: Callable[[], np.ndarray]) -> float:
    """Return the threshold of the area to grow into.

    Parameters
    ----------
    threshold : float
        ``VORONOI_TH``; 0 selects Otsu's threshold, or 0.5 if the map has no two classes of values.
    counts : callable
        Function that returns the `histogram` of the foreground map of the whole image, which is a
        sum over blocks. It is called only for Otsu's threshold.

    Raises
    ------
    TypeError, UserError
        A threshold that is not in [0, 1]; counts that are not a function.
    """
    threshold = number(threshold, "threshold (VORONOI_TH)", at_least=0, at_most=1)
    counts = function(counts, "counts")
    if threshold > 0:
        return threshold
    automatic = otsu_from_histogram(counts())
    return _NO_OTSU if automatic is None or automatic < MIN_AUTO else automatic


def _along_first(nearest: Any, distance: Any, weight: Any) -> None:
    """Find the nearest label and its squared distance along the first axis, in place; compiled.

    Rows are processed one after the other, down and up, in the order of the memory.

    Parameters
    ----------
    nearest : uint32, (y, x)
        Row numbers of the instances, 0 the background; replaced by those of the nearest instances.
        Further axes of the image are combined in x.
    distance : float64, (y, x)
        Receives the squared distances in units of the smallest voxel size; infinite in columns
        without instances.
    weight : float
        Squared voxel size along the first axis.
    """
    length, inner = nearest.shape
    gap = np.full(inner, np.inf)  # pixels to the last instance of each column
    # Down: carry the last label of each column, with its distance in pixels.
    for y in range(length):
        for x in range(inner):
            gap[x] += 1
            if nearest[y, x] != 0:
                gap[x] = 0
            elif y > 0:
                nearest[y, x] = nearest[y - 1, x]
            distance[y, x] = gap[x]
    # Up: carry the next label, and keep the nearer of the two. Of labels at the same distance, the
    # lower one wins. Infinite distances are equal too, but have no label.
    gap[:] = np.inf
    for y in range(length - 1, -1, -1):
        for x in range(inner):
            gap[x] += 1
            away = distance[y, x]
            if gap[x] < away or (gap[x] == away < np.inf and nearest[y + 1, x] < nearest[y, x]):
                nearest[y, x] = nearest[y + 1, x]
            gap[x] = min(gap[x], away)
            distance[y, x] = weight * gap[x] * gap[x]


def _along(nearest: Any, distance: Any, weight: Any) -> None:
    """Lower the squared distances along the middle axis, in place; compiled.

    Each pixel of a line is the bottom of a parabola: the squared distance to its nearest instance
    as a function of the position. The nearest instance of a pixel is that of the lowest parabola
    there.

    Parameters
    ----------
    nearest : uint32, (outer, y, inner)
        Nearest instances along the axes before; replaced by those along these axes and y.
    distance : float64, (outer, y, inner)
        Squared distances to `nearest`, which are updated.
    weight : float
        Squared voxel size along y.
    """
    outer, length, inner = nearest.shape
    tile = min(16, inner)
    # Padding by 8: with a length of a power of two, all lines would share the same cache sets.
    heights = np.empty((tile, length + 8))
    labels = np.empty((tile, length + 8), nearest.dtype)
    # Stack of the parabolas of the lower envelope: position of the bottom, first position where the
    # parabola is the lowest, height of the bottom, and label.
    bottoms, starts = np.empty(length, np.int64), np.empty(length)
    bases, owners = np.empty(length), np.empty(length, nearest.dtype)
    for block in range(outer):
        for left in range(0, inner, tile):
            # The pixels of a column are far apart in memory: copy some columns to a buffer.
            columns = min(tile, inner - left)
            for y in range(length):
                for x in range(columns):
                    heights[x, y] = distance[block, y, left + x]
                    labels[x, y] = nearest[block, y, left + x]
            for x in range(columns):
                height, label = heights[x], labels[x]
                # Pixels of instances separate a line into gaps: nothing beyond such a pixel can be
                # as near as the pixel itself. A gap is processed with the pixels at its two ends.
                y = 0
                while y < length:
                    if height[y] == 0:
                        y += 1
                        continue
                    first = y
                    while y < length and height[y] != 0:
                        y += 1
                    count = 0
                    for at in range(max(first - 1, 0), min(y + 1, length)):
                        # A pixel without an instance in its column has no parabola.
                        if height[at] == np.inf:
                            continue
                        # Remove the parabolas that the new one covers. A parabola that is lowest at
                        # a single point, together with others, stays: its label may be the lowest.
                        start = -np.inf
                        while count > 0:
                            last = bottoms[count - 1]
                            rise = height[at] - bases[count - 1]
                            start = (at + last) / 2 + rise / (2 * weight * (at - last))
                            if start >= starts[count - 1] - _SLACK / 8:
                                break
                            count -= 1
                        # A parabola that becomes the lowest only after the gap is not needed.
                        if start < y:
                            bottoms[count], starts[count] = at, start
                            bases[count], owners[count] = height[at], label[at]
                            count += 1
                    # Evaluate the envelope. Near a crossing, several parabolas are compared
                    # exactly, and of equal values the lowest label wins.
                    lowest = 0
                    for at in range(first, y if count > 0 else first):
                        while lowest + 1 < count and starts[lowest + 1] < at - _SLACK:
                            lowest += 1
                        best = np.inf
                        part = lowest
                        while part < count and (part == lowest or starts[part] <= at + _SLACK):
                            value = bases[part] + weight * (at - bottoms[part]) ** 2
                            if value < best or (value == best and owners[part] < label[at]):
                                best = value
                                label[at] = owners[part]
                            part += 1
                        height[at] = best
            for y in range(length):
                for x in range(columns):
                    distance[block, y, left + x] = heights[x, y]
                    nearest[block, y, left + x] = labels[x, y]
