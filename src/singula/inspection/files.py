"""What is wrong with a file before its objects are looked at: axes, channels, types, values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.inspection.findings import HINT, PROBLEM
from singula.inspection.given import MOST_PIXELS, GivenLabels, read_given_labels
from singula.inspection.images import fingerprint, notice_saturation
from singula.inspection.labels import Noticed
from singula.io.axes import Layout
from singula.io.formats import format_of
from singula.io.geometry import geometry
from singula.io.image import ArrayPlace, Header, Image
from singula.io.lazy import LazyImage, open_image, open_labels
from singula.io.lazy_array import is_constant
from singula.io.pairs import Pair
from singula.io.read import (
    file_notes,
    image_layout,
    label_layout,
    left_out_note,
    read_header,
    read_image,
)
from singula.io.units import format_spacing, in_microns
from singula.words import counted

Array = npt.NDArray[Any]
_MOST_CHANNELS = 4
# Larger images than MOST_PIXELS are sampled: side of the boxes, and their number per axis.
_SIDE, _PLACES = {2: 1024, 3: 128}, 3


@dataclass
class FileFacts:
    """What is compared across files; None where it could not be read.

    Parameters
    ----------
    part : str
    pair : Pair, optional
    shape : tuple of int, optional
        Spatial shape of the image.
    dtype : str, optional
    channels, label_channels : int, optional
    spacing : str, optional
        Voxel size and unit, in µm where it is a length; empty where the file does not give it.
    digest, label_digest : str
        Of the pixels; empty for an image of one single value, and for labels that are missing.
    label_full : bool
        No pixel of the labels is 0.
    sampled : str
        What was looked at of an image that is too large to be read; empty where it was read.
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
) -> tuple[Array | None, FileFacts, list[Noticed]]:
    """Read an image as a run would.

    With `sized`, the user set the voxel size.

    Returns
    -------
    array : ndarray, optional
        (y, x, c) or (z, y, x, c); None where it cannot be read; of a very large image some boxes,
        one after the other along the first axis.
    facts : FileFacts
    noticed : list of Noticed
    """
    facts, noticed = FileFacts(), []
    try:
        header = read_header(path, arrays)
    except UserError as error:
        return None, facts, [_refused("unreadable", path, error)]
    facts.notes = header.notes
    noticed += _left_out(header)
    try:
        layout = image_layout(path, header, ndim, channels, allow_gray=grey)
    except UserError as error:
        kind = "axes" if channels is None else "channels"
        noticed.append(_refused(kind, path, error))
        if channels is None:
            return None, facts, noticed
        try:
            layout = image_layout(path, header, ndim, None)
        except UserError as second:
            return None, facts, [*_left_out(header), _refused("axes", path, second)]
    refused = any(one.kind != "left_out" for one in noticed)
    doubt = axes_doubt(header, layout, ndim) if not refused else None
    noticed += [Noticed("axes", doubt)] if doubt else []
    image: Image | LazyImage
    try:
        if too_large(layout.spatial_shape):
            image = open_image(path, ndim, layout.channels, arrays=arrays)
            array, facts.sampled = sample(image)
        else:
            image = read_image(path, ndim, layout.channels, arrays=arrays)
            array = image.array
    except UserError as error:
        return None, facts, [*noticed, _refused("unreadable", path, error)]
    facts.shape, facts.channels = image.spatial_shape, layout.channels
    # Images that are not read are reported as a finding, not as a note.
    facts.notes = tuple(file_notes(replace(header, left_out=()), layout, sized=sized))
    facts.dtype = str(array.dtype)
    sizes, unit = in_microns(image.spacing, image.unit)
    facts.spacing = "" if sizes is None else format_spacing(sizes, unit)
    if is_constant(array):
        value = array[(0,) * ndim].tolist()
        found = f"every pixel {'looked at ' if facts.sampled else ''}is "
        noticed.append(Noticed("constant", f"{found}{value[0] if len(value) == 1 else value}"))
        return None, facts, noticed
    facts.digest = fingerprint(array)
    return array, facts, noticed


def too_large(shape: tuple[int, ...]) -> bool:
    """Whether of an image of this spatial shape only boxes are looked at."""
    return prod(shape) > MOST_PIXELS


def sample(image: LazyImage) -> tuple[Array, str]:
    """Boxes spread over an image, one after the other along the first axis, and what they are."""
    sides = [min(size, _SIDE[image.ndim]) for size in image.spatial_shape]
    axes = [
        sorted({(size - side) * place // (_PLACES - 1) for place in range(_PLACES)})
        for size, side in zip(image.spatial_shape, sides, strict=True)
    ]
    parts = [
        image.read(tuple(slice(s, s + side) for s, side in zip(start, sides, strict=True)))
        for start in product(*axes)
    ]
    words = f"{len(parts)} boxes of {' × '.join(map(str, sides))}"
    return np.concatenate(parts), f"{' × '.join(map(str, image.spatial_shape))} pixels: {words}"


def notice_image_values(image: Array, ids: Array | None) -> list[Noticed]:
    """Saturation, of the objects where they are known."""
    return notice_saturation(image, ids)


def axes_doubt(header: Header, layout: Layout, ndim: int) -> str | None:
    """Why the axes may be others than they were taken for; None where there is no doubt."""
    shape = layout.spatial_shape
    if ndim == 3 and 2 * shape[2] <= min(shape[:2]):
        return f"(z, y, x) is {shape}: the last axis is by far the shortest, is it z?"
    if header.axes is not None and "Q" not in header.axes:
        return None
    if layout.stored_channels > _MOST_CHANNELS:
        return f"{counted(layout.stored_channels, 'channel')}, or are they slices? ({layout.note})"
    ends = (header.shape[0], header.shape[-1])
    if layout.stored_channels > 1 and max(ends) <= _MOST_CHANNELS:
        return f"the channels are first or last, of {header.shape} ({layout.note})"
    return None


def check_label(
    path: Path,
    ndim: int,
    *,
    classes: bool,
    arrays: ArrayPlace | None = None,
    background: int | None = None,
) -> tuple[GivenLabels | None, tuple[int, ...] | None, list[Noticed], bool]:
    """Read a label image as a run would, or undo what hides its objects.

    Parameters
    ----------
    classes : bool
        It must have a class channel; else it may.
    arrays : ArrayPlace, optional
        Which array of a container.
    background : int, optional
        As for `read_given_labels`.

    Returns
    -------
    labels : GivenLabels, optional
        None where it cannot be read; of a very large one the boxes that `check_image` looks at.
    shape : tuple of int, optional
        Spatial shape of the whole.
    noticed : list of Noticed
    is_mask : bool
        The file holds bools.
    """
    try:
        header = read_header(path, arrays, labels=True)
    except UserError as error:
        return None, None, [_refused("unreadable", path, error)], False
    left_out = _left_out(header)
    layout, problem = None, None
    try:
        layout = label_layout(path, header, ndim, False)
    except UserError as error:
        kind = format_of(path)
        lossy = kind is not None and kind.lossy
        problem = _refused("label_type" if lossy else "axes", path, error, PROBLEM)
    try:
        if layout is not None and too_large(layout.spatial_shape):
            array, _ = sample(open_labels(path, ndim, layout.channels == 2, arrays=arrays))
            is_mask = header.dtype.kind == "b"
            return GivenLabels(array, header), layout.spatial_shape, left_out, is_mask
        given = read_given_labels(path, ndim, arrays=arrays, background=background)
    except UserError as error:
        refused = problem or _refused("label_type", path, error)
        return None, None, [*left_out, refused], False
    noticed = [*left_out, *given.noticed]
    count = given.labels.shape[-1]
    if classes and count != 2:
        text = f"{counted(count, 'channel')}, but MODEL.N_CLASSES asks for ids and classes"
        noticed.append(Noticed("classes", text, suggestion="add the class channel"))
    is_mask = header.dtype.kind == "b" and not given.noticed
    if header.dtype.kind == "f":
        noticed.append(_odd_type(f"of type {header.dtype}, though all values are whole"))
    elif given.colours:
        text = f"a picture of labels, its {counted(given.colours, 'colour')} taken for ids"
        noticed.append(_odd_type(text, PROBLEM))
    elif layout is not None and layout.channels == 3 and not given.noticed:
        noticed.append(_odd_type("a colour picture with three equal channels"))
    elif is_mask:
        noticed.append(_odd_type("of type bool, which holds one id only"))
    return given, given.labels.shape[:-1], noticed, is_mask


def _odd_type(text: str, severity: str = HINT) -> Noticed:
    remedy = "store them as unsigned integers, as --fix does"
    return Noticed("label_type", text, fixable=True, severity=severity, suggestion=remedy)


def _left_out(header: Header) -> list[Noticed]:
    """Return a finding that names the images of the file that are not read."""
    return [Noticed("left_out", left_out_note(header))] if header.left_out else []


def _refused(kind: str, path: Path, error: UserError, severity: str | None = PROBLEM) -> Noticed:
    """A reader's refusal as a finding; the file is named elsewhere."""
    text = error.message.removeprefix(f"{path}: ")
    return Noticed(kind, text, severity=severity, suggestion=error.hint)


def label_spacing(
    path: Path, ndim: int, arrays: ArrayPlace | None = None
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return the voxel size and the unit of a label file."""
    return geometry(read_header(path, arrays, labels=True), ndim)
