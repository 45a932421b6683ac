"""Flows: unit vectors along the gradient of heat that spreads from the center of each instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from singula.errors import UserError
from singula.representations.channels.source import Source
from singula.util.boxes import Box
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
        source.shared["flow"] = flows_of_labels(source.index, source.spacing, source.box)
    component: NDArray[np.float32] = source.shared["flow"][..., axis]
    return np.ascontiguousarray(component)


def flows_of_labels(
    labels: NDArray[Any], spacing: Sequence[float], box: Box | None = None
) -> NDArray[np.float32]:
    """Return the flows of the instances of an image.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids, without large gaps; 0 is background.
    spacing : sequence of float
        Voxel size per axis.
    box : tuple of slice, optional
        Part of the image whose flows are needed. Flows of instances outside of it are 0 to save
        time. Default: the whole image.

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
    ndim = labels.ndim
    flows = np.zeros((*labels.shape, ndim), np.float32)
    rows, boxes = _boxes_in(labels, box)
    sizes = np.ones(3)
    sizes[3 - ndim :] = np.asarray(spacing, np.float64) / min(spacing)
    factor, summand = _STEPS[ndim]
    compiled(_write_flows)(
        labels if ndim == 3 else labels[None],
        rows,
        boxes,
        sizes,
        factor * ((boxes[:, 1] - boxes[:, 0])[:, 3 - ndim :].sum(axis=1) + summand),
        flows if ndim == 3 else flows[None],
    )
    return flows


def _boxes_in(labels: NDArray[Any], box: Box | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of the instances that can be in a box, and their starts and stops, (n, 2, 3).

    Two-dimensional boxes are in the first slice.
    """
    from scipy.ndimage import find_objects

    inside = box or tuple(slice(0, side) for side in labels.shape)
    rows, sides = [], []
    for row, each in enumerate(find_objects(labels), start=1):
        if each is not None and all(
            a.start < b.stop and a.stop > b.start for a, b in zip(each, inside, strict=True)
        ):
            rows.append(row)
            sides.append([[side.start for side in each], [side.stop for side in each]])
    boxes = np.tile(np.array([[0], [1]]), (len(rows), 1, 3))
    boxes[:, :, 3 - labels.ndim :] = np.reshape(sides, (len(rows), 2, labels.ndim))
    return np.array(rows, np.int64), boxes


def _write_flows(labels: Any, rows: Any, boxes: Any, sizes: Any, steps: Any, flows: Any) -> None:
    """Write the flows of instances; compiled.

    Parameters
    ----------
    labels : int, (z, y, x)
    rows : int64, (n,)
        Ids of the instances.
    boxes : int64, (n, 2, 3)
        Starts and stops of their boxes.
    sizes : float64, (3,)
        Relative voxel size along z, y and x.
    steps : int64, (n,)
        Largest number of steps of each instance.
    flows : float32, (z, y, x, axes)
        Result; only pixels of the instances are changed.
    """
    shares = _SHARE / sizes**2
    border = flows.shape[3] - 2  # along z, in volumes
    for each in range(len(rows)):
        low, high = boxes[each]
        part = labels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        depth, height, width = part.shape
        mask = np.zeros((depth + 2 * border, height + 2, width + 2))
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    if part[z, y, x] == rows[each]:
                        mask[z + border, y + 1, x + 1] = 1
        source = _source_of(mask, sizes)
        first, last = _keep_reached(mask, source, border)
        inner = mask[
            first[0] - border : last[0] + border,
            first[1] - 1 : last[1] + 1,
            first[2] - 1 : last[2] + 1,
        ].copy()
        origin = first - np.array([border, 1, 1])
        _, rows_in, columns_in = inner.shape
        at = source - origin
        heat = _spread_heat(
            inner, (at[:, 0] * rows_in + at[:, 1]) * columns_in + at[:, 2], shares, steps[each]
        )
        begin, end = low + origin, low + origin + last - first
        target = flows[begin[0] : end[0], begin[1] : end[1], begin[2] : end[2]]
        _write_gradient(heat, inner, sizes, target)


@register_jitable
def _source_of(mask: Any, sizes: Any) -> Any:
    """Return the positions of the pixels of a mask that are closest to its centroid, (n, 3)."""
    at = np.argwhere(mask > 0)
    total = at.sum(axis=0)
    away = np.empty(len(at))
    for pixel in range(len(at)):
        # Whole numbers, so that distances of mirrored pixels are exactly equal.
        z, y, x = (len(at) * at[pixel] - total) * sizes
        away[pixel] = z**2 + (y**2 + x**2)
    return at[away == away.min()]


@register_jitable
def _keep_reached(mask: Any, source: Any, border: Any) -> Any:
    """Set the pixels of a mask that heat from the source cannot reach to 0, and return a box.

    Parts of an instance can lie far away from each other, and no heat reaches the others.
    """
    waiting = np.empty((mask.size, 3), np.int64)
    count, first, last = 0, source[0].copy(), source[0] + 1
    for each in range(len(source)):
        z, y, x = source[each]
        if mask[z, y, x] == 1:
            mask[z, y, x] = 2
            waiting[count] = source[each]
            count += 1
    while count:
        count -= 1
        at = waiting[count].copy()
        first, last = np.minimum(first, at), np.maximum(last, at + 1)
        for z in range(at[0] - border, at[0] + border + 1):
            for y in range(at[1] - 1, at[1] + 2):
                for x in range(at[2] - 1, at[2] + 2):
                    if mask[z, y, x] == 1:
                        mask[z, y, x] = 2
                        waiting[count, 0], waiting[count, 1], waiting[count, 2] = z, y, x
                        count += 1
    values = mask.ravel()
    for pixel in range(len(values)):
        values[pixel] = values[pixel] == 2
    return first, last


@register_jitable
def _spread_heat(mask: Any, source: Any, shares: Any, steps: Any) -> Any:
    """Return the heat of an instance, float64 in the shape of the mask.

    The mean over the neighborhood is the mean along z, of means along y, of means along x. Each is
    a loop over the flat mask, which processors vectorize. Sums of two neighbors come first, so that
    mirrored instances have exactly mirrored heat.

    Parameters
    ----------
    mask : float64, (z, y, x)
        1 inside of the instance, with a border of 0 along y and x, and along z in volumes.
    source : int64, (n,)
        Flat positions of the pixels to which heat is added.
    shares : float64, (3,)
        Share of the heat of a pixel that each neighbor receives, along z, y and x.
    steps : int
        Largest number of steps.
    """
    depth, height, width = mask.shape
    inside = mask.ravel()
    heat, spread = np.zeros(mask.size), np.zeros(mask.size)
    planes, columns = np.zeros(mask.size), np.zeros(mask.size)
    for step in range(steps):
        heat[source] += 1 / len(source)
        if depth > 1:
            _write_means(heat, height * width, shares[0], planes)
            _write_means(planes, width, shares[1], columns)
        else:
            _write_means(heat, width, shares[1], columns)
        _write_means(columns, 1, shares[2], spread)
        for pixel in range(len(inside)):
            spread[pixel] *= inside[pixel]
        heat, spread = spread, heat
        if step % _EVERY == _EVERY - 1:
            spread[source] -= 1 / len(source)
            if _is_steady(heat, spread):
                break
    return heat.reshape(mask.shape)


@register_jitable
def _write_means(values: Any, stride: Any, share: Any, result: Any) -> None:
    """Write the weighted means of values and of both neighbors at a distance in the flat array."""
    size, rest = len(values) - 2 * stride, 1 - 2 * share
    before, after = values[:size], values[2 * stride :]
    at, means = values[stride : stride + size], result[stride : stride + size]
    for pixel in range(size):
        means[pixel] = share * (before[pixel] + after[pixel]) + rest * at[pixel]


@register_jitable
def _is_steady(heat: Any, before: Any) -> bool:
    """Return True if heat of all pixels changes by less than the share `_STEADY` in a step."""
    for pixel in range(len(heat)):  # noqa: SIM110 (numba)
        if heat[pixel] - before[pixel] > _STEADY * heat[pixel]:
            return False
    return True


@register_jitable
def _write_gradient(heat: Any, mask: Any, sizes: Any, flows: Any) -> None:
    """Write the unit vectors of the gradient of heat.

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
