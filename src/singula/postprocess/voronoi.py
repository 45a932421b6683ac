"""Instances grown until they touch: every pixel of an area goes to the nearest one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.arguments import as_array, function, instance, label_image, number, same_shape
from singula.errors import UserError
from singula.instances.thresholds import MIN_AUTO, histogram, otsu_from_histogram
from singula.io.image import check_spacing
from singula.postprocess.labels import index_labels, look_up
from singula.postprocess.parts import Block
from singula.runtime import compiled

_NO_OTSU = 0.5
_SLACK = 1e-6
"""Rounding, with room, of where two parabolas meet: what is equally near is looked at for certain,
wherever the array begins."""


def voronoi(
    labels: np.ndarray, area: np.ndarray, *, spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Give every background pixel of an area to the nearest instance.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    area : ndarray of bool
        Where instances may grow. What they cover already they keep, inside the area and outside.
    spacing : sequence of float, optional
        Pixel size per axis, z first.

    Returns
    -------
    ndarray
        A new array of the dtype of `labels`. Without any instance there is nothing to grow.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not an area; labels and area that differ in shape; a spacing that
        does not fit.

    Notes
    -----
    The Euclidean distance between centres of pixels, exactly: along the first axis by steps, along
    each other in turn the lower envelope of parabolas (P. Felzenszwalb and D. Huttenlocher, 2012),
    linear in pixels. Of instances equally near, the one with the lowest id gets the pixel.
    """
    labels = as_array(labels, "labels", ndim=(2, 3))
    grown, _ = _grow(labels, area, check_spacing(spacing, labels.ndim))
    return grown


@dataclass(frozen=True, eq=False)
class Grown:
    """Instances of a block after they grew.

    Parameters
    ----------
    labels : ndarray of int
        Of the core.
    proved : ndarray of bool
        Pixels of the core whose label is the one that the whole image gives; at the others an
        instance beyond the halo may be nearer.
    halo : tuple of int or None
        Pixels around the core with which all would be proved. None if the array has no instance,
        so that nothing tells how far the nearest is.
    """

    labels: np.ndarray
    proved: np.ndarray
    halo: tuple[int, ...] | None


def voronoi_block(
    labels: np.ndarray,
    area: np.ndarray,
    block: Block,
    *,
    spacing: Sequence[float] | None = None,
) -> Grown:
    """Let the instances of a block and its halo grow over the core; see `voronoi`.

    Parameters
    ----------
    labels, area : ndarray
        Of the block with any halo; the larger, the more is proved.
    block : Block
        Where they lie.
    spacing : sequence of float, optional
        Pixel size per axis, z first.

    Raises
    ------
    TypeError, UserError
        As `voronoi`; not a block.
    """
    labels = as_array(labels, "labels", ndim=(2, 3))
    area = as_array(area, "area", kinds="biu")
    block = Block.of(instance(block, "block", Block), labels)
    sizes = check_spacing(spacing, labels.ndim)
    core = block.box(labels)
    grown, distance = _grow(labels, area, sizes)
    weights = _weights(sizes)
    unseen = np.array(np.inf)  # squared distance to the first pixel beyond the array
    for axis, own in enumerate(core):
        at = np.arange(own.start, own.stop, dtype=float)
        gaps = []
        if block.origin[axis] > 0:
            gaps.append(at + 1)
        if block.origin[axis] + labels.shape[axis] < block.shape[axis]:
            gaps.append(labels.shape[axis] - at)
        for gap in gaps:
            line = np.expand_dims(
                weights[axis] * gap**2, [a for a in range(len(core)) if a != axis]
            )
            unseen = np.minimum(unseen, line)
    decided = (labels[core] != 0) | ~area[core].astype(bool)
    # At the same distance an instance beyond may have the lower id.
    proved = decided | (distance[core] < unseen) | np.isinf(unseen)
    farthest = distance[core][~proved].max(initial=0)
    halo = None
    if np.isfinite(farthest):
        halo = tuple((np.sqrt(farthest / weights) + 1).astype(int).tolist())
    return Grown(grown[core], proved, halo)


def _grow(
    labels: np.ndarray, area: np.ndarray, sizes: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Grown labels, and the squared distance of every pixel to the nearest one in finest pixels."""
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
    """What a step along each axis, squared, adds to a squared distance in finest pixels."""
    weights: np.ndarray = (np.array(sizes) / min(sizes)) ** 2
    return weights


def growth_area(maps: Mapping[str, np.ndarray], threshold: float = 0.0) -> tuple[np.ndarray, float]:
    """Foreground of predicted maps, in which `voronoi` may grow instances.

    Parameters
    ----------
    maps : mapping of str to ndarray
        Probabilities by channel name, all of one shape. ``M`` is taken if it is there, else
        ``B`` + ``C``.
    threshold : float
        ``VORONOI_TH``. 0 takes Otsu's of the map; where that finds nothing to separate, 0.5.

    Returns
    -------
    area : ndarray of bool
        Where the map is above the threshold.
    threshold : float
        The one that was used.

    Raises
    ------
    TypeError, UserError
        Not maps, missing maps, or a threshold that is not in [0, 1].
    """
    foreground = growth_foreground(maps)
    threshold = growth_threshold(threshold, lambda: histogram(foreground))
    return foreground > threshold, threshold


def growth_foreground(maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """The map whose foreground `growth_area` takes: ``M``, or ``B`` + ``C``.

    Parameters
    ----------
    maps : mapping of str to ndarray
        As for `growth_area`.

    Raises
    ------
    TypeError, UserError
        Not maps, or missing maps.
    """
    maps = instance(maps, "maps", Mapping)  # type: ignore[type-abstract]
    if "M" in maps:
        return as_array(maps["M"], "maps['M']")
    if "B" in maps and "C" in maps:
        body, contour = (as_array(maps[name], f"maps[{name!r}]") for name in "BC")
        same_shape(body, contour, "maps['B'] and maps['C']")
        both: np.ndarray = np.add(body, contour, dtype=np.float32)
        return both
    raise UserError(
        f"maps: got {', '.join(map(str, maps)) or 'none'}, expected the map M, or B and C "
        "(VORONOI_ON_MASK)",
        "use it with DATA_CHANNELS BC, BCM, BCD or BCDv2",
        "voronoi.missing_map",
    )


def growth_threshold(threshold: float, counts: Callable[[], np.ndarray]) -> float:
    """The threshold that `growth_area` takes.

    Parameters
    ----------
    threshold : float
        ``VORONOI_TH``; 0 for Otsu's.
    counts : callable
        Gives the `histogram` of the foreground map of the whole image, a sum over blocks; called
        for Otsu's alone.

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
    """Fill in place, along the first axis, the nearest label and its squared distance; compiled.

    Row by row, down and up again, as memory lies.
    """
    length, inner = nearest.shape
    gap = np.full(inner, np.inf)  # to the last label met
    for y in range(length):
        for x in range(inner):
            gap[x] += 1
            if nearest[y, x] != 0:
                gap[x] = 0
            elif y > 0:
                nearest[y, x] = nearest[y - 1, x]
            distance[y, x] = gap[x]
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
    """Lower the squared distances in place along the middle axis; compiled.

    Each pixel of a line is the bottom of a parabola. `bottoms` holds those that make up the
    lower envelope, `starts` where each begins to be the lowest, `bases` and `owners` how low it is
    and whose. A parabola that is the lowest in a single point, along with others, stays: its label
    may be the lowest. Nothing beyond a pixel of an instance can be as near as that is. Lines are
    copied, some at a time, because pixels of a column lie far apart.
    """
    outer, length, inner = nearest.shape
    tile = min(16, inner)
    heights = np.empty((tile, length + 8))  # 8: else all lines may compete for one place in cache
    labels = np.empty((tile, length + 8), nearest.dtype)
    bottoms, starts = np.empty(length, np.int64), np.empty(length)
    bases, owners = np.empty(length), np.empty(length, nearest.dtype)
    for block in range(outer):
        for left in range(0, inner, tile):
            columns = min(tile, inner - left)
            for y in range(length):
                for x in range(columns):
                    heights[x, y] = distance[block, y, left + x]
                    labels[x, y] = nearest[block, y, left + x]
            for x in range(columns):
                height, label = heights[x], labels[x]
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
                        if height[at] == np.inf:
                            continue
                        start = -np.inf
                        while count > 0:
                            last = bottoms[count - 1]
                            rise = height[at] - bases[count - 1]
                            start = (at + last) / 2 + rise / (2 * weight * (at - last))
                            if start >= starts[count - 1] - _SLACK / 8:
                                break
                            count -= 1
                        if start < y:
                            bottoms[count], starts[count] = at, start
                            bases[count], owners[count] = height[at], label[at]
                            count += 1
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
