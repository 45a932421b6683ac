"""Compiled loops of the decoder of center offsets."""

from __future__ import annotations

from typing import Any

import numpy as np


def point(
    offsets: Any,
    foreground: Any,
    sizes: Any,
    start: Any,
    shape: Any,
    fractions: Any,
    targets: Any,
) -> None:
    """Write where the pixels point, and how far; compiled.

    Parameters
    ----------
    offsets : float32, (axes, z, y, x)
    foreground : bool, (z, y, x)
    sizes : float64, (axes,)
        Relative voxel size.
    start, shape : int64, (3,)
        Position of the first pixel in the image, and shape of the image.
    fractions : int
        Lengths are counted in this fraction of a pixel.
    targets : int64, (2, pixels)
        Result for each foreground pixel: position in the flat image, and length of the offset.
    """
    depth, height, width = foreground.shape
    first = 3 - len(offsets)
    at = np.zeros(3, np.int64)
    pixel = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if not foreground[z, y, x]:
                    continue
                at[0], at[1], at[2] = z, y, x
                squared, index = 0.0, 0
                for axis in range(3):
                    at[axis] += start[axis]
                    if axis >= first:
                        offset = float(offsets[axis - first, z, y, x])
                        squared += (offset * sizes[axis - first]) ** 2
                        # Clip before the conversion: large numbers have no whole counterpart.
                        aim = np.floor(at[axis] - offset + 0.5)
                        at[axis] = int(min(max(aim, 0.0), float(shape[axis] - 1)))
                    index = index * shape[axis] + at[axis]
                targets[0, pixel] = index
                targets[1, pixel] = int(min(np.sqrt(squared), 1e9) * fractions + 0.5)
                pixel += 1


def smooth(counts: Any, steps: Any, weights: Any, scores: Any) -> None:
    """Add the weights around each vote; compiled.

    Parameters
    ----------
    counts : int32, (z, y, x)
    steps : int64, (n, 3)
    weights : int64, (n,)
    scores : int64, (z, y, x)
        Zeros; the result.
    """
    depth, height, width = counts.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                count = counts[z, y, x]
                if count == 0:
                    continue
                for step in range(len(steps)):
                    a, b, c = z + steps[step, 0], y + steps[step, 1], x + steps[step, 2]
                    if 0 <= a < depth and 0 <= b < height and 0 <= c < width:
                        scores[a, b, c] += count * weights[step]


def measure_peaks(
    counts: Any, lengths: Any, scores: Any, positions: Any, steps: Any, sums: Any
) -> None:
    """Add the votes around each position that is a peak; compiled.

    A peak has the largest score of the pixels with votes in the ball around it. Of equal scores,
    the first pixel is the peak.

    Parameters
    ----------
    counts, lengths, scores : int64, (z, y, x)
        Votes, their lengths, and smoothed votes.
    positions : int64, (n, 3)
        Pixels with votes.
    steps : int64, (pixels, 3)
        The ball, in the order of the pixels.
    sums : int64, (n, 2)
        Zeros; receives votes and lengths in the ball around peaks.
    """
    depth, height, width = counts.shape
    middle = len(steps) // 2
    for each in range(len(positions)):
        score = scores[positions[each, 0], positions[each, 1], positions[each, 2]]
        votes, total = 0, 0
        for step in range(len(steps)):
            z = positions[each, 0] + steps[step, 0]
            y = positions[each, 1] + steps[step, 1]
            x = positions[each, 2] + steps[step, 2]
            if not (0 <= z < depth and 0 <= y < height and 0 <= x < width):
                continue
            if counts[z, y, x] == 0:
                continue
            neighbor = scores[z, y, x]
            if neighbor > score or (neighbor == score and step < middle):
                break
            votes += counts[z, y, x]
            total += lengths[z, y, x]
        else:
            sums[each, 0], sums[each, 1] = votes, total


def join_nearest(
    offsets: Any,
    foreground: Any,
    start: Any,
    positions: Any,
    limits: Any,
    sizes: Any,
    low: Any,
    side: Any,
    shape: Any,
    starts: Any,
    order: Any,
    labels: Any,
) -> None:
    """Label pixels with the nearest center to where they point; compiled.

    Cubes are visited in shells around the cube of the pixel. A shell at `ring` cubes is at least
    ``ring - 1`` sides away, plus the distance to the grid, which ends the search.

    Parameters
    ----------
    offsets : float32, (axes, z, y, x)
    foreground : bool, (z, y, x)
    start : int64, (3,)
        Position of the first pixel in the image.
    positions : int64, (n, 3)
    limits : float64, (n,)
        Largest squared distance per center.
    sizes : float64, (3,)
        Relative voxel size.
    low, side, shape, starts, order
        See `singula.representations.decoders.offsets`, function `_buckets`.
    labels : int32, (z, y, x)
        Zeros; the result.
    """
    depth, height, width = foreground.shape
    first = 3 - len(offsets)
    target, cube = np.zeros(3), np.zeros(3, np.int64)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if not foreground[z, y, x]:
                    continue
                target[0], target[1], target[2] = z + start[0], y + start[1], x + start[2]
                for axis in range(len(offsets)):
                    target[first + axis] -= offsets[axis, z, y, x]
                for axis in range(3):
                    target[axis] = np.floor(target[axis] + 0.5) * sizes[axis]
                    nearest = (target[axis] - low[axis]) / side
                    cube[axis] = int(min(max(nearest, 0.0), float(shape[axis] - 1)))
                best, closest = -1, np.inf
                for ring in range(shape.max() + 1):
                    if best >= 0 and ((ring - 1) * side) ** 2 > closest:
                        break
                    for a in range(max(cube[0] - ring, 0), min(cube[0] + ring + 1, shape[0])):
                        for b in range(max(cube[1] - ring, 0), min(cube[1] + ring + 1, shape[1])):
                            is_face = max(abs(a - cube[0]), abs(b - cube[1])) == ring
                            step = 1 if is_face or ring == 0 else 2 * ring
                            for c in range(cube[2] - ring, cube[2] + ring + 1, step):
                                if c < 0 or c >= shape[2]:
                                    continue
                                cell = (a * shape[1] + b) * shape[2] + c
                                for entry in range(starts[cell], starts[cell + 1]):
                                    center = order[entry]
                                    squared = 0.0
                                    for axis in range(3):
                                        away = target[axis] - positions[center, axis] * sizes[axis]
                                        squared += away * away
                                    if squared < closest or (squared == closest and center < best):
                                        best, closest = center, squared
                if best >= 0 and closest <= limits[best]:
                    labels[z, y, x] = best + 1
