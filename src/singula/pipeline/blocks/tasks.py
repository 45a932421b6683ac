"""Functions of the phases: process one block, and return its record.

The arguments are the job folder and the number of the block, so every process with access to the
files can process every block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from singula.blocks import Grid
from singula.blocks.job import load_arrays
from singula.blocks.stitch import HIGH, LOW, Face, face_of
from singula.io.block_array import BlockArray
from singula.io.records.blocks import ClassesNote, ColorNote, HaloNote, LayerNote, PyramidNote
from singula.labels import Block, border_ids, extents
from singula.labels.holes import Holes, find_background
from singula.labels.overlap import Overlap, overlap, overlap_in_block
from singula.labels.repair import contacts
from singula.labels.voronoi import growth_foreground, voronoi_block
from singula.measure import intensities, second_moments, shapes
from singula.measure.morphology import HALO
from singula.metrics import Match, color_associations
from singula.pipeline.blocks.context import (
    FLOODED,
    GROWN,
    REPAIRED,
    SEEDS,
    BlockContext,
    block_context,
)
from singula.representations.channels import CHANNELS
from singula.representations.decoders import histogram
from singula.representations.decoders.blockwise import (
    bounds_of,
    flood_part,
    no_seeds,
    nothing_grows,
    seed_part,
)
from singula.representations.decoders.morphology import labels_at_border
from singula.util.boxes import grown, local, pixels_in, shape_of, shared_box
from singula.util.process import release_memory

Array = npt.NDArray[Any]
Record = dict[str, Array]
_BINARY = tuple(code for code, channel in CHANNELS.items() if channel.kind == "binary")
_MAX_KNOWN = 64  # constant blocks whose files are copied for equal blocks
AREA = "area"
"""Name of the histogram of the foreground in which instances may grow."""
_Table = TypeVar("_Table")


def pack(prefix: str, table: object) -> Record:
    """Return the fields of a table as arrays of a record."""
    return {f"{prefix}.{f.name}": getattr(table, f.name) for f in fields(table)}  # type: ignore[arg-type]


def unpack(kind: type[_Table], prefix: str, record: Mapping[str, Array]) -> _Table:
    """Return the table with these fields of a record."""
    return kind(**{f.name: record[f"{prefix}.{f.name}"] for f in fields(kind)})  # type: ignore[arg-type]


def count_values(folder: Path, number: int) -> Record:
    """Count the values of the image, without the glass of a slide, for its normalization."""
    from singula.data.statistics import Statistics

    context = block_context(folder)
    box = context.box(number)
    pixels = context.image.read(box)
    statistics = Statistics(None)
    glass = context.glass
    if glass is not None:  # the models are trained on tissue
        pixels = pixels[(pixels != glass).any(axis=-1)]
    maximum = pixels.max() if pixels.size else -np.inf
    statistics.add_part(pixels, [part.start for part in box], context.shape)
    return {**statistics.to_arrays(), "largest": np.array(maximum, np.float64)}


def predict_maps(folder: Path, number: int) -> Record:
    """Predict and store the maps; also count their levels if filters do not need a halo."""
    from singula.pipeline.blocks.network import block_predictor

    context = block_context(folder)
    box, constants = context.box(number), context.constant_blocks
    maps, key = block_predictor(context).predict(box, constants)
    if maps is None and key is not None:
        stored, same = constants[key]
        context.maps.copy(stored, box)
        return dict(same)
    if maps is None:
        raise RuntimeError("the network returned no maps")
    context.write_maps(box, maps)
    record: Record = {} if context.filtered else _levels(context, context.prepared(maps, box, box))
    if key is not None and context.mask is None:  # a mask differs from block to block
        if len(constants) >= _MAX_KNOWN:
            constants.pop(next(iter(constants)))
        constants[key] = box, record
    release_memory()
    return record


def count_levels(folder: Path, number: int) -> Record:
    """Count the histograms of the maps, for the thresholds."""
    context = block_context(folder)
    return _levels(context, context.read_maps(context.box(number)))


def _levels(context: BlockContext, maps: Mapping[str, Array]) -> Record:
    from singula.representations.decoders.decode import check_finite

    for name, values in maps.items():
        check_finite(name, values)
    record = {f"levels.{c}": histogram(maps[c]) for c in maps if c in _BINARY}
    if context.post.voronoi_threshold is not None:
        record[f"levels.{AREA}"] = histogram(growth_foreground(maps))
    return record


def find_seeds(folder: Path, number: int) -> Record:
    """Find and store the seeds of the block; the record has those on its faces."""
    context = block_context(folder)
    box, ndim = context.box(number), len(context.shape)
    if _nothing_grows(context, number):
        part = no_seeds(ndim)
    else:
        part = seed_part(context.decode_plan, box, context.shape, context.read_maps)
    record: Record = {
        "first": part.first,
        "pixels": part.pixels,
        "extent": part.extent,
        "at_border": part.at_border,
        "alive": np.array(part.alive),
    }
    if not len(part.first):
        return record
    context.layer(SEEDS).write(box, part.labels.astype(np.uint32))
    for axis in range(ndim):
        for end in (LOW, HIGH):
            face = face_of(part.labels, axis, end)
            record |= pack(f"face{axis}{end}", face)
    if context.post.close_radius is not None:
        _, block = context.around(number, 0)
        record |= pack("extents", extents(part.labels, block))
    return record


def _nothing_grows(context: BlockContext, number: int) -> bool:
    """Return True if histograms of the block and its surroundings exclude instances.

    Only those surroundings are read that belong to a block with instances.
    """
    around = grown(
        context.box(number), context.decode_plan.reach(len(context.shape)), context.shape
    )
    total: Record = {}
    for near in (number, *(n for n in context.grid.overlapping(around) if n != number)):
        record = context.job.load(context.counted_in, near)
        counts = {c: record[f"levels.{c}"] for c in _BINARY if f"levels.{c}" in record}
        if not nothing_grows(context.decode_plan, counts):
            if near == number:
                return False
            maps = context.read_maps(shared_box(context.box(near), around))
            counts = {c: histogram(maps[c]) for c in counts}
        total = {c: count + total.get(c, 0) for c, count in counts.items()}
        if not nothing_grows(context.decode_plan, total):
            return False
    return True


def face_in(record: Mapping[str, Array], axis: int, end: int) -> Face:
    """Return a face of a block from its record."""
    if f"face{axis}{end}.places" not in record:
        return Face(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return unpack(Face, f"face{axis}{end}", record)


def flood(folder: Path, number: int) -> Record:
    """Flood and store the block; the record has the number of pixels of each instance."""
    context = block_context(folder)
    box = context.box(number)
    halo = tuple(context.job.read_note("halo", HaloNote).pixels)
    if not context.job.load("seeds", number)["alive"]:
        none = np.zeros(0, np.int64)
        return {"ids": none, "pixels": none, "at_border": none}
    part = flood_part(
        context.decode_plan,
        box,
        context.shape,
        context.read_maps,
        context.read_seeds,
        halo=halo,
        max_pixels=context.spec.most,
    )
    if part.labels.any():
        context.layer(FLOODED).write(box, part.labels)
    ids, pixels = np.unique(part.labels, return_counts=True)
    release_memory()
    return {
        "ids": ids[ids > 0].astype(np.int64),
        "pixels": pixels[ids > 0],
        "at_border": labels_at_border(part.labels, box, context.shape).astype(np.int64),
        "unproved": np.array(part.n_uncertain),
        "halo": np.array(part.halo),
    }


def write_instances(folder: Path, number: int) -> Record:
    """Write and measure the decoded instances of the block."""
    context = block_context(folder)
    source = LayerNote(layer=FLOODED, table="flood/numbers")
    return _finish_block(context, number, source, context.spec.instances)


def write_processed(folder: Path, number: int) -> Record:
    """Write and measure the post-processed instances of the block."""
    context = block_context(folder)
    source = context.job.read_note("processed", LayerNote)
    return _finish_block(context, number, source, context.spec.processed)


def grow(folder: Path, number: int) -> Record:
    """Grow the instances of the block within the foreground until they touch."""
    context = block_context(folder)
    core, shape = context.box(number), context.shape
    note = context.job.read_note("processed", LayerNote)
    halo: Sequence[int] = context.job.read_note("halo", HaloNote).pixels
    limit = context.growth_threshold
    counts = context.job.load(context.counted_in, number)[f"levels.{AREA}"]
    if context.layer(note.layer).is_blank(core) and bounds_of(counts)[1] <= limit:
        return {"unproved": np.array(0)}
    while True:
        outer = grown(core, halo, shape)
        block = Block(local(core, outer), tuple(part.start for part in outer), shape)
        labels = context.read_layer(note.layer, note.table, outer)
        area = growth_foreground(context.read_maps(outer)) > limit
        part = voronoi_block(labels, area, block, spacing=context.spec.spacing)
        n_uncertain = int(np.count_nonzero(~part.is_exact))
        wider = part.halo or tuple(2 * h for h in halo)
        if not n_uncertain or pixels_in(grown(core, wider, shape)) > context.spec.most:
            break
        halo = wider
    if part.labels.any():
        context.output(context.job.path / GROWN).write(core, part.labels)
    release_memory()
    return {"unproved": np.array(n_uncertain)}


def find_contacts(folder: Path, number: int) -> Record:
    """Count the contacts of large instances with other instances."""
    context = block_context(folder)
    note = context.job.read_note("processed", LayerNote)
    labels, block = _instances_around(context, number, note, 1)
    return pack("contacts", contacts(labels, context.job.open_table("repair", "large"), block))


def find_gaps(folder: Path, number: int) -> Record:
    """Find the connected components of the background, which may be holes of instances."""
    context = block_context(folder)
    return pack("gaps", find_background(*_changed_around(context, number, 1)).gaps())


def fill_gaps(folder: Path, number: int) -> Record:
    """Fill the holes of repaired instances and store the result."""
    context = block_context(folder)
    labels, block = _changed_around(context, number, 1)
    if not labels.any():
        return {}
    background = find_background(labels, block)
    holes = Holes(*(np.array(context.job.open_table("gaps", name)) for name in ("pieces", "ids")))
    labels = background.filled(holes)
    if labels.any():
        context.layer(REPAIRED).write(context.box(number), labels)
    return {}


def _changed_around(context: BlockContext, number: int, halo: int) -> tuple[Array, Block]:
    """Return the instances of a block with a halo after the last step, and its place."""
    note = context.job.read_note("processed", LayerNote)
    outer, block = context.around(number, halo)
    return context.read_layer(note.layer, note.table, outer), block


def _instances_around(
    context: BlockContext, number: int, source: LayerNote, halo: int
) -> tuple[Array, Block]:
    """Return the instances of a block with a halo, and its place; a single pixel if it is empty."""
    outer, block = context.around(number, halo)
    if not context.layer(source.layer).is_blank(outer):
        labels = context.read_layer(source.layer, source.table, outer)
        if labels.any():
            return labels, block
    pixel = np.zeros((1,) * len(outer), context.job.open_table("flood", "numbers").dtype)
    return pixel, Block.whole(pixel.shape)


def count_changed(folder: Path, number: int) -> Record:
    """Measure the instances after the steps that change pixels."""
    context = block_context(folder)
    note = context.job.read_note("processed", LayerNote)
    return _measured(context, *_instances_around(context, number, note, HALO[len(context.shape)]))


def _measured(context: BlockContext, labels: Array, block: Block) -> Record:
    """Measure the instances of a block, given with its halo and its place."""
    core = np.ascontiguousarray(labels[block.core])
    inner = Block(tuple(slice(0, size) for size in core.shape), block.start, block.shape)
    record = pack("shapes", shapes(labels, block, spacing=context.spec.spacing))
    return record | pack("border", border_ids(core, inner))


def color(folder: Path, number: int) -> Record:
    """Write colors of true and false positives and negatives, given by the note ``colour``."""
    context = block_context(folder)
    note = context.job.read_note("colour", ColorNote)
    box = context.box(number)
    if context.truth is None:
        raise RuntimeError("there are no labels")
    match = unpack(Match, "match", load_arrays(context.job.path / note.match))
    truth, predicted = context.truth.read(box)[..., 0], context.output(note.instances).read_ids(box)
    picture = color_associations(truth, predicted, match)
    if picture.any():
        context.output(note.picture).write(box, picture)
    return {}


def _finish_block(context: BlockContext, number: int, source: LayerNote, target: str) -> Record:
    """Write and measure the instances of a block, and count their overlap with the truth."""
    box = context.box(number)
    around, block = _instances_around(context, number, source, HALO[len(context.shape)])
    labels = np.ascontiguousarray(around[block.core])
    if labels.any() and "class" not in context.names:
        context.output(target).write(box, labels)
    record = _measured(context, around, block)
    if context.spec.additional_columns:
        record |= _additional_record(context, number, labels)
    if context.truth is not None:
        truth = context.truth.read(box)
        predicted = np.broadcast_to(labels, truth.shape[:-1])
        ids = context.marked(truth[..., 0], box)
        record |= pack("overlap", overlap_in_block(ids, predicted))
        if truth.shape[-1] > 1:
            record |= pack("true_votes", overlap_in_block(ids, truth[..., 1]))
    if "class" in context.names:
        classes = context.read_maps(box)["class"] if labels.any() else labels
        record |= pack("votes", overlap(labels, classes))
    return record


def _additional_record(context: BlockContext, number: int, labels: Array) -> Record:
    """Measure what `additional_columns` needs; the image is not read for an empty block."""
    if labels.any():
        image, (_, block) = context.image.read(context.box(number)), context.around(number, 0)
    else:
        labels = np.zeros((1,) * labels.ndim, labels.dtype)
        image, block = np.zeros((*labels.shape, context.image.channels)), Block.whole(labels.shape)
    table = pack("moments", second_moments(labels, block))
    return table | pack("intensities", intensities(labels, image))


def write_classes(folder: Path, number: int) -> Record:
    """Write the instances of the block with their classes, as the note ``classes`` requires."""
    context = block_context(folder)
    note = context.job.read_note("classes", ClassesNote)
    box = context.box(number)
    if context.layer(note.layer).is_blank(box):
        return {}
    labels = context.read_layer(note.layer, note.table, box)
    if labels.any():
        phase, _, name = note.classes.partition("/")
        classes = context.job.open_table(phase, name)[labels]
        context.output(note.target).write(box, np.stack([labels, classes], -1))
    return {}


def overlap_in(record: Mapping[str, Array], prefix: str = "overlap") -> Overlap:
    """Return an overlap table from a record."""
    return unpack(Overlap, prefix, record)


def level_grid(target: BlockArray, level: int) -> Grid:
    """Return the boxes of a level of an image, one for each of its files."""
    return Grid(target.levels[level].shape, target.grid(level))


def build_level(folder: Path, number: int) -> Record:
    """Write one box of a coarser level of an image, as the note ``pyramid`` requires."""
    context = block_context(folder)
    note = context.job.read_note("pyramid", PyramidNote)
    target, level = context.output(note.path), note.level
    box = level_grid(target, level).box(number)
    target.build_level(level, box)
    return {"shape": np.array(shape_of(box))}
