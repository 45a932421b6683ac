"""Synthetic cells that cover most of the image: a layer of cells in 2D, and a tissue in 3D.

Cells are the regions of a power diagram: each pixel belongs to the site with the smallest squared
distance minus the squared radius of its cell, so that large cells get more space and borders are
straight. A smooth displacement then bends the borders. Lengths are in in-plane pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.synthetic.optics import Floats, record, smooth_noise

CELL_RADIUS = (7.0, 15.0)
TISSUE_RADIUS = (7.5, 12.0)
TISSUE_SPACING = (2.0, 1.0, 1.0)
_CLOSENESS = 0.8  # minimum distance of two sites, relative to the sum of their radii
_REACH = 1.2  # radius of a cell without neighbors, relative to the radius of its site
_GAPS = 0.75  # sites are removed where noise of standard deviation 1 is above this
_MARGIN = 15.0  # sites are placed up to this distance from the image
_TISSUE_MARGIN = 18.0  # larger, because nothing limits the cells at the end of the sites
_ATTEMPTS = {2: 12, 3: 5}  # per cell of typical size, if it was a square or cube
_STRETCH = 1.35  # elongation of the cells of a tissue along a direction of the plane
_MIN_PIXELS = {2: 30, 3: 40}  # a smaller visible part of a cell is not labeled


@dataclass(frozen=True, eq=False)
class CellImage:
    """A synthetic image with its ground truth.

    Parameters
    ----------
    image : ndarray of uint8 (2D) or uint16 (3D), (y, x) or (z, y, x)
        Image.
    labels : ndarray of uint16
        Instance ids 1, 2, …; 0 is background. Each instance is one connected component.
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    labels: NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class _Regions:
    """Regions of a power diagram.

    Parameters
    ----------
    owner, other : ndarray of int
        Row of the site of each pixel, and of the next best site.
    gap : ndarray of float
        Distance to the border between both, in in-plane pixels.
    center_distance : ndarray of float
        Distance to the own site, relative to its radius.
    """

    owner: NDArray[np.integer[Any]]
    other: NDArray[np.integer[Any]]
    gap: Floats
    center_distance: Floats


def check_plane(shape: Sequence[int]) -> None:
    """Raise ValueError if a shape does not have two axes."""
    if len(shape) != 2:
        raise ValueError(f"shape: got {tuple(shape)}, expected two axes")


def number_parts(parts: NDArray[Any], is_kept: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Return ids 1, 2, … of some connected components; the rest is background.

    Parameters
    ----------
    parts : ndarray of int
        Number of the component of each pixel.
    is_kept : ndarray of bool
        True for each component that gets an id, by number.
    """
    return np.asarray(np.where(is_kept, np.cumsum(is_kept), 0)[parts], np.uint16)


def make_cells(shape: Sequence[int], rng: np.random.Generator) -> CellImage:
    """Draw a dense layer of touching convex cells of varied size.

    Cells are textured and have a dark nucleus. The borders between cells are dark lines, many of
    them weak, and the layer has gaps.

    Parameters
    ----------
    shape : sequence of int
        Shape of the image, (y, x).
    rng : numpy.random.Generator
        Source of randomness.

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
    >>> drawn = make_cells((96, 96), np.random.default_rng(0))
    >>> drawn.image.dtype, bool((drawn.labels > 0).mean() > 0.5)
    (dtype('uint8'), True)
    """
    check_plane(shape)
    steps = np.ones(2)
    positions = _displaced(shape, steps, 1.2, 8.0, rng)
    sites, radii = _place_sites(np.asarray(shape, float), CELL_RADIUS, _MARGIN, rng)
    present = _sites_outside_gaps(sites, shape, rng)
    sites, radii = sites[present], radii[present]
    regions = _power_diagram(positions, sites, radii)
    covered = regions.center_distance < _REACH
    labels = _relabel_largest(np.where(covered, regions.owner + 1, 0))
    light = _light_of_cells(regions, radii, rng) * (labels > 0)
    image = record(light, steps, rng, blur=(1.0, 1.0), haze=0.25, photons=35.0)
    return CellImage(image, labels)


def make_tissue(
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    spacing: Sequence[float] = TISSUE_SPACING,
) -> CellImage:
    """Draw a tissue of irregular cells with bright membranes, without background.

    Parameters
    ----------
    shape : sequence of int
        Shape of the volume, (z, y, x).
    rng : numpy.random.Generator
        Source of randomness.
    spacing : sequence of float
        Voxel size, z first; only the ratios are used.

    Returns
    -------
    CellImage
        Every voxel belongs to a cell.

    Raises
    ------
    ValueError
        `shape` or `spacing` does not have three axes.

    Examples
    --------
    >>> import numpy as np
    >>> drawn = make_tissue((8, 32, 32), np.random.default_rng(0))
    >>> drawn.image.dtype, int(drawn.labels.min())
    (dtype('uint16'), 1)
    """
    if len(shape) != 3 or len(spacing) != 3:
        raise ValueError(
            f"shape, spacing: got {tuple(shape)}, {tuple(spacing)}, expected three axes"
        )
    steps = np.asarray(spacing, float) / min(spacing[1:])
    positions = _displaced(shape, steps, 2.2, 9.0, rng)
    sites, radii = _place_sites(np.asarray(shape) * steps, TISSUE_RADIUS, _TISSUE_MARGIN, rng)
    stretch = _stretching(rng)
    regions = _power_diagram(positions @ stretch, sites @ stretch, radii)
    labels = _fill(_relabel_largest(regions.owner + 1))
    light = _light_of_membranes(regions, steps, len(sites), rng)
    image = record(light, steps, rng, blur=(2.2, 0.9, 0.9), haze=0.3, photons=45.0)
    return CellImage(image, labels)


def _displaced(
    shape: Sequence[int], steps: Floats, height: float, size: float, rng: np.random.Generator
) -> Floats:
    """Return the physical position of each pixel with a smooth displacement, coordinates last."""
    grid = [np.arange(count) * step for count, step in zip(shape, steps, strict=True)]
    positions = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1)
    shifts = [smooth_noise(shape, size / steps, rng) for _ in shape]
    return np.asarray(positions + height * np.stack(shifts, axis=-1))


def _place_sites(
    extent: Floats, radius: tuple[float, float], margin: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Place sites at random, as many as fit, in the image and a margin around it."""
    sites, radii = np.empty((0, extent.size)), np.empty(0)
    volume = float(np.prod(extent + 2 * margin))
    typical = float(np.mean(radius)) ** extent.size
    for _ in range(int(_ATTEMPTS[extent.size] * volume / typical)):
        site = rng.uniform(-margin, extent + margin)
        size = np.exp(rng.uniform(*np.log(radius)))
        if (np.linalg.norm(sites - site, axis=1) >= _CLOSENESS * (radii + size)).all():
            sites, radii = np.vstack([sites, site]), np.append(radii, size)
    return sites, radii


def _sites_outside_gaps(
    sites: Floats, shape: Sequence[int], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return a mask of the sites that remain if the layer has gaps."""
    noise = smooth_noise(shape, 14.0, rng)
    nearest = np.clip(np.rint(sites).astype(int), 0, np.asarray(shape) - 1)
    keep = noise[tuple(nearest.T)] < _GAPS
    return keep if keep.any() else np.ones(len(sites), bool)


def _stretching(rng: np.random.Generator) -> Floats:
    """Return a matrix that shortens positions along a random direction of the plane.

    Distances are then shorter along this direction, so that cells are elongated along it.
    """
    angle = rng.uniform(0, np.pi)
    direction = np.array([0.0, np.sin(angle), np.cos(angle)])
    return np.asarray(np.eye(3) - (1 - 1 / _STRETCH) * np.outer(direction, direction))


def _power_diagram(positions: Floats, sites: Floats, radii: Floats) -> _Regions:
    """Return the region of each pixel.

    With a further coordinate, the squared distance minus the squared radius is a squared distance.
    """
    from scipy.spatial import cKDTree

    lift = np.sqrt(radii.max() ** 2 - radii**2)
    tree = cKDTree(np.column_stack([sites, lift]))
    flat = np.zeros((*positions.shape[:-1], 1))
    distances, rows = tree.query(np.concatenate([positions, flat], axis=-1), k=2)
    owner, other = rows[..., 0], rows[..., 1] % len(sites)  # a single site has no other
    apart = np.linalg.norm(sites[owner] - sites[other], axis=-1)
    gap = (distances[..., 1] ** 2 - distances[..., 0] ** 2) / (2 * np.maximum(apart, 1e-3))
    center = np.linalg.norm(positions - sites[owner], axis=-1) / radii[owner]
    return _Regions(owner, other, gap, center)


def _relabel_largest(numbers: NDArray[Any]) -> NDArray[np.uint16]:
    """Return ids 1, 2, … of the largest component of each number; the rest is background."""
    import cc3d

    parts = cc3d.connected_components(
        np.ascontiguousarray(numbers, np.int32), connectivity=4 if numbers.ndim == 2 else 6
    )
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    number_of = np.zeros(len(sizes), np.int64)
    number_of[parts.ravel()] = numbers.ravel()
    largest_part = np.zeros(int(numbers.max()) + 1, np.int64)
    for part in np.argsort(sizes, kind="stable"):
        largest_part[number_of[part]] = part
    is_kept = np.zeros(len(sizes), bool)
    is_kept[largest_part[1:]] = True
    is_kept &= sizes >= _MIN_PIXELS[numbers.ndim]
    return number_parts(parts, is_kept)


def _fill(labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Grow the ids over the voxels without an id; the ids stay connected."""
    from skimage import segmentation

    watershed: Callable[..., Any] = segmentation.watershed
    flooded = watershed(np.zeros(labels.shape, np.uint8), labels.astype(np.int32))
    return np.asarray(flooded, np.uint16)


def _strength(regions: _Regions, count: int, low: float, rng: np.random.Generator) -> Floats:
    """Return a random strength of the border between each pair of sites, from `low` to 1."""
    first = np.minimum(regions.owner, regions.other).astype(np.int64)
    last = np.maximum(regions.owner, regions.other)
    pairs, index = np.unique(first * count + last, return_inverse=True)
    return np.asarray(rng.uniform(low, 1, pairs.size)[index.reshape(first.shape)])


def _light_of_cells(regions: _Regions, radii: Floats, rng: np.random.Generator) -> Floats:
    """Return the light of cells with texture, a dark nucleus, and dark lines between them."""
    from scipy.special import expit

    shape, count = regions.owner.shape, len(radii)
    brightness = rng.lognormal(0, 0.15, count)[regions.owner]
    texture = 1 + 0.16 * smooth_noise(shape, 1.2, rng) + 0.14 * smooth_noise(shape, 3.0, rng)
    size = rng.uniform(0.3, 0.45, count)[regions.owner]
    contrast = rng.uniform(0.15, 0.5, count)[regions.owner]
    nucleus = expit((size - regions.center_distance) / 0.05)
    line = np.exp(-((regions.gap / 1.1) ** 2)) * _strength(regions, count, 0.1, rng)
    rim = np.clip((_REACH - regions.center_distance) * radii[regions.owner] / 3, 0, 1) ** 0.6
    light = brightness * np.maximum(texture, 0.2) * (1 - contrast * nucleus) * (1 - 0.65 * line)
    return np.asarray(light * rim)


def _light_of_membranes(
    regions: _Regions, steps: Floats, count: int, rng: np.random.Generator
) -> Floats:
    """Return the light of membranes of uneven brightness, and weak light inside cells."""
    shape = regions.owner.shape
    inside = rng.lognormal(np.log(0.22), 0.25, count)[regions.owner]
    inside = inside * (1 + 0.25 * smooth_noise(shape, np.maximum(1.5 / steps, 0.4), rng))
    patches = np.clip(1 + 0.35 * smooth_noise(shape, np.maximum(4.0 / steps, 0.4), rng), 0.1, 2)
    membrane = np.exp(-((regions.gap / 1.2) ** 2)) * _strength(regions, count, 0.35, rng)
    return np.asarray(np.maximum(inside, 0.02) + 1.1 * membrane * patches)
