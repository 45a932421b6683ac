"""Measurement of the intensities of an image; large images are measured in crops."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.dataset.facts.facts import PERCENTILES, ImageFacts
from singula.dataset.facts.slices import survey_slices
from singula.io.entries import reader_path
from singula.io.files import check_place
from singula.io.geometry import geometry, lacks_z_spacing
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image
from singula.io.lazy_array import LazyArray, Pixels
from singula.io.read import image_layout, read_header, read_image
from singula.util.arguments import integer

# Maximum values of cameras with 10, 12 and 14 bits, whose images are stored as 16 bits
_CAMERA_MAXIMA = (1023, 4095, 16383)
MAX_PIXELS = 1 << 22


def survey_image(
    path: Path | str,
    ndim: int,
    *,
    max_pixels: int = MAX_PIXELS,
    arrays: ArrayPlace | None = None,
) -> ImageFacts:
    """Measure an image.

    Parameters
    ----------
    path : Path or str
        File of the image.
    ndim : {2, 3}
        Number of spatial axes.
    max_pixels : int
        Maximum number of pixels that are read; larger images are read in crops.
    arrays : ArrayPlace, optional
        Array of the image in a container file.

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        The file cannot be read, has other axes, or contains NaN or infinite values.
    """
    path, ndim = reader_path(path), integer(ndim, "ndim", at_least=2, at_most=3)
    check_place(arrays)
    max_pixels = integer(max_pixels, "max_pixels", at_least=1)
    header = read_header(path, arrays)
    layout = image_layout(path, header, ndim, None)
    size = int(np.prod(layout.spatial_shape, dtype=np.int64))
    sampled = size > max_pixels
    array: Pixels
    if sampled:
        array = LazyArray.of(open_image(path, ndim, layout.channels, arrays=arrays))
    else:
        array = read_image(path, ndim, layout.channels, arrays=arrays).array
    spacing, unit, notes = *geometry(header, ndim), header.notes
    if lacks_z_spacing(header, ndim):
        # An assumed distance between slices must not decide the anisotropy.
        spacing = unit = None
        notes += ("no valid voxel size along z; its ratio to x is estimated from the objects",)
    if sampled:
        values = _sample(array, ndim, max_pixels)
    else:
        values = np.asarray(array).reshape(-1, array.shape[-1])
    # NumPy cannot interpolate percentiles of booleans.
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


def _sample(array: Pixels, ndim: int, max_pixels: int) -> NDArray[Any]:
    """Return the values (n, channels) of crops on a grid, three along each axis."""
    shape = np.array(array.shape[:ndim])
    count = np.minimum(3, shape)
    available = shape // count
    # The shortest axis is limited first, so that crops are about equally long along all axes.
    crop_pixels = max_pixels / float(np.prod(count))
    side, remaining = np.zeros(ndim, np.int64), crop_pixels
    for rank, axis in enumerate(np.argsort(available)):
        side[axis] = max(1, min(int(available[axis]), int(remaining ** (1 / (ndim - rank)))))
        remaining /= side[axis]
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
    """Return the fraction of values equal to the maximum of the type, or of a camera."""
    maximum = values.max()
    if values.dtype.kind == "b":
        return 0.0
    if values.dtype.kind in "ui":
        maxima = (int(np.iinfo(values.dtype).max), *_CAMERA_MAXIMA)
        if int(maximum) not in maxima:
            return 0.0
    elif maximum != 1:  # floats are saturated only if they were scaled to [0, 1]
        return 0.0
    return float((values == maximum).mean())
