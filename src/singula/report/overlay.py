"""Instances drawn over the image, to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.boxes import Box
from singula.io.atomic import atomic_path

Rgb = npt.NDArray[np.uint8]
# Longest side of a panel; the instances themselves are in the label image.
_LONGEST = 2048
# Slices of the middle of a large volume in which the fullest one is looked for
_SLICES = 16
_GOLDEN = 0.618033988749895


def to_grey(plane: npt.NDArray[Any]) -> Rgb:
    """An image plane (y, x, c) as RGB bytes, stretched between its 1st and 99.8th percentile.

    Three channels are taken as colours; of any other number the mean is shown.
    """
    values = plane if plane.shape[-1] == 3 else plane.mean(-1, keepdims=True, dtype=np.float64)
    low, high = np.percentile(values, (1.0, 99.8))
    scaled = stretched(values, float(low), float(high))
    return np.broadcast_to((255 * scaled).astype(np.uint8), (*plane.shape[:2], 3))


def stretched(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
    """Rescale values to 0 at `low` and 1 at `high`, for any unit and offset."""
    exact = values.dtype.kind in "bui" and values.dtype.itemsize <= 2
    shifted: npt.NDArray[Any] = values.astype(np.float32 if exact else np.float64)
    shifted = shifted - low
    scaled: npt.NDArray[Any] = np.clip(shifted / (high - low if high > low else 1.0), 0.0, 1.0)
    return scaled.astype(np.float32, copy=False)


def colours(count: int) -> Rgb:
    """A colour for each id 1…count (row 0 is black); neighbours in number differ clearly."""
    from matplotlib.colors import hsv_to_rgb

    hue = (np.arange(count + 1) * _GOLDEN) % 1.0
    hsv = np.stack([hue, np.full(count + 1, 0.85), np.ones(count + 1)], axis=-1)
    table: Rgb = np.round(255 * hsv_to_rgb(hsv)).astype(np.uint8)
    table[0] = 0
    return table


def overlay(plane: npt.NDArray[Any], labels: npt.NDArray[Any], *, fill: float = 0.25) -> Rgb:
    """An image plane (y, x, c) with each instance's outline and a tint inside.

    Parameters
    ----------
    labels : ndarray
        (y, x) ids, 0 for background.
    fill : float
        Strength of the tint.
    """
    from singula.channels import find_contour

    grey = to_grey(plane).astype(np.float32)
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape) + (0 if len(ids) and ids[0] == 0 else 1)
    paint = colours(int(dense.max(initial=0)))[dense].astype(np.float32)
    inside = (dense > 0)[..., None]
    mixed = np.where(inside, (1 - fill) * grey + fill * paint, grey)
    outline = find_contour(dense, "inner")[..., None]
    result: Rgb = np.where(outline, paint, mixed).astype(np.uint8)
    return result


def reduced(plane: npt.NDArray[Any], longest: int) -> npt.NDArray[Any]:
    """An image plane (y, x, c) averaged over squares of pixels, no side longer than `longest`.

    What does not fill a square at the far ends is left out; a small plane is returned as it is.
    """
    step = -(-max(plane.shape[:2]) // longest)
    height, width = (size // step for size in plane.shape[:2])
    if step == 1 or not height or not width:
        return plane
    whole = plane[: height * step, : width * step]
    squares = whole.reshape(height, step, width, step, plane.shape[2])
    mean: npt.NDArray[Any] = squares.mean(axis=(1, 3), dtype=np.float64)
    return mean


def thinned(labels: npt.NDArray[Any], longest: int) -> npt.NDArray[Any]:
    """One label (y, x) of each of the squares of `reduced`."""
    step = -(-max(labels.shape) // longest)
    height, width = (size // step for size in labels.shape)
    if step == 1 or not height or not width:
        return labels
    middle = slice(step // 2, None, step)
    return labels[middle, middle][:height, :width]


def middle_plane(labels: npt.NDArray[Any]) -> int:
    """The slice of a volume (z, y, x) with most labelled pixels, the first of equal ones."""
    return int(np.count_nonzero(labels, axis=(1, 2)).argmax())


def middle_of(shape: tuple[int, ...]) -> Box:
    """What is shown of an image: its middle, of a volume some slices."""
    most = (_LONGEST,) * len(shape) if len(shape) == 2 else (_SLICES, _LONGEST, _LONGEST)
    sides = [min(size, side) for size, side in zip(shape, most, strict=True)]
    starts = [(size - side) // 2 for size, side in zip(shape, sides, strict=True)]
    return tuple(slice(a, a + n) for a, n in zip(starts, sides, strict=True))


def write_overlay(
    path: Path,
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    truth: npt.NDArray[Any] | None = None,
) -> Path:
    """Image, instances and truth side by side as a PNG; of a volume its fullest slice.

    Planes with more than 2,048 pixels on a side are shown smaller.

    Parameters
    ----------
    image : ndarray
        (y, x, c) or (z, y, x, c).
    labels, truth : ndarray
        (y, x) or (z, y, x).
    """
    from PIL import Image as Picture

    if labels.ndim == 3:
        index = middle_plane(truth if truth is not None and truth.any() else labels)
        image, labels = image[index], labels[index]
        truth = truth[index] if truth is not None else None
    image = reduced(image, _LONGEST)
    panels = [to_grey(image), overlay(image, thinned(labels, _LONGEST))]
    if truth is not None:
        panels.append(overlay(image, thinned(truth, _LONGEST)))
    gap = np.full((image.shape[0], 6, 3), 255, np.uint8)
    row = [part for panel in panels for part in (panel, gap)][:-1]
    with atomic_path(path) as temporary:
        Picture.fromarray(np.concatenate(row, axis=1)).save(temporary)
    return path
