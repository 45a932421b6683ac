"""Inspection of files without their objects: axes, channels, types and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.checks.findings import HINT, PROBLEM, Finding
from singula.dataset.checks.images import fingerprint
from singula.dataset.checks.label_encodings import DecodedLabels, read_any_labels
from singula.dataset.checks.settings import InspectSettings
from singula.dataset.scan import Scan, is_too_large, read_crops
from singula.errors import UserError
from singula.io.axes import Layout
from singula.io.formats.table import format_of
from singula.io.image import Header
from singula.io.lazy_array import is_constant
from singula.io.pairing import Pair
from singula.io.read import file_notes, image_layout, label_layout, left_out_note, read_header
from singula.io.units import format_spacing, in_microns
from singula.util.format import counted, shape_text
from singula.util.sparse_labels import without_unannotated

Array = npt.NDArray[Any]
_MAX_CHANNELS = 4
_SIDE = {2: 1024, 3: 128}  # of the crops of large images


@dataclass
class FileFacts:
    """Properties of a pair to compare across files; None if they could not be read.

    Parameters
    ----------
    part : str
        Name of the part.
    pair : Pair
        Image and labels.
    shape : tuple of int, optional
        Spatial shape of the image.
    dtype : str, optional
        Type of the values of the image.
    channels, label_channels : int, optional
        Number of channels of the image and of the labels.
    spacing : str, optional
        Voxel size and unit, in µm if it is a length; empty if the file does not give it.
    anisotropy : float
        Voxel size along z relative to the voxel size in the plane; 1 if the file does not give it.
    digest, label_digest : str
        Hash of the pixels; empty for a constant image, and for missing labels.
    label_full : bool
        No pixel of the labels is 0.
    sampled : str
        Description of the crops that were read of a large image; empty if it was read completely.
    notes : tuple of str
        Notes for the user on the file, such as the set to which it belongs.
    annotated : float
        Fraction of the pixels of the labels that are annotated.
    """

    part: str
    pair: Pair
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    channels: int | None = None
    label_channels: int | None = None
    spacing: str | None = None
    anisotropy: float = 1.0
    digest: str = ""
    label_digest: str = ""
    label_full: bool = False
    sampled: str = ""
    notes: tuple[str, ...] = ()
    annotated: float = 1.0


def check_image(
    facts: FileFacts, ndim: int, settings: InspectSettings
) -> tuple[Array | None, list[Finding]]:
    """Read an image in the same way as a run, and set its properties in `facts`.

    Parameters
    ----------
    facts : FileFacts
        Properties of the pair.
    ndim : {2, 3}
        Number of spatial dimensions.
    settings : InspectSettings
        Requirements on the data.

    Returns
    -------
    array : ndarray, optional
        (y, x, c) or (z, y, x, c); crops of a very large image, concatenated along the first axis.
        None if the image cannot be read, or has only one value.
    issues : list of Finding
        Findings on the image.
    """
    path, arrays = facts.pair.image, facts.pair.arrays
    try:
        header = read_header(path, arrays)
    except UserError as error:
        return None, [_reader_issue("unreadable", path, error)]
    facts.notes, left_out, issues = header.notes, _left_out(header), []
    try:
        layout = image_layout(path, header, ndim, settings.channels, allow_gray=settings.gray)
    except UserError as error:
        if settings.channels is None:
            return None, [*left_out, _reader_issue("axes", path, error)]
        issues.append(_reader_issue("channels", path, error))
        try:
            layout = image_layout(path, header, ndim, None)
        except UserError as second:
            return None, [*left_out, _reader_issue("axes", path, second)]
    doubt = None if issues else axes_doubt(header, layout, ndim)
    issues = [*left_out, *issues, *([Finding("axes", doubt)] if doubt else [])]
    scan = Scan(path, header, layout, arrays)
    try:
        array, facts.sampled = _read(scan)
    except UserError as error:
        return None, [*issues, _reader_issue("unreadable", path, error)]
    facts.shape, facts.channels, facts.dtype = scan.shape, layout.channels, str(array.dtype)
    # Images that are not read are reported as a finding, not as a note.
    sized = facts.part in settings.sized
    facts.notes = tuple(file_notes(replace(header, left_out=()), layout, sized=sized))
    sizes, unit = in_microns(*scan.geometry)
    facts.spacing = "" if sizes is None else format_spacing(sizes, unit)
    if sizes is not None and ndim == 3:
        facts.anisotropy = float(sizes[0] / (sizes[1] * sizes[2]) ** 0.5)
    if is_constant(array):
        value = array[(0,) * ndim].tolist()
        text = f"every {'sampled ' if facts.sampled else ''}pixel is "
        issues.append(Finding("constant", f"{text}{value[0] if len(value) == 1 else value}"))
        return None, issues
    facts.digest = fingerprint(array)
    return array, issues


def _read(scan: Scan) -> tuple[Array, str]:
    """Return the pixels, or crops of a large image and their description."""
    pixels = scan.pixels()
    if not is_too_large(scan.shape):
        return np.asarray(pixels), ""
    sides = [min(size, _SIDE[scan.ndim]) for size in scan.shape]
    parts = read_crops(pixels, sides)
    boxes = f"{len(parts)} boxes of {shape_text(sides)}"
    return np.concatenate(parts), f"{shape_text(scan.shape)} pixels: {boxes}"


def axes_doubt(header: Header, layout: Layout, ndim: int) -> str | None:
    """Return the reason why the axes may be wrong; None if they are certain."""
    shape = layout.spatial_shape
    if ndim == 3 and 2 * shape[2] <= min(shape[:2]):
        return f"(z, y, x) is {shape}: the last axis is much shorter than the others, is it z?"
    if header.axes is not None and "Q" not in header.axes:
        return None
    if layout.stored_channels > _MAX_CHANNELS:
        return f"{counted(layout.stored_channels, 'channel')}, or are they slices? ({layout.note})"
    ends = (header.shape[0], header.shape[-1])
    if layout.stored_channels > 1 and max(ends) <= _MAX_CHANNELS:
        return f"channels can be the first or the last axis of {header.shape} ({layout.note})"
    return None


def check_label(
    pair: Pair, ndim: int, *, classes: bool, background: int | None = None
) -> tuple[DecodedLabels | None, tuple[int, ...] | None, list[Finding], bool]:
    """Read a label image in the same way as a run, or correct its encoding.

    Parameters
    ----------
    pair : Pair
        Image and labels.
    ndim : {2, 3}
        Number of spatial dimensions.
    classes : bool
        The labels must have a class channel; if False, it is optional.
    background : int, optional
        As for `read_any_labels`.

    Returns
    -------
    labels : DecodedLabels, optional
        Labels; the crops of `check_image` if they are very large. None if they cannot be read.
    shape : tuple of int, optional
        Spatial shape of the whole label image.
    issues : list of Finding
        Findings on the labels.
    is_mask : bool
        The file contains bools.
    """
    path, arrays = pair.label or pair.image, pair.label_arrays
    try:
        header = read_header(path, arrays, labels=True)
    except UserError as error:
        return None, None, [_reader_issue("unreadable", path, error)], False
    left_out = _left_out(header)
    layout, problem = None, None
    try:
        layout = label_layout(path, header, ndim, False)
    except UserError as error:
        kind = format_of(path)
        lossy = kind is not None and kind.lossy
        problem = _reader_issue("label_type" if lossy else "axes", path, error)
    try:
        if layout is not None and is_too_large(layout.spatial_shape):
            array, _ = _read(Scan(path, header, layout, arrays, is_label=True))
            is_mask = header.dtype.kind == "b"
            return (
                DecodedLabels(without_unannotated(array), header),
                layout.spatial_shape,
                left_out,
                is_mask,
            )
        given = read_any_labels(path, ndim, arrays=arrays, background=background)
    except UserError as error:
        reader_issue = problem or _reader_issue("label_type", path, error)
        return None, None, [*left_out, reader_issue], False
    issues = [*left_out, *given.issues]
    count = given.labels.shape[-1]
    if classes and count != 2:
        text = f"{counted(count, 'channel')}, but MODEL.N_CLASSES needs ids and classes"
        issues.append(Finding("classes", text, suggestion="add the class channel"))
    is_mask = header.dtype.kind == "b" and not given.issues
    if given.sparse_ids is not None:  # a corrected copy could not hold -1
        return given, given.labels.shape[:-1], issues, is_mask
    if header.dtype.kind == "f":
        issues.append(_odd_type(f"of type {header.dtype}, but all values are integers"))
    elif given.n_colors:
        text = f"a picture of labels, whose {counted(given.n_colors, 'color')} become ids"
        issues.append(_odd_type(text, PROBLEM))
    elif layout is not None and layout.channels == 3 and not given.issues:
        issues.append(_odd_type("a color picture with three equal channels"))
    elif is_mask:
        issues.append(_odd_type("of type bool, which allows only one id"))
    return given, given.labels.shape[:-1], issues, is_mask


def _odd_type(text: str, severity: str = HINT) -> Finding:
    """Return the finding for labels of an unusual type."""
    remedy = "store them as unsigned integers, as --fix does"
    return Finding("label_type", text, fixable=True, severity=severity, suggestion=remedy)


def _left_out(header: Header) -> list[Finding]:
    """Return a finding that names the images of the file that are not read."""
    return [Finding("left_out", left_out_note(header))] if header.left_out else []


def _reader_issue(kind: str, path: Path, error: UserError) -> Finding:
    """Return the finding for an error of a reader, without the name of the file."""
    text = error.message.removeprefix(f"{path}: ")
    return Finding(kind, text, severity=PROBLEM, suggestion=error.hint or "")
