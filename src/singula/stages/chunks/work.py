"""What is done to a block in each phase; every function gives the block's record.

They are named by path and number alone, so any process that sees the files can do any block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from singula.boxes import grown, local, pixels_in, shape_of
from singula.channels import encode_with
from singula.evaluate import Match, color_associations
from singula.evaluate.overlap import Overlap, overlap
from singula.instances import histogram
from singula.instances.blockwise import flood_part, no_seeds, nothing_grows, seed_part
from singula.instances.watershed import labels_at_border
from singula.io.records import ClassesNote, ColorNote, HaloNote, LayerNote, PyramidNote
from singula.measure import shapes
from singula.measure.morphology import HALO
from singula.postprocess import Block, border_ids, extents
from singula.postprocess.holes import Holes, find_background
from singula.postprocess.repair import contacts
from singula.postprocess.voronoi import growth_foreground, voronoi_block
from singula.runtime import release_memory
from singula.scaleout.job import load_arrays
from singula.scaleout.stitch import HIGH, LOW, Face, face_of
from singula.stages import settings as from_config
from singula.stages.chunks.bench import FLOODED, GROWN, REPAIRED, SEEDS, Bench, bench
from singula.stages.score import class_map_sums, map_sums

Array = npt.NDArray[Any]
Record = dict[str, Array]
_BINARY = ("B", "C", "M", "P")
# Channels of the truth that a block and two pixels around it decide
LOCAL = ("B", "C", "M")
_CONTOUR = 3
AREA = "area"
"""Name of the foreground in which instances may grow, among the maps that are counted."""
_Table = TypeVar("_Table")


def pack(prefix: str, table: object) -> Record:
    """The columns of a table as arrays of a record."""
    return {f"{prefix}.{f.name}": getattr(table, f.name) for f in fields(table)}  # type: ignore[arg-type]


def unpack(kind: type[_Table], prefix: str, record: Mapping[str, Array]) -> _Table:
    """The table again."""
    return kind(**{f.name: record[f"{prefix}.{f.name}"] for f in fields(kind)})  # type: ignore[arg-type]


def count_values(folder: Path, number: int) -> Record:
    """Values of the image, for its normalisation."""
    from singula.data.normalize import Statistics

    own = bench(folder)
    box = own.box(number)
    pixels = own.image.read(box)
    counted = Statistics(None)
    counted.add_part(pixels, [part.start for part in box], own.shape)
    return {**counted.to_arrays(), "largest": np.array(pixels.max(), np.float64)}


def predict_maps(folder: Path, number: int) -> Record:
    """Maps of the block; unless filters look further, also what `count_levels` counts."""
    own = bench(folder)
    box = own.box(number)
    maps = own.blocks(box)
    own.write_maps(box, maps)
    record: Record = {} if own.filtered else _levels(own, own.prepared(maps, box, box))
    release_memory()
    return record


def count_levels(folder: Path, number: int) -> Record:
    """Histograms of the maps, from which thresholds are taken."""
    own = bench(folder)
    return _levels(own, own.read_maps(own.box(number)))


def _levels(own: Bench, maps: Mapping[str, Array]) -> Record:
    from singula.instances.decode import refuse_nan

    for name, values in maps.items():
        refuse_nan(name, values)
    record = {f"levels.{c}": histogram(maps[c]) for c in maps if c in _BINARY}
    if own.post.voronoi_threshold is not None:
        record[f"levels.{AREA}"] = histogram(growth_foreground(maps))
    return record


def find_seeds(folder: Path, number: int) -> Record:
    """Seeds of the block, and those on its faces."""
    own = bench(folder)
    box, ndim = own.box(number), len(own.shape)
    if _nothing_grows(own, number):
        part = no_seeds(ndim)
    else:
        part = seed_part(own.recipe, box, own.shape, own.read_maps)
    record: Record = {
        "first": part.first,
        "pixels": part.pixels,
        "extent": part.extent,
        "at_border": part.at_border,
        "alive": np.array(part.alive),
    }
    if not len(part.first):
        return record
    own.layer(SEEDS).write(box, part.labels.astype(np.uint32))
    for axis in range(ndim):
        for end in (LOW, HIGH):
            face = face_of(part.labels, axis, end)
            record |= pack(f"face{axis}{end}", face)
    if own.post.close_radius is not None:
        _, block = own.around(number, 0)
        record |= pack("extents", extents(part.labels, block))
    return record


def _nothing_grows(own: Bench, number: int) -> bool:
    """Whether histograms alone say that the block is empty, so its maps need not be read."""
    around = grown(own.box(number), own.recipe.reach(len(own.shape)), own.shape)
    counts: Record = {}
    for near in (number, *own.grid.overlapping(around)):
        for name, count in own.job.load(own.counted_in, near).items():
            key = name.removeprefix("levels.")
            counts[key] = counts.get(key, 0) + count
        if not nothing_grows(own.recipe, counts):
            return False
    return True


def face_in(record: Mapping[str, Array], axis: int, end: int) -> Face:
    """One side of a block from its record."""
    if f"face{axis}{end}.places" not in record:
        return Face(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return unpack(Face, f"face{axis}{end}", record)


def flood(folder: Path, number: int) -> Record:
    """Instances of the block before small ones are removed, and how many pixels each has here."""
    own = bench(folder)
    box = own.box(number)
    halo = tuple(own.job.read_note("halo", HaloNote).pixels)
    if not own.job.load("seeds", number)["alive"]:
        none = np.zeros(0, np.int64)
        return {"ids": none, "pixels": none, "at_border": none}
    part = flood_part(
        own.recipe,
        box,
        own.shape,
        own.read_maps,
        own.read_seeds,
        halo=halo,
        max_pixels=own.plan.most,
    )
    if part.labels.any():
        own.layer(FLOODED).write(box, part.labels)
    ids, pixels = np.unique(part.labels, return_counts=True)
    release_memory()
    return {
        "ids": ids[ids > 0].astype(np.int64),
        "pixels": pixels[ids > 0],
        "at_border": labels_at_border(part.labels, box, own.shape).astype(np.int64),
        "unproved": np.array(part.n_uncertain),
        "halo": np.array(part.halo),
    }


def write_instances(folder: Path, number: int) -> Record:
    """The decoded instances of the block, with everything that is counted of them."""
    own = bench(folder)
    return _finish_block(own, number, FLOODED, "flood/numbers", own.plan.instances)


def write_processed(folder: Path, number: int) -> Record:
    """The instances after all steps, likewise."""
    own = bench(folder)
    source = own.job.read_note("processed", LayerNote)
    return _finish_block(own, number, source.layer, source.table, own.plan.processed)


def grow(folder: Path, number: int) -> Record:
    """Let the instances of the block grow until they touch, over the foreground."""
    own = bench(folder)
    core, shape = own.box(number), own.shape
    note = own.job.read_note("processed", LayerNote)
    halo: Sequence[int] = own.job.read_note("halo", HaloNote).pixels
    limit = own.growth_threshold
    while True:
        outer = grown(core, halo, shape)
        block = Block(local(core, outer), tuple(part.start for part in outer), shape)
        labels = own.read_layer(note.layer, note.table, outer)
        area = growth_foreground(own.read_maps(outer)) > limit
        part = voronoi_block(labels, area, block, spacing=own.plan.spacing)
        n_uncertain = int(np.count_nonzero(~part.is_exact))
        wider = part.halo or tuple(2 * h for h in halo)
        if not n_uncertain or pixels_in(grown(core, wider, shape)) > own.plan.most:
            break
        halo = wider
    if part.labels.any():
        own.output(own.job.path / GROWN).write(core, part.labels)
    release_memory()
    return {"unproved": np.array(n_uncertain)}


def find_contacts(folder: Path, number: int) -> Record:
    """Faces of large instances with others, and all outlines."""
    own = bench(folder)
    labels, block = _changed_around(own, number, 1)
    return pack("contacts", contacts(labels, own.job.open_table("repair", "large"), block))


def find_gaps(folder: Path, number: int) -> Record:
    """Pieces of the background, some of which are holes of repaired instances."""
    own = bench(folder)
    return pack("gaps", find_background(*_changed_around(own, number, 1)).gaps())


def fill_gaps(folder: Path, number: int) -> Record:
    """The repaired instances, without their holes."""
    own = bench(folder)
    background = find_background(*_changed_around(own, number, 1))
    holes = Holes(*(np.array(own.job.open_table("gaps", name)) for name in ("pieces", "ids")))
    labels = background.filled(holes)
    if labels.any():
        own.layer(REPAIRED).write(own.box(number), labels)
    return {}


def _changed_around(own: Bench, number: int, halo: int) -> tuple[Array, Block]:
    """Instances of a block and around it, as the last step left them."""
    note = own.job.read_note("processed", LayerNote)
    outer, block = own.around(number, halo)
    return own.read_layer(note.layer, note.table, outer), block


def count_changed(folder: Path, number: int) -> Record:
    """Measurements of the instances after the steps that change pixels."""
    own = bench(folder)
    labels, block = _changed_around(own, number, HALO[len(own.shape)])
    record = pack("shapes", shapes(labels, block, spacing=own.plan.spacing))
    _, inner = own.around(number, 0)
    return record | pack("border", border_ids(np.ascontiguousarray(labels[block.core]), inner))


def colour(folder: Path, number: int) -> Record:
    """Hits and misses of the block, painted; the note ``colour`` says of which instances."""
    own = bench(folder)
    note = own.job.read_note("colour", ColorNote)
    box = own.box(number)
    if own.truth is None:
        raise RuntimeError("there are no labels")
    match = unpack(Match, "match", load_arrays(own.job.path / note.match))
    truth, found = own.truth.read(box)[..., 0], own.output(note.instances).read_ids(box)
    picture = color_associations(truth, found, match)
    if picture.any():
        own.output(note.picture).write(box, picture)
    return {}


def _finish_block(own: Bench, number: int, layer: str, table: str, target: str) -> Record:
    outer, block = own.around(number, HALO[len(own.shape)])
    box = own.box(number)
    around = own.read_layer(layer, table, outer)
    labels = np.ascontiguousarray(around[block.core])
    if labels.any() and "class" not in own.names:
        own.output(target).write(box, labels)
    if not around.any():  # nothing to be counted, however large
        around = np.zeros((1,) * around.ndim, around.dtype)
        record = pack("shapes", shapes(around)) | pack("border", border_ids(around))
    else:
        record = pack("shapes", shapes(around, block, spacing=own.plan.spacing))
        _, inner = own.around(number, 0)
        record |= pack("border", border_ids(labels, inner))
    if own.truth is not None:
        truth = own.truth.read(box)
        record |= pack("overlap", overlap(truth[..., 0], labels))
        if truth.shape[-1] > 1:
            record |= pack("true_votes", overlap(truth[..., 0], truth[..., 1]))
    if "class" in own.names:
        classes = own.read_maps(box)["class"]
        record |= pack("votes", overlap(labels, classes))
    return record


def write_classes(folder: Path, number: int) -> Record:
    """Instances of the block with the class of each; the note ``classes`` says of which layer."""
    own = bench(folder)
    note = own.job.read_note("classes", ClassesNote)
    box = own.box(number)
    labels = own.read_layer(note.layer, note.table, box)
    if labels.any():
        phase, _, name = note.classes.partition("/")
        classes = own.job.open_table(phase, name)[labels]
        own.output(note.target).write(box, np.stack([labels, classes], -1))
    return {}


def score_maps(folder: Path, number: int) -> Record:
    """Pixels that maps and true channels share, of channels that a block can tell."""
    own = bench(folder)
    if own.truth is None:
        return {}
    outer, block = own.around(number, _CONTOUR)
    truth = own.truth.read(outer)
    maps = own.read_maps(own.box(number))
    settings = from_config.encode_settings(own.config, "TEST")
    channels = encode_with(settings, truth[..., 0])
    inner = block.core
    true = {name: values[inner] for name, values in channels.items() if name in LOCAL}
    sums = map_sums(true, maps, truth[..., 0][inner] > 0)
    if "class" in maps and truth.shape[-1] > 1:
        sums |= class_map_sums(truth[..., 1][inner], maps["class"], own.config.MODEL.N_CLASSES)
    return {name: np.array([ratio.total, ratio.count]) for name, ratio in sums.items()}


def overlap_in(record: Mapping[str, Array], prefix: str = "overlap") -> Overlap:
    """An overlap table from a record."""
    return unpack(Overlap, prefix, record)


def build_level(folder: Path, number: int) -> Record:
    """One box of a coarser level of an image; the note ``pyramid`` says of which."""
    own = bench(folder)
    note = own.job.read_note("pyramid", PyramidNote)
    target, level = own.output(note.path), note.level
    boxes = list(target.blocks(level))
    target.build_level(level, boxes[number])
    return {"shape": np.array(shape_of(boxes[number]))}
