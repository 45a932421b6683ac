"""Measurement of the intensities of an image; large images are measured in crops."""

from __future__ import annotations

from math import prod

import numpy as np

from singula.dataset.facts.facts import PERCENTILES, ImageFacts
from singula.dataset.facts.slices import survey_slices
from singula.dataset.scan import Scan, read_crops
from singula.io.geometry import lacks_z_spacing

MAX_PIXELS = 1 << 22


def survey_image(scan: Scan, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Measure an image.

    Parameters
    ----------
    scan : Scan
        Header and axes of the image.
    max_pixels : int
        Maximum number of pixels that are read; larger images are read in crops.

    Raises
    ------
    UserError
        The file cannot be read, or contains NaN or infinite values.
    """
    array = scan.pixels(max_pixels)
    (spacing, unit), notes = scan.geometry, scan.header.notes
    if lacks_z_spacing(scan.header, scan.ndim):
        # An assumed distance between slices must not decide the anisotropy.
        spacing = unit = None
        notes += ("no valid voxel size along z; its ratio to x is estimated from the objects",)
    parts = [np.asarray(array)]
    if prod(scan.shape) > max_pixels:
        parts = read_crops(array, _crop_sides(scan.shape, max_pixels))
    values = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
    # NumPy cannot interpolate percentiles of booleans.
    numbers = values.view(np.uint8) if values.dtype == bool else values
    return ImageFacts(
        scan.path,
        scan.shape,
        scan.layout.channels,
        str(values.dtype),
        spacing,
        unit,
        np.percentile(numbers, PERCENTILES, axis=0).T.astype(np.float64),
        notes,
        *(survey_slices(array) if scan.ndim == 3 else ()),
    )


def _crop_sides(shape: tuple[int, ...], max_pixels: int) -> list[int]:
    """Return the sides of the crops of a large image, about equal along all axes."""
    count = np.minimum(3, shape)
    available = np.array(shape) // count
    # The shortest axis is limited first.
    remaining = max_pixels / float(np.prod(count))
    sides = [0] * len(shape)
    for rank, axis in enumerate(np.argsort(available)):
        longest = int(remaining ** (1 / (len(shape) - rank)))
        sides[axis] = max(1, min(int(available[axis]), longest))
        remaining /= sides[axis]
    return sides
