"""Scores of predicted maps, from sums over the blocks of an image.

The ground truth of some channels depends on whole instances. `P` needs the centroid of each
instance, and `Dv2` the largest distance in each instance and in the background. `D` and `Dv2` need
the distance of each pixel to the nearest contour of the image, which can be in any block. The
distance is computed along one axis after the other, in boxes that are complete along the axis, and
stored after each axis.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from singula.blocks.grid import Grid
from singula.io.block_array import BlockArray
from singula.io.lazy import LazyImage
from singula.labels import Extents, extents
from singula.metrics import Ratio
from singula.pipeline import from_config
from singula.pipeline.blocks.context import BlockContext, block_context
from singula.pipeline.blocks.tasks import Record, pack, unpack
from singula.pipeline.score import class_map_sums, map_sums, values
from singula.representations.channel import BlockTruth
from singula.representations.channels import CHANNELS, encode_with, find_contour
from singula.representations.channels.binary import disk_radius, draw_points, nearest_to_centroids
from singula.representations.channels.distance import furthest_pixels, make_near
from singula.representations.channels.source import EncodeSettings, Source
from singula.representations.channels.sparse import encode_sparse
from singula.representations.channels.transform import lower_along, squared_along_rows
from singula.util.annotated_slices import at_other_slices, is_mostly_planar
from singula.util.boxes import Box, boxes, grown, local
from singula.util.sparse_labels import annotated_mask

if TYPE_CHECKING:
    from singula.pipeline.blocks.image import BlockImage

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
# Channels whose ground truth depends only on the block and a small halo
_LOCAL = tuple(code for code, channel in CHANNELS.items() if channel.reach == "contour")
_BY_TRUTH: dict[BlockTruth, tuple[str, ...]] = {
    truth: tuple(code for code, channel in CHANNELS.items() if channel.block_truth == truth)
    for truth in get_args(BlockTruth)
}
DISTANCES = (*_BY_TRUTH["distance"], *_BY_TRUTH["nearness"])
"""Channels whose ground truth is computed from the distance to the contour."""
_SCORED = (*_LOCAL, *DISTANCES, *_BY_TRUTH["disk"], "class")
_MIN_HALO = 3  # pixels around a block that determine its contour
_SIDE = {2: 512, 3: 64}  # of the boxes that are complete along an axis, along the other axes


def map_scores(image: BlockImage) -> dict[str, float] | None:
    """Return the scores of the maps of an image as in memory; None without ground truth.

    Parameters
    ----------
    image : BlockImage
        Image with predicted maps.
    """
    context = image.context
    if context.truth is None:
        return None
    scored = {*_LOCAL, "class"} if _is_sparse(context) else {*_SCORED}
    disks = _disks(_settings(context))
    scored -= set(_BY_TRUTH["disk"]) - set(disks)
    skipped = [name for name in context.names if name not in scored]
    if skipped:
        _log.warning(
            f"  {image.spec.name}: maps of {', '.join(skipped)} are not scored, because their "
            "ground truth depends on whole instances, and a block contains parts"
        )
    names = set(context.names) & scored
    near, points = names & set(_BY_TRUTH["nearness"]), names & set(disks)
    if names & set(DISTANCES):
        _measure_distances(image)
    if near or points:
        image.run_phase("truth", measure_truth)
    if near:
        _store_furthest(image)
    if points:
        _store_centers(image)
    image.run_phase("scores", score_maps)
    sums: dict[str, list[Ratio]] = {}
    for record in image.records("scores"):
        for column, (total, count, empty) in record.items():
            part = Ratio(float(total), int(count), float(empty))
            sums.setdefault(column, []).append(part)
    scores = values({column: Ratio.merge(parts) for column, parts in sums.items()})
    classes = [value for column, value in scores.items() if column.startswith("iou_class_")]
    return {"iou_class": float(np.mean(classes)), **scores} if classes else scores


def score_maps(folder: Path, number: int) -> Record:
    """Compare the maps of a block with the ground truth."""
    context = block_context(folder)
    box = context.box(number)
    labels = _read_truth(context, _outer(context, box))
    maps, core = context.read_maps(box), labels[_inner(context, box)]
    settings, true = _settings(context), {}
    if _is_sparse(context):
        return _sparse_scores(context, box, labels, maps)
    if set(settings.channels) & set(_LOCAL):
        local_settings = EncodeSettings(
            tuple(c for c in settings.channels if c in _LOCAL),
            settings.contour_mode,
            settings.spacing,
            settings.point_radius,
            settings.options,
        )
        channels = encode_with(local_settings, labels)
        true = {name: target[_inner(context, box)] for name, target in channels.items()}
    core = np.ascontiguousarray(core)
    if set(settings.channels) & set(DISTANCES):
        true |= _true_distances(context, box, core)
    for name in _disks(settings):
        true[name] = _true_points(context, box, core)
    ordered = {name: true[name] for name in settings.channels if name in true}
    sums = map_sums(ordered, maps, core > 0)
    if "class" in maps and context.truth is not None and context.truth.channels > 1:
        classes = context.truth.read(box)[..., 1]
        sums |= class_map_sums(classes, maps["class"], context.config.MODEL.N_CLASSES)
    return {n: np.array([r.total, r.count, r.empty], np.float64) for n, r in sums.items()}


def _sparse_scores(
    context: BlockContext, box: Box, labels: Array, maps: Mapping[str, Array]
) -> Record:
    """Compare the maps of a block with labels of which some pixels are not annotated.

    Channels that depend on whole instances are not compared: it depends on the whole image which
    of their pixels have a target.
    """
    settings, inner = _settings(context), _inner(context, box)
    local_codes = tuple(code for code in settings.channels if code in _LOCAL)
    sums: dict[str, Ratio] = {}
    annotated = annotated_mask(labels)
    if local_codes:
        channels = encode_sparse(
            replace(settings, channels=local_codes), labels, planar=context.spec.planar
        )
        true = {name: target[inner] for name, target in channels.items()}
        sums |= map_sums(true, maps, labels[inner] > 0)
    if "class" in maps and context.truth is not None and context.truth.channels > 1:
        selected, classes = annotated[inner], context.truth.read(box)[..., 1]
        count = context.config.MODEL.N_CLASSES
        sums |= class_map_sums(classes[selected], maps["class"][selected], count)
    return {n: np.array([r.total, r.count, r.empty], np.float64) for n, r in sums.items()}


def planar_truth(labels: LazyImage) -> bool:
    """Return True if only single slices of a volume are annotated; see `is_planar`.

    Parameters
    ----------
    labels : LazyImage
        Label image, of a signed type if some pixels are not annotated.
    """
    if labels.dtype.kind != "i" or labels.ndim < 3:
        return False
    count = at_edge = 0
    sides = [min(_SIDE[3], size) for size in labels.spatial_shape]
    for box in boxes(labels.spatial_shape, sides):
        outer = grown(box, (1, 0, 0), labels.spatial_shape)
        annotated = annotated_mask(labels.read(outer)[..., 0])
        core = local(box, outer)
        count += int(annotated[core].sum())
        at_edge += int(at_other_slices(annotated)[core].sum())
    return is_mostly_planar(at_edge, count)


def _is_sparse(context: BlockContext) -> bool:
    """Return True if some pixels of the ground truth are not annotated."""
    return context.truth is not None and context.truth.dtype.kind == "i"


def _settings(context: BlockContext) -> EncodeSettings:
    return from_config.encode_settings(context.config, "TEST")


def _read_truth(context: BlockContext, box: Box) -> Array:
    if context.truth is None:
        raise RuntimeError("there are no labels")
    return context.truth.read(box)[..., 0]


def _inner(context: BlockContext, box: Box) -> Box:
    """Return a box within the box that is read for its local channels."""
    return local(box, _outer(context, box))


def _outer(context: BlockContext, box: Box) -> Box:
    """Return the box whose labels determine the local channels of a box."""
    settings = _settings(context)
    sizes = settings.spacing or (1.0,) * len(box)
    radii = [
        CHANNELS[code].local_reach(settings.options_of(code))
        for code in settings.channels
        if code in _LOCAL
    ]
    radius = max(radii, default=0.0) * max(1.0, min(sizes[-2:]) / min(sizes))
    return grown(box, (max(_MIN_HALO, ceil(radius) + 1),) * len(box), context.shape)


def _disks(settings: EncodeSettings) -> tuple[str, ...]:
    """Return the channels of points that are disks, which can be drawn in a block."""
    options = {
        code: settings.options_of(code) for code in settings.channels if code in _BY_TRUTH["disk"]
    }
    return tuple(
        code
        for code, values in options.items()
        if values["type"] == "centroid" and not values["erosion"]
    )


# Distances


def _measure_distances(image: BlockImage) -> None:
    """Store the squared distance of each pixel to the nearest contour of the image."""
    ndim = len(image.spec.shape)
    for axis in reversed(range(ndim)):
        phase = f"distance-{axis}"
        if not image.job.done(phase):
            BlockArray.create(
                _layer_path(image.context, axis),
                image.spec.shape,
                np.float32,
                ndim=ndim,
                chunks=(_SIDE[ndim],) * ndim,
            )
        work = measure_rows if axis == ndim - 1 else partial(lower_columns, axis=axis)
        image.run_phase(phase, work, len(_complete_along(image.context, axis)))
        if axis + 1 < ndim:
            shutil.rmtree(_layer_path(image.context, axis + 1), ignore_errors=True)


def _layer_path(context: BlockContext, axis: int) -> Path:
    return context.job.path / f"distance-{axis}.zarr"


def _complete_along(context: BlockContext, axis: int) -> Grid:
    """Return boxes that are complete along an axis."""
    sides = [min(size, _SIDE[len(context.shape)]) for size in context.shape]
    sides[axis] = context.shape[axis]
    return Grid(context.shape, tuple(sides))


def measure_rows(folder: Path, number: int) -> Record:
    """Store the squared distances along the last axis."""
    context = block_context(folder)
    axis = len(context.shape) - 1
    box = _complete_along(context, axis).box(number)
    labels = _read_truth(context, _outer(context, box))
    settings = _settings(context)
    inside = ~find_contour(labels, settings.contour_mode)
    if all(CHANNELS[code].reach != "image" for code in settings.channels):
        # Distances of the background are not needed.
        inside &= labels > 0
    size = Source(labels, settings).spacing[-1]
    squared = squared_along_rows(np.ascontiguousarray(inside[_inner(context, box)]), size)
    if squared.any():
        context.output(_layer_path(context, axis)).write(box, squared)
    return {}


def lower_columns(folder: Path, number: int, axis: int) -> Record:
    """Include another axis in the squared distances along the axes after it."""
    context = block_context(folder)
    box = _complete_along(context, axis).box(number)
    before = context.output(_layer_path(context, axis + 1))
    if before.is_blank(box):
        return {}
    squared = np.ascontiguousarray(before.read(box))
    spacing = _settings(context).spacing or (1.0,) * squared.ndim
    lower_along(squared, axis, spacing[axis])
    if squared.any():
        context.output(_layer_path(context, axis)).write(box, squared)
    return {}


def _distances(context: BlockContext, box: Box) -> npt.NDArray[np.float32]:
    """Return the distance of each pixel of a box to the nearest contour of the image.

    An image of a single instance has no contour: its distances are those to the image border.
    """
    squared = np.ascontiguousarray(context.output(_layer_path(context, 0)).read(box))
    infinite = np.isinf(squared)
    if infinite.any():
        spacing = _settings(context).spacing or (1.0,) * len(box)
        border = np.full(squared.shape, np.inf)
        for axis, (part, size) in enumerate(zip(box, context.shape, strict=True)):
            at = np.arange(part.start, part.stop)
            away = float(spacing[axis]) ** 2 * np.minimum(at + 1, size - at) ** 2.0
            others = [a for a in range(len(box)) if a != axis]
            border = np.minimum(border, np.expand_dims(away, others))
        squared[infinite] = border[infinite]
    distance: npt.NDArray[np.float32] = np.sqrt(squared, out=squared)
    return distance


def _true_distances(context: BlockContext, box: Box, labels: Array) -> dict[str, Array]:
    distance = _distances(context, box)
    true = {}
    channels = _settings(context).channels
    for code in set(channels) & set(_BY_TRUTH["distance"]):
        true[code] = np.where(labels > 0, distance, np.float32(0))
    for code in set(channels) & set(_BY_TRUTH["nearness"]):
        ids, furthest = (context.job.open_table("truth", n) for n in ("furthest_of", "furthest"))
        if not ids.any():  # the image has no instances
            true[code] = np.zeros_like(distance)
        else:
            index, present = _index_of(context, labels)
            rows = np.zeros(int(index.max(initial=0)) + 1, np.float32)
            rows[list(present)] = furthest[np.searchsorted(ids, list(present.values()))]
            make_near(distance, index, rows)
            true[code] = distance
    return true


# Instances of the ground truth


def measure_truth(folder: Path, number: int) -> Record:
    """Measure the instances of the ground truth in a block."""
    context = block_context(folder)
    box = context.box(number)
    labels = np.ascontiguousarray(_read_truth(context, box))
    record: Record = {}
    channels = _settings(context).channels
    if _disks(_settings(context)):
        record |= pack("extents", extents(labels, context.around(number, 0)[1]))
    if set(channels) & set(_BY_TRUTH["nearness"]):
        index, present = _index_of(context, labels)
        furthest = furthest_pixels(_distances(context, box), index)
        record["furthest_of"] = np.array(list(present.values()), np.int64)
        record["furthest"] = furthest[list(present)]
    return record


def _index_of(context: BlockContext, labels: Array) -> tuple[Array, dict[int, int]]:
    """Return labels as numbers of rows, and the id of each row that occurs."""
    index = Source(labels, _settings(context)).index
    rows, first = np.unique(index, return_index=True)
    return index, dict(zip(rows.tolist(), labels.ravel()[first].tolist(), strict=True))


def _store_furthest(image: BlockImage) -> None:
    """Store the largest distance in each instance and in the background (id 0)."""
    records = list(image.records("truth"))
    ids, furthest = (
        np.concatenate([record[name] for record in records]) for name in ("furthest_of", "furthest")
    )
    order = np.lexsort((-furthest, ids))
    distinct, first = np.unique(ids[order], return_index=True)
    image.job.save_table("truth", "furthest_of", distinct)
    image.job.save_table("truth", "furthest", furthest[order][first])


def _store_centers(image: BlockImage) -> None:
    """Store the pixel of each instance that is nearest to its centroid."""
    parts = [unpack(Extents, "extents", record) for record in image.records("truth")]
    merged = Extents.merge(parts)
    for name in ("ids", "npixels", "sums"):
        image.job.save_table("truth", name, getattr(merged, name))
    image.run_phase("centers", find_centers)
    records = list(image.records("centers"))
    ids, away, places = (
        np.concatenate([record[name] for record in records]) for name in ("ids", "away", "places")
    )
    order = np.lexsort((places, away, ids))
    _, first = np.unique(ids[order], return_index=True)
    image.job.save_table("centers", "places", places[order][first])


def find_centers(folder: Path, number: int) -> Record:
    """Find the pixel of each instance in a block that is nearest to its centroid."""
    context = block_context(folder)
    box = context.box(number)
    index, present = _index_of(context, np.ascontiguousarray(_read_truth(context, box)))
    present.pop(0, None)
    ids = np.array(list(present.values()), np.int64)
    rows = np.array(list(present), np.int64)
    table = np.searchsorted(context.job.open_table("truth", "ids"), ids)
    size = np.zeros(int(index.max(initial=0)) + 1, np.int64)
    sums = np.zeros((len(size), len(box)), np.int64)
    size[rows] = context.job.open_table("truth", "npixels")[table]
    sums[rows] = context.job.open_table("truth", "sums")[table].astype(np.int64)
    origin = [part.start for part in box]
    spacing = _settings(context).spacing or (1.0,) * len(box)
    away, first = nearest_to_centroids(index, size, sums, spacing, origin)
    at = np.unravel_index(first[rows], index.shape)
    places = np.ravel_multi_index(
        [a + start for a, start in zip(at, origin, strict=True)], context.shape
    )
    return {"ids": ids, "away": away[rows], "places": places.astype(np.int64)}


def _true_points(context: BlockContext, box: Box, labels: Array) -> Array:
    settings = _settings(context)
    ids = np.unique(labels)
    ids = ids[ids > 0]
    table = np.searchsorted(context.job.open_table("truth", "ids"), ids)
    places = context.job.open_table("centers", "places")[table]
    centers = np.stack(np.unravel_index(places, context.shape), axis=1)
    centers = centers - np.array([part.start for part in box])
    spacing = settings.spacing or (1.0,) * len(box)
    return draw_points(labels, ids, centers, disk_radius(settings), spacing)
