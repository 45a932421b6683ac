"""Export to ROIs of ImageJ and Fiji: one zip file for each image."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singula.exports.outlines import Outline
from singula.exports.parts import max_id, trace_instances
from singula.io.atomic import atomic_path
from singula.io.formats.containers import library
from singula.runs.instances import Instances

if TYPE_CHECKING:
    from roifile import ImagejRoi

# Maximum coordinate of a traced ROI (16 bits); composite ROIs have coordinates of type float32.
_MAX_INT16 = 32767
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write_rois(item: Instances, target: Path) -> None:
    """Write the outline of each instance as a traced ROI.

    An instance with several components or holes becomes a composite ROI. The name of a ROI is the
    id, with leading zeros so that names sort (``0012``). A volume has a ROI for each slice of an
    instance, such as ``0012-z003``, with its position in the stack. The group of a ROI is the
    class. The property ``objects`` is `Instances.origin`.

    Parameters
    ----------
    item : Instances
        Label image.
    target : Path
        Zip file to write.

    Raises
    ------
    UserError
        ``io.library_missing``: roifile is not installed; the codes of `atomic_path`.
    """
    library("roifile", target, "ROIs of ImageJ")  # before anything is written
    digits = len(str(max_id(item.labels)))
    fixed_date = (1980, 1, 1, 0, 0, 0)  # so that equal instances yield equal files
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for z, outline in trace_instances(item):
            name = f"{outline.label:0{digits}d}"
            if z is not None:
                name += f"-z{z + 1:0{len(str(len(item.labels)))}d}"
            roi = _roi(outline, name)
            roi.position = 0 if z is None else z + 1
            if item.origin:
                roi.props = f"objects: {item.origin}\n"
            roi.group = (item.classes or {}).get(outline.label, 0)
            entry = zipfile.ZipInfo(f"{name}.roi", fixed_date)
            archive.writestr(entry, roi.tobytes(), zipfile.ZIP_DEFLATED, 1)


def _roi(outline: Outline, name: str) -> ImagejRoi:
    from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

    rings = [ring[:, ::-1] for polygon in outline.polygons for ring in polygon]
    low = np.min([ring.min(axis=0) for ring in rings], axis=0)
    high = np.max([ring.max(axis=0) for ring in rings], axis=0)
    roi = ImagejRoi(name=name, options=ROI_OPTIONS.OVERLAY_LABELS)
    roi.left, roi.top = (min(int(value), _MAX_INT16) for value in low)
    roi.right, roi.bottom = (min(int(value), _MAX_INT16) for value in high)
    is_whole = rings[0].dtype.kind == "i"
    if len(rings) == 1 and is_whole and high.max() <= _MAX_INT16 and len(rings[0]) <= _MAX_INT16:
        roi.roitype = ROI_TYPE.TRACED
        roi.integer_coordinates = np.asarray(rings[0] - low, np.int32)
        roi.n_coordinates = len(rings[0])
        return roi
    roi.roitype = ROI_TYPE.RECT  # type of composite ROIs in the file format
    path = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
    roi.multi_coordinates = path
    roi.shape_roi_size = len(path)
    return roi


def _path(ring: np.ndarray) -> np.ndarray:
    """Return a closed ring as path segments, each an operation followed by a point (x, y)."""
    steps = np.full((len(ring), 3), _LINE)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring
    return np.append(steps.ravel(), _CLOSE)
