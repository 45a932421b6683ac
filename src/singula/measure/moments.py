"""Second moments of the pixel positions of instances, and their axis ratio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from singula.io.image import Spacing, check_spacing
from singula.labels.block_table import TOTAL, ArrayList, Block, Table
from singula.labels.index import index_labels
from singula.util.arguments import instance, label_image
from singula.util.process import compiled


@dataclass(frozen=True, eq=False)
class Moments(Table):
    """Second central moments of the instances of a block or an image.

    Parameters
    ----------
    ids : ndarray of int64, shape (rows,)
        Ids that occur, in ascending order, without the background.
    npixels : ndarray of int64, shape (rows,)
        Number of pixels of each instance.
    sums : ndarray of float64, shape (rows, ndim)
        Sums of the pixel coordinates.
    moments : ndarray of float64, shape (rows, ndim, ndim)
        Sums over the pixels of the products of their distances to the centroid, along each pair of
        axes, in pixels.
    """

    ids: np.ndarray
    npixels: np.ndarray = field(metadata=TOTAL)
    sums: np.ndarray = field(metadata=TOTAL)
    moments: np.ndarray = field(metadata=TOTAL)

    @classmethod
    def of_columns(cls, columns: dict[str, ArrayList]) -> Self:
        """Merge rows with equal ids; moments about different centroids are moved to the common one.

        T. F. Chan et al., *Updating formulae and a pairwise algorithm for computing sample
        variances*, 1979: no difference of large sums occurs.
        """
        parts = {name: column.joined() for name, column in columns.items()}
        merged = super().of_columns({name: ArrayList([part]) for name, part in parts.items()})
        rows = np.searchsorted(merged.ids, parts["ids"])
        counts = parts["npixels"][:, None]
        gaps = parts["sums"] / counts - (merged.sums / merged.npixels[:, None])[rows]
        between = counts[..., None] * gaps[:, :, None] * gaps[:, None, :]
        np.add.at(merged.moments, rows, between)
        return merged


def second_moments(labels: np.ndarray, block: Block | None = None) -> Moments:
    """Return the second moments of the instances in the core of a block.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    block : Block, optional
        Position of `labels` in the image; by default, the whole image.

    Returns
    -------
    Moments
        `Moments.merge` of the tables of all blocks gives the table of the image.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not its block.
    """
    index, ids = index_labels(label_image(labels))
    block = Block.of(block, index)
    core = np.ascontiguousarray(index[block.box(index)])
    npixels, first = np.zeros(len(ids), np.int64), np.zeros((len(ids), 3), np.int64)
    sums, products = np.zeros((len(ids), 3)), np.zeros((len(ids), 3, 3))
    if core.size:
        planes = core.reshape(-1, *core.shape[-2:])
        compiled(_add_moments)(planes, npixels, first, sums, products)
    rows, axes = np.flatnonzero(npixels), slice(3 - core.ndim, 3)
    counts, offsets = npixels[rows, None], sums[rows, axes]
    about_first = products[rows, axes, axes]
    about_mean = about_first - offsets[:, :, None] * offsets[:, None, :] / counts[..., None]
    positions = first[rows, axes] + np.array(block.start)
    return Moments(ids[rows], npixels[rows], offsets + positions * counts, about_mean)


def axis_ratio(instances: Moments, *, spacing: Spacing | None = None) -> np.ndarray:
    """Return the ratio of the longest to the shortest axis of each instance, 1 for a disk or ball.

    The axes are those of the ellipse or ellipsoid with the second moments of the instance, whose
    pixels are squares or boxes, not points. A rectangle of a × b pixels has the ratio a / b, and a
    single pixel the ratio 1.

    Parameters
    ----------
    instances : Moments
        Second moments of the instances of the whole image.
    spacing : float or sequence of float, optional
        Voxel size, one value or one per axis in the order of the axes; 1 by default.

    Returns
    -------
    ndarray of float64, shape (rows,)
        Axis ratios, 1 or more.

    Raises
    ------
    TypeError, UserError
        Not a table of moments, or an invalid spacing.
    """
    instances = instance(instances, "instances", Moments)
    sizes = np.array(check_spacing(spacing, instances.sums.shape[1]))
    covariance = instances.moments / instances.npixels[:, None, None] + np.eye(len(sizes)) / 12
    variances = np.linalg.eigvalsh(covariance * np.outer(sizes, sizes))
    ratio: np.ndarray = np.sqrt(variances[:, -1] / variances[:, 0])
    return ratio


def _add_moments(planes: Any, npixels: Any, first: Any, sums: Any, products: Any) -> None:
    """Add up coordinates and their products, relative to the first pixel of each label; compiled.

    The sums are whole numbers, and small ones, wherever the instance lies in the image. A run of
    equal pixels of a row is added at once.

    Parameters
    ----------
    planes : int, (z, y, x)
        Row number of each pixel, 0 the background.
    npixels : int64, (rows,)
        Zeros; receives the number of pixels.
    first : int64, (rows, 3)
        Zeros; receives the position of the first pixel.
    sums : float64, (rows, 3)
        Zeros; receives the sums of the coordinates relative to `first`.
    products : float64, (rows, 3, 3)
        Zeros; receives the sums of the products of these coordinates.
    """
    depth, height, width = planes.shape
    for z in range(depth):
        for y in range(height):
            row = planes[z, y]
            start = 0
            while start < width:
                label = row[start]
                end = start + 1
                while end < width and row[end] == label:
                    end += 1
                if label != 0:
                    if npixels[label] == 0:
                        first[label, 0], first[label, 1], first[label, 2] = z, y, start
                    length = float(end - start)
                    dz, dy = float(z - first[label, 0]), float(y - first[label, 1])
                    dx = float(start - first[label, 2])
                    along = length * dx + length * (length - 1) / 2  # sum of x over the run
                    squares = dx * (along + length * (length - 1) / 2)
                    squares += (length - 1) * length * (2 * length - 1) / 6
                    npixels[label] += end - start
                    sums[label, 0] += length * dz
                    sums[label, 1] += length * dy
                    sums[label, 2] += along
                    products[label, 0, 0] += length * dz * dz
                    products[label, 1, 1] += length * dy * dy
                    products[label, 2, 2] += squares
                    products[label, 0, 1] += length * dz * dy
                    products[label, 0, 2] += dz * along
                    products[label, 1, 2] += dy * along
                    products[label, 1, 0] = products[label, 0, 1]
                    products[label, 2, 0] = products[label, 0, 2]
                    products[label, 2, 1] = products[label, 1, 2]
                start = end
