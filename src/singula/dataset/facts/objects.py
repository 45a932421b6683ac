"""Measurement of the instances of a label image, in linear time."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.dataset.annotated import complete_objects
from singula.dataset.facts.facts import LabelFacts, Objects
from singula.dataset.facts.plausible import suspicion
from singula.dataset.facts.shapes import convexities
from singula.dataset.scan import Scan
from singula.labels.components import connected_components, count_components
from singula.labels.index import Survey as Index
from singula.labels.index import survey as index_objects
from singula.measure.moments import second_moments
from singula.util.annotated_slices import annotated_slices, is_planar
from singula.util.boxes import center_box
from singula.util.process import compiled
from singula.util.sparse_labels import annotated_mask, is_sparse

MAX_PIXELS = 1 << 26
# Offsets of the neighbors that share a side with a pixel, first along z
_SIDES = np.array([(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)])


def survey_labels(scan: Scan, max_pixels: int = MAX_PIXELS) -> LabelFacts:
    """Measure a label image.

    Parameters
    ----------
    scan : Scan
        Header and axes of the label image.
    max_pixels : int
        Maximum number of pixels that are read; only the center of a larger image is read.

    Raises
    ------
    UserError
        As `singula.io.read.read_labels`.
    """
    array, sampled = scan.pixels(max_pixels), prod(scan.shape) > max_pixels
    if sampled:
        shrink = (max_pixels / prod(scan.shape)) ** (1 / scan.ndim)
        sides = [max(1, int(size * shrink)) for size in scan.shape]
        array = array[center_box(scan.shape, sides)]
    ids = np.ascontiguousarray(array[..., 0])
    classes = np.asarray(array[..., 1]) if array.shape[-1] == 2 else None
    present: tuple[int, ...] = ()
    if classes is not None:
        present = tuple(int(number) for number in np.unique(classes) if number)
    if is_sparse(ids):
        annotated = annotated_mask(ids)
        foreground = float((ids > 0).sum() / max(1, annotated.sum()))
        objects, is_section = survey_sparse(ids)
        share = float(annotated.mean())
        return LabelFacts(
            scan.path, foreground, present, objects, annotated=share, is_section=is_section
        )
    objects = survey_objects(ids)
    foreground = float(objects.npixels.sum() / max(1, ids.size))
    reason = None if sampled else suspicion(ids, classes)
    return LabelFacts(scan.path, foreground, present, objects, reason)


def survey_sparse(labels: NDArray[Any]) -> tuple[Objects, bool]:
    """Measure the complete objects of a label image that is annotated in part.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids; -1 is not annotated.

    Returns
    -------
    objects : Objects
        Objects that cannot continue where pixels are not annotated. If single slices of a volume
        are annotated, their cross sections in each slice, with a depth of 1.
    is_section : bool
        True if the objects are cross sections.
    """
    if not is_planar(labels):
        return survey_objects(complete_objects(labels)), False
    parts = []
    for z in np.flatnonzero(annotated_slices(labels)):
        flat = survey_objects(complete_objects(labels[z]))
        depth = np.ones((len(flat), 1), np.int64)
        low, box = np.hstack([z * depth, flat.low]), np.hstack([depth, flat.box])
        moments = np.pad(flat.moments, ((0, 0), (1, 0), (1, 0)))
        parts.append(replace(flat, low=low, box=box, moments=moments))
    return Objects.concatenate(parts, labels.ndim), True


def survey_objects(labels: NDArray[Any]) -> Objects:
    """Measure all instances of a label image.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Label image with background 0; the ids may have gaps.

    Raises
    ------
    TypeError, UserError
        Not a label image.
    """
    instances = index_objects(labels)
    index, rows = instances.index, len(instances.ids)
    core, contact, outline = np.zeros((3, rows), np.int64)
    radius = np.zeros(rows)
    planes = index.reshape(-1, *index.shape[-2:]) if index.size else np.zeros((0, 0, 0), np.uint8)
    compiled(_count_sides)(planes, _SIDES, core, contact, outline)
    if index.size and rows > 1:
        compiled(_max_distance)(index.ravel(), _distance_inside(index).ravel(), radius)
        radius = np.minimum(radius, max(index.shape))  # infinite if an instance fills the image
    low, high = instances.low, instances.high
    present = np.flatnonzero(instances.npixels)
    moments = np.zeros((rows, index.ndim, index.ndim))
    moments[present] = second_moments(index).moments
    objects = Objects(
        instances.ids,
        instances.npixels,
        low,
        high - low,
        core,
        contact,
        (low == 0).any(axis=1) | (high == np.array(index.shape)).any(axis=1),
        radius,
        count_components(index, rows),
        *_holes(instances),
        outline,
        moments,
        np.full(rows, np.nan),
    ).select(present)
    return replace(objects, convexity=convexities(index, present, objects))


def _count_sides(planes: Any, sides: Any, core: Any, contact: Any, outline: Any) -> None:
    """Count inner pixels of each instance, and pixel sides to others and to all else; compiled.

    All neighbors of an inner pixel are in its instance. The border of the image is not a contour.
    Neighbors share a side, as in the contour channel.
    """
    depth, height, width = planes.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = planes[z, y, x]
                if label == 0:
                    continue
                n_outside = 0
                for side in range(len(sides)):
                    c, b, a = z + sides[side, 0], y + sides[side, 1], x + sides[side, 2]
                    if a < 0 or b < 0 or c < 0 or a >= width or b >= height or c >= depth:
                        continue
                    other = planes[c, b, a]
                    if other != label:
                        n_outside += 1
                        if other != 0:
                            contact[label] += 1
                outline[label] += n_outside
                if n_outside == 0:
                    core[label] += 1


def _distance_inside(index: NDArray[Any]) -> NDArray[np.float32]:
    """Return the distance of each pixel to the outside of its instance.

    The border of the image does not count as outside.
    """
    import edt

    labels = np.ascontiguousarray(index)
    if labels.dtype.itemsize == 8:
        labels = labels.astype(np.uint32)
    distance: NDArray[np.float32] = edt.edt(labels, black_border=False, parallel=1)
    return np.ascontiguousarray(distance)


def _max_distance(index: Any, distance: Any, radius: Any) -> None:
    """Compute the maximum distance per instance; compiled.

    It is infinite if the instance fills the image.
    """
    for place in range(len(index)):
        row = index[place]
        if row != 0 and distance[place] > radius[row]:
            radius[row] = distance[place]


def _holes(instances: Index) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of holes per instance, and their pixels.

    A hole is a connected component of the background enclosed by one instance only.
    """
    rows, index = len(instances.ids), instances.index
    holes, pixels = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    if index.size == 0:
        return holes, pixels
    parts, count = connected_components(index == 0)
    # -1: not known yet; 0: several instances, or the border of the image
    owner = np.full(count + 1, -1, np.int64)
    size = np.zeros(count + 1, np.int64)
    shape = (-1, *index.shape[-2:])
    # The border of the image does not enclose holes; a 2D image has no border along z.
    sides = _SIDES[2:] if index.ndim == 2 else _SIDES
    compiled(_enclosing)(parts.reshape(shape), index.reshape(shape), sides, owner, size)
    for part in np.flatnonzero(owner[1:] > 0) + 1:
        holes[owner[part]] += 1
        pixels[owner[part]] += size[part]
    return holes, pixels


def _enclosing(parts: Any, index: Any, sides: Any, owner: Any, size: Any) -> None:
    """Find the only instance around each component of the background; compiled."""
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
