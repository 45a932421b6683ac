"""Intensities of an image: percentiles, spread, saturation; of large images from crops."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.arguments import integer
from singula.io.entries import reader_path
from singula.io.files import check_place
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image
from singula.io.lazy_array import LazyArray, Pixels
from singula.io.read import geometry, image_layout, lacks_depth, read_header, read_image
from singula.survey.facts import PERCENTILES, ImageFacts
from singula.survey.slices import survey_slices

# The largest number of cameras with 10, 12 and 14 bits, whose images come as 16 bits
_CAMERA_ENDS = (1023, 4095, 16383)
MOST_PIXELS = 1 << 22


def survey_image(
    path: Path | str,
    ndim: int,
    *,
    most_pixels: int = MOST_PIXELS,
    arrays: ArrayPlace | None = None,
) -> ImageFacts:
    """Look into an image.

    Parameters
    ----------
    path : Path or str
    ndim : int
        2 or 3 spatial axes.
    most_pixels : int
        Of a larger image, crops spread over it are looked at, of so many pixels together.
    arrays : ArrayPlace, optional
        Which array of a container.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; unreadable file, axes that do not fit, NaN or infinite values.
    """
    path, ndim = reader_path(path), integer(ndim, "ndim", at_least=2, at_most=3)
    check_place(arrays)
    most_pixels = integer(most_pixels, "most_pixels", at_least=1)
    header = read_header(path, arrays)
    layout = image_layout(path, header, ndim, None)
    size = int(np.prod(layout.spatial_shape, dtype=np.int64))
    sampled = size > most_pixels
    array: Pixels
    if sampled:
        array = LazyArray.of(open_image(path, ndim, layout.channels, arrays=arrays))
    else:
        array = read_image(path, ndim, layout.channels, arrays=arrays).array
    spacing, unit, notes = *geometry(header, ndim), header.notes
    if lacks_depth(header, ndim):
        # An assumed distance between slices must not decide the anisotropy.
        spacing = unit = None
        notes += ("no valid voxel size along z; its ratio to x is estimated from the objects",)
    if sampled:
        values = _sample(array, ndim, most_pixels)
    else:
        values = np.asarray(array).reshape(-1, array.shape[-1])
    # NumPy interpolates no percentiles between truth values.
    numbers = values.view(np.uint8) if values.dtype == bool else values
    return ImageFacts(
        path,
        layout.spatial_shape,
        layout.channels,
        str(values.dtype),
        layout.note,
        spacing,
        unit,
        np.percentile(numbers, PERCENTILES, axis=0).T.astype(np.float64),
        values.mean(axis=0, dtype=np.float64),
        values.std(axis=0, dtype=np.float64),
        _saturated(values),
        bool(layout.channels > 1 and (values == values[:, :1]).all()),
        sampled,
        notes,
        *(survey_slices(array) if ndim == 3 else ()),
    )


def _sample(array: Pixels, ndim: int, most_pixels: int) -> NDArray[Any]:
    """Crops on a grid, three along each axis, as values (n, channels)."""
    shape = np.array(array.shape[:ndim])
    count = np.minimum(3, shape)
    room = shape // count
    # A long axis gives way first, so that crops are about as long along each axis.
    each = most_pixels / float(np.prod(count))
    side, left = np.zeros(ndim, np.int64), each
    for rank, axis in enumerate(np.argsort(room)):
        side[axis] = max(1, min(int(room[axis]), int(left ** (1 / (ndim - rank)))))
        left /= side[axis]
    starts = [
        np.linspace(0, size - length, int(number)).astype(int)
        for size, length, number in zip(shape, side, count, strict=True)
    ]
    crops = [
        array[tuple(slice(s, s + n) for s, n in zip(start, side, strict=True))]
        for start in product(*starts)
    ]
    return np.concatenate([np.reshape(crop, (-1, array.shape[-1])) for crop in crops])


def _saturated(values: NDArray[Any]) -> float:
    """Fraction of values at the end of the type's range, or of a camera's."""
    top = values.max()
    if values.dtype.kind == "b":
        return 0.0
    if values.dtype.kind in "ui":
        ends = (int(np.iinfo(values.dtype).max), *_CAMERA_ENDS)
        if int(top) not in ends:
            return 0.0
    elif top != 1:  # floats that were scaled to [0, 1]
        return 0.0
    return float((values == top).mean())
