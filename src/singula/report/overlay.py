"""Pictures of instances drawn over the image."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.atomic import atomic_path
from singula.util.arguments import label_image
from singula.util.boxes import DISPLAY_SIDE
from singula.util.sparse_labels import without_unannotated

Rgb = npt.NDArray[np.uint8]
_GOLDEN = 0.618033988749895
_TITLES = ("Image", "Objects found", "Your labels")
MIN_SIDE = 400
"""Minimum of the longer side of pictures, in pixels."""
OVERLAY_SUFFIX = "_overlay.png"
"""End of the names of pictures that `singula predict` writes next to label images."""


def to_gray(plane: npt.NDArray[Any]) -> Rgb:
    """Return an image plane (y, x, c) as RGB bytes, in its brightness range."""
    values = shown_channels(plane)
    scaled = rescale(values, *brightness_range(values))
    gray = (255 * scaled).astype(np.uint8).reshape(*plane.shape[:2], -1)
    return np.broadcast_to(gray, (*plane.shape[:2], 3))


def shown_channels(values: npt.NDArray[Any], channel: int = -1) -> npt.NDArray[Any]:
    """Return one channel of an array (…, c); for -1 three channels, or the mean of other numbers.

    Three channels are shown as colors.
    """
    if 0 <= channel < values.shape[-1]:
        return values[..., channel]
    if values.shape[-1] == 3:
        return values
    mean: npt.NDArray[Any] = values.mean(-1, dtype=np.float64)
    return mean


def brightness_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the values shown as black and white, the 1st and the 99.8th percentile."""
    low, high = np.percentile(values, (1.0, 99.8))
    return float(low), float(high)


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


def shared_ids(*labels: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Renumber label images so that matching objects have the same id, and the same color.

    Objects match if their IoU with an object of the first label image is at least 0.5.

    Parameters
    ----------
    *labels : ndarray of int, (y, x)
        Label images of the same shape; 0 is background.

    Returns
    -------
    list of ndarray of uint32
        Ids from 1 without gaps over all label images.
    """
    from singula.labels.index import index_labels
    from singula.metrics import match

    indices = []
    for each in labels:
        index = index_labels(label_image(each))[0]
        exists = np.bincount(index.ravel()) > 0
        exists[0] = False
        indices.append((np.cumsum(exists) * exists).astype(np.uint32)[index])
    count = int(indices[0].max(initial=0))
    renumbered = [indices[0]]
    for index in indices[1:]:
        pairs = match(indices[0], index, (0.5,))[0]
        table = np.zeros(int(index.max(initial=0)) + 1, np.uint32)
        table[pairs.pred_ids] = pairs.true_ids
        others = pairs.extra
        table[others] = np.arange(count + 1, count + 1 + len(others))
        count += len(others)
        renumbered.append(table[index])
    return renumbered


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
    return _draw_instances(to_gray(plane), labels, fill)


def overlays(gray: Rgb, *labels: npt.NDArray[Any]) -> list[Rgb]:
    """Draw each label image over a picture as `overlay` does; matching objects have one color.

    Parameters
    ----------
    gray : ndarray of uint8, shape (y, x, 3)
        Result of `to_gray`.
    *labels : ndarray of int, (y, x)
        Label images of the same shape.
    """
    if len(labels) < 2:
        return [_draw_instances(gray, plane) for plane in labels]
    planes = shared_ids(*labels)
    colors = label_colors(max(int(plane.max(initial=0)) for plane in planes))
    return [_draw_instances(gray, plane, colors=colors) for plane in planes]


def _draw_instances(
    gray: Rgb, labels: npt.NDArray[Any], fill: float = 0.25, colors: Rgb | None = None
) -> Rgb:
    """Draw instances as `overlay` does, over the result of `to_gray`, in the colors of the ids."""
    from singula.labels.index import index_labels
    from singula.representations.channels import find_contour

    index, ids = index_labels(label_image(labels))
    inside, outline = index > 0, find_contour(index, "inner")
    if colors is None:
        # Colors follow the ranks of the ids that are in the picture.
        exists = np.bincount(index[inside], minlength=len(ids)) > 0
        colors = label_colors(int(np.count_nonzero(exists)))[np.cumsum(exists)]
    else:
        colors = colors[ids]
    shade = (1 - fill) * np.arange(256, dtype=np.float32)
    tint = fill * colors.astype(np.float32)
    picture: Rgb = np.array(gray)
    picture[inside] = (shade[gray[inside]] + tint[index[inside]]).astype(np.uint8)
    picture[outline] = colors[index[outline]]
    return picture


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
    return average_squares(plane, square_side(plane.shape, max_side))


def downsample_labels(labels: npt.NDArray[Any], max_side: int) -> npt.NDArray[Any]:
    """Return the label (y, x) of the center of each square of `downsample_image`."""
    return center_labels(labels, square_side(labels.shape, max_side))


def square_side(shape: Sequence[int], max_side: int) -> int:
    """Return the side of the squares of `downsample_image`, in pixels; 1 for a small plane.

    Parameters
    ----------
    shape : sequence of int
        Shape (y, x, …) of the plane.
    max_side : int
        Maximum side of the downsampled plane, in pixels.
    """
    side = -(-max(shape[:2]) // max_side)
    return side if min(shape[:2]) >= side else 1


def average_squares(plane: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Average an image plane (y, x, c) over complete squares of `side` pixels."""
    if side == 1:
        return plane
    height, width = (size // side for size in plane.shape[:2])
    whole = plane[: height * side, : width * side]
    squares = whole.reshape(height, side, width, side, plane.shape[2])
    mean: npt.NDArray[Any] = squares.mean(axis=(1, 3), dtype=np.float64)
    return mean


def center_labels(labels: npt.NDArray[Any], side: int) -> npt.NDArray[Any]:
    """Return the label (y, x) of the center of each complete square of `side` pixels."""
    if side == 1:
        return labels
    height, width = (size // side for size in labels.shape)
    middle = slice(side // 2, None, side)
    return labels[middle, middle][:height, :width]


def middle_plane(*labels: npt.NDArray[Any] | None) -> int:
    """Return the index of the slice (z, y, x) with the most labeled pixels.

    The first label image with any labeled pixels decides; None is ignored.
    """
    volumes = [volume for volume in labels if volume is not None]
    shown = next((volume for volume in volumes if volume.any()), volumes[-1])
    return int(np.count_nonzero(shown, axis=(1, 2)).argmax())


def enlarge(plane: npt.NDArray[Any], min_side: int = MIN_SIDE) -> npt.NDArray[Any]:
    """Repeat the pixels of a small plane (y, x, …) by a whole number.

    Parameters
    ----------
    plane : ndarray
        Image plane or label image. A larger plane is returned unchanged.
    min_side : int
        Minimum of the longer side of the result, in pixels.
    """
    factor = -(-min_side // max(plane.shape[:2]))
    return plane if factor == 1 else plane.repeat(factor, axis=0).repeat(factor, axis=1)


def pair_panels(
    image: npt.NDArray[Any], *labels: npt.NDArray[Any], min_side: int = MIN_SIDE
) -> list[Rgb]:
    """Return a picture of an image, and the same picture with the outlines of each label image.

    Objects of different label images that match have the same color.

    Parameters
    ----------
    image : ndarray, (y, x, c) or (z, y, x, c)
        Image. Of a volume, the slice of `middle_plane` is shown; without labels, the middle slice.
    *labels : ndarray of int, (y, x) or (z, y, x)
        Label images; 0 is background.
    min_side : int
        As for `enlarge`. Outlines cover less of the objects in an enlarged picture.
    """
    labels = tuple(without_unannotated(each) for each in labels)
    if image.ndim == 4:
        index = middle_plane(*labels) if labels else len(image) // 2
        image, labels = image[index], tuple(volume[index] for volume in labels)
    gray = enlarge(to_gray(image), min_side)
    return [gray, *overlays(gray, *(enlarge(plane, min_side) for plane in labels))]


def side_by_side(panels: Sequence[Rgb]) -> Rgb:
    """Concatenate pictures (y, x, 3) of equal height along x, with white gaps."""
    gap = np.full((panels[0].shape[0], 6, 3), 255, np.uint8)
    row = [part for panel in panels for part in (panel, gap)][:-1]
    return np.concatenate(row, axis=1)


def with_title(picture: Rgb, title: str) -> Rgb:
    """Add a title above a picture, black on white."""
    from PIL import Image as Picture
    from PIL import ImageDraw, ImageFont

    width = picture.shape[1]
    size = min(max(width // 28, 12), 36)
    strip = Picture.new("RGB", (width, round(1.6 * size)), "white")
    font = ImageFont.load_default(size)
    ImageDraw.Draw(strip).text((size // 3, size // 6), title, fill="black", font=font)
    return np.concatenate([np.asarray(strip), picture])


def encode_png(picture: npt.NDArray[Any], max_side: int | None = None, **options: Any) -> bytes:
    """Return a picture as PNG, reduced to at most `max_side` pixels per side.

    Parameters
    ----------
    picture : ndarray of uint8, shape (y, x) or (y, x, 3)
        Gray values or colors.
    max_side : int, optional
        Maximum side; by default, the picture is not reduced.
    **options
        Options of the PNG writer of Pillow. By default, level 2 of the compression: a third of the
        time of level 6, and smaller files for pictures with noise.
    """
    from PIL import Image as Picture

    if not options:
        options = {"compress_level": 2}

    image, stream = Picture.fromarray(np.ascontiguousarray(picture)), BytesIO()
    if max_side is not None:
        image.thumbnail((max_side, max_side), Picture.Resampling.BOX)
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def write_overlay(
    path: Path,
    image: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    truth: npt.NDArray[Any] | None = None,
) -> Path:
    """Write image, instances and ground truth side by side as a PNG file, with titles.

    Matching objects have the same color. For a volume, the slice with the most labeled pixels is
    shown. Planes are downsampled to at most 2,048 pixels per side; small planes are enlarged
    (`enlarge`).

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
    planes = [labels, *([truth] if truth is not None else [])]
    if labels.ndim == 3:
        index = middle_plane(truth, labels)
        image, planes = image[index], [volume[index] for volume in planes]
    small = [downsample_labels(plane, DISPLAY_SIDE) for plane in planes]
    panels = pair_panels(downsample_image(image, DISPLAY_SIDE), *small)
    titled = [with_title(*pair) for pair in zip(panels, _TITLES, strict=False)]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_png(side_by_side(titled)))
    return path
