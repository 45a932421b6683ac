"""Synthetic long bent rods, such as bacteria or fibers, that touch and cross each other.

Lengths are in pixels. All randomness comes from the given generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.synthetic.optics import Floats, record, smooth_noise
from singula.synthetic.packed_cells import CellImage, check_plane, number_parts

WIDTH = (6.0, 9.0)
ELONGATION = (6.0, 10.0)  # length relative to the width
COVERAGE = 0.3  # fraction of the image inside rods
_BEND = 0.02  # standard deviation of the change of the curvature in each step, in radians
_MAX_CROSSED = 0.25  # fraction of a rod that may lie on earlier rods
_NECKS = 0.4  # fraction of rods with a thin and weak place
_MIN_PART = 2.0  # a visible part of a rod is removed below this number of squared widths
_STEP = 1.5  # distance of two points of a curve


@dataclass(frozen=True, eq=False)
class _Rod:
    """Curve of a rod: points (n, 2), and half of the width and the brightness at each point."""

    points: Floats
    half_width: Floats
    brightness: Floats


def make_rods(
    shape: Sequence[int], rng: np.random.Generator, *, coverage: float = COVERAGE
) -> CellImage:
    """Draw long bent rods, about eight times as long as wide, that touch and cross.

    A rod that crosses another one covers it. The covered rod is drawn and labeled as an annotator
    sees it: the visible parts on both sides are separate instances, and very short parts are
    missing. A rod with a thin and weak place is still one instance.

    Parameters
    ----------
    shape : sequence of int
        Shape of the image, (y, x).
    rng : numpy.random.Generator
        Source of randomness.
    coverage : float
        Approximate fraction of the image inside rods.

    Returns
    -------
    CellImage

    Raises
    ------
    ValueError
        `shape` does not have two axes.

    Examples
    --------
    >>> import numpy as np
    >>> drawn = make_rods((96, 96), np.random.default_rng(0))
    >>> drawn.image.dtype, bool((drawn.labels > 0).mean() > 0.1)
    (dtype('uint8'), True)
    """
    check_plane(shape)
    owner = np.zeros(tuple(shape), np.int32)
    light = np.zeros(tuple(shape))
    widths = [0.0]
    for _ in range(20 + int(np.prod(shape) / 100)):
        if np.count_nonzero(owner) > coverage * owner.size:
            break
        rod, width = _random_rod(shape, rng)
        if _add_rod(owner, light, rod, len(widths), rng):
            widths.append(width)
    labels = _label_visible_parts(owner, np.asarray(widths))
    texture = 1 + 0.12 * smooth_noise(shape, 1.0, rng) + 0.1 * smooth_noise(shape, 3.0, rng)
    light *= np.maximum(texture, 0.2) * (labels > 0)
    image = record(light, np.ones(2), rng, blur=(1.1, 1.1), haze=0.3, photons=30.0)
    return CellImage(image, labels)


def _random_rod(shape: Sequence[int], rng: np.random.Generator) -> tuple[_Rod, float]:
    """Return a bent rod with its center in the image or close to it, and its width."""
    width = rng.uniform(*WIDTH)
    length = width * rng.uniform(*ELONGATION)
    count = max(2, int((length - width) / _STEP))
    turns = np.empty(count)
    turn = 0.0
    for index in range(count):
        turn = 0.9 * turn + rng.normal(0, _BEND)
        turns[index] = turn
    angles = rng.uniform(0, 2 * pi) + np.cumsum(turns)
    points = np.cumsum(_STEP * np.stack([np.sin(angles), np.cos(angles)], axis=1), axis=0)
    points += rng.uniform(-0.5 * width, np.asarray(shape) + 0.5 * width) - points[count // 2]
    place = np.linspace(0, 1, count)
    half_width = (
        width / 2 * (1 + 0.06 * np.sin(2 * pi * (rng.uniform(1, 3) * place + rng.random())))
    )
    brightness = np.full(count, rng.lognormal(0, 0.25))
    if rng.random() < _NECKS:
        neck = np.exp(-(((place - rng.uniform(0.3, 0.7)) * count * _STEP / (0.4 * width)) ** 2))
        half_width *= 1 - rng.uniform(0.35, 0.55) * neck
        brightness *= 1 - rng.uniform(0.3, 0.6) * neck
    return _Rod(points, half_width, brightness), width


def _add_rod(
    owner: NDArray[np.int32],
    light: NDArray[Any],
    rod: _Rod,
    number: int,
    rng: np.random.Generator,
) -> bool:
    """Draw a rod on top of the others, unless it covers too much of them; return True if drawn."""
    from scipy.spatial import cKDTree

    reach = rod.half_width.max() + 3
    low = np.floor(rod.points.min(axis=0) - reach).astype(int)
    high = np.ceil(rod.points.max(axis=0) + reach).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, owner.shape)
    if (high <= low).any():
        return False
    box = tuple(map(slice, low, high))
    grid = np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij")
    distance, nearest = cKDTree(rod.points).query(np.stack(grid, axis=-1))
    outside = distance - rod.half_width[nearest]
    inside = outside < 0
    crossed = np.count_nonzero(inside & (owner[box] > 0))
    if crossed > _MAX_CROSSED * np.count_nonzero(inside):
        return False
    # The rod shades what is below its edge, by a random amount.
    shade = 1 - rng.uniform(0.1, 0.6) * np.exp(-(np.maximum(outside, 0) ** 2))
    thickness = np.sqrt(np.clip(1 - (distance / rod.half_width[nearest]) ** 2, 0, 1))
    drawn = rod.brightness[nearest] * (0.35 + 0.65 * thickness)
    light[box] = np.where(inside, drawn + 0.15 * light[box], light[box] * shade)
    owner[box][inside] = number
    return True


def _label_visible_parts(owner: NDArray[np.int32], widths: Floats) -> NDArray[np.uint16]:
    """Return ids 1, 2, … of the connected visible parts, except very short ones."""
    import cc3d

    parts = cc3d.connected_components(owner, connectivity=4)
    sizes = np.bincount(parts.ravel())
    number_of = np.zeros(len(sizes), np.int64)
    number_of[parts.ravel()] = owner.ravel()
    is_kept = sizes >= _MIN_PART * widths[number_of] ** 2
    is_kept[0] = False
    return number_parts(parts, is_kept)
