"""Flows: unit vectors along the gradient of heat that spreads from the center of each instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from singula.errors import UserError
from singula.representations.channels.source import Source
from singula.util.process import compiled

_SHARE = 1 / 3  # of the heat of a pixel that each neighbor along the finest axis receives
_EVERY, _STEADY = 16, 1e-5  # steps between comparisons, and share of the heat
_STEPS = {2: (2, 4), 3: (6, 3)}
"""Number of steps: the factor and the summand of the sum of the side lengths of an instance."""


def encode_flow_x(source: Source) -> NDArray[np.float32]:
    """Return the component of the flows along x, 0 in the background.

    It is positive on the left of the center.
    """
    return _component(source, -1)


def encode_flow_y(source: Source) -> NDArray[np.float32]:
    """Return the component of the flows along y; it is positive above the center."""
    return _component(source, -2)


def encode_flow_z(source: Source) -> NDArray[np.float32]:
    """Return the component of the flows along z; it is positive in slices before the center."""
    if source.labels.ndim == 2:
        raise UserError(
            "channels: got Gz for a 2D image, expected a volume",
            "remove Gz from the channels",
            "channels.no_z",
        )
    return _component(source, -3)


def _component(source: Source, axis: int) -> NDArray[np.float32]:
    if "flow" not in source.shared:
        source.shared["flow"] = flows_of_labels(source.index, source.spacing)
    component: NDArray[np.float32] = source.shared["flow"][..., axis]
    return np.ascontiguousarray(component)


def flows_of_labels(labels: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return the flows of the instances of an image.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids, without large gaps; 0 is background.
    spacing : sequence of float
        Voxel size per axis.

    Returns
    -------
    ndarray of float32, (y, x, 2) or (z, y, x, 3)
        Unit vectors in physical units, in the order of the axes; 0 in the background, at symmetric
        centers, and where no heat arrives.

    Notes
    -----
    As in Cellpose, heat is added to the pixel of the instance that is closest to its centroid, and
    each pixel then receives the mean of itself and its neighbors, where pixels outside of the
    instance have no heat. The number of steps is ``2 (height + width + 4)``, in volumes
    ``6 (depth + height + width + 3)``, or fewer if the heat no longer changes. Equally close pixels
    share the heat, so that mirrored labels have mirrored flows. Along axes with larger voxels, heat
    spreads more slowly in voxels, and equally fast in physical units.

    References
    ----------
    C. Stringer, T. Wang, M. Michaelos, M. Pachitariu, *Cellpose: a generalist algorithm for
    cellular segmentation*, Nature Methods 18 (2021).
    """
    from scipy.ndimage import find_objects

    ndim = labels.ndim
    flows = np.zeros((*labels.shape, ndim), np.float32)
    sizes = np.ones(3)
    sizes[3 - ndim :] = np.asarray(spacing, np.float64) / min(spacing)
    shares = _SHARE / sizes**2
    factor, summand = _STEPS[ndim]
    for row, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        inside = np.pad(labels[box] == row, 1)
        mask = (inside if ndim == 3 else inside[None]).astype(np.float64)
        steps = factor * (sum(side.stop - side.start for side in box) + summand)
        part = flows[box] if ndim == 3 else flows[box][None]
        heat = compiled(_spread_heat)(mask, _source_of(mask, sizes), shares, steps)
        compiled(_write_gradient)(heat, mask, sizes, part)
    return flows


def _source_of(mask: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of the pixels of a mask that are closest to its centroid, (n, 3)."""
    at = np.argwhere(mask > 0)
    # Whole numbers, so that distances of mirrored pixels are exactly equal.
    away = ((len(at) * at - at.sum(axis=0)) * sizes) ** 2
    squared = away[:, 0] + (away[:, 1] + away[:, 2])
    closest: NDArray[np.int64] = at[squared == squared.min()]
    return closest


def _spread_heat(mask: Any, source: Any, shares: Any, steps: Any) -> Any:
    """Return the heat of an instance, float64 in the shape of the mask; compiled.

    Rows are processed from their first to their last pixel of the instance. Sums of two neighbors
    come first, so that mirrored instances have exactly mirrored heat.

    Parameters
    ----------
    mask : float64, (z, y, x)
        1 inside of the instance, with a border of 0 along y and x, and along z in volumes.
    source : int64, (n, 3)
        Pixels to which heat is added.
    shares : float64, (3,)
        Share of the heat of a pixel that each neighbor receives, along z, y and x.
    steps : int
        Largest number of steps.
    """
    depth, height, width = mask.shape
    border = 1 if depth > 1 else 0
    first, last = np.full((depth, height), width), np.zeros((depth, height), np.int64)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if mask[z, y, x] > 0:
                    first[z, y] = min(first[z, y], x)
                    last[z, y] = x + 1
    heat, spread = np.zeros(mask.shape), np.zeros(mask.shape)
    row = np.zeros(width)
    along_z, along_y, along_x = shares[0], shares[1], shares[2]
    rest_z, rest_y, rest_x = 1 - 2 * along_z, 1 - 2 * along_y, 1 - 2 * along_x
    for step in range(steps):
        for each in range(len(source)):
            heat[source[each, 0], source[each, 1], source[each, 2]] += 1 / len(source)
        for z in range(border, depth - border):
            for y in range(1, height - 1):
                low, high = first[z, y], last[z, y]
                if high == 0:
                    continue
                plane = heat[z]
                before, at, after = plane[y - 1], plane[y], plane[y + 1]
                for x in range(low - 1, high + 1):
                    row[x] = along_y * (before[x] + after[x]) + rest_y * at[x]
                if border:
                    below, above = heat[z - 1], heat[z + 1]
                    for x in range(low - 1, high + 1):
                        corners = below[y - 1, x] + below[y + 1, x]
                        corners += above[y - 1, x] + above[y + 1, x]
                        sides = along_y * corners + rest_y * (below[y, x] + above[y, x])
                        row[x] = along_z * sides + rest_z * row[x]
                result, inside = spread[z, y], mask[z, y]
                for x in range(low, high):
                    mean = along_x * (row[x - 1] + row[x + 1]) + rest_x * row[x]
                    result[x] = inside[x] * mean
        heat, spread = spread, heat
        if step % _EVERY == _EVERY - 1:
            for each in range(len(source)):
                spread[source[each, 0], source[each, 1], source[each, 2]] -= 1 / len(source)
            if _is_steady(heat, spread):
                break
    return heat


@register_jitable
def _is_steady(heat: Any, before: Any) -> bool:
    """Return True if heat of all pixels changes by less than the share `_STEADY` in a step."""
    now, earlier = heat.ravel(), before.ravel()
    for each in range(len(now)):  # noqa: SIM110 (numba)
        if now[each] - earlier[each] > _STEADY * now[each]:
            return False
    return True


def _write_gradient(heat: Any, mask: Any, sizes: Any, flows: Any) -> None:
    """Write the unit vectors of the gradient of heat; compiled.

    Parameters
    ----------
    heat, mask : float64, (z, y, x)
        Result and argument of `_spread_heat`.
    sizes : float64, (3,)
        Relative voxel size along z, y and x.
    flows : float32, (z, y, x, axes)
        Result, without the border of the mask; only pixels of the instance are changed.
    """
    depth, height, width = mask.shape
    border, axes = (1 if depth > 1 else 0), flows.shape[3]
    for z in range(border, depth - border):
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if mask[z, y, x] == 0:
                    continue
                rise_z = 0.0
                if border:
                    rise_z = (heat[z + 1, y, x] - heat[z - 1, y, x]) / sizes[0]
                rise_y = (heat[z, y + 1, x] - heat[z, y - 1, x]) / sizes[1]
                rise_x = (heat[z, y, x + 1] - heat[z, y, x - 1]) / sizes[2]
                length = np.sqrt(rise_z**2 + (rise_y**2 + rise_x**2))
                if length > 0:
                    at = flows[z - border, y - 1, x - 1]
                    at[axes - 1], at[axes - 2] = rise_x / length, rise_y / length
                    if border:
                        at[0] = rise_z / length
