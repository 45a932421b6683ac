"""Pictures of instances drawn over the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.atomic import atomic_path
from singula.util.boxes import DISPLAY_SIDE

Rgb = npt.NDArray[np.uint8]
_GOLDEN = 0.618033988749895


def to_gray(plane: npt.NDArray[Any]) -> Rgb:
    """Return an image plane (y, x, c) as RGB bytes, scaled to its 1st and 99.8th percentile.

    Three channels are shown as colors; for any other number, the mean of the channels is shown.
    """
    values = plane if plane.shape[-1] == 3 else plane.mean(-1, keepdims=True, dtype=np.float64)
    low, high = np.percentile(values, (1.0, 99.8))
    scaled = rescale(values, float(low), float(high))
    return np.broadcast_to((255 * scaled).astype(np.uint8), (*plane.shape[:2], 3))


def rescale(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
    """Rescale values to 0 at `low` and 1 at `high`, for any unit and offset."""
    exact = values.dtype.kind in "bui" and values.dtype.itemsize <= 2
    shifted: npt.NDArray[Any] = values.astype(np.float32 if exact else np.float64)
    shifted = shifted - low
    scaled: npt.NDArray[Any] = np.clip(shifted / (high - low if high > low else 1.0), 0.0, 1.0)
    return scaled.astype(np.float32, copy=False)


def label_colors(count: int) -> Rgb:
    """Return a color (row) for each id from 0 (black) to `count`; successive ids differ clearly."""
    from matplotlib.colors import hsv_to_rgb

    hue = (np.arange(count + 1) * _GOLDEN) % 1.0
    hsv = np.stack([hue, np.full(count + 1, 0.85), np.ones(count + 1)], axis=-1)
    table: Rgb = np.round(255 * hsv_to_rgb(hsv)).astype(np.uint8)
    table[0] = 0
    return table


def overlay(plane: npt.NDArray[Any], labels: npt.NDArray[Any], *, fill: float = 0.25) -> Rgb:
    """Draw each instance over an image plane, with its outline and a tint inside.

    Parameters
    ----------
    plane : ndarray
        Image plane (y, x, c).
    labels : ndarray of int
        Label image (y, x); 0 is the background.
    fill : float
        Opacity of the tint, from 0 to 1.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
    """
    from singula.representations.channels import find_contour

    gray = to_gray(plane).astype(np.float32)
    ids, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape) + (0 if len(ids) and ids[0] == 0 else 1)
    paint = label_colors(int(dense.max(initial=0)))[dense].astype(np.float32)
    inside = (dense > 0)[..., None]
    mixed = np.where(inside, (1 - fill) * gray + fill * paint, gray)
    outline = find_contour(dense, "inner")[..., None]
    result: Rgb = np.where(outline, paint, mixed).astype(np.uint8)
    return result


def downsample_image(plane: npt.NDArray[Any], max_side: int) -> npt.NDArray[Any]:
    """Average an image plane over squares of pixels, so that its sides are at most `max_side`.

    Incomplete squares at the lower and right border are omitted. A small plane is returned
    unchanged.

    Parameters
    ----------
    plane : ndarray
        Image plane (y, x, c).
    max_side : int
        Maximum side of the result in pixels.
    """
    step = -(-max(plane.shape[:2]) // max_side)
    height, width = (size // step for size in plane.shape[:2])
    if step == 1 or not height or not width:
        return plane
    whole = plane[: height * step, : width * step]
    squares = whole.reshape(height, step, width, step, plane.shape[2])
    mean: npt.NDArray[Any] = squares.mean(axis=(1, 3), dtype=np.float64)
    return mean


def downsample_labels(labels: npt.NDArray[Any], max_side: int) -> npt.NDArray[Any]:
    """Return the label (y, x) of the center of each square of `downsample_image`."""
    step = -(-max(labels.shape) // max_side)
    height, width = (size // step for size in labels.shape)
    if step == 1 or not height or not width:
        return labels
    middle = slice(step // 2, None, step)
    return labels[middle, middle][:height, :width]


def middle_plane(labels: npt.NDArray[Any]) -> int:
    """Return the index of the slice of a volume (z, y, x) with the most labeled pixels."""
    return int(np.count_nonzero(labels, axis=(1, 2)).argmax())


def write_overlay(
    path: Path,
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    truth: npt.NDArray[Any] | None = None,
) -> Path:
    """Write image, instances and ground truth side by side as a PNG file.

    For a volume, the slice with the most labeled pixels is shown. Planes are downsampled to at most
    2,048 pixels per side.

    Parameters
    ----------
    path : Path
        PNG file to write.
    image : ndarray
        Image (y, x, c) or (z, y, x, c).
    labels : ndarray of int
        Instances (y, x) or (z, y, x).
    truth : ndarray of int, optional
        Ground truth of the same shape.

    Returns
    -------
    Path
        The file.
    """
    from PIL import Image as Picture

    if labels.ndim == 3:
        index = middle_plane(truth if truth is not None and truth.any() else labels)
        image, labels = image[index], labels[index]
        truth = truth[index] if truth is not None else None
    image = downsample_image(image, DISPLAY_SIDE)
    panels = [to_gray(image), overlay(image, downsample_labels(labels, DISPLAY_SIDE))]
    if truth is not None:
        panels.append(overlay(image, downsample_labels(truth, DISPLAY_SIDE)))
    gap = np.full((image.shape[0], 6, 3), 255, np.uint8)
    row = [part for panel in panels for part in (panel, gap)][:-1]
    with atomic_path(path) as temporary:
        Picture.fromarray(np.concatenate(row, axis=1)).save(temporary)
    return path
