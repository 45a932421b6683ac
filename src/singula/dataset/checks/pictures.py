"""Pictures of findings: crops of the image with the outline of the object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.preprocess import resize_labels
from singula.dataset.checks.findings import WHOLE_LABELS, Finding, Inspection, Place
from singula.dataset.checks.label_encodings import read_any_labels
from singula.dataset.checks.text import short_name
from singula.errors import UserError
from singula.io.read import read_image
from singula.report.overlay import middle_plane, to_gray
from singula.representations.channels import find_contour

Array = npt.NDArray[Any]
Rgb = npt.NDArray[np.uint8]
SIDE = 240
_MIN_CROP = 48
_MARGIN = 0.6
_MARK = (255, 214, 10)
_OTHERS = (70, 190, 255)
# Kinds of findings that a picture does not show
_WITHOUT_PICTURE = frozenset(("unpaired", "unreadable", "axes", "order", "channels", "mixed"))


def finding_pictures(
    inspection: Inspection, kind: str, findings: Sequence[Finding], max_pictures: int
) -> Iterator[tuple[Rgb, str]]:
    """Yield pictures of findings of one kind from several files, each with a caption.

    Parameters
    ----------
    inspection : Inspection
        Inspection of the data.
    kind : str
        Kind of the findings.
    findings : sequence of Finding
        Findings to show.
    max_pictures : int
        Maximum number of pictures.
    """
    if kind in _WITHOUT_PICTURE:
        return
    if kind in WHOLE_LABELS:
        findings = [replace(finding, where=()) for finding in findings]
    for finding, place in _pick_places(findings, max_pictures):
        shown = picture(finding, inspection.ndim, place)
        if shown is not None:
            name = short_name(inspection, finding.file)
            yield shown, name if place is None or not place.id else f"{name}, id {place.id}"


def _pick_places(
    findings: Sequence[Finding], max_places: int
) -> list[tuple[Finding, Place | None]]:
    """Return one place of each file, then a second place of each, up to a maximum."""
    picked: list[tuple[Finding, Place | None]] = []
    for turn in range(max_places):
        for finding in findings:
            if len(picked) == max_places:
                return picked
            if turn < len(finding.where):
                picked.append((finding, finding.where[turn]))
            elif turn == 0:
                picked.append((finding, None))
    return picked


def picture(finding: Finding, ndim: int, place: Place | None) -> Rgb | None:
    """Return a picture of one place, or of the whole image; None if no file can be read.

    Parameters
    ----------
    finding : Finding
        Finding to show.
    ndim : {2, 3}
        Number of spatial dimensions.
    place : Place, optional
        Place of the finding.
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
    gray = to_gray(image)[window]  # with the brightness range of the whole image
    shown = labels[window] if labels is not None else None
    return _draw(gray, shown, place, window)


def _read(finding: Finding, ndim: int) -> tuple[Array | None, Array | None]:
    """Return the image (…, c) and the ids of the pair; None if a file cannot be read."""
    image = labels = None
    try:
        path = finding.image or finding.file
        image = read_image(path, ndim, arrays=finding.arrays).array
    except UserError:
        pass
    try:
        if finding.label is not None:
            given = read_any_labels(finding.label, ndim, arrays=finding.label_arrays)
            labels = given.labels[..., 0]
    except UserError:
        pass
    return image, labels


def _plane(labels: Array | None, depth: int, place: Place | None) -> int:
    """Return the slice in which the object is largest."""
    if place is None:
        return depth // 2 if labels is None or not labels.any() else middle_plane(labels)
    low, high = place.low[0], place.high[0]
    if not place.id or labels is None:
        return (low + high - 1) // 2
    box = tuple(slice(a, b) for a, b in zip(place.low, place.high, strict=True))
    return low + middle_plane(labels[box] == place.id)


def _window(shape: tuple[int, ...], place: Place | None) -> tuple[slice, slice]:
    """Return the slices around a place with a margin."""
    if place is None:
        return slice(0, shape[0]), slice(0, shape[1])
    low, high = place.low[-2:], place.high[-2:]
    side = max(h - l for l, h in zip(low, high, strict=True))  # noqa: E741
    side = max(_MIN_CROP, int(side * (1 + 2 * _MARGIN)))
    cut = []
    for size, a, b in zip(shape, low, high, strict=True):
        start = min(max(0, (a + b - side) // 2), max(0, size - side))
        cut.append(slice(start, min(size, start + side)))
    return cut[0], cut[1]


def _draw(gray: Rgb, labels: Array | None, place: Place | None, window: tuple[slice, slice]) -> Rgb:
    """Return the resized crop with the object outlined in yellow, and others in blue."""
    height, width = gray.shape[:2]
    factor = SIDE / max(height, width)
    size = [max(1, round(side * factor)) for side in (height, width)]
    shown: Rgb = np.ascontiguousarray(resize_labels(gray, size))
    if labels is not None:
        resized = resize_labels(labels, size)
        outline = find_contour(resized, "inner")
        shown[outline] = _OTHERS
        if place is not None and place.id:
            object_mask = resized == place.id
            edge = find_contour(object_mask.astype(np.uint8), "thick")
            shown[edge] = _MARK
            if not object_mask.any():
                _draw_frame(shown, place, window, factor)
    if place is not None and not place.id:
        _draw_frame(shown, place, window, factor)
    return shown


def _draw_frame(shown: Rgb, place: Place, window: tuple[slice, slice], factor: float) -> None:
    """Draw a frame around a place without a label, in the array."""
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
