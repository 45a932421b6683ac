"""Panels of an image: raw, truth, instances, who was matched with whom."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.evaluate import colour_associations, match
from singula.report.overlay import middle_plane, overlay, reduced, to_grey

Array = npt.NDArray[Any]
LONGEST = 640
_HUGE = 4096
"""Longer sides are averaged over whole pixels first, without a copy in floats."""
_PNG_LIMIT, _JPEG_LIMIT = 90_000, 180_000


@dataclass(frozen=True)
class Panel:
    """A picture with what it shows.

    Parameters
    ----------
    title : str
        Above it.
    alt : str
        For those who cannot see it.
    source : str
        Data URI.
    size : tuple of int
        Width and height in pixels.
    """

    title: str
    alt: str
    source: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Layers:
    """What there is of an image, or of one slice of it; all of one (y, x).

    Parameters
    ----------
    raw : ndarray (y, x, c), optional
    truth : ndarray (y, x), optional
    stages : tuple of (str, ndarray (y, x))
        Words and instances, the last one being what is compared with the truth.
    associations : ndarray (y, x, 3), optional
    plane : tuple of int, optional
        Index of the slice and number of slices.
    """

    raw: Array | None
    truth: Array | None
    stages: tuple[tuple[str, Array], ...]
    associations: Array | None = None
    plane: tuple[int, int] | None = None


def layers(
    raw: Array | None,
    truth: Array | None,
    stages: tuple[tuple[str, Array], ...],
    threshold: float | None,
) -> Layers:
    """Bring together what belongs to an image; of a volume its fullest slice.

    Parameters
    ----------
    raw : ndarray, optional
        (y, x, c) or (z, y, x, c); left out where its shape differs from the instances'.
    truth : ndarray, optional
        (y, x) or (z, y, x), likewise.
    stages : tuple of (str, ndarray)
    threshold : float, optional
        IoU at which objects are matched; the matching is that of the whole volume.
    """
    final = stages[-1][1]
    raw = raw if raw is not None and raw.shape[:-1] == final.shape else None
    truth = truth if truth is not None and truth.shape == final.shape else None
    coloured = None
    if truth is not None and threshold is not None:
        coloured = colour_associations(truth, final, match(truth, final, (threshold,))[0])
    if final.ndim == 2:
        return Layers(raw, truth, stages, coloured)
    index = middle_plane(truth if truth is not None and truth.any() else final)
    return Layers(
        raw[index] if raw is not None else None,
        truth[index] if truth is not None else None,
        tuple((words, labels[index]) for words, labels in stages if labels.shape == final.shape),
        coloured[index] if coloured is not None else None,
        (index, final.shape[0]),
    )


def panels(name: str, found: Layers) -> list[Panel]:
    """Pictures of an image, side by side from raw to compared."""
    shape = found.stages[-1][1].shape
    raw = found.raw if found.raw is not None else np.zeros((*shape, 1), np.uint8)
    plane = _shrunk(raw)
    made = []
    if found.raw is not None:
        made.append(_panel("Image", f"Test image {name}", to_grey(plane)))
    if found.truth is not None:
        picture = overlay(plane, _thinned(found.truth))
        made.append(_panel("Truth", f"True objects outlined in {name}", picture))
    for words, labels in found.stages:
        picture = overlay(plane, _thinned(labels))
        made.append(_panel(words, f"{words} outlined in {name}", picture))
    if found.associations is not None:
        picture = _blended(to_grey(plane), _thinned(found.associations))
        words = f"{name}: matched predictions green, missed objects red, false predictions blue"
        made.append(_panel("Compared", words, picture))
    return made


def _blended(grey: Array, coloured: Array) -> Array:
    """The coloured associations over the darkened image."""
    painted = coloured.any(axis=-1, keepdims=True)
    mixed = np.where(painted, 0.62 * coloured + 0.38 * grey, 0.5 * grey)
    return mixed.astype(np.uint8)


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width to show."""
    factor = min(1.0, LONGEST / max(shape[:2]))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def _shrunk(plane: Array) -> Array:
    """Image (y, x, c) at the size to show, averaged."""
    from PIL import Image as Picture

    height, width = _size(plane.shape)
    if (height, width) == plane.shape[:2]:
        return plane
    plane = reduced(plane, _HUGE)
    plane = plane.astype(np.float64) - plane.min()  # single precision keeps the contrast this way
    channels = [
        Picture.fromarray(np.ascontiguousarray(plane[..., c], np.float32)).resize(
            (width, height), Picture.Resampling.BOX
        )
        for c in range(plane.shape[-1])
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _thinned(labels: Array) -> Array:
    """Labels (y, x) or colours (y, x, 3) at the size to show, each pixel one of the original's."""
    height, width = _size(labels.shape)
    if (height, width) == labels.shape[:2]:
        return labels
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(np.intp)
    thinned: Array = labels[rows[:, None], columns]
    return thinned


def _panel(title: str, alt: str, picture: Array) -> Panel:
    height, width = picture.shape[:2]
    return Panel(title, alt, data_uri(picture), (width, height))


def data_uri(picture: Array) -> str:
    """RGB bytes as a picture inside the page: exact while that is small."""
    from PIL import Image as Picture

    image = Picture.fromarray(np.ascontiguousarray(picture))
    stream = BytesIO()
    image.save(stream, "PNG", optimize=True)
    kind = "png"
    for quality in (90, 80, 65):
        limit = _PNG_LIMIT if kind == "png" else _JPEG_LIMIT
        if stream.tell() <= limit:
            break
        stream, kind = BytesIO(), "jpeg"
        image.save(stream, "JPEG", quality=quality, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
