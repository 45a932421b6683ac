"""ROIs for the ROI Manager of ImageJ and Fiji: one zip file for each image."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singula.errors import UserError
from singula.exports.outlines import Outline, trace_outlines
from singula.exports.source import Instances
from singula.io.atomic import atomic_path
from singula.words import install_command

if TYPE_CHECKING:
    from roifile import ImagejRoi

# Coordinates of simple ROIs are numbers of 16 bits; those of composite ones are floats.
_MOST = 32767
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write_rois(item: Instances, target: Path) -> None:
    """Write the outline of every instance as a traced ROI, or several pieces as a composite.

    ROIs are called by their ids, with leading zeros so that they sort (``0012``); in volumes there
    is one for each slice, ``0012-z003``, with its position in the stack. The class is the ROI's
    group.

    Raises
    ------
    UserError
        When the library roifile is not installed, or the file cannot be written.
    """
    _library()
    digits = len(str(int(item.labels.max(initial=0))))
    moment = (1980, 1, 1, 0, 0, 0)  # the same instances make the same file
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for z, outline in _outlines(item):
            name = f"{outline.label:0{digits}d}"
            if z is not None:
                name += f"-z{z + 1:0{len(str(len(item.labels)))}d}"
            roi = _roi(outline, name)
            roi.position = 0 if z is None else z + 1
            roi.group = (item.classes or {}).get(outline.label, 0)
            entry = zipfile.ZipInfo(f"{name}.roi", moment)
            archive.writestr(entry, roi.tobytes(), zipfile.ZIP_DEFLATED, 1)


def _library() -> None:
    """See that roifile is there, before anything is written."""
    try:
        import roifile  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--to imagej: the library roifile is not installed",
            install_command(),
            "io.library_missing",
        ) from error


def _outlines(item: Instances) -> Iterator[tuple[int | None, Outline]]:
    """Outlines, with their slice in a volume."""
    if item.ndim == 2:
        yield from ((None, outline) for outline in trace_outlines(item.labels))
        return
    for z, plane in enumerate(item.labels):
        yield from ((z, outline) for outline in trace_outlines(plane))


def _roi(outline: Outline, name: str) -> ImagejRoi:
    from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

    rings = [ring[:, ::-1] for polygon in outline.polygons for ring in polygon]
    low = np.min([ring.min(axis=0) for ring in rings], axis=0)
    high = np.max([ring.max(axis=0) for ring in rings], axis=0)
    roi = ImagejRoi(name=name, options=ROI_OPTIONS.OVERLAY_LABELS)
    roi.left, roi.top = (min(int(value), _MOST) for value in low)
    roi.right, roi.bottom = (min(int(value), _MOST) for value in high)
    if len(rings) == 1 and high.max() <= _MOST and len(rings[0]) <= _MOST:
        roi.roitype = ROI_TYPE.TRACED
        roi.integer_coordinates = np.asarray(rings[0] - low, np.int32)
        roi.n_coordinates = len(rings[0])
        return roi
    roi.roitype = ROI_TYPE.RECT  # so composite ROIs are marked
    path = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
    roi.multi_coordinates = path
    roi.shape_roi_size = len(path)
    return roi


def _path(ring: np.ndarray) -> np.ndarray:
    """A closed ring as the steps of a path."""
    steps = np.full((len(ring), 3), _LINE)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring
    return np.append(steps.ravel(), _CLOSE)
