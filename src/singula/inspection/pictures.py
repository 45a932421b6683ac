"""Small pictures of what was found: cut out of the image, with the object's outline."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from singula.channels import find_contour
from singula.errors import UserError
from singula.inspection.findings import Finding, Place
from singula.inspection.given import read_given_labels
from singula.io.read import read_image
from singula.report.overlay import middle_plane, to_gray

Array = npt.NDArray[Any]
Rgb = npt.NDArray[np.uint8]
SIDE = 240
_LEAST_CROP = 48
_MARGIN = 0.6
_MARK = (255, 214, 10)
_OTHERS = (70, 190, 255)


def picture(finding: Finding, ndim: int, place: Place | None) -> Rgb | None:
    """A square picture of one place, or of the whole image; None where nothing can be read.

    Parameters
    ----------
    finding : Finding
    ndim : {2, 3}
    place : Place, optional
        One of the finding's.
    """
    image, labels = _read(finding, ndim)
    if image is None and labels is None:
        return None
    if labels is None or (image is not None and labels.shape != image.shape[:-1]):
        labels = None
    if image is None:
        image = np.zeros((*(labels if labels is not None else image).shape, 1), np.uint8)  # type: ignore[union-attr]
    if ndim == 3:
        plane = _plane(labels, image.shape[0], place)
        image = image[plane]
        labels = labels[plane] if labels is not None else None
    window = _window(image.shape[:2], place)
    grey = to_gray(image)[window]  # as bright as in the whole image
    shown = labels[window] if labels is not None else None
    return _drawn(grey, shown, place, window)


def _read(finding: Finding, ndim: int) -> tuple[Array | None, Array | None]:
    """Image (…, c) and ids of the pair, as far as they can be read."""
    image = labels = None
    try:
        path = finding.image or finding.file
        image = read_image(path, ndim, arrays=finding.arrays).array
    except UserError:
        pass
    try:
        if finding.label is not None:
            given = read_given_labels(finding.label, ndim, arrays=finding.label_arrays)
            labels = given.labels[..., 0]
    except UserError:
        pass
    return image, labels


def _plane(labels: Array | None, depth: int, place: Place | None) -> int:
    """The slice in which the place is largest."""
    if place is None:
        return depth // 2 if labels is None or not labels.any() else middle_plane(labels)
    low, high = place.low[0], place.high[0]
    if not place.id or labels is None:
        return (low + high - 1) // 2
    own = tuple(slice(a, b) for a, b in zip(place.low, place.high, strict=True))
    return low + middle_plane(labels[own] == place.id)


def _window(shape: tuple[int, ...], place: Place | None) -> tuple[slice, slice]:
    """The part to show: the place with some room around it."""
    if place is None:
        return slice(0, shape[0]), slice(0, shape[1])
    low, high = place.low[-2:], place.high[-2:]
    side = max(h - l for l, h in zip(low, high, strict=True))  # noqa: E741
    side = max(_LEAST_CROP, int(side * (1 + 2 * _MARGIN)))
    cut = []
    for size, a, b in zip(shape, low, high, strict=True):
        start = min(max(0, (a + b - side) // 2), max(0, size - side))
        cut.append(slice(start, min(size, start + side)))
    return cut[0], cut[1]


def _drawn(
    grey: Rgb, labels: Array | None, place: Place | None, window: tuple[slice, slice]
) -> Rgb:
    """The cut at the size to show, the object's outline in yellow, the others' in blue."""
    height, width = grey.shape[:2]
    factor = SIDE / max(height, width)
    rows, columns = _steps(height, factor), _steps(width, factor)
    shown: Rgb = np.ascontiguousarray(grey[rows[:, None], columns])
    if labels is not None:
        large = labels[rows[:, None], columns]
        outline = find_contour(large, "inner")
        shown[outline] = _OTHERS
        if place is not None and place.id:
            own = large == place.id
            edge = find_contour(own.astype(np.uint8), "thick")
            shown[edge] = _MARK
            if not own.any():
                _box(shown, place, window, factor)
    if place is not None and not place.id:
        _box(shown, place, window, factor)
    return shown


def _steps(size: int, factor: float) -> npt.NDArray[np.intp]:
    """Pixel of the original for each pixel to show."""
    length = max(1, round(size * factor))
    return np.minimum((np.arange(length) / factor).astype(np.intp), size - 1)


def _box(shown: Rgb, place: Place, window: tuple[slice, slice], factor: float) -> None:
    """Draw a frame around a place that has no label, in place."""
    ends = []
    for a, b, cut, size in zip(
        place.low[-2:], place.high[-2:], window, shown.shape[:2], strict=True
    ):
        low, high = int((a - cut.start) * factor) - 4, int((b - cut.start) * factor) + 4
        ends.append((min(max(low, 0), size - 1), min(max(high, 1), size)))
    (top, bottom), (left, right) = ends
    for width in range(2):
        shown[min(top + width, bottom - 1), left:right] = _MARK
        shown[max(bottom - 1 - width, top), left:right] = _MARK
        shown[top:bottom, min(left + width, right - 1)] = _MARK
        shown[top:bottom, max(right - 1 - width, left)] = _MARK
