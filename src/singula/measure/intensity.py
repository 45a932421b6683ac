"""Intensities of instances, per channel of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from singula.errors import UserError
from singula.labels.block_table import HIGHEST, LOWEST, TOTAL, ArrayList, Table
from singula.labels.index import index_labels
from singula.util.arguments import as_array, instance, label_image
from singula.util.process import compiled

_PIECE = 1 << 16  # pixels that are converted to float64 at once


@dataclass(frozen=True, eq=False)
class Intensities(Table):
    """Intensities of the instances of a block or an image; pixels that are NaN are left out.

    Parameters
    ----------
    ids : ndarray of int64, shape (rows,)
        Ids that occur, in ascending order, without the background.
    counts : ndarray of int64, shape (rows, channels)
        Number of pixels that are not NaN.
    sums : ndarray of float64, shape (rows, channels)
        Sums of the intensities.
    low, high : ndarray of float64, shape (rows, channels)
        Smallest and largest intensity; infinite without pixels.
    squares : ndarray of float64, shape (rows, channels)
        Sums of the squared differences from the mean.
    """

    ids: np.ndarray
    counts: np.ndarray = field(metadata=TOTAL)
    sums: np.ndarray = field(metadata=TOTAL)
    low: np.ndarray = field(metadata=LOWEST)
    high: np.ndarray = field(metadata=HIGHEST)
    squares: np.ndarray = field(metadata=TOTAL)

    @classmethod
    def of_columns(cls, columns: dict[str, ArrayList]) -> Self:
        """Merge rows with equal ids; squares about different means are moved to the common mean.

        See `Moments.of_columns`.
        """
        parts = {name: column.joined() for name, column in columns.items()}
        merged = super().of_columns({name: ArrayList([part]) for name, part in parts.items()})
        rows = np.searchsorted(merged.ids, parts["ids"])
        counts = parts["counts"]
        with np.errstate(invalid="ignore"):  # infinite intensities
            gaps = _divided(parts["sums"], counts) - _divided(merged.sums, merged.counts)[rows]
            np.add.at(merged.squares, rows, np.where(counts > 0, counts * gaps**2, 0))
        return merged


def intensities(labels: np.ndarray, image: np.ndarray) -> Intensities:
    """Sum up the intensities of each instance in one pass.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background; a whole image, or the core of a block.
    image : ndarray
        Intensities of the same pixels, without or with a last axis of channels.

    Returns
    -------
    Intensities
        `Intensities.merge` of the tables of all blocks gives the table of the image.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not an image of the same shape.
    """
    index, ids = index_labels(label_image(labels))
    image = as_array(image, "image", axes="of labels, with or without channels")
    if image.shape[: index.ndim] != index.shape or image.ndim > index.ndim + 1:
        raise UserError(
            f"image: got the shape {image.shape}, expected the shape of labels, {index.shape}, "
            "with or without a last axis of channels",
            "pass the image of these labels, and move its channels to the last axis",
            "arguments.shape",
        )
    if image.ndim == index.ndim:
        image = image[..., None]
    shape = (len(ids), image.shape[-1])
    counts, sums, first, means, squares = np.zeros(shape, np.int64), *np.zeros((4, *shape))
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    occurs = np.zeros(len(ids), bool)
    rows = max(1, _PIECE // max(1, index[:1].size))
    for start in range(0, len(index), rows):
        flat = index[start : start + rows].ravel()
        values = np.ascontiguousarray(image[start : start + rows], np.float64)
        values = values.reshape(-1, shape[1])
        compiled(_add_intensities)(
            flat, values, occurs, counts, sums, first, means, squares, low, high
        )
    present = np.flatnonzero(occurs)
    return Intensities(*(column[present] for column in (ids, counts, sums, low, high, squares)))


def intensity_columns(instances: Intensities) -> dict[str, np.ndarray]:
    """Return the columns of the intensities in a table of measurements.

    Parameters
    ----------
    instances : Intensities
        Intensities of the instances of the whole image.

    Returns
    -------
    dict of str to ndarray of float64, shape (rows,)
        ``intensity_mean``, ``_sum``, ``_min``, ``_max`` and ``_std`` of one channel. The names of
        several channels end in ``_ch1``, ``_ch2`` and so on. They are NaN if all pixels are NaN.
    """
    instances = instance(instances, "instances", Intensities)
    n_channels = instances.counts.shape[1]
    has_pixels = instances.counts > 0
    with np.errstate(invalid="ignore"):
        values = {
            "mean": _divided(instances.sums, instances.counts),
            "sum": np.where(has_pixels, instances.sums, np.nan),
            "min": np.where(has_pixels, instances.low, np.nan),
            "max": np.where(has_pixels, instances.high, np.nan),
            "std": np.sqrt(_divided(instances.squares, instances.counts)),
        }
    return {
        f"intensity_{name}{f'_ch{channel + 1}' if n_channels > 1 else ''}": column[:, channel]
        for channel in range(n_channels)
        for name, column in values.items()
    }


def _divided(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean of sums over pixels; NaN without pixels."""
    means = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def _add_intensities(
    index: Any, values: Any, occurs: Any, counts: Any, sums: Any, first: Any, means: Any,
    squares: Any, low: Any, high: Any,
) -> None:  # fmt: skip
    """Add the intensities of pixels to their labels; compiled.

    The squares are updated as B. P. Welford does (1962), for the differences from the first value,
    so that values that are large compared to their differences lose no digits.

    Parameters
    ----------
    index : int, (n,)
        Row number of each pixel, 0 the background.
    values : float64, (n, channels)
        Intensities.
    occurs : bool, (rows,)
        Set for labels with pixels.
    counts : int64, (rows, channels)
        Number of pixels that are not NaN, which is updated.
    sums, first, means, squares, low, high : float64, (rows, channels)
        Sum, first value, mean of the differences from it, squared differences from the mean,
        minimum and maximum, which are updated.
    """
    for pixel in range(len(index)):
        label = index[pixel]
        if label == 0:
            continue
        occurs[label] = True
        for channel in range(values.shape[1]):
            value = values[pixel, channel]
            if np.isnan(value):
                continue
            if counts[label, channel] == 0:
                first[label, channel] = value
            counts[label, channel] += 1
            sums[label, channel] += value
            offset = value - first[label, channel]
            gap = offset - means[label, channel]
            means[label, channel] += gap / counts[label, channel]
            squares[label, channel] += gap * (offset - means[label, channel])
            low[label, channel] = min(low[label, channel], value)
            high[label, channel] = max(high[label, channel], value)
