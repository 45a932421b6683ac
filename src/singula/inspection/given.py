"""Read label images in any encoding, and undo what hides their objects.

Labels may be a picture with a color for each object, one-hot masks or an inverted mask, the
background may have an id, and ids may restart in each slice. Each of these is found and, within
bounds, corrected before the objects are measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.evaluate import overlap
from singula.inspection.coloured import number_colours
from singula.inspection.findings import HINT, Place
from singula.inspection.labels import Noticed
from singula.inspection.one_hot import one_hot_labels
from singula.io.axes import decide_layout
from singula.io.files import read_pixels
from singula.io.image import AnyArray, ArrayPlace, Header
from singula.io.read import label_layout, read_header, read_image, read_labels
from singula.io.values import native
from singula.survey.plausible import (
    Surround,
    component_sizes,
    find_surround,
    overlap_scores,
    restarts_in_slices,
)
from singula.words import counted

Array = npt.NDArray[Any]
MOST_PIXELS = 300_000_000  # larger label images are sampled
# Values of -1 in files of unsigned numbers
_WRAPPED = (2**8 - 1, 2**16 - 1, 2**32 - 1)
_LARGEST_REGION = 0.25  # of the image; the regions without ids of an inverted mask are smaller
# IoU, or fraction of the smaller, from which cuts through adjacent slices belong to one object
_LINKED, _INSIDE = 0.25, 0.75


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Label image after what hides its objects was undone.

    Parameters
    ----------
    labels : ndarray of unsigned int
        (y, x, c) or (z, y, x, c), c being 1 (ids) or 2 (ids, class).
    header : Header
        Of the file.
    colours : int
        Number of colors that became ids; 0 if the file is not a picture.
    noticed : tuple of Noticed
        Findings on what was undone, or was recognized but must not be undone automatically.
    """

    labels: Array
    header: Header
    colours: int = 0
    noticed: tuple[Noticed, ...] = ()

    @property
    def usable(self) -> bool:
        """Return True if the labels show the objects; False if a person must correct them."""
        return all(one.fixable for one in self.noticed)


def read_given_labels(
    path: Path, ndim: int, *, arrays: ArrayPlace | None = None, background: int | None = None
) -> GivenLabels:
    """Read a label image, and undo what hides its objects.

    Parameters
    ----------
    path : Path
    ndim : {2, 3}
    arrays : ArrayPlace, optional
        Which array of a container.
    background : int, optional
        Id that the background has in other label images of the data set.

    Raises
    ------
    UserError
        As `singula.io.read.read_labels`; a picture whose colors are not flat.
    """
    header = read_header(path, arrays, labels=True)
    hot = _read_one_hot(path, ndim, header, arrays)
    if hot is not None:
        return hot
    layout = label_layout(path, header, ndim, False)
    colours = 0
    try:
        labels = read_labels(path, ndim, layout.channels == 2, arrays=arrays).array
    except UserError as error:
        if error.code == "labels.minus_one":
            signed = _from_signed(path, ndim, header, arrays)
            if signed is None:
                raise
            return GivenLabels(signed[0], header, noticed=(signed[1],))
        in_colour = (header.axes or "").endswith("S") and header.dtype.kind == "u"
        if not in_colour or layout.channels != 3:
            raise
        numbers = number_colours(read_image(path, ndim, 3, arrays=arrays).array)
        if numbers is None:
            raise
        labels, colours = numbers[..., None], int(numbers.max(initial=0))
    labels, found = undo(labels, background)
    return GivenLabels(labels, header, colours, found)


def undo(labels: Array, background: int | None = None) -> tuple[Array, tuple[Noticed, ...]]:
    """Undo an inverted mask, an id of the background, and ids that restart in each slice.

    Parameters
    ----------
    labels : ndarray of unsigned int
        (y, x, c) or (z, y, x, c), c being 1 (ids) or 2 (ids, class).
    background : int, optional
        As for `read_given_labels`.
    """
    ids = np.ascontiguousarray(labels[..., 0])
    around = find_surround(ids)
    if around is not None and not around.others:
        new, noticed = _inverted(ids, around)
    elif around is not None:
        new, noticed = _without_background(ids, around)
    elif background is not None and ids.all() and (ids == background).any():
        new = np.where(ids == background, 0, ids)
        text = f"the background has the id {background}, as in other label images of this data set"
        noticed = _noticed("background", text, ids.shape, background, fixable=True)
    elif restarts_in_slices(ids):
        new, count = link_slices(ids)
        text = (
            f"ids change from slice to slice, so that objects are one slice deep; linked by their "
            f"overlap through {counted(len(ids), 'slice')}, they are {counted(count, 'object')}"
        )
        noticed = _noticed("slices", text, ids.shape, 0, fixable=True)
    else:
        return labels, ()
    return _with_ids(labels, new), (noticed,)


def link_slices(ids: Array) -> tuple[Array, int]:
    """Give the cuts of an object through adjacent slices one id.

    Two cuts are linked if their IoU is at least 0.25. They are also linked if three quarters of the
    smaller one are in the larger one, as at the poles of a sphere. Pairs are linked in the order of
    their IoU, and an object has at most one cut in a slice.

    Parameters
    ----------
    ids : ndarray of unsigned int, (z, y, x)
        Ids that are right within each slice.

    Returns
    -------
    linked : ndarray of uint32
    count : int
        Number of objects.
    """
    linked = np.zeros(ids.shape, np.uint32)
    count = 0
    for place, plane in enumerate(ids):
        names = np.unique(plane[plane > 0])
        rows = np.where(plane > 0, np.searchsorted(names, plane) + 1, 0)
        new = np.zeros(len(names) + 1, np.uint32)
        above = linked[place - 1] if place else np.zeros_like(linked[0])
        first, second, score, inside = overlap_scores(overlap(above, rows))
        order = np.lexsort((second, first, -score))
        order = order[(score[order] >= _LINKED) | (inside[order] >= _INSIDE)]
        used: set[int] = set()
        for before, row in zip(first[order], second[order], strict=True):
            if not new[row] and int(before) not in used:
                new[row] = before
                used.add(int(before))
        fresh = np.flatnonzero(new[1:] == 0) + 1
        new[fresh] = count + 1 + np.arange(len(fresh))
        count += len(fresh)
        linked[place] = new[rows]
    return linked, count


def _read_one_hot(
    path: Path, ndim: int, header: Header, arrays: ArrayPlace | None
) -> GivenLabels | None:
    """Read labels that have a plane for each class or object; None if they are not of this kind."""
    spare = [size for size in header.shape if size > 1]
    if len(spare) != ndim + 1 or header.palette is not None or prod(spare) > MOST_PIXELS:
        return None
    array: AnyArray | None = None
    tried: set[tuple[int, ...]] = set()
    # The axes in the file, then each axis that can hold the planes by its length
    ways = [(header.axes, None), *((None, (size,)) for size in sorted(set(spare)))]
    for axes, channels in ways:
        try:
            layout = decide_layout(path, replace(header, axes=axes), ndim, channels)
        except UserError:
            continue
        if layout.order in tried or layout.channels < 2:
            continue
        tried.add(layout.order)
        if array is None:
            array = native(read_pixels(path, arrays, labels=True)[0])
        in_colour = layout.channels == 3 and (header.axes or "").endswith("S")
        found = one_hot_labels(layout.apply(array), in_colour=in_colour)
        if found is not None:
            labels, text, fixable = found
            noticed = _noticed("one_hot", text, labels.shape[:-1], 0, fixable=fixable)
            return GivenLabels(labels, header, noticed=(noticed,))
    return None


def _from_signed(
    path: Path, ndim: int, header: Header, arrays: ArrayPlace | None
) -> tuple[Array, Noticed] | None:
    """Read labels whose only negative value is -1, and decide its meaning; None if unclear.

    If both -1 and 0 occur, 0 is the background, or the id of an object if -1 surrounds the rest.
    """
    layout = label_layout(path, header, ndim, False)
    array = layout.apply(native(read_pixels(path, arrays, labels=True)[0])).astype(np.int64)
    ids, minus, zeros = array[..., 0], array[..., 0] == -1, array[..., 0] == 0
    text, new = "the background is -1 instead of 0", np.maximum(ids, 0)
    if (array[..., 1:] < 0).any():
        return None
    if zeros.any():
        around = find_surround((ids + 2).astype(np.uint32))  # -1 becomes 1, and 0 becomes 2
        if around is not None and around.id == 1:
            if not _is_object(zeros, new):
                return None
            number = int(ids.max()) + 1
            new = np.where(zeros, number, new)
            text = f"the background is -1, and 0 is the id of an object, which becomes {number}"
        elif zeros.sum() < minus.sum():
            return None
        else:
            text = f"-1 occurs next to the background 0, on {counted(int(minus.sum()), 'pixel')}"
    noticed = _noticed("background", text, ids.shape, 0, fixable=True)
    return _with_ids(np.maximum(array, 0), new), noticed


def _without_background(ids: Array, around: Surround) -> tuple[Array, Noticed]:
    """Set the surrounding id to 0; pixels of 0 stay, or become an object if they look so."""
    text, fixable = f"the background has an id: {around.describe()}", True
    new = np.where(ids == around.id, 0, ids)
    if around.zeros:
        zeros = ids == 0
        if around.id in _WRAPPED and _is_object(zeros, np.where(ids == around.id, 0, ids)):
            number = int(new.max()) + 1
            new = np.where(zeros, number, new.astype(np.uint64))
            text += f"; 0 is the id of an object, which becomes {number}"
        elif around.zeros > 0.01:
            text, fixable = f"{text}; but 0 occurs as well ({100 * around.zeros:.0f} %)", False
    elif around.share * ids.size < around.largest:
        fixable = False
        text += f"; but another object is larger ({counted(around.largest, 'pixel')})"
    noticed = _noticed("background", text, ids.shape, around.id, fixable=fixable)
    return (new if fixable else ids), noticed


def _is_object(region: Array, ids: Array) -> bool:
    """Return True if a region is one piece and about as large as the objects."""
    import cc3d

    parts = cc3d.connected_components(region, connectivity=8 if region.ndim == 2 else 26)
    sizes = np.unique(ids[ids > 0], return_counts=True)[1]
    return bool(parts.max() == 1 and len(sizes) and region.sum() <= 4 * sizes.max())


def _inverted(ids: Array, around: Surround) -> tuple[Array, Noticed]:
    """Number the regions without an id in an inverted mask, if they look like objects."""
    import cc3d

    free = ids == 0
    sizes = component_sizes(free)
    large = sizes >= 3**ids.ndim
    fixable = (
        int(large.sum()) > 1
        and bool(sizes.max() <= _LARGEST_REGION * ids.size)
        and bool(sizes[large].sum() >= 0.9 * sizes.sum())
    )
    text = f"{around.describe()}: the mask looks inverted"
    if around.share == 1:  # a mask of an image without objects, or a cut out of one object
        text = f"the id {around.id} covers the whole image"
        noticed = _noticed("inverted", text, ids.shape, around.id, fixable=False)
        return ids, replace(noticed, severity=HINT)
    text += f" ({counted(int(large.sum()), 'region')} left free)"
    new = ids
    if fixable:
        new = cc3d.connected_components(free, connectivity=4 if ids.ndim == 2 else 6)
    return new, _noticed("inverted", text, ids.shape, around.id, fixable=fixable)


def _noticed(
    kind: str, text: str, shape: tuple[int, ...], number: int, *, fixable: bool
) -> Noticed:
    """Return a finding about a whole label image."""
    where = (Place(number, (0,) * len(shape), tuple(shape)),) if number else ()
    return Noticed(kind, text, where=where, fixable=fixable)


def _with_ids(labels: Array, ids: Array) -> Array:
    """Return the labels with other ids; pixels without id lose their class."""
    channels = [ids, *(np.where(ids > 0, c, 0) for c in np.moveaxis(labels[..., 1:], -1, 0))]
    whole = np.stack(channels, axis=-1)
    return whole.astype(np.min_scalar_type(int(whole.max(initial=0))))
