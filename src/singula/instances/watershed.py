"""Steps of a marker-controlled watershed in two or three dimensions; none changes its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cc3d
import edt
import fastremap
import numpy as np

from singula.runtime import compiled

_LEVELS = 1 << 16
_SCALE = _LEVELS / 2
_OFFSET = _LEVELS / 4  # heights from -0.5 to 1.5 keep their order
_BLOCKED = -1


def label_seeds(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Give numbers to the connected components (connectivity 1) of a boolean mask.

    Returns
    -------
    labels : ndarray of uint32
    count : int
    """
    if mask.size == 0:
        return np.zeros(mask.shape, np.uint32), 0
    labels, count = cc3d.connected_components(
        mask, connectivity=4 if mask.ndim == 2 else 6, out_dtype=np.uint32, return_N=True
    )
    return labels, int(count)


def step(mask: np.ndarray, *, grow: bool) -> np.ndarray:
    """Dilate or erode a boolean mask by one pixel along every axis (connectivity 1).

    What lies beyond the border of the image changes nothing.
    """
    result = mask.copy()
    for axis in range(mask.ndim):
        ahead = tuple(slice(1, None) if a == axis else slice(None) for a in range(mask.ndim))
        behind = tuple(slice(None, -1) if a == axis else slice(None) for a in range(mask.ndim))
        if grow:
            result[ahead] |= mask[behind]
            result[behind] |= mask[ahead]
        else:
            result[ahead] &= mask[behind]
            result[behind] &= mask[ahead]
    return result


def morph(
    mask: np.ndarray, operation: str, radius: float, spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Erode or dilate a boolean mask with a disk or ball.

    Parameters
    ----------
    mask : ndarray of bool
    operation : {"erode", "dilate"}
    radius : float
        In pixels of the finest axis.
    spacing : sequence of float, optional
        Pixel size per axis. The element is round in physical units, so on a volume with thick
        slices a small one stays in the plane.

    Notes
    -----
    From a distance transform, hence linear in pixels whatever the radius. Radius 0 hands back
    `mask` itself.
    """
    if radius <= 0 or mask.size == 0:
        return mask
    relative = None if spacing is None else tuple(s / min(spacing) for s in spacing)
    inside = mask if operation == "erode" else ~mask
    kept = edt.edtsq(inside, anisotropy=relative, black_border=False) > radius**2
    result: np.ndarray = kept if operation == "erode" else ~kept
    return result


def flood(
    surface: np.ndarray,
    markers: np.ndarray,
    mask: np.ndarray | None,
    *,
    downhill: bool,
    by_slices: bool = False,
) -> np.ndarray:
    """Grow `markers` over `surface` within `mask`.

    Parameters
    ----------
    surface : ndarray
        (y, x) or (z, y, x), any real dtype, made for values in [0, 1]: heights are told apart in
        steps of 2⁻¹⁵ and cut off at -0.5 and 1.5.
    markers : ndarray of unsigned int
    mask : ndarray of bool or None
        None: the whole image. A marker outside it is lost.
    downhill : bool
        Pixels join from high to low values of the surface instead of from low to high.
    by_slices : bool
        Nothing grows along the first axis of a volume.

    Returns
    -------
    ndarray of uint32

    Notes
    -----
    Monotone flooding from a queue for each height (F. Meyer, 1991), connectivity 1. A queue is
    first in, first out, so markers share a plateau by distance; saturated maps are all plateaus.
    """
    inner = (slice(1, -1),) * surface.ndim
    padded = tuple(n + 2 for n in surface.shape)
    labels = np.full(padded, _BLOCKED, np.int32)
    np.copyto(labels[inner], markers, where=True if mask is None else mask, casting="unsafe")
    levels = np.empty(padded, np.uint16)
    sign = -1 if downhill else 1
    for row, heights in enumerate(surface, 1):
        level = np.multiply(heights, sign * _SCALE, dtype=np.float32)
        level += _OFFSET + downhill * _SCALE
        levels[row][inner[1:]] = np.clip(level, 0, _LEVELS - 1, out=level)
    strides = [stride // labels.itemsize for stride in labels.strides]
    if by_slices and surface.ndim == 3:
        strides = strides[1:]
    offsets = np.array([-stride for stride in strides] + strides[::-1])
    links = np.empty(labels.size, np.int32 if labels.size < 1 << 31 else np.int64)
    compiled(_spread)(labels.ravel(), levels.ravel(), links, offsets)
    return np.maximum(labels[inner], 0).view(np.uint32)


def _spread(labels: Any, levels: Any, links: Any, offsets: Any) -> None:
    """Flood flat arrays with a blocked rim in place; compiled.

    The queue of each level is a chain of pixels: `links` holds the next pixel, -1 at the end.
    """
    first = np.full(65536, -1, links.dtype)
    last = np.full(65536, -1, links.dtype)
    waiting = 0
    rim = offsets[-1]
    for pixel in range(rim, labels.size - rim):
        if labels[pixel] > 0:
            for offset in offsets:
                if labels[pixel + offset] == 0:
                    level = int(levels[pixel])
                    links[pixel] = -1
                    if first[level] < 0:
                        first[level] = pixel
                    else:
                        links[last[level]] = pixel
                    last[level] = pixel
                    waiting += 1
                    break
    current = 0
    while waiting > 0:
        while first[current] < 0:
            current += 1
        pixel = first[current]
        first[current] = links[pixel]
        waiting -= 1
        for offset in offsets:
            neighbour = pixel + offset
            if labels[neighbour] == 0:
                labels[neighbour] = labels[pixel]
                level = max(current, int(levels[neighbour]))
                links[neighbour] = -1
                if first[level] < 0:
                    first[level] = neighbour
                else:
                    links[last[level]] = neighbour
                last[level] = neighbour
                waiting += 1


def compact(
    labels: np.ndarray, count: int, *, min_size: int, drop: int | None = None
) -> np.ndarray:
    """Renumber labels from 1 without gaps, in the smallest unsigned dtype that holds them.

    Parameters
    ----------
    labels : ndarray of unsigned int
    count : int
        No label is larger.
    min_size : int
        Labels with fewer pixels become background.
    drop : int, optional
        This label becomes background.
    """
    ids, sizes = fastremap.unique(labels, return_counts=True)
    kept = ids[(ids > 0) & (sizes >= min_size) & (True if drop is None else ids != drop)]
    dtype = np.min_scalar_type(len(kept))
    if len(kept) == count and (len(kept) == 0 or kept[-1] == count):
        return labels.astype(dtype)
    lookup = np.zeros(count + 1, dtype)
    lookup[kept] = np.arange(1, len(kept) + 1)
    return np.take(lookup, labels)
