"""Synthetic electron microscopy: serial sections with mitochondria as the objects.

A volume shows the cytoplasm of several cells with their membranes, long bent mitochondria with
cristae, and organelles that resemble mitochondria: dense bodies, cisternae and clusters of
vesicles. Each section has its own position, brightness and contrast, as after imperfect alignment.

All lengths are in in-plane pixels of about 9 nm. All randomness comes from the given generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.io.write import write_tiff
from singula.synthetic.optics import Floats, smooth_noise

SPACING = (50.0, 9.0, 9.0)  # nm, z first
MITOCHONDRION_RADIUS = (10.0, 19.0)
MITOCHONDRION_LENGTH = (25.0, 330.0)
MITOCHONDRION_GAP = 3.0  # minimum distance between the surfaces of two mitochondria
DENSE_BODY_RADIUS = (5.0, 14.0)
VESICLE_RADIUS = (2.0, 3.2)
CELL_SIZE = 110.0  # typical diameter of a cell process
JITTER = 1.5  # standard deviation of the position of a section
MARGIN = 8  # drawn around the volume, so that sections can be shifted
_MAX_OUTSIDE = 30.0  # maximum distance of the center of a tube to the volume
_MIN_PIXELS = 40  # a smaller visible part of an object is not labeled

# Gray values between 0 (electron dense) and 1.
CYTOPLASM, MEMBRANE, MATRIX, CRISTA, LUMEN = 0.68, 0.32, 0.52, 0.34, 0.76


@dataclass(frozen=True, eq=False)
class EmVolume:
    """A synthetic volume with its ground truth.

    Parameters
    ----------
    image : ndarray of uint8, (z, y, x)
        Volume of sections.
    labels : ndarray of uint16, (z, y, x)
        One id per mitochondrion, 1, 2, …; 0 is background.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class _Body:
    """A tube around a curve: points of the curve (n, 3), and the radius at each point."""

    points: Floats
    radius: Floats


def make_em_volume(
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    spacing: Sequence[float] = SPACING,
    occupied: float = 0.14,
) -> EmVolume:
    """Draw one volume of serial sections.

    Parameters
    ----------
    shape : sequence of int
        Shape of the volume, (z, y, x).
    rng : numpy.random.Generator
        Source of randomness.
    spacing : sequence of float
        Voxel size, z first; only the ratios are used.
    occupied : float
        Approximate fraction of the volume inside mitochondria.

    Returns
    -------
    EmVolume

    Raises
    ------
    ValueError
        `shape` or `spacing` does not have three axes.
    """
    if len(shape) != 3 or len(spacing) != 3:
        raise ValueError(
            f"shape, spacing: got {tuple(shape)}, {tuple(spacing)}, expected three axes"
        )
    steps = np.asarray(spacing, float) / min(spacing[1:])
    padded_shape = (shape[0], shape[1] + 2 * MARGIN, shape[2] + 2 * MARGIN)
    labels, depth = _mitochondria(padded_shape, steps, occupied, rng)
    signal = _cytoplasm(padded_shape, steps, rng)
    _add_vesicles(signal, labels, steps, rng)
    _add_cisternae(signal, labels, steps, rng)
    _add_dense_bodies(signal, labels, steps, rng)
    _add_mitochondria(signal, labels, depth, steps, rng)
    signal, labels = _shift_sections(signal, labels, rng)
    return EmVolume(_simulate_imaging(signal, rng), _relabel(labels))


def make_em_dataset(
    folder: Path | str,
    rng: np.random.Generator,
    *,
    n_train: int,
    n_test: int,
    shape: Sequence[int],
) -> None:
    """Write a data set of volumes ``folder/{train,test}/{x,y}/volume_000.tif`` with voxel sizes.

    Parameters
    ----------
    folder : Path or str
        Folder of the data set; files with the same names are replaced.
    rng : numpy.random.Generator
        Source of randomness.
    n_train, n_test : int
        Number of volumes of each part.
    shape : sequence of int
        Shape of a volume, (z, y, x).
    """
    spacing = tuple(size / 1000 for size in SPACING)  # µm
    for part, count in (("train", n_train), ("test", n_test)):
        for number in range(count):
            volume = make_em_volume(shape, rng)
            name = f"volume_{number:03d}.tif"
            write_tiff(Path(folder, part, "x", name), volume.image, "ZYX", spacing)
            write_tiff(Path(folder, part, "y", name), volume.labels, "ZYX", spacing)


def _random_tube(
    extent: Floats, length: float, radius: float, bend: float, rng: np.random.Generator
) -> _Body:
    """Draw a bent tube of uneven thickness with its center in the volume or close to it."""
    step = 3.0
    count = max(2, int(length / step))
    direction = rng.normal(size=3) * (0.5, 1, 1)  # processes run mostly along the sections
    directions = np.empty((count, 3))
    turn = np.zeros(3)
    for index in range(count):
        turn = 0.9 * turn + rng.normal(0, bend, 3)
        direction = direction / np.linalg.norm(direction) + turn
        directions[index] = direction / np.linalg.norm(direction)
    points = np.cumsum(directions * step, axis=0)
    # Centers outside of the volume give slivers at its border, as in real volumes.
    points += rng.uniform(-_MAX_OUTSIDE, extent + _MAX_OUTSIDE) - points[count // 2]
    waves = np.sin(np.arange(count) * step / rng.uniform(20, 45) + rng.uniform(0, 2 * pi))
    return _Body(points, radius * (1 + 0.12 * waves))


def _distance_to_surface(
    shape: Sequence[int], steps: Floats, body: _Body, reach: float
) -> tuple[Any, Floats]:
    """Return the box of a body, and the signed distance to its surface, negative inside."""
    from scipy.spatial import cKDTree

    low = np.floor((body.points.min(axis=0) - body.radius.max() - reach) / steps).astype(int)
    high = np.ceil((body.points.max(axis=0) + body.radius.max() + reach) / steps).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, shape)
    if (high <= low).any():
        return None, np.empty(0)
    grid = [np.arange(a, b) * s for a, b, s in zip(low, high, steps, strict=True)]
    positions = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1)
    distance, nearest = cKDTree(body.points).query(positions)
    return tuple(map(slice, low, high)), distance - body.radius[nearest]


def _mitochondria(
    shape: tuple[int, ...], steps: Floats, occupied: float, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Place mitochondria without overlap; return their ids and the depth below their surface."""
    extent = np.asarray(shape) * steps
    labels = np.zeros(shape, np.int32)
    depth = np.zeros(shape, np.float32)
    target_count = occupied * labels.size
    number = 0
    for _ in range(1000):
        length = np.exp(rng.uniform(*np.log(MITOCHONDRION_LENGTH)))
        body = _random_tube(extent, length, rng.uniform(*MITOCHONDRION_RADIUS), 0.03, rng)
        box, distance = _distance_to_surface(shape, steps, body, MITOCHONDRION_GAP)
        if box is None or (labels[box][distance < MITOCHONDRION_GAP] > 0).any():
            continue
        inside = distance < 0
        if np.count_nonzero(inside) < _MIN_PIXELS:
            continue
        number += 1
        labels[box][inside] = number
        depth[box][inside] = -distance[inside]
        if np.count_nonzero(labels) > target_count:
            break
    return labels, depth


def _cytoplasm(shape: tuple[int, ...], steps: Floats, rng: np.random.Generator) -> Floats:
    """Draw cell processes of different brightness, their membranes, and a granular texture."""
    from scipy.spatial import cKDTree

    extent = np.asarray(shape) * steps
    count = max(3, int(np.prod(extent + CELL_SIZE) / CELL_SIZE**3))
    centers = rng.uniform(-CELL_SIZE / 2, extent + CELL_SIZE / 2, (count, 3))
    positions = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, steps, strict=True)), indexing="ij"),
        axis=-1,
    )
    warp = [smooth_noise(shape, 18 / steps, rng) * 9 for _ in range(3)]
    distances, nearest = cKDTree(centers).query(positions + np.stack(warp, axis=-1), k=2)
    difference = distances[..., 1] - distances[..., 0]
    signal = CYTOPLASM + rng.normal(0, 0.05, count)[nearest[..., 0]]
    for size, strength in ((1.2, 0.035), (3.0, 0.03), (9.0, 0.025)):
        signal += strength * smooth_noise(shape, np.maximum(size / steps, 0.3), rng)
    # Clouds of ribosomes
    signal -= 0.10 * (smooth_noise(shape, np.maximum(1.3 / steps, 0.3), rng) > 2.2)
    return np.asarray(_mix(signal, MEMBRANE, 1.6 - difference / 2), np.float32)


def _mix(signal: Floats, value: Any, cover: Any) -> Floats:
    """Blend a value into the signal; a cover of 0 or less keeps the signal, 1 replaces it."""
    share = np.clip(cover, 0, 1)
    return np.asarray(signal * (1 - share) + value * share)


def _draw_shell(signal: Floats, box: Any, distance: Floats, lumen: Any, mask: Any) -> None:
    """Draw a membrane of about 2 pixels around a lumen, where `mask` is True."""
    drawn = _mix(signal[box], lumen, 0.5 - distance)
    drawn = _mix(drawn, MEMBRANE, 1.6 - np.abs(distance + 0.8))
    signal[box] = np.where(mask, drawn, signal[box])


def _add_vesicles(
    signal: Floats, labels: NDArray[np.int32], steps: Floats, rng: np.random.Generator
) -> None:
    """Draw clusters of small clear vesicles."""
    extent = np.asarray(signal.shape) * steps
    for _ in range(max(1, int(np.prod(extent) / 8e5))):
        center = rng.uniform(0, extent)
        for _ in range(int(rng.integers(15, 60))):
            position = center + rng.normal(0, 16, 3)
            body = _Body(position[None], np.array([rng.uniform(*VESICLE_RADIUS)]))
            box, distance = _distance_to_surface(signal.shape, steps, body, 2)
            if box is not None:
                _draw_shell(signal, box, distance, LUMEN, labels[box] == 0)


def _add_cisternae(
    signal: Floats, labels: NDArray[np.int32], steps: Floats, rng: np.random.Generator
) -> None:
    """Draw thin tubes of endoplasmic reticulum."""
    extent = np.asarray(signal.shape) * steps
    for _ in range(max(1, int(np.prod(extent) / 4e5))):
        body = _random_tube(extent, rng.uniform(40, 200), rng.uniform(2.5, 4.5), 0.06, rng)
        box, distance = _distance_to_surface(signal.shape, steps, body, 2)
        if box is not None:
            _draw_shell(signal, box, distance, LUMEN - 0.06, labels[box] == 0)


def _add_dense_bodies(
    signal: Floats, labels: NDArray[np.int32], steps: Floats, rng: np.random.Generator
) -> None:
    """Draw dense-core vesicles and lysosomes: as dark as mitochondria, round, without cristae."""
    extent = np.asarray(signal.shape) * steps
    for _ in range(max(2, int(np.prod(extent) / 1.5e5))):
        radius = np.exp(rng.uniform(*np.log(DENSE_BODY_RADIUS)))
        body = _random_tube(extent, radius * rng.uniform(0.2, 1.2), radius, 0.05, rng)
        box, distance = _distance_to_surface(signal.shape, steps, body, 3)
        if box is None or (labels[box][distance < 2] > 0).any():
            continue
        grain = smooth_noise(distance.shape, np.maximum(2.0 / steps, 0.3), rng)
        lumen = MATRIX + rng.normal(-0.02, 0.05) + 0.05 * grain
        _draw_shell(signal, box, distance, lumen, np.ones(distance.shape, bool))


def _add_mitochondria(
    signal: Floats,
    labels: NDArray[np.int32],
    depth: NDArray[np.float32],
    steps: Floats,
    rng: np.random.Generator,
) -> None:
    """Draw a double membrane, a matrix of individual brightness, and cristae."""
    inside = labels > 0
    count = int(labels.max()) + 1
    matrix = (MATRIX + rng.normal(0, 0.05, count))[labels]
    contrast = rng.uniform(0.5, 1.0, count)[labels]
    # Cristae are level sets of a smooth field: bent sheets a few pixels apart.
    field = smooth_noise(signal.shape, 7 / steps, rng)
    sheets = np.cos(field * 2 * pi * 1.3) > 0.6
    drawn = matrix + 0.03 * smooth_noise(signal.shape, np.maximum(2 / steps, 0.3), rng)
    drawn = np.where(sheets & (depth > 3), _mix(drawn, CRISTA, contrast), drawn)
    drawn = _mix(drawn, MEMBRANE, (2.4 - depth) * 1.2)
    signal[inside] = drawn[inside]


def _shift_sections(
    signal: Floats, labels: NDArray[np.int32], rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int32]]:
    """Cut each section out at a slightly different position."""
    height, width = (size - 2 * MARGIN for size in signal.shape[1:])
    offsets = np.clip(np.rint(rng.normal(0, JITTER, (len(signal), 2))), -MARGIN, MARGIN)
    boxes = [
        (slice(MARGIN + y, MARGIN + y + height), slice(MARGIN + x, MARGIN + x + width))
        for y, x in offsets.astype(int)
    ]
    return (
        np.stack([plane[box] for plane, box in zip(signal, boxes, strict=True)]),
        np.stack([plane[box] for plane, box in zip(labels, boxes, strict=True)]),
    )


def _simulate_imaging(signal: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur within sections; change brightness and contrast per section; add noise."""
    from scipy import ndimage

    count = len(signal)
    recorded = ndimage.gaussian_filter(signal, (0, 0.8, 0.8))
    gain = rng.normal(1, 0.10, (count, 1, 1))
    offset = rng.normal(0, 0.045, (count, 1, 1))
    recorded = (recorded - 0.6) * gain + 0.6 + offset
    recorded += rng.normal(0, 0.05, recorded.shape)
    return np.asarray(np.clip(recorded * 230, 0, 255), np.uint8)


def _relabel(labels: NDArray[np.int32]) -> NDArray[np.uint16]:
    """Assign ids to the connected components of mitochondria, except very small ones."""
    import cc3d

    parts, count = cc3d.connected_components(labels, connectivity=26, return_N=True)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    is_kept = sizes >= _MIN_PIXELS
    is_kept[0] = False
    numbers = np.where(is_kept, np.cumsum(is_kept), 0)
    return np.asarray(numbers[parts], np.uint16)
