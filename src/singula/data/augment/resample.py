"""Resample a patch of a whole image and its labels through one mapping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.augment.change import FloatArray, as_slices
from singula.data.augment.copies import separate_copies
from singula.data.augment.geometry import Geometry, Matrix
from singula.data.patches import read_patch
from singula.io.lazy_array import LazyArray, Pixels
from singula.util.process import compiled

Array = npt.NDArray[Any]
Places = npt.NDArray[np.float64]

MODES = ("reflect", "symmetric", "nearest", "constant", "wrap")
"""Padding modes outside of the image, as in NumPy; 'constant' is 0 and background."""
_WRAP = MODES.index("wrap")


def sample_pair(
    image: Pixels,
    labels: Pixels,
    start: Sequence[int],
    shape: Sequence[int],
    geometry: Geometry,
    *,
    mode: str = "reflect",
    elastic_mode: str = "constant",
    sides: Sequence[tuple[int, int]] | None = None,
    new_ids: bool = False,
) -> tuple[FloatArray, Array]:
    """Resample a patch of an image and of its labels through a geometry.

    Parameters
    ----------
    image, labels : ndarray or LazyArray
        Whole image and labels, (y, x, c) or (z, y, x, c), with the same spatial shape.
    start, shape : sequence of int
        Position of the patch without the geometry. A patch that extends beyond the image is
        mirrored there, and these pixels count as part of the image.
    mode : str
        One of `MODES`, for positions that are outside of the image without the displacement.
    elastic_mode : str
        The same for positions that the displacement moves out of the image.
    sides : sequence of (int, int), optional
        Additional pixels of the labels before and after the patch, per axis; with a displacement,
        those of the displacement.
    new_ids : bool
        Give mirrored copies of instances other ids; see `separate_copies`.

    Returns
    -------
    image : ndarray of float32
        Shape ``(*shape, c)``, interpolated linearly.
    labels : ndarray
        Values of the nearest pixels, with the dtype of the input; larger than `shape` by `sides`.
    """
    sides = sides or [(0, 0)] * len(shape)
    before = [b for b, _ in sides]
    wide = [b + n + a for n, (b, a) in zip(shape, sides, strict=True)]
    begin = [first - b for first, b in zip(start, before, strict=True)]
    axes = range(len(shape) if geometry.is_identity else len(shape) - 2)
    outside = _beyond_axes(axes, labels.shape, begin, wide) if new_ids else None
    if geometry.is_identity:
        moved = _with_new_ids(read_patch(labels, begin, wide), outside)
        return read_patch(image, start, shape).astype(np.float32), moved
    (begin[-2:], wide[-2:]), plane = (start[-2:], shape[-2:]), wide[-2:]
    whole = labels.shape[-3:-1]
    image, start_in_image = _cover(image, start, shape)
    labels, _ = _cover(labels, begin, wide)
    depth, deep = (array.shape[0] if array.ndim == 4 else 1 for array in (image, labels))
    result = np.empty((*shape, image.shape[-1]), np.float32)
    moved = np.empty((deep, *plane, labels.shape[-1]), labels.dtype)
    size = (image.shape[-3], image.shape[-2])
    folds = (MODES.index(mode), MODES.index(elastic_mode))
    center = (np.array(shape[-2:]) - 1) / 2
    above = before[0] if len(shape) == 3 else 0
    inside = tuple(slice(b, b + n) for b, n in zip(before[-2:], shape[-2:], strict=True))
    for part, matrix, shift in geometry.planes(depth):
        # Round away the last bits, which would move a whole-pixel mapping between two pixels.
        offset = np.round(np.array(start_in_image) + center + shift - matrix @ center, 9)
        steps = tuple(np.arange(-b, n - b) for b, n in zip(before[-2:], plane, strict=True))
        places = _places(matrix, offset, steps, geometry.displacement, size, folds)
        inner = tuple(np.ascontiguousarray(place[inside]) for place in places)
        _interpolate(image, part, (inner[0], inner[1]), _WRAP in folds, as_slices(result)[part])
        # Slices before and after the patch have the mapping of its first and last slice.
        first = part.start + above if part.start else 0
        last = part.stop + above if part.stop < depth else deep
        moved[first:last] = _nearest(labels, slice(first, last), places, _WRAP in folds)
        if outside is None:
            continue
        in_whole = offset - start_in_image + np.array(start[-2:])
        for place, length in zip(_unfolded(matrix, in_whole, steps), whole, strict=True):
            outside.reshape(deep, *plane)[first:last] |= _is_beyond(place, length)
    return result, _with_new_ids(moved if len(shape) == 3 else moved[0], outside)


def _beyond_axes(
    axes: Iterable[int], whole: Sequence[int], begin: Sequence[int], shape: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """Return True for the pixels of a patch that are outside of an image along one of the axes."""
    outside = np.zeros(shape, bool)
    for axis in axes:
        places = np.arange(begin[axis], begin[axis] + shape[axis])
        others = tuple(other for other in range(len(shape)) if other != axis)
        outside |= np.expand_dims(_is_beyond(places, whole[axis]), others)
    return outside


def _with_new_ids(labels: Array, outside: npt.NDArray[np.bool_] | None) -> Array:
    """Return labels, channel last, with new ids for mirrored copies; None: unchanged."""
    if outside is None or not outside.any():
        return labels
    ids = separate_copies(labels[..., 0], outside)
    return np.concatenate([ids[..., None], labels[..., 1:]], axis=-1)


def _is_beyond(places: Array, size: int) -> npt.NDArray[np.bool_]:
    """Return True for coordinates more than half a pixel outside of ``0 … size - 1``."""
    return np.asarray((places < -0.5) | (places > size - 0.5))


def _cover(
    array: Pixels, start: Sequence[int], shape: Sequence[int]
) -> tuple[Pixels, tuple[int, int]]:
    """Return whole planes of the slices of a patch, mirrored outside of the array.

    Also return the position of the patch in them. A lazy array stays lazy if nothing is mirrored.
    """
    begins, lengths = list(start), list(shape)
    for axis in range(len(shape) - 2, len(shape)):
        begins[axis] = min(0, start[axis])
        end = max(array.shape[axis], start[axis] + shape[axis])
        lengths[axis] = end - begins[axis]
    place = (start[-2] - begins[-2], start[-1] - begins[-1])
    ends = [first + length for first, length in zip(begins, lengths, strict=True)]
    inside = min(begins) >= 0 and all(
        end <= size for end, size in zip(ends, array.shape, strict=False)
    )
    if isinstance(array, LazyArray) and inside:
        return array.crop(tuple(slice(a, b) for a, b in zip(begins, ends, strict=True))), place
    return read_patch(array, begins, lengths), place


def _places(
    matrix: Matrix,
    offset: Matrix,
    steps: tuple[npt.NDArray[np.int64], ...],
    displacement: FloatArray | None,
    size: tuple[int, int],
    folds: tuple[int, int],
) -> tuple[Places, Places]:
    """Return the row and column in the image of each pixel of a plane; NaN outside.

    `steps` are the rows and columns of the plane relative to the first one of the patch.
    """
    fold = compiled(_fold_in_place)
    places = []
    for axis, place in enumerate(_unfolded(matrix, offset, steps)):
        fold(place, size[axis], folds[0])
        if displacement is not None:
            place += displacement[axis]
            fold(place, size[axis], folds[1])
        places.append(place)
    return places[0], places[1]


def _unfolded(
    matrix: Matrix, offset: Matrix, steps: tuple[npt.NDArray[np.int64], ...]
) -> Iterator[Places]:
    """Yield the row and the column of each pixel of a plane without displacement and folding."""
    i, j = steps[0].astype(np.float64)[:, None], steps[1].astype(np.float64)
    for axis in range(2):
        yield (matrix[axis, 0] * i + offset[axis]) + matrix[axis, 1] * j


def _fold_in_place(places: Any, size: int, mode: int) -> None:
    """Map coordinates outside of ``0 … size - 1`` into the image with one of `MODES`; compiled."""
    last = size - 1.0
    flat = places.reshape(-1)
    for n in range(flat.size):
        x = flat[n]
        if -1e-6 <= x <= last + 1e-6:
            flat[n] = min(max(x, 0.0), last)
        elif mode == 0:  # the edge pixel is not repeated
            if size == 1:
                flat[n] = 0.0
            else:
                x = abs(x) % (2 * last)
                flat[n] = 2 * last - x if x > last else x
        elif mode == 1:  # the edge pixel is repeated
            x = (x + 0.5) % (2.0 * size)
            flat[n] = min(max((2.0 * size - x if x > size else x) - 0.5, 0.0), last)
        elif mode == 2:
            flat[n] = min(max(x, 0.0), last)
        elif mode == 3:
            flat[n] = np.nan
        else:  # the first pixel follows the last one
            flat[n] = x % size


def _box(places: Places, size: int, wrap: bool) -> tuple[int, int]:
    """Return the range of pixels along an axis that interpolation reads."""
    low, high = np.nanmin(places, initial=size), np.nanmax(places, initial=-1)
    if wrap or high < 0:
        return 0, size
    return int(low), min(size, int(high) + 2)


def _part(array: Pixels, slices: slice, rows: slice, columns: slice) -> Array:
    """Return a part (z, y, x, c) of planes (y, x, c) or (z, y, x, c)."""
    if array.ndim == 4:
        return np.asarray(array[slices, rows, columns])
    return as_slices(np.asarray(array[rows, columns]))


def _interpolate(
    pixels: Pixels,
    slices: slice,
    places: tuple[Places, Places],
    wrap: bool,
    result: FloatArray,
) -> None:
    """Fill `result` (z, y, x, c) from slices of `pixels`, interpolated linearly in the plane."""
    top, bottom = _box(places[0], pixels.shape[-3], wrap)
    left, right = _box(places[1], pixels.shape[-2], wrap)
    part = np.ascontiguousarray(
        _part(pixels, slices, slice(top, bottom), slice(left, right)), dtype=np.float32
    )
    compiled(_interpolate_planes)(part, places[0], places[1], top, left, wrap, result)


def _interpolate_planes(
    pixels: Any, rows: Any, columns: Any, top: int, left: int, wrap: bool, result: Any
) -> None:
    depth, height, width, channels = pixels.shape
    for z in range(depth):
        for i in range(rows.shape[0]):
            for j in range(rows.shape[1]):
                y = rows[i, j] - top
                x = columns[i, j] - left
                if np.isnan(y) or np.isnan(x):
                    for c in range(channels):
                        result[z, i, j, c] = 0
                    continue
                y0 = int(y)
                x0 = int(x)
                down = np.float32(y - y0)
                along = np.float32(x - x0)
                y1 = y0 + 1
                x1 = x0 + 1
                if y1 == height:
                    y1 = 0 if wrap else y0
                if x1 == width:
                    x1 = 0 if wrap else x0
                for c in range(channels):
                    upper = pixels[z, y0, x0, c]
                    upper += along * (pixels[z, y0, x1, c] - upper)
                    lower = pixels[z, y1, x0, c]
                    lower += along * (pixels[z, y1, x1, c] - lower)
                    result[z, i, j, c] = upper + down * (lower - upper)


def _nearest(ids: Pixels, slices: slice, places: tuple[Places, Places], wrap: bool) -> Array:
    """Return the values (z, y, x, c) of the nearest pixels; 0 outside."""
    height, width = ids.shape[-3:-1]
    rows, columns = places
    top, bottom = _box(rows, height, wrap)
    left, right = _box(columns, width, wrap)
    part = _part(ids, slices, slice(top, bottom), slice(left, right))
    index = np.empty(rows.shape, np.int64)
    corner = (top, left, right - left)
    compiled(_nearest_index)(rows, columns, height, width, wrap, corner, index)
    flat = part.reshape(part.shape[0], -1, part.shape[-1])
    result = np.take(flat, index, axis=1, mode="clip")
    result[:, index < 0] = 0
    return result


def _nearest_index(
    rows: Any, columns: Any, height: int, width: int, wrap: bool, corner: Any, index: Any
) -> None:
    top, left, length = corner
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            y = rows[i, j]
            x = columns[i, j]
            if np.isnan(y) or np.isnan(x):
                index[i, j] = -1
                continue
            r = int(y + 0.5)
            c = int(x + 0.5)
            if r == height:
                r = 0 if wrap else height - 1
            if c == width:
                c = 0 if wrap else width - 1
            index[i, j] = (r - top) * length + c - left
