"""Picture of the instances of an image: their outlines over the image with stretched contrast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.atomic import atomic_path
from singula.io.lazy import LazyImage
from singula.report.outlines import draw_outlines
from singula.report.overlay import (
    average_squares,
    center_labels,
    encode_png,
    enlarge,
    middle_plane,
    square_side,
)
from singula.util.boxes import DISPLAY_SIDE

Array = npt.NDArray[Any]
_BAND = 1 << 24  # pixels that are read at once


def write_outlines(path: Path, image: Array, labels: Array) -> None:
    """Write a PNG file with the outlines of instances over their image.

    See `draw_outlines`. Of a volume, the slice with the most labeled pixels is shown. Planes with
    sides above 2,048 pixels are downsampled, and small planes are enlarged (`enlarge`).

    Parameters
    ----------
    path : Path
        PNG file to write.
    image : ndarray, (y, x, c) or (z, y, x, c)
        Image.
    labels : ndarray of int, (y, x) or (z, y, x)
        Label image; 0 is background.
    """
    if labels.ndim == 3:
        index = middle_plane(labels)
        image, labels = image[index], labels[index]
    side = square_side(labels.shape, DISPLAY_SIDE)
    _write(path, average_squares(image, side), center_labels(labels, side), side)


def write_outlines_of_files(path: Path, image: LazyImage, labels: LazyImage) -> None:
    """Write the picture of `write_outlines` for files that are larger than the memory.

    The files are read in bands of rows. Of a volume, the slice in the middle is shown.

    Parameters
    ----------
    path : Path
        PNG file to write.
    image, labels : LazyImage
        Image, and label image with the same spatial shape.
    """
    *depth, height, width = labels.spatial_shape
    plane = tuple(slice(size // 2, size // 2 + 1) for size in depth)
    side = square_side((height, width), DISPLAY_SIDE)
    rows = side * max(1, _BAND // (side * width))
    pixels, ids = [], []
    for first in range(0, height // side * side, rows):
        box = (*plane, slice(first, min(first + rows, height)), slice(0, width))
        band, instances = image.read(box), labels.read(box)[..., 0]
        if depth:
            band, instances = band[0], instances[0]
        pixels.append(average_squares(band, side))
        ids.append(center_labels(instances, side))
    _write(path, np.concatenate(pixels), np.concatenate(ids), side)


def _write(path: Path, plane: Array, labels: Array, side: int) -> None:
    if side == 1:  # a picture that is not downsampled
        plane, labels = enlarge(plane), enlarge(labels)
    picture = draw_outlines(plane, labels)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_png(picture))
