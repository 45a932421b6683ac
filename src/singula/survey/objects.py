"""Instances of a label image: sizes, contacts, border, pieces, holes, classes, in linear passes."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.arguments import integer
from singula.boxes import Box
from singula.errors import UserError
from singula.io.entries import reader_path
from singula.io.files import check_place
from singula.io.image import ArrayPlace
from singula.io.lazy import open_labels
from singula.io.read import label_layout, read_header, read_labels
from singula.postprocess.labels import Survey as Index
from singula.postprocess.labels import survey as index_objects
from singula.runtime import compiled
from singula.survey.facts import LabelFacts, Objects
from singula.survey.plausible import suspicion

MOST_PIXELS = 1 << 26
# The neighbours that share a side with a pixel; those along z come first.
_SIDES = np.array([(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)])


def survey_labels(
    path: Path | str,
    ndim: int,
    *,
    most_pixels: int = MOST_PIXELS,
    arrays: ArrayPlace | None = None,
) -> LabelFacts:
    """Look into a label image.

    Parameters
    ----------
    path : Path or str
    ndim : int
        2 or 3 spatial axes.
    most_pixels : int
        Of a larger image, only the middle is looked at, of so many pixels.
    arrays : ArrayPlace, optional
        Which array of a container, and the image to whose orientation the labels are brought.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; as `singula.io.read.read_labels`.
    """
    path, ndim = reader_path(path), integer(ndim, "ndim", at_least=2, at_most=3)
    most_pixels = integer(most_pixels, "most_pixels", at_least=1)
    check_place(arrays)
    header = read_header(path, arrays, labels=True)
    layout = label_layout(path, header, ndim, False)
    channels, shape = layout.channels, layout.spatial_shape
    sampled = prod(shape) > most_pixels
    if sampled:
        array = open_labels(path, ndim, channels == 2, arrays=arrays).read(
            _middle(shape, most_pixels)
        )
    else:
        array = read_labels(path, ndim, channels == 2, arrays=arrays).array
    ids = np.ascontiguousarray(array[..., 0])
    classes = array[..., 1] if channels == 2 else None
    present: tuple[int, ...] = ()
    if classes is not None:
        present = tuple(int(number) for number in np.unique(classes) if number)
    objects = survey_objects(ids, classes)
    share = float(objects.npixels.sum() / max(1, ids.size))
    doubt = None if sampled else suspicion(ids, classes)
    return LabelFacts(
        path, shape, str(header.dtype), channels, share, present, objects, sampled, doubt
    )


def survey_objects(labels: NDArray[Any], classes: NDArray[Any] | None = None) -> Objects:
    """Measure what a configuration depends on, of all instances at once.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        0 is background; ids with gaps allowed.
    classes : ndarray of int, same shape, optional
        Class of each pixel, 0 for background.

    Raises
    ------
    UserError
        If it is no label image, or `classes` has another shape.
    """
    if classes is not None and classes.shape != labels.shape:
        raise UserError(f"classes have the shape {classes.shape}, labels {labels.shape}")
    found = index_objects(labels)
    index, rows = found.index, len(found.ids)
    core, contact = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    radius = np.zeros(rows)
    planes = index.reshape(-1, *index.shape[-2:]) if index.size else np.zeros((0, 0, 0), np.uint8)
    compiled(_count_sides)(planes, _SIDES, core, contact)
    if index.size and rows > 1:
        compiled(_deepest)(index.ravel(), _depth(index).ravel(), radius)
        radius = np.minimum(radius, max(index.shape))  # an instance may fill the whole image
    pieces = _pieces(found)
    holes, hole_pixels = _holes(found)
    klass, mixed = _classes(found, classes)
    border = (found.low == 0).any(axis=1) | (found.high == np.array(index.shape)).any(axis=1)
    whole = Objects(
        found.ids,
        found.npixels,
        found.high - found.low,
        core,
        contact,
        border,
        radius,
        pieces,
        holes,
        hole_pixels,
        klass,
        mixed,
    )
    return whole.part(np.flatnonzero(found.npixels))


def _middle(shape: tuple[int, ...], most_pixels: int) -> Box:
    """The box in the middle of an image that has so many pixels."""
    shrink = (most_pixels / prod(shape)) ** (1 / len(shape))
    cut = []
    for size in shape:
        length = max(1, int(size * shrink))
        start = (size - length) // 2
        cut.append(slice(start, start + length))
    return tuple(cut)


def _count_sides(planes: Any, sides: Any, core: Any, contact: Any) -> None:
    """Count pixels all of whose neighbours are of their instance, and sides between two; compiled.

    The edge of the image is no contour. Neighbours share a side, as for the contour channel.
    """
    depth, height, width = planes.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = planes[z, y, x]
                if label == 0:
                    continue
                alone = 0
                for side in range(len(sides)):
                    c, b, a = z + sides[side, 0], y + sides[side, 1], x + sides[side, 2]
                    if a < 0 or b < 0 or c < 0 or a >= width or b >= height or c >= depth:
                        continue
                    other = planes[c, b, a]
                    if other != label:
                        alone += 1
                        if other != 0:
                            contact[label] += 1
                if alone == 0:
                    core[label] += 1


def _depth(index: NDArray[Any]) -> NDArray[np.float32]:
    """Distance of each pixel to the outside of its instance; the image's edge is not outside."""
    import edt

    labels = np.ascontiguousarray(index)
    if labels.dtype.itemsize == 8:
        labels = labels.astype(np.uint32)
    distance: NDArray[np.float32] = edt.edt(labels, black_border=False, parallel=1)
    return np.ascontiguousarray(distance)


def _deepest(index: Any, distance: Any, radius: Any) -> None:
    """Largest distance of each row; compiled. It is infinite where nothing is outside."""
    for place in range(len(index)):
        row = index[place]
        if row != 0 and distance[place] > radius[row]:
            radius[row] = distance[place]


def _pieces(found: Index) -> NDArray[np.int64]:
    """Count the parts of each instance; pixels touch at corners too."""
    import cc3d

    rows = len(found.ids)
    if found.index.size == 0:
        return np.zeros(rows, np.int64)
    parts, count = cc3d.connected_components(
        found.index, connectivity=8 if found.index.ndim == 2 else 26, return_N=True
    )
    owner = np.zeros(count + 1, np.int64)
    compiled(_owners)(parts.ravel(), found.index.ravel(), owner)
    return np.bincount(owner[1:], minlength=rows)[:rows]


def _owners(parts: Any, index: Any, owner: Any) -> None:
    """Row of each part; compiled."""
    for place in range(len(parts)):
        owner[parts[place]] = index[place]


def _holes(found: Index) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count background enclosed by one instance alone, and its pixels."""
    import cc3d

    rows, index = len(found.ids), found.index
    holes, pixels = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    if index.size == 0:
        return holes, pixels
    background = index == 0
    parts, count = cc3d.connected_components(
        background, connectivity=4 if index.ndim == 2 else 6, return_N=True
    )
    owner = np.full(count + 1, -1, np.int64)  # -1 not met yet, 0 several or the edge
    size = np.zeros(count + 1, np.int64)
    shape = (-1, *index.shape[-2:])
    # The edge of an image encloses nothing, but an image has no edge above and below.
    sides = _SIDES[2:] if index.ndim == 2 else _SIDES
    compiled(_enclosing)(parts.reshape(shape), index.reshape(shape), sides, owner, size)
    for part in np.flatnonzero(owner[1:] > 0) + 1:
        holes[owner[part]] += 1
        pixels[owner[part]] += size[part]
    return holes, pixels


def _enclosing(parts: Any, index: Any, sides: Any, owner: Any, size: Any) -> None:
    """Find the only instance around each part of the background; compiled."""
    depth, height, width = parts.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                part = parts[z, y, x]
                if part == 0:
                    continue
                size[part] += 1
                for side in range(len(sides)):
                    c, b, a = z + sides[side, 0], y + sides[side, 1], x + sides[side, 2]
                    if a < 0 or b < 0 or c < 0 or a >= width or b >= height or c >= depth:
                        owner[part] = 0
                        continue
                    label = index[c, b, a]
                    if label != 0:
                        if owner[part] == -1:
                            owner[part] = label
                        elif owner[part] != label:
                            owner[part] = 0


def _classes(
    found: Index, classes: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Most frequent class of each instance, and whether its pixels disagree."""
    rows = len(found.ids)
    klass, mixed = np.zeros(rows, np.int64), np.zeros(rows, bool)
    if classes is None or found.index.size == 0:
        return klass, mixed
    names, place = np.unique(classes, return_inverse=True)
    pairs = found.index.ravel().astype(np.int64) * len(names) + place.ravel()
    met, counts = np.unique(pairs, return_counts=True)
    row, name = met // len(names), names[met % len(names)].astype(np.int64)
    order = np.lexsort((-name, counts))  # the most frequent last, the lowest class of equals
    chosen = order[name[order] > 0]
    klass[row[chosen]] = name[chosen]
    mixed = (np.bincount(row, minlength=rows) > 1) | (klass == 0)
    klass[0], mixed[0] = 0, False
    return klass, mixed
