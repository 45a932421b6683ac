"""Pictures of an image: raw image, ground truth, instances, and their matching."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.preprocess import resize_labels
from singula.metrics import color_associations, match
from singula.report.matches import match_bits, match_codes, match_palette
from singula.report.overlay import downsample_image, encode_png, middle_plane, overlays, to_gray

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


def draw_panels(
    name: str,
    raw: Array | None,
    truth: Array | None,
    stages: Sequence[tuple[str, Array]],
    threshold: float,
) -> tuple[list[Panel], tuple[int, int] | None]:
    """Draw an image, from the raw image to the comparison; of a volume, its fullest slice.

    Parameters
    ----------
    name : str
        Name of the image.
    raw : ndarray, optional
        Raw image (y, x, c) or (z, y, x, c).
    truth : ndarray of int, optional
        Ground truth (y, x) or (z, y, x).
    stages : sequence of (str, ndarray)
        Title and instances (y, x) or (z, y, x) of each stage; the last is compared with the ground
        truth.
    threshold : float
        IoU threshold of the matching, which is computed in the whole volume.

    Returns
    -------
    panels : list of Panel
        Pictures.
    plane : tuple of int, optional
        Index of the slice and number of slices.
    """
    final, colors, plane = stages[-1][1], None, None
    if truth is not None:
        colors = color_associations(truth, final, match(truth, final, (threshold,))[0])
    if final.ndim == 3:
        plane = index, _ = middle_plane(truth, final), len(final)
        raw, truth, colors = (a[index] if a is not None else None for a in (raw, truth, colors))
        stages = [(title, labels[index]) for title, labels in stages if labels.shape == final.shape]
    shown = raw if raw is not None else np.zeros((*final.shape[-2:], 1), np.uint8)
    small = _resize_image(shown)
    outlined = [*([("Your labels", truth)] if truth is not None else []), *stages]
    gray = to_gray(small)
    panels = [_panel("Image", f"Test image {name}", gray)] if raw is not None else []
    planes = [resize_labels(labels, small.shape[:2]) for _, labels in outlined]
    for (title, labels), picture in zip(outlined, overlays(gray, *planes), strict=True):
        subject = "Objects in your labels" if labels is truth else title
        panels.append(_panel(title, f"{subject} outlined in {name}", picture))
    if colors is not None:
        picture = _blend(gray, match_bits(resize_labels(colors, small.shape[:2])))
        alt = f"{name}: matched, missed and false objects in different colors and patterns"
        panels.append(_panel("Compared", alt, picture))
    return panels, plane


def _blend(gray: Array, bits: Array) -> Array:
    """Draw the colors of matched, missed and false objects over the darkened image."""
    colors = match_palette()[match_codes(bits)]
    mixed = np.where((bits > 0)[..., None], 0.62 * colors + 0.38 * gray, 0.5 * gray)
    return mixed.astype(np.uint8)


def _resize_image(plane: Array) -> Array:
    """Return an image (y, x, c) at the size of the picture, averaged."""
    from PIL import Image as Picture

    factor = min(1.0, MAX_SIDE / max(plane.shape[:2]))
    height, width = (max(1, round(size * factor)) for size in plane.shape[:2])
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


def _panel(title: str, alt: str, picture: Array) -> Panel:
    height, width = picture.shape[:2]
    return Panel(title, alt, data_uri(picture), (width, height))


def data_uri(picture: Array) -> str:
    """Encode RGB bytes as a data URI; PNG if the file is small, otherwise JPEG."""
    from PIL import Image as Picture

    data, kind = encode_png(picture, optimize=True), "png"
    for quality in (90, 80, 65):
        if len(data) <= (_MAX_PNG if kind == "png" else _MAX_JPEG):
            break
        stream, kind = BytesIO(), "jpeg"
        image = Picture.fromarray(np.ascontiguousarray(picture))
        image.save(stream, "JPEG", quality=quality, subsampling=0)
        data = stream.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
