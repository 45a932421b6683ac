"""Parts of images at reduced resolutions, and their PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.report.overlay import encode_png, pair_panels

Array = npt.NDArray[Any]
Boxes = Mapping[int, tuple[tuple[int, int], ...]]
TILE = 512
"""Side of a tile in pixels."""


def halve(plane: Array) -> Array:
    """Return the mean of blocks of 2 × 2 pixels; an odd last row or column is repeated."""
    padding = [(0, plane.shape[0] % 2), (0, plane.shape[1] % 2), *([(0, 0)] * (plane.ndim - 2))]
    exact = plane.dtype.kind in "bui" and plane.dtype.itemsize <= 2
    wide = np.pad(plane, padding, mode="edge").astype(np.int64 if exact else np.float64)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    dtype = np.uint8 if plane.dtype == bool else plane.dtype
    halved: Array = ((total + 2) // 4).astype(dtype) if exact else total / 4
    return halved


def cut(plane: Array, step: int, row: int, column: int) -> Array:
    """Return every `step`-th pixel of a tile and a ring around it; image edges are repeated."""
    rows = _indices(plane.shape[0], step, row)
    columns = _indices(plane.shape[1], step, column)
    part: Array = plane.take(rows, 0).take(columns, 1)
    return part


def _indices(size: int, step: int, index: int) -> Array:
    count = -(-size // step)
    first, last = index * TILE, min((index + 1) * TILE, count)
    indices = np.clip(np.arange(first - 1, last + 1), 0, count - 1) * step + step // 2
    return np.minimum(indices, size - 1)


def palette_png(values: Array, table: Array) -> bytes:
    """Encode values 0 to 255 with a color table as PNG; 0 is transparent."""
    from PIL import Image as Picture

    picture = Picture.fromarray(np.ascontiguousarray(values))
    picture.putpalette(np.asarray(table, np.uint8).tobytes())
    stream = BytesIO()
    picture.save(stream, "PNG", compress_level=1, transparency=0)
    return stream.getvalue()


def boxes(labels: Array) -> Boxes:
    """Return the bounding box of each object by its id.

    Parameters
    ----------
    labels : ndarray of int
        Label image, (y, x) or (z, y, x).

    Returns
    -------
    mapping of int to tuple
        For each axis, the first index and the last index plus 1.
    """
    from scipy.ndimage import find_objects

    objects = find_objects(labels.astype(np.int32, copy=False))
    return {
        number: tuple((s.start, s.stop) for s in slices)
        for number, slices in enumerate(objects, start=1)
        if slices is not None
    }


def thumbnail(image: Array, labels: Array | None = None, max_side: int = 160) -> bytes:
    """Return a small PNG of an image, with the outlines of its objects.

    For a volume, the slice with the most labeled pixels is drawn.

    Parameters
    ----------
    image : ndarray
        Raw image, (y, x, c) or (z, y, x, c).
    labels : ndarray, optional
        Label image, (y, x) or (z, y, x).
    max_side : int
        Length of the longer side, pixels.
    """
    shown = [] if labels is None else [labels]
    panels = pair_panels(image, *shown, min_side=max_side)
    return encode_png(panels[-1], max_side, compress_level=6)
