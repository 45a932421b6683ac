"""Reading of label images in any encoding, and their conversion to ids.

Labels may be a picture with a color per object, one-hot masks or an inverted mask, the background
may have an id, and ids may restart in each slice. These encodings are detected and, within limits,
corrected before the objects are measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.annotated import zero_is_background
from singula.dataset.checks.colored import number_colors
from singula.dataset.checks.findings import HINT, Finding, Place
from singula.dataset.checks.one_hot import one_hot_labels
from singula.dataset.facts.plausible import (
    Surround,
    find_surround,
    overlap_scores,
    restarts_in_slices,
)
from singula.dataset.scan import is_too_large
from singula.errors import UserError
from singula.io.axes import decide_layout
from singula.io.files import read_pixels
from singula.io.image import AnyArray, ArrayPlace, Header
from singula.io.label_values import native
from singula.io.read import label_layout, read_header, read_image, read_labels
from singula.labels.components import component_sizes, connected_components
from singula.metrics import overlap
from singula.util.format import counted
from singula.util.sparse_labels import is_sparse, without_unannotated

Array = npt.NDArray[Any]
# Values of -1 in files of unsigned numbers
_WRAPPED = (2**8 - 1, 2**16 - 1, 2**32 - 1)
_LARGEST_REGION = 0.25  # maximum fraction of the image of an object in an inverted mask
# IoU, or shared fraction of the smaller cross section, from which two belong to one object
_LINKED, _INSIDE = 0.25, 0.75


@dataclass(frozen=True, eq=False)
class DecodedLabels:
    """Label image in a common encoding.

    Parameters
    ----------
    labels : ndarray of unsigned int, (y, x, c) or (z, y, x, c)
        Labels; c is 1 (ids) or 2 (ids, class).
    header : Header
        Header of the file.
    n_colors : int
        Number of colors that became ids; 0 if the file is not a picture.
    issues : tuple of Finding
        Findings on the encoding, corrected or not.
    sparse_ids : ndarray of int, optional
        Ids with -1 in pixels that are not annotated, which are background in `labels`. None: all
        pixels are annotated.
    """

    labels: Array
    header: Header
    n_colors: int = 0
    issues: tuple[Finding, ...] = ()
    sparse_ids: Array | None = None

    @property
    def usable(self) -> bool:
        """True if the labels show the objects; False if a person must correct them."""
        return all(issue.fixable for issue in self.issues)


def read_any_labels(
    path: Path, ndim: int, *, arrays: ArrayPlace | None = None, background: int | None = None
) -> DecodedLabels:
    """Read a label image and correct its encoding.

    Parameters
    ----------
    path : Path
        File of the labels.
    ndim : {2, 3}
        Number of spatial dimensions.
    arrays : ArrayPlace, optional
        Array of the labels in a container file.
    background : int, optional
        Id that the background has in other label images of the data set.

    Raises
    ------
    UserError
        As `singula.io.read.read_labels`; also for a picture without flat colors.
    """
    header = read_header(path, arrays, labels=True)
    hot = _read_one_hot(path, ndim, header, arrays)
    if hot is not None:
        return hot
    layout = label_layout(path, header, ndim, False)
    n_colors = 0
    try:
        labels = read_labels(path, ndim, layout.channels == 2, arrays=arrays).array
        if is_sparse(labels):
            return _sparse(path, ndim, header, labels, arrays)
    except UserError as error:
        if error.code == "labels.minus_one":
            signed = _from_signed(path, ndim, header, arrays)
            if signed is None:
                raise
            return DecodedLabels(signed[0], header, issues=(signed[1],))
        in_color = (header.axes or "").endswith("S") and header.dtype.kind == "u"
        if not in_color or layout.channels != 3:
            raise
        numbers = number_colors(read_image(path, ndim, 3, arrays=arrays).array)
        if numbers is None:
            raise
        labels, n_colors = numbers[..., None], int(numbers.max(initial=0))
    labels, issues = correct_encoding(labels, background)
    return DecodedLabels(labels, header, n_colors, issues)


def _sparse(
    path: Path, ndim: int, header: Header, labels: Array, arrays: ArrayPlace | None
) -> DecodedLabels:
    """Return labels with pixels that are not annotated, unless -1 is the background."""
    ids = np.ascontiguousarray(labels[..., 0])
    masked = arrays is not None and bool(arrays.ignore)
    if not masked and (ids == 0).any() and not zero_is_background(ids):
        signed = _from_signed(path, ndim, header, arrays)
        if signed is not None:
            return DecodedLabels(signed[0], header, issues=(signed[1],))
    return DecodedLabels(without_unannotated(labels), header, sparse_ids=ids)


def correct_encoding(
    labels: Array, background: int | None = None
) -> tuple[Array, tuple[Finding, ...]]:
    """Correct an inverted mask, an id of the background, and ids that restart in each slice.

    Parameters
    ----------
    labels : ndarray of unsigned int, (y, x, c) or (z, y, x, c)
        Labels; c is 1 (ids) or 2 (ids, class).
    background : int, optional
        As for `read_any_labels`.

    Returns
    -------
    labels : ndarray
        Corrected labels.
    issues : tuple of Finding
        Finding on the encoding, or empty.
    """
    ids = np.ascontiguousarray(labels[..., 0])
    surround = find_surround(ids)
    if surround is not None and not surround.others:
        new, issue = _inverted(ids, surround)
    elif surround is not None:
        new, issue = _without_background(ids, surround)
    elif background is not None and ids.all() and (ids == background).any():
        new = np.where(ids == background, 0, ids)
        text = f"the background has the id {background}, as in other label images of this data set"
        issue = _issue("background", text, ids.shape, background, fixable=True)
    elif restarts_in_slices(ids):
        new, count = link_slices(ids)
        text = (
            f"ids change from slice to slice, so that objects are one slice deep; linked by their "
            f"overlap through {counted(len(ids), 'slice')}, they are {counted(count, 'object')}"
        )
        issue = _issue("slices", text, ids.shape, 0, fixable=True)
    else:
        return labels, ()
    return _with_ids(labels, new), (issue,)


def link_slices(ids: Array) -> tuple[Array, int]:
    """Link the cross sections of objects in adjacent slices.

    Two cross sections are linked if their IoU is at least 0.25. They are also linked if the larger
    one contains three quarters of the smaller one, as at the poles of a sphere. Pairs are linked in
    the order of their IoU, and an object has at most one cross section per slice.

    Parameters
    ----------
    ids : ndarray of unsigned int, (z, y, x)
        Labels with correct ids within each slice.

    Returns
    -------
    linked : ndarray of uint32
        Labels with one id per object.
    count : int
        Number of objects.
    """
    linked = np.zeros(ids.shape, np.uint32)
    count = 0
    for index, plane in enumerate(ids):
        names = np.unique(plane[plane > 0])
        rows = np.where(plane > 0, np.searchsorted(names, plane) + 1, 0)
        new = np.zeros(len(names) + 1, np.uint32)
        above = linked[index - 1] if index else np.zeros_like(linked[0])
        first, second, score, inside = overlap_scores(overlap(above, rows))
        order = np.lexsort((second, first, -score))
        order = order[(score[order] >= _LINKED) | (inside[order] >= _INSIDE)]
        used: set[int] = set()
        for before, row in zip(first[order], second[order], strict=True):
            if not new[row] and int(before) not in used:
                new[row] = before
                used.add(int(before))
        unlinked = np.flatnonzero(new[1:] == 0) + 1
        new[unlinked] = count + 1 + np.arange(len(unlinked))
        count += len(unlinked)
        linked[index] = new[rows]
    return linked, count


def _read_one_hot(
    path: Path, ndim: int, header: Header, arrays: ArrayPlace | None
) -> DecodedLabels | None:
    """Read labels with a plane per class or object; return None if they are not one-hot masks."""
    sizes = [size for size in header.shape if size > 1]
    if len(sizes) != ndim + 1 or header.palette is not None or is_too_large(sizes):
        return None
    array: AnyArray | None = None
    tried: set[tuple[int, ...]] = set()
    # The axes in the file, then each axis that may contain the planes, by its length
    options = [(header.axes, None), *((None, (size,)) for size in sorted(set(sizes)))]
    for axes, channels in options:
        try:
            layout = decide_layout(path, replace(header, axes=axes), ndim, channels)
        except UserError:
            continue
        if layout.order in tried or layout.channels < 2:
            continue
        tried.add(layout.order)
        if array is None:
            array = native(read_pixels(path, arrays, labels=True)[0])
        in_color = layout.channels == 3 and (header.axes or "").endswith("S")
        result = one_hot_labels(layout.apply(array), in_color=in_color)
        if result is not None:
            labels, text, fixable = result
            issue = _issue("one_hot", text, labels.shape[:-1], 0, fixable=fixable)
            return DecodedLabels(labels, header, issues=(issue,))
    return None


def _from_signed(
    path: Path, ndim: int, header: Header, arrays: ArrayPlace | None
) -> tuple[Array, Finding] | None:
    """Read labels whose only negative value is -1, and decide its meaning; None if it is unclear.

    If both -1 and 0 occur, 0 is the background, or the id of an object if -1 surrounds the rest.
    """
    layout = label_layout(path, header, ndim, False)
    array = layout.apply(native(read_pixels(path, arrays, labels=True)[0])).astype(np.int64)
    ids, minus, zeros = array[..., 0], array[..., 0] == -1, array[..., 0] == 0
    text, new = "the background is -1 instead of 0", np.maximum(ids, 0)
    if (array[..., 1:] < 0).any():
        return None
    if zeros.any():
        surround = find_surround((ids + 2).astype(np.uint32))  # -1 becomes 1, and 0 becomes 2
        if surround is not None and surround.id == 1:
            if not _looks_like_object(zeros, new):
                return None
            number = int(ids.max()) + 1
            new = np.where(zeros, number, new)
            text = f"the background is -1, and 0 is the id of an object, which becomes {number}"
        elif zeros.sum() < minus.sum():
            return None
        else:
            text = f"-1 occurs next to the background 0, on {counted(int(minus.sum()), 'pixel')}"
    issue = _issue("background", text, ids.shape, 0, fixable=True)
    return _with_ids(np.maximum(array, 0), new), issue


def _without_background(ids: Array, surround: Surround) -> tuple[Array, Finding]:
    """Set the surrounding id to 0.

    Pixels of 0 become an object if their size and form match; otherwise they stay 0.
    """
    text, fixable = f"the background has an id: {surround.describe()}", True
    new = np.where(ids == surround.id, 0, ids)
    if surround.zeros:
        zeros = ids == 0
        if surround.id in _WRAPPED and _looks_like_object(
            zeros, np.where(ids == surround.id, 0, ids)
        ):
            number = int(new.max()) + 1
            new = np.where(zeros, number, new.astype(np.uint64))
            text += f"; 0 is the id of an object, which becomes {number}"
        elif surround.zeros > 0.01:
            text, fixable = f"{text}; but 0 also occurs ({100 * surround.zeros:.0f} %)", False
    elif surround.share * ids.size < surround.max_pixels:
        fixable = False
        text += f"; but another object is larger ({counted(surround.max_pixels, 'pixel')})"
    issue = _issue("background", text, ids.shape, surround.id, fixable=fixable)
    return (new if fixable else ids), issue


def _looks_like_object(region: Array, ids: Array) -> bool:
    """Return True if a region is one connected component and about as large as the objects."""
    sizes = np.unique(ids[ids > 0], return_counts=True)[1]
    _, count = connected_components(region, corners=True)
    return bool(count == 1 and len(sizes) and region.sum() <= 4 * sizes.max())


def _inverted(ids: Array, surround: Surround) -> tuple[Array, Finding]:
    """Assign ids to the regions of 0 in an inverted mask if they look like objects."""
    is_zero = ids == 0
    sizes = component_sizes(is_zero)
    large = sizes >= 3**ids.ndim
    fixable = (
        int(large.sum()) > 1
        and bool(sizes.max() <= _LARGEST_REGION * ids.size)
        and bool(sizes[large].sum() >= 0.9 * sizes.sum())
    )
    text = f"{surround.describe()}: the mask looks inverted"
    if surround.share == 1:  # a mask of an image without objects, or a part of one object
        text = f"the id {surround.id} covers the whole image"
        issue = _issue("inverted", text, ids.shape, surround.id, fixable=False)
        return ids, replace(issue, severity=HINT)
    text += f" ({counted(int(large.sum()), 'region')} of 0)"
    new = ids
    if fixable:
        new, _ = connected_components(is_zero)
    return new, _issue("inverted", text, ids.shape, surround.id, fixable=fixable)


def _issue(kind: str, text: str, shape: tuple[int, ...], number: int, *, fixable: bool) -> Finding:
    """Return a finding about a whole label image."""
    where = (Place(number, (0,) * len(shape), tuple(shape)),) if number else ()
    return Finding(kind, text, where=where, fixable=fixable)


def _with_ids(labels: Array, ids: Array) -> Array:
    """Return the labels with other ids; pixels without an id get class 0."""
    channels = [ids, *(np.where(ids > 0, c, 0) for c in np.moveaxis(labels[..., 1:], -1, 0))]
    array = np.stack(channels, axis=-1)
    return array.astype(np.min_scalar_type(int(array.max(initial=0))))
