"""Compiled loops of the decoder of flows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

_STILL = 1e-3  # pixels by which a pixel that has arrived moves along an axis


def move_in_2d(
    flows: Any,
    foreground: Any,
    first: Any,
    begin: Any,
    shape: Any,
    speeds: Any,
    steps: Any,
    ends: Any,
) -> bool:
    """Move foreground pixels along interpolated flows; compiled.

    Parameters
    ----------
    flows : float32, (y, x, 2)
        Flows of a box of the image, along y and x; 0 in the background.
    foreground : bool, (y, x)
    first, begin : int64, (2,)
        First pixel of the box, and of the part whose pixels move.
    shape : int64, (2,)
        Shape of the image.
    speeds : float64, (2,)
        Pixels of the axis per unit of the flow.
    steps : int
        Largest number of steps.
    ends : int64, (y, x)
        -1; receives the positions in the flat image.

    Returns
    -------
    bool
        False if a pixel needs flows outside of the box.
    """
    bottom, right = first[0] + flows.shape[0], first[1] + flows.shape[1]
    for row in range(ends.shape[0]):
        for column in range(ends.shape[1]):
            start_y, start_x = row + begin[0], column + begin[1]
            if not foreground[start_y - first[0], start_x - first[1]]:
                continue
            y, x = float(start_y), float(start_x)
            for _ in range(steps):
                top, left = int(y), int(x)
                low, side = min(top + 1, shape[0] - 1), min(left + 1, shape[1] - 1)
                if top < first[0] or left < first[1] or low >= bottom or side >= right:
                    return False
                part_y, part_x = y - top, x - left
                upper, lower = flows[top - first[0]], flows[low - first[0]]
                left, side = left - first[1], side - first[1]
                move_y = (1 - part_y) * (
                    (1 - part_x) * upper[left, 0] + part_x * upper[side, 0]
                ) + part_y * ((1 - part_x) * lower[left, 0] + part_x * lower[side, 0])
                move_x = (1 - part_y) * (
                    (1 - part_x) * upper[left, 1] + part_x * upper[side, 1]
                ) + part_y * ((1 - part_x) * lower[left, 1] + part_x * lower[side, 1])
                move_y, move_x = move_y * speeds[0], move_x * speeds[1]
                y = min(max(y + move_y, 0.0), shape[0] - 1.0)
                x = min(max(x + move_x, 0.0), shape[1] - 1.0)
                if abs(move_y) < _STILL and abs(move_x) < _STILL:
                    break
            ends[row, column] = int(y + 0.5) * shape[1] + int(x + 0.5)
    return True


def move_in_3d(
    flows: Any,
    foreground: Any,
    first: Any,
    begin: Any,
    shape: Any,
    speeds: Any,
    steps: Any,
    ends: Any,
) -> bool:
    """Move foreground voxels along interpolated flows; compiled. See `move_in_2d`."""
    low, part = np.zeros((2, 3), np.int64), np.zeros(3)
    at, move = np.zeros(3), np.zeros(3)
    size = np.array(flows.shape[:3])
    for place in np.ndindex(ends.shape):
        inner = True
        for axis in range(3):
            low[0, axis] = place[axis] + begin[axis] - first[axis]
            at[axis] = place[axis] + begin[axis]
        if not foreground[low[0, 0], low[0, 1], low[0, 2]]:
            continue
        for _ in range(steps):
            for axis in range(3):
                near = int(at[axis])
                part[axis] = at[axis] - near
                low[0, axis] = near - first[axis]
                low[1, axis] = min(near + 1, shape[axis] - 1) - first[axis]
                inner = inner and low[0, axis] >= 0 and low[1, axis] < size[axis]
                move[axis] = 0.0
            if not inner:
                return False
            for corner in range(8):
                a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
                weight = abs(1 - a - part[0]) * abs(1 - b - part[1]) * abs(1 - c - part[2])
                vector = flows[low[a, 0], low[b, 1], low[c, 2]]
                for axis in range(3):
                    move[axis] += weight * vector[axis]
            is_still = True
            for axis in range(3):
                move[axis] *= speeds[axis]
                is_still = is_still and abs(move[axis]) < _STILL
                at[axis] = min(max(at[axis] + move[axis], 0.0), shape[axis] - 1.0)
            if is_still:
                break
        index = 0
        for axis in range(3):
            index = index * shape[axis] + int(at[axis] + 0.5)
        ends[place] = index
    return True


def count_pixels(ends: Any, rows: Any, first: Any, counts: Any, boxes: Any) -> None:
    """Count the pixels that arrive at each place, and extend their bounding boxes; compiled.

    Parameters
    ----------
    ends : int64, (z, y, x)
        Position at which each pixel arrives; -1 in the background.
    rows : int64, (n,)
        Row of the place of each pixel that is not in the background.
    first : int64, (3,)
        Position of the first pixel in the image.
    counts : int64, (places,)
    boxes : int64, (2, places, 3)
        First pixels, and ends of the bounding boxes.
    """
    number = 0
    for z in range(ends.shape[0]):
        for y in range(ends.shape[1]):
            for x in range(ends.shape[2]):
                if ends[z, y, x] < 0:
                    continue
                row = rows[number]
                number += 1
                counts[row] += 1
                low, high = boxes[0, row], boxes[1, row]
                low[0], high[0] = min(low[0], z + first[0]), max(high[0], z + first[0] + 1)
                low[1], high[1] = min(low[1], y + first[1]), max(high[1], y + first[1] + 1)
                low[2], high[2] = min(low[2], x + first[2]), max(high[2], x + first[2] + 1)


@register_jitable
def _find(places: Any, place: Any) -> int:
    """Return the row of a place; -1 if it is not one of the ascending places."""
    row = np.searchsorted(places, place)
    if row < len(places) and places[row] == place:
        return int(row)
    return -1


def grow_sinks(
    places: Any,
    counts: Any,
    shape: Any,
    candidates: Any,
    reach: Any,
    min_count: Any,
    growth: Any,
    numbers: Any,
) -> None:
    """Write the sink of each place; compiled.

    Parameters
    ----------
    places, counts : int64, (n,)
        Ascending positions in the flat image, and numbers of arrivals.
    shape : int64, (3,)
        Shape of the image along z, y and x.
    candidates : int64, (m,)
        Rows of places that can be sinks, in the order in which they grow.
    reach : int64, (3,)
        Pixels on each side without a larger number of arrivals.
    min_count : int
        Sinks grow over places with more arrivals.
    growth : int
        Number of steps.
    numbers : int64, (n,)
        Zeros; receives 1 and the row of the sink.
    """
    queue = np.zeros(len(places), np.int64)
    depth = np.full(len(places), -1, np.int64)
    steps = np.minimum(reach, 1)
    for candidate in candidates:
        count, is_peak = counts[candidate], True
        z, y, x = _position(places[candidate], shape)
        for a in range(max(z - reach[0], 0), min(z + reach[0] + 1, shape[0])):
            for b in range(max(y - reach[1], 0), min(y + reach[1] + 1, shape[1])):
                for c in range(max(x - reach[2], 0), min(x + reach[2] + 1, shape[2])):
                    row = _find(places, (a * shape[1] + b) * shape[2] + c)
                    if row >= 0 and (
                        counts[row] > count or (counts[row] == count and row < candidate)
                    ):
                        is_peak = False
        if not is_peak:
            continue
        queue[0], depth[candidate] = candidate, 0
        done, last = 0, 1
        while done < last:
            current = queue[done]
            done += 1
            numbers[current] = candidate + 1
            if depth[current] == growth:
                continue
            z, y, x = _position(places[current], shape)
            for a in range(max(z - steps[0], 0), min(z + steps[0] + 1, shape[0])):
                for b in range(max(y - 1, 0), min(y + 2, shape[1])):
                    for c in range(max(x - 1, 0), min(x + 2, shape[2])):
                        row = _find(places, (a * shape[1] + b) * shape[2] + c)
                        if row >= 0 and depth[row] < 0 and counts[row] > min_count:
                            queue[last], depth[row] = row, depth[current] + 1
                            last += 1
        for each in range(last):
            depth[queue[each]] = -1


@register_jitable
def _position(place: Any, shape: Any) -> Any:
    """Return the position along z, y and x of a position in the flat image."""
    plane = shape[1] * shape[2]
    return place // plane, place % plane // shape[2], place % shape[2]


def add_errors(labels: Any, expected: Any, predicted: Any, sums: Any, pixels: Any) -> None:
    """Add the squared differences along an axis to those of each instance; compiled.

    Parameters
    ----------
    labels : int32, (n,)
    expected, predicted : float32, (n,)
    sums : float64, (instances + 1,)
    pixels : int64, (instances + 1,)
        Number of pixels.
    """
    for each in range(len(labels)):
        label = labels[each]
        if label > 0:
            sums[label] += (float(expected[each]) - float(predicted[each])) ** 2
            pixels[label] += 1
