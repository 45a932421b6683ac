"""Size and shape of all instances in one pass, as if each were alone in the image.

See ``docs/internals/outlines.md`` for the method and its invariants.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from singula.io.image import Spacing, check_spacing
from singula.labels.block_table import NO_PIXEL, TOTAL, Block
from singula.labels.index import Extents, survey
from singula.util.arguments import instance
from singula.util.process import compiled

if TYPE_CHECKING:
    import pandas as pd

SURFACE = "perimeter (surface area)"
HALO = {2: 2, 3: 1}
"""Width in pixels of the halo that the outlines of a block need, by the number of axes."""
_LEVEL = 0.5


def measure_instances(labels: np.ndarray, *, spacing: Spacing | None = None) -> pd.DataFrame:
    """Measure every instance, with the columns of the tables in the results folder.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background; ids need not be consecutive.
    spacing : float or sequence of float, optional
        Voxel size, one value or one per axis in the order of the axes; 1 by default.

    Returns
    -------
    pandas.DataFrame
        See `measurements`.

    Raises
    ------
    TypeError, UserError
        Not a label image, or an invalid spacing.
    """
    return measurements(shapes(labels, spacing=spacing), spacing=spacing)


@dataclass(frozen=True, eq=False)
class Shapes(Extents):
    """Extents and outlines of the instances of a block or an image; see `Extents`.

    Parameters
    ----------
    outline : ndarray of float64, shape (rows,)
        Perimeter in pixels, or surface area in the unit of the spacing. A cell of the surface
        that two blocks share is counted by one of them, so that a row of a block may have an
        outline but no pixels.
    """

    outline: np.ndarray = field(metadata=TOTAL)


def shapes(
    labels: np.ndarray, block: Block | None = None, *, spacing: Spacing | None = None
) -> Shapes:
    """Return the extents and outlines of the instances in the core of a block.

    Parameters
    ----------
    labels : ndarray of int
        Labels of the block with a halo of `HALO` pixels, (y, x) or (z, y, x), 0 the background.
    block : Block, optional
        Position of `labels` in the image; by default, the whole image.
    spacing : sequence of float, optional
        Voxel size per axis, in the order of the axes; 1 by default.

    Returns
    -------
    Shapes
        `Shapes.merge` of the tables of all blocks gives the table of the image.

    Raises
    ------
    TypeError, UserError
        Not a label image, not its block, or an invalid spacing.
    """
    instances = survey(labels, block)
    ndim = instances.index.ndim
    sizes = check_spacing(spacing, ndim)
    block = Block.of(block, instances.index)
    outline = np.zeros(len(instances.ids))
    before = HALO[ndim]
    near = block.box(instances.index, before, before if ndim == 2 else 0)
    window = np.ascontiguousarray(instances.index[near])
    start = np.array([core.start - box.start for core, box in zip(block.core, near, strict=True)])
    size = np.subtract(block.stop, block.start)
    if ndim == 2:
        stop = start + size
        compiled(add_perimeters)(window, _perimeter_shares(), tuple(start), tuple(stop), outline)
    else:
        stop = start + size + np.array(block.at_stop)  # the last cell is half outside the image
        compiled(_add_surfaces)(window, _surface_shares(sizes), start, stop, outline)
    rows = np.flatnonzero((instances.npixels > 0) | (outline > 0))
    low = np.where(instances.npixels[:, None] > 0, instances.low, NO_PIXEL)
    columns = (instances.ids, instances.npixels, instances.sums, low, instances.high, outline)
    return Shapes(*(column[rows] for column in columns))


def measurements(instances: Shapes, *, spacing: Spacing | None = None) -> pd.DataFrame:
    """Return the table of measurements with the columns of the results folder.

    `singula.measure` has other columns, which name their unit.

    Parameters
    ----------
    instances : Shapes
        Extents and outlines of the instances of the whole image; for an image in blocks, the
        merged table.
    spacing : float or sequence of float, optional
        Voxel size, one value or one per axis in the order of the axes; 1 by default.

    Returns
    -------
    pandas.DataFrame
        One row per instance, sorted by id. The columns are ``label``; the centroid in pixels,
        ``axis-0``, ``axis-1`` and in volumes ``axis-2``; ``npixels``; then

        - images: ``area`` (npixels × pixel size), ``circularity`` 4πA/p², ``diameter``,
          ``perimeter`` p, ``elongation`` p²/4πA. The perimeter is in pixels, as is the A of the
          two ratios, which have no unit;
        - volumes: ``volume``, ``sphericity`` 36πV²/S³, ``diameter`` and
          ``perimeter (surface area)`` S, in the unit of `spacing`.

        The diameter is the longest side of the bounding box in pixels. Instances too small to
        have a perimeter, such as a single pixel, have perimeter 0 and circularity NaN.

    Raises
    ------
    TypeError, UserError
        Not a table of shapes, or an invalid spacing.
    """
    instances = instance(instances, "instances", Shapes)
    ndim = instances.low.shape[1]
    sizes = check_spacing(spacing, ndim)
    columns = {"label": instances.ids}
    columns |= {f"axis-{axis}": instances.center[:, axis] for axis in range(ndim)}
    columns["npixels"] = npixels = instances.npixels
    extent = npixels * np.prod(sizes)
    diameter = (instances.high - instances.low).max(axis=1, initial=0)
    shape = _image_columns if ndim == 2 else _volume_columns
    columns |= shape(npixels, extent, diameter, instances.outline)
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
    """Return the length that a border pixel contributes, by its border neighbors: edges, corners.

    A pixel contributes 1 where the outline is straight, √2 where it is diagonal, their mean where
    it turns from straight to diagonal, and 0 at the end of a line.
    """
    straight, diagonal = 1.0, np.sqrt(2)
    shares = np.zeros((5, 5))
    shares[2, :3] = shares[3, :3] = straight
    shares[0, 2] = shares[1, 3] = diagonal
    shares[1, 1] = shares[1, 2] = (straight + diagonal) / 2
    return shares


def add_perimeters(labels: Any, shares: Any, start: Any, stop: Any, perimeter: Any) -> None:
    """Add the contributions of the border pixels from `start` to `stop` to their labels; compiled.

    A border pixel has a neighbor with another label, or lies at the image border.

    Parameters
    ----------
    labels : int, (y, x)
        Row numbers of the instances, 0 the background, with a halo of two pixels.
    shares : float64, (5, 5)
        Contribution of a pixel by its numbers of edge and corner neighbors that are border pixels
        of the same label.
    start, stop : tuple of int
        First pixel of the core, and the pixel after its last one, (y, x).
    perimeter : float64, (rows,)
        Perimeter of each instance, which is updated.
    """
    height, width = labels.shape
    (top, left), (bottom, right) = start, stop
    # The border marks of three rows, with a rim of one pixel; row y is stored in marks[y % 3].
    marks = np.zeros((3, width + 2), np.uint8)
    blank = np.zeros(width, labels.dtype)
    for y in range(height + 1):
        below = marks[y % 3]
        below[:] = 0
        # Mark the border pixels of row y. After the last row, `below` stays empty.
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
            # The image border is a border, background is not.
            if width > 0:
                below[1] = below[width] = 1
            for x in range(width):
                below[x + 1] &= row[x] != 0
        # Now the neighbors of row y - 1 are marked: count them, for its pixels in the core.
        middle, above = marks[(y + 2) % 3], marks[(y + 1) % 3]
        if not top < y <= bottom:
            continue
        for x in range(width):
            if middle[x + 1] == 0 or not left <= x < right:
                continue
            label = labels[y - 1, x]
            edges = corners = 0
            # Marks have a rim, labels have none: the column of the marks is larger by one.
            for step in range(-1, 2):
                column = x + 1 + step
                if above[column] and labels[y - 2, x + step] == label:
                    edges += step == 0
                    corners += step != 0
                if below[column] and labels[y, x + step] == label:
                    edges += step == 0
                    corners += step != 0
                if step != 0 and middle[column] and labels[y - 1, x + step] == label:
                    edges += 1
            perimeter[label] += shares[edges, corners]


def _surface_shares(spacing: tuple[float, ...]) -> np.ndarray:
    """Return the surface area in a cell of 2×2×2 voxels for each set of object voxels (8 bits)."""
    triangles, cell = _surface_triangles()
    corners = triangles * np.array(spacing)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.bincount(cell, np.linalg.norm(normals, axis=1) / 2, minlength=256)


@functools.cache
def _surface_triangles() -> tuple[np.ndarray, np.ndarray]:
    """Return the triangles of all cells, shape (n, 3, 3), and the cell of each triangle."""
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
    """Add the contribution of every cell of 2×2×2 voxels to each label in it; compiled.

    A cell is identified by its last voxel. The last cells of an image extend beyond it by one
    voxel.

    Parameters
    ----------
    labels : int, (z, y, x)
        Row numbers of the instances, 0 the background, with a halo of one voxel before the core.
    shares : float64, (256,)
        Area in a cell; bit i of the index is set if voxel i belongs to the object.
    start, stop : int64, (3,)
        First cell, and the cell after the last one, (z, y, x).
    surface : float64, (rows,)
        Surface area of each instance, which is updated.
    """
    depth, height, width = labels.shape
    blank = np.zeros(width, labels.dtype)
    corner = np.zeros(8, labels.dtype)
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            # The cell moves along x; these are its four rows. Voxels outside the image are 0.
            row_0 = labels[z - 1, y - 1] if z > 0 and y > 0 else blank
            row_1 = labels[z - 1, y] if z > 0 and y < height else blank
            row_2 = labels[z, y - 1] if z < depth and y > 0 else blank
            row_3 = labels[z, y] if z < depth and y < height else blank
            corner[:] = 0
            was_uniform = True
            for x in range(stop[2]):
                # Voxels of odd index are new; the others were the odd ones of the previous cell.
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
                # A cell with a single value contains no surface.
                uniform = (
                    corner[1] == corner[3] and corner[1] == corner[5] and corner[1] == corner[7]
                )
                same = was_uniform and uniform and corner[0] == corner[1]
                was_uniform = uniform
                # Cells before the core only initialize the corners.
                if same or x < start[2]:
                    continue
                for first in range(8):
                    label = corner[first]
                    if label == 0:
                        continue
                    # Bits of the voxels with this label.
                    cell = 0
                    for bit in range(8):
                        if corner[bit] == label:
                            cell |= 1 << bit
                    # Count a label once: at its first voxel.
                    if cell & ((1 << first) - 1) == 0:
                        surface[label] += shares[cell]
