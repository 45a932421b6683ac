"""Pictures of an image: raw image, ground truth, instances, and their matching."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.metrics import color_associations, match
from singula.report.overlay import downsample_image, middle_plane, overlay, to_gray

Array = npt.NDArray[Any]
MAX_SIDE = 640
"""Maximum side of a picture in pixels."""
# Larger planes are first downsampled by an integer factor, without a copy in float32.
_MAX_RESIZED = 4096
_MAX_PNG, _MAX_JPEG = 90_000, 180_000  # bytes


@dataclass(frozen=True)
class Panel:
    """A picture with its description.

    Parameters
    ----------
    title : str
        Title above the picture.
    alt : str
        Alternative text.
    source : str
        Data URI of the picture.
    size : tuple of int
        Width and height in pixels.
    """

    title: str
    alt: str
    source: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Layers:
    """The arrays to show of an image, or of a slice; all have the same (y, x).

    Parameters
    ----------
    raw : ndarray, shape (y, x, c), optional
        Raw image.
    truth : ndarray of int, shape (y, x), optional
        Ground truth.
    stages : tuple of (str, ndarray)
        Title and instances (y, x) of each stage; the last is compared with the ground truth.
    associations : ndarray of uint8, shape (y, x, 3), optional
        Colors of matched, missed and false objects.
    plane : tuple of int, optional
        Index of the slice and number of slices.
    """

    raw: Array | None
    truth: Array | None
    stages: tuple[tuple[str, Array], ...]
    associations: Array | None = None
    plane: tuple[int, int] | None = None


def collect_layers(
    raw: Array | None,
    truth: Array | None,
    stages: tuple[tuple[str, Array], ...],
    threshold: float | None,
) -> Layers:
    """Collect the arrays to show of an image; for a volume, of its fullest slice.

    Parameters
    ----------
    raw : ndarray, optional
        Raw image (y, x, c) or (z, y, x, c); omitted if its shape differs from the instances.
    truth : ndarray of int, optional
        Ground truth (y, x) or (z, y, x); omitted if its shape differs from the instances.
    stages : tuple of (str, ndarray)
        Title and instances of each stage.
    threshold : float, optional
        IoU threshold of the matching, which is computed in the whole volume.
    """
    final = stages[-1][1]
    raw = raw if raw is not None and raw.shape[:-1] == final.shape else None
    truth = truth if truth is not None and truth.shape == final.shape else None
    associations = None
    if truth is not None and threshold is not None:
        associations = color_associations(truth, final, match(truth, final, (threshold,))[0])
    if final.ndim == 2:
        return Layers(raw, truth, stages, associations)
    index = middle_plane(truth if truth is not None and truth.any() else final)
    return Layers(
        raw[index] if raw is not None else None,
        truth[index] if truth is not None else None,
        tuple((title, labels[index]) for title, labels in stages if labels.shape == final.shape),
        associations[index] if associations is not None else None,
        (index, final.shape[0]),
    )


def make_panels(name: str, layers: Layers) -> list[Panel]:
    """Return the pictures of an image, from the raw image to the comparison."""
    shape = layers.stages[-1][1].shape
    raw = layers.raw if layers.raw is not None else np.zeros((*shape, 1), np.uint8)
    plane = _resize_image(raw)
    panels = []
    if layers.raw is not None:
        panels.append(_panel("Image", f"Test image {name}", to_gray(plane)))
    if layers.truth is not None:
        picture = overlay(plane, _resize_labels(layers.truth))
        panels.append(_panel("Truth", f"True objects outlined in {name}", picture))
    for title, labels in layers.stages:
        picture = overlay(plane, _resize_labels(labels))
        panels.append(_panel(title, f"{title} outlined in {name}", picture))
    if layers.associations is not None:
        picture = _blend(to_gray(plane), _resize_labels(layers.associations))
        alt = f"{name}: matched predictions green, missed objects red, false predictions blue"
        panels.append(_panel("Compared", alt, picture))
    return panels


def _blend(gray: Array, colors: Array) -> Array:
    """Draw the colors of objects over the darkened image."""
    painted = colors.any(axis=-1, keepdims=True)
    mixed = np.where(painted, 0.62 * colors + 0.38 * gray, 0.5 * gray)
    return mixed.astype(np.uint8)


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width of a picture in pixels."""
    factor = min(1.0, MAX_SIDE / max(shape[:2]))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def _resize_image(plane: Array) -> Array:
    """Return an image (y, x, c) at the size of the picture, averaged."""
    from PIL import Image as Picture

    height, width = _size(plane.shape)
    if (height, width) == plane.shape[:2]:
        return plane
    plane = downsample_image(plane, _MAX_RESIZED)
    # Subtract the offset first, to keep the contrast in float32.
    plane = plane.astype(np.float64) - plane.min()
    channels = [
        Picture.fromarray(np.ascontiguousarray(plane[..., c], np.float32)).resize(
            (width, height), Picture.Resampling.BOX
        )
        for c in range(plane.shape[-1])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _resize_labels(labels: Array) -> Array:
    """Return labels (y, x) or colors (y, x, 3) at the size of the picture, without averaging."""
    height, width = _size(labels.shape)
    if (height, width) == labels.shape[:2]:
        return labels
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(np.intp)
    resized: Array = labels[rows[:, None], columns]
    return resized


def _panel(title: str, alt: str, picture: Array) -> Panel:
    height, width = picture.shape[:2]
    return Panel(title, alt, data_uri(picture), (width, height))


def data_uri(picture: Array) -> str:
    """Encode RGB bytes as a data URI; PNG if the file is small, otherwise JPEG."""
    from PIL import Image as Picture

    image = Picture.fromarray(np.ascontiguousarray(picture))
    stream = BytesIO()
    image.save(stream, "PNG", optimize=True)
    kind = "png"
    for quality in (90, 80, 65):
        limit = _MAX_PNG if kind == "png" else _MAX_JPEG
        if stream.tell() <= limit:
            break
        stream, kind = BytesIO(), "jpeg"
        image.save(stream, "JPEG", quality=quality, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
