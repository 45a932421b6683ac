"""Inspection of files without their objects: axes, channels, types and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.checks.findings import HINT, PROBLEM
from singula.dataset.checks.images import find_saturation, fingerprint
from singula.dataset.checks.label_encodings import MAX_PIXELS, DecodedLabels, read_any_labels
from singula.dataset.checks.labels import Issue
from singula.errors import UserError
from singula.io.axes import Layout
from singula.io.formats.table import format_of
from singula.io.geometry import geometry
from singula.io.image import ArrayPlace, Header, Image
from singula.io.lazy import LazyImage, open_image, open_labels
from singula.io.lazy_array import is_constant
from singula.io.pairing import Pair
from singula.io.read import (
    file_notes,
    image_layout,
    label_layout,
    left_out_note,
    read_header,
    read_image,
)
from singula.io.units import format_spacing, in_microns
from singula.util.format import counted

Array = npt.NDArray[Any]
_MAX_CHANNELS = 4
# Side of the boxes in which large images are sampled, and their number per axis
_SIDE, _N_BOXES = {2: 1024, 3: 128}, 3


@dataclass
class FileFacts:
    """Properties to compare across files; None if they could not be read.

    Parameters
    ----------
    part : str
        Name of the part.
    pair : Pair, optional
        Image and labels.
    shape : tuple of int, optional
        Spatial shape of the image.
    dtype : str, optional
        Type of the values of the image.
    channels, label_channels : int, optional
        Number of channels of the image and of the labels.
    spacing : str, optional
        Voxel size and unit, in µm if it is a length; empty if the file does not give it.
    digest, label_digest : str
        Hash of the pixels; empty for a constant image, and for missing labels.
    label_full : bool
        No pixel of the labels is 0.
    sampled : str
        Description of the boxes that were read of a large image; empty if it was read completely.
    notes : tuple of str
        Notes for the user on the file, such as the set to which it belongs.
    """

    part: str = ""
    pair: Pair | None = None
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    channels: int | None = None
    label_channels: int | None = None
    spacing: str | None = None
    digest: str = ""
    label_digest: str = ""
    label_full: bool = False
    sampled: str = ""
    notes: tuple[str, ...] = ()


def check_image(
    path: Path,
    ndim: int,
    channels: int | None,
    *,
    grey: bool,
    arrays: ArrayPlace | None = None,
    sized: bool = False,
) -> tuple[Array | None, FileFacts, list[Issue]]:
    """Read an image in the same way as a run.

    Parameters
    ----------
    path : Path
        File of the image.
    ndim : {2, 3}
        Number of spatial dimensions.
    channels : int, optional
        Number of channels that the image must have.
    grey : bool
        Also allow one channel.
    arrays : ArrayPlace, optional
        Array of the image in a container file.
    sized : bool
        The user set the voxel size.

    Returns
    -------
    array : ndarray, optional
        (y, x, c) or (z, y, x, c); boxes of a very large image, concatenated along the first axis.
        None if the image cannot be read.
    facts : FileFacts
        Properties of the image.
    issues : list of Issue
        Findings on the image.
    """
    facts, issues = FileFacts(), []
    try:
        header = read_header(path, arrays)
    except UserError as error:
        return None, facts, [_reader_issue("unreadable", path, error)]
    facts.notes = header.notes
    issues += _left_out(header)
    try:
        layout = image_layout(path, header, ndim, channels, allow_gray=grey)
    except UserError as error:
        kind = "axes" if channels is None else "channels"
        issues.append(_reader_issue(kind, path, error))
        if channels is None:
            return None, facts, issues
        try:
            layout = image_layout(path, header, ndim, None)
        except UserError as second:
            return None, facts, [*_left_out(header), _reader_issue("axes", path, second)]
    failed = any(issue.kind != "left_out" for issue in issues)
    doubt = axes_doubt(header, layout, ndim) if not failed else None
    issues += [Issue("axes", doubt)] if doubt else []
    image: Image | LazyImage
    try:
        if too_large(layout.spatial_shape):
            image = open_image(path, ndim, layout.channels, arrays=arrays)
            array, facts.sampled = sample(image)
        else:
            image = read_image(path, ndim, layout.channels, arrays=arrays)
            array = image.array
    except UserError as error:
        return None, facts, [*issues, _reader_issue("unreadable", path, error)]
    facts.shape, facts.channels = image.spatial_shape, layout.channels
    # Images that are not read are reported as a finding, not as a note.
    facts.notes = tuple(file_notes(replace(header, left_out=()), layout, sized=sized))
    facts.dtype = str(array.dtype)
    sizes, unit = in_microns(image.spacing, image.unit)
    facts.spacing = "" if sizes is None else format_spacing(sizes, unit)
    if is_constant(array):
        value = array[(0,) * ndim].tolist()
        text = f"every {'sampled ' if facts.sampled else ''}pixel is "
        issues.append(Issue("constant", f"{text}{value[0] if len(value) == 1 else value}"))
        return None, facts, issues
    facts.digest = fingerprint(array)
    return array, facts, issues


def too_large(shape: tuple[int, ...]) -> bool:
    """Return True if images of this spatial shape are read in boxes only."""
    return prod(shape) > MAX_PIXELS


def sample(image: LazyImage) -> tuple[Array, str]:
    """Read boxes spread over an image.

    Returns
    -------
    array : ndarray
        Boxes, concatenated along the first axis.
    text : str
        Description of the boxes.
    """
    sides = [min(size, _SIDE[image.ndim]) for size in image.spatial_shape]
    axes = [
        sorted({(size - side) * number // (_N_BOXES - 1) for number in range(_N_BOXES)})
        for size, side in zip(image.spatial_shape, sides, strict=True)
    ]
    parts = [
        image.read(tuple(slice(s, s + side) for s, side in zip(start, sides, strict=True)))
        for start in product(*axes)
    ]
    boxes = f"{len(parts)} boxes of {' × '.join(map(str, sides))}"
    return np.concatenate(parts), f"{' × '.join(map(str, image.spatial_shape))} pixels: {boxes}"


def find_value_issues(image: Array, ids: Array | None) -> list[Issue]:
    """Return findings on the values of an image; `ids` are its labels, if there are any."""
    return find_saturation(image, ids)


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
    path: Path,
    ndim: int,
    *,
    classes: bool,
    arrays: ArrayPlace | None = None,
    background: int | None = None,
) -> tuple[DecodedLabels | None, tuple[int, ...] | None, list[Issue], bool]:
    """Read a label image in the same way as a run, or correct its encoding.

    Parameters
    ----------
    path : Path
        File of the labels.
    ndim : {2, 3}
        Number of spatial dimensions.
    classes : bool
        The labels must have a class channel; if False, it is optional.
    arrays : ArrayPlace, optional
        Array of the labels in a container file.
    background : int, optional
        As for `read_any_labels`.

    Returns
    -------
    labels : DecodedLabels, optional
        Labels; the boxes of `check_image` if they are very large. None if they cannot be read.
    shape : tuple of int, optional
        Spatial shape of the whole label image.
    issues : list of Issue
        Findings on the labels.
    is_mask : bool
        The file contains bools.
    """
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
        problem = _reader_issue("label_type" if lossy else "axes", path, error, PROBLEM)
    try:
        if layout is not None and too_large(layout.spatial_shape):
            array, _ = sample(open_labels(path, ndim, layout.channels == 2, arrays=arrays))
            is_mask = header.dtype.kind == "b"
            return DecodedLabels(array, header), layout.spatial_shape, left_out, is_mask
        given = read_any_labels(path, ndim, arrays=arrays, background=background)
    except UserError as error:
        reader_issue = problem or _reader_issue("label_type", path, error)
        return None, None, [*left_out, reader_issue], False
    issues = [*left_out, *given.issues]
    count = given.labels.shape[-1]
    if classes and count != 2:
        text = f"{counted(count, 'channel')}, but MODEL.N_CLASSES needs ids and classes"
        issues.append(Issue("classes", text, suggestion="add the class channel"))
    is_mask = header.dtype.kind == "b" and not given.issues
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


def _odd_type(text: str, severity: str = HINT) -> Issue:
    """Return the finding for labels of an unusual type."""
    remedy = "store them as unsigned integers, as --fix does"
    return Issue("label_type", text, fixable=True, severity=severity, suggestion=remedy)


def _left_out(header: Header) -> list[Issue]:
    """Return a finding that names the images of the file that are not read."""
    return [Issue("left_out", left_out_note(header))] if header.left_out else []


def _reader_issue(kind: str, path: Path, error: UserError, severity: str | None = PROBLEM) -> Issue:
    """Return the finding for an error of a reader, without the name of the file."""
    text = error.message.removeprefix(f"{path}: ")
    return Issue(kind, text, severity=severity, suggestion=error.hint)


def label_spacing(
    path: Path, ndim: int, arrays: ArrayPlace | None = None
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the voxel size and the unit of a label file."""
    return geometry(read_header(path, arrays, labels=True), ndim)
