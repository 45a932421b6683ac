"""Size and shape of all instances in one pass, each as if it were alone in the image."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from singula.arguments import instance
from singula.io.image import Spacing, check_spacing
from singula.postprocess.labels import Extents, survey
from singula.postprocess.parts import NO_PIXEL, TOTAL, Block
from singula.runtime import compiled

if TYPE_CHECKING:
    import pandas as pd

SURFACE = "perimeter (surface area)"
HALO = {2: 2, 3: 1}
"""Pixels around a block that its outlines depend on, by the number of axes."""
_LEVEL = 0.5


def measure(labels: np.ndarray, *, spacing: Spacing | None = None) -> pd.DataFrame:
    """Measure every instance; the public `singula.measure`.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background, ids with gaps allowed.
    spacing : float or sequence of float, optional
        Pixel size, per axis z first; 1 by default.

    Returns
    -------
    pandas.DataFrame
        A row for each instance, in order of the ids. The columns are ``label``; the centroid in
        pixels, ``axis-0``, ``axis-1`` and in volumes ``axis-2``; ``npixels``; then

        - images: ``area`` (npixels × pixel size), ``circularity`` 4πA/p², ``diameter``,
          ``perimeter`` p, ``elongation`` p²/4πA. The perimeter is counted in pixels, and so is
          the A of the two ratios, which have no unit;
        - volumes: ``volume``, ``sphericity`` 36πV²/S³, ``diameter`` and
          ``perimeter (surface area)`` S, in the unit of `spacing`.

        The diameter is the longest side of the bounding box in pixels. Instances too small to
        have a perimeter, such as a single pixel, have perimeter 0 and no circularity (NaN).

    Raises
    ------
    TypeError, UserError
        Not a label image, or a spacing that does not fit.

    Notes
    -----
    The perimeter is that of `skimage.measure.perimeter` with 4-connectivity, after K. Benkrid and
    D. Crookes, *Design and FPGA implementation of a perimeter estimator*. The surface is that of
    `skimage.measure.marching_cubes` (T. Lewiner et al., 2003) and `mesh_surface_area`. Both are
    sums over small neighbourhoods, whose share depends on which of their pixels belong to the
    instance: so a table of these shares measures all instances at once.
    """
    found = shapes(labels, spacing=spacing)
    return measurements(found, spacing=spacing)


@dataclass(frozen=True, eq=False)
class Shapes(Extents):
    """What is summed up of the instances of a block or of an image; see `Extents`.

    Parameters
    ----------
    outline : ndarray of float64, shape (rows,)
        Perimeter, or surface area in the unit of the spacing. A cell of the surface that two
        blocks share is counted by one of them, so a row of a block may have an outline only.
    """

    outline: np.ndarray = field(metadata=TOTAL)


def shapes(
    labels: np.ndarray, block: Block | None = None, *, spacing: Spacing | None = None
) -> Shapes:
    """Sums over the core of a block that, merged, give the measurements of the image.

    Parameters
    ----------
    labels : ndarray of int
        Of the block and `HALO` pixels around it.
    block : Block, optional
        Where it lies; the whole image by default.
    spacing : sequence of float, optional
        Pixel size per axis, z first; 1 by default.

    Raises
    ------
    TypeError, UserError
        Not a label image, not its block, or a spacing that does not fit.
    """
    found = survey(labels, block)
    ndim = found.index.ndim
    sizes = check_spacing(spacing, ndim)
    block = Block.of(block, found.index)
    outline = np.zeros(len(found.ids))
    before = HALO[ndim]
    near = block.box(found.index, before, before if ndim == 2 else 0)
    window = np.ascontiguousarray(found.index[near])
    own = np.array([core.start - part.start for core, part in zip(block.core, near, strict=True)])
    size = np.subtract(block.stop, block.start)
    if ndim == 2:
        stop = own + size
        compiled(_add_perimeters)(window, _perimeter_shares(), tuple(own), tuple(stop), outline)
    else:
        stop = own + size + np.array(block.at_stop)  # the last cell is half outside the image
        compiled(_add_surfaces)(window, _surface_shares(sizes), own, stop, outline)
    rows = np.flatnonzero((found.npixels > 0) | (outline > 0))
    low = np.where(found.npixels[:, None] > 0, found.low, NO_PIXEL)
    columns = (found.ids, found.npixels, found.sums, low, found.high, outline)
    return Shapes(*(column[rows] for column in columns))


def measurements(found: Shapes, *, spacing: Spacing | None = None) -> pd.DataFrame:
    """The table of `measure`, from the merged sums of all blocks.

    Parameters
    ----------
    found : Shapes
    spacing : float or sequence of float, optional
        As for `measure`.

    Raises
    ------
    TypeError, UserError
        Not sums, or a spacing that does not fit.
    """
    found = instance(found, "found", Shapes)
    ndim = found.low.shape[1]
    sizes = check_spacing(spacing, ndim)
    columns = {"label": found.ids}
    columns |= {f"axis-{axis}": found.center[:, axis] for axis in range(ndim)}
    columns["npixels"] = npixels = found.npixels
    extent = npixels * np.prod(sizes)
    diameter = (found.high - found.low).max(axis=1, initial=0)
    shape = _image_columns if ndim == 2 else _volume_columns
    columns |= shape(npixels, extent, diameter, found.outline)
    import pandas as pd

    return pd.DataFrame(columns)


def _image_columns(
    npixels: np.ndarray, area: np.ndarray, diameter: np.ndarray, perimeter: np.ndarray
) -> dict[str, np.ndarray]:
    elongation = perimeter**2 / (4 * np.pi * npixels)
    circularity = np.full(len(npixels), np.nan)
    np.divide(1, elongation, out=circularity, where=elongation > 0)
    return {
        "area": area,
        "circularity": circularity,
        "diameter": diameter,
        "perimeter": perimeter,
        "elongation": elongation,
    }


def _volume_columns(
    npixels: np.ndarray, volume: np.ndarray, diameter: np.ndarray, surface: np.ndarray
) -> dict[str, np.ndarray]:
    return {
        "volume": volume,
        "sphericity": 36 * np.pi * volume**2 / surface**3,
        "diameter": diameter,
        SURFACE: surface,
    }


def _perimeter_shares() -> np.ndarray:
    """Length that a border pixel adds, by its numbers of border neighbours: edges, then corners.

    A pixel where the outline goes straight adds 1, one where it goes diagonally √2, one where it
    turns from straight to diagonal the mean of both, and the end of a line nothing.
    """
    straight, diagonal = 1.0, np.sqrt(2)
    shares = np.zeros((5, 5))
    shares[2, :3] = shares[3, :3] = straight
    shares[0, 2] = shares[1, 3] = diagonal
    shares[1, 1] = shares[1, 2] = (straight + diagonal) / 2
    return shares


def _add_perimeters(labels: Any, shares: Any, start: Any, stop: Any, perimeter: Any) -> None:
    """Add the share of every border pixel from `start` to before `stop` to its label; compiled.

    Border pixels, which have another label or the image border beside them, are marked row by
    row; the last three rows of marks are kept, with a rim.
    """
    height, width = labels.shape
    (top, left), (bottom, right) = start, stop
    marks = np.zeros((3, width + 2), np.uint8)
    blank = np.zeros(width, labels.dtype)
    for y in range(height + 1):
        below = marks[y % 3]
        below[:] = 0
        if y < height:
            row = labels[y]
            above_row = labels[y - 1] if y > 0 else blank
            below_row = labels[y + 1] if y + 1 < height else blank
            for x in range(width):
                below[x + 1] = (row[x] != above_row[x]) | (row[x] != below_row[x])
            for x in range(width - 1):
                differs = row[x] != row[x + 1]
                below[x + 1] |= differs
                below[x + 2] |= differs
            if width > 0:
                below[1] = below[width] = 1
            for x in range(width):
                below[x + 1] &= row[x] != 0
        middle, above = marks[(y + 2) % 3], marks[(y + 1) % 3]
        if not top < y <= bottom:
            continue
        for x in range(width):
            if middle[x + 1] == 0 or not left <= x < right:
                continue
            label = labels[y - 1, x]
            edges = corners = 0
            for step in range(-1, 2):
                beside = x + 1 + step
                if above[beside] and labels[y - 2, x + step] == label:
                    edges += step == 0
                    corners += step != 0
                if below[beside] and labels[y, x + step] == label:
                    edges += step == 0
                    corners += step != 0
                if step != 0 and middle[beside] and labels[y - 1, x + step] == label:
                    edges += 1
            perimeter[label] += shares[edges, corners]


def _surface_shares(spacing: tuple[float, ...]) -> np.ndarray:
    """Area in a cell of 2×2×2 voxels, by which of them belong to the object (a bit for each)."""
    triangles, cell = _surface_triangles()
    corners = triangles * np.array(spacing)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.bincount(cell, np.linalg.norm(normals, axis=1) / 2, minlength=256)


@functools.cache
def _surface_triangles() -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all cells, shape (n, 3, 3), and the cell that each is of."""
    from skimage import measure as skimage_measure

    marching_cubes: Callable[..., Any] = skimage_measure.marching_cubes
    triangles, cells = [], []
    for cell in range(1, 255):
        voxels = np.array([cell >> bit & 1 for bit in range(8)], np.float32).reshape(2, 2, 2)
        vertices, faces, _, _ = marching_cubes(voxels, _LEVEL)
        triangles.append(vertices[faces].astype(np.float64))
        cells.append(np.full(len(faces), cell))
    return np.concatenate(triangles), np.concatenate(cells)


def _add_surfaces(labels: Any, shares: Any, start: Any, stop: Any, surface: Any) -> None:
    """Add the share of every cell of 2×2×2 voxels to each label in it; compiled.

    Cells go from `start` to before `stop`, each by its last voxel; in the last cells of an image
    that one is outside.
    """
    depth, height, width = labels.shape
    blank = np.zeros(width, labels.dtype)
    corner = np.zeros(8, labels.dtype)
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            row_0 = labels[z - 1, y - 1] if z > 0 and y > 0 else blank
            row_1 = labels[z - 1, y] if z > 0 and y < height else blank
            row_2 = labels[z, y - 1] if z < depth and y > 0 else blank
            row_3 = labels[z, y] if z < depth and y < height else blank
            corner[:] = 0
            was_uniform = True
            for x in range(stop[2]):
                corner[0], corner[2], corner[4], corner[6] = (
                    corner[1],
                    corner[3],
                    corner[5],
                    corner[7],
                )
                if x < width:
                    corner[1], corner[3], corner[5], corner[7] = (
                        row_0[x],
                        row_1[x],
                        row_2[x],
                        row_3[x],
                    )
                else:
                    corner[1] = corner[3] = corner[5] = corner[7] = 0
                uniform = (
                    corner[1] == corner[3] and corner[1] == corner[5] and corner[1] == corner[7]
                )
                same = was_uniform and uniform and corner[0] == corner[1]
                was_uniform = uniform
                if same or x < start[2]:
                    continue
                for first in range(8):
                    label = corner[first]
                    if label == 0:
                        continue
                    cell = 0
                    for bit in range(8):
                        if corner[bit] == label:
                            cell |= 1 << bit
                    if cell & ((1 << first) - 1) == 0:
                        surface[label] += shares[cell]
