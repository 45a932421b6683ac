"""The phases of one image, from its values to tables and pictures."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from math import ceil, log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.normalize import Normalizer, Statistics
from singula.evaluate import Match, winning_classes
from singula.evaluate.overlap import sum_overlaps
from singula.instances import DECODERS, histogram_channels, resolve_thresholds
from singula.instances.blockwise import flood_part
from singula.instances.decode import advice
from singula.instances.watershed import is_large
from singula.io.lazy_array import LazyArray, constant_image_notices
from singula.io.records import (
    ClassesNote,
    ColorNote,
    FillNote,
    HaloNote,
    LayerNote,
    PyramidNote,
    ScalingNote,
    ThresholdsNote,
)
from singula.io.volume import BlockArray
from singula.postprocess import Extents, close_ids, extents
from singula.postprocess.voronoi import growth_threshold
from singula.scaleout import JobFolder
from singula.scaleout.job import save_arrays
from singula.scaleout.runner import ProgressCallback, Runner, Work
from singula.scaleout.stitch import face_pairs, label_in_raster_order, sum_over, union_components
from singula.stages import settings as from_config
from singula.stages.chunks import work
from singula.stages.chunks.bench import FLOODED, GROWN, LEVELS, REPAIRED, SEEDS, Bench, bench
from singula.stages.chunks.plan import Plan
from singula.words import counted

Array = npt.NDArray[Any]
Notify = Callable[[str], None]
Tell = Callable[[str], AbstractContextManager[ProgressCallback]]
_PILOTS = 3
_CHUNK = {2: 512, 3: 64}


def chunk_side(side: int, wanted: int) -> int:
    """The part of a block's side that is nearest to what is wanted, of those that divide it.

    Parameters
    ----------
    side : int
        Of the block.
    wanted : int
        Of what is compressed at once.
    """
    parts = [part for part in range(1, side + 1) if side % part == 0]
    return min(parts, key=lambda part: abs(log(part / wanted)))


class ChunkImage:
    """One image on its way through the phases.

    Each phase leaves a record of every block and, from all of them, a table or a note. What is
    there already is not done again.

    Parameters
    ----------
    job : JobFolder
    plan : Plan
        Saved in the job.
    runner : Runner
    notify : callable
    clock : callable
        Takes the name of a stage and when it began.
    progress : callable
        From what is done to a context in which numbers of finished blocks are told.
    """

    def __init__(
        self,
        job: JobFolder,
        plan: Plan,
        runner: Runner,
        notify: Notify,
        clock: Callable[[str, float], float],
        progress: Tell,
    ) -> None:
        self.job, self.plan, self.runner, self.notify = job, plan, runner, notify
        self.clock, self.progress = clock, progress
        self.grid = plan.grid

    @property
    def bench(self) -> Bench:
        """What this process opens."""
        return bench(self.job.path)

    def run_phase(self, phase: str, do: Work, count: int | None = None) -> None:
        """Do what is left of a phase."""
        blocks = range(len(self.grid) if count is None else count)
        with self.progress(f"{self.plan.name}: {phase}") as told:
            self.runner.run(do, self.job, phase, blocks, told)

    def records(self, phase: str) -> Iterator[dict[str, Array]]:
        """The records of a phase, block after block."""
        return (self.job.load(phase, number) for number in range(len(self.grid)))

    # Maps

    def predict(self, normalizer: Normalizer) -> None:
        """Maps of all blocks."""
        began = time.perf_counter()
        if not self.job.has_note("scaling"):
            self._settle_scaling(normalizer)
        if not Path(self.plan.maps).is_dir() or not self.job.done("maps"):
            self._create_maps()
        self.run_phase("maps", work.predict_maps)
        self.clock("prediction", began)

    def _settle_scaling(self, normalizer: Normalizer) -> None:
        """Normalisation from the whole image, where it asks for that."""
        image, config = self.bench.image, self.bench.config
        for line in constant_image_notices(self.plan.image, LazyArray.of(image)):
            self.notify(line)
        median = config.DATA.TEST.MEDIAN_PADDING
        floats = image.dtype.kind == "f" and normalizer.kind == "div"
        counted, largest = Statistics(normalizer.clip), [-np.inf]
        if normalizer.wants_values or median or floats:
            self.run_phase("values", work.count_values)
            for record in self.records("values"):
                largest.append(float(record["largest"]))
                counted.add_arrays(record)
        if median:
            middle = Statistics((50.0, 50.0))
            middle.counts, middle.samples = counted.counts, counted.samples
            self.job.write_note(
                "fill", FillNote(values=[float(v) for v in middle.summary()["low"]])
            )
        scaling = normalizer.scaling_from(
            image.dtype, image.channels, counted, lambda: max(largest)
        )
        names = ("low", "high", "shift", "scale")
        values = {n: getattr(scaling, n).tolist() for n in names}
        self.job.write_note("scaling", ScalingNote(**values))

    def _create_maps(self) -> None:
        bench = self.bench
        outputs = from_config.outputs(bench.config)
        short = from_config.in_half(bench.config, self.plan.shape)
        short = short and all(o.activation == "sigmoid" for o in outputs)
        short = short and "class" not in bench.names
        self.create(
            self.plan.maps,
            (*self.plan.shape, len(bench.names)),
            np.float16 if short else np.float32,
            names=bench.names,
        )

    def create(
        self,
        path: Path | str,
        shape: Sequence[int],
        dtype: Any,
        *,
        names: Sequence[str] | None = None,
        kind: str = "image",
    ) -> BlockArray:
        """Begin an image whose files are the blocks."""
        ndim = len(self.plan.shape)
        chunks = [chunk_side(side, _CHUNK[ndim]) for side in self.plan.block]
        return BlockArray.create(
            path,
            shape,
            dtype,
            ndim=ndim,
            names=names,
            spacing=self.plan.spacing,
            unit=self.plan.unit,
            kind=kind,
            chunks=chunks,
            shards=self.plan.block,
        )

    # Instances

    def settle_thresholds(self) -> tuple[str, ...]:
        """Thresholds from the histograms of all blocks; gives what is to be said of them."""
        found = self.job.find_note("thresholds", ThresholdsNote)
        if found is None:
            bench = self.bench
            if bench.counted_in == LEVELS:
                self.run_phase(LEVELS, work.count_levels)
            counts: dict[str, Array] = {}
            for record in self.records(bench.counted_in):
                for name, count in record.items():
                    if name.startswith("levels."):
                        key = name.removeprefix("levels.")
                        counts[key] = counts.get(key, 0) + count
            settings = from_config.decode_settings(bench.config)
            decoder = DECODERS[bench.config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS]
            binary = {c: counts[c] for c in histogram_channels(decoder, settings)}
            values, notes = resolve_thresholds(binary, settings)
            area = None
            if bench.post.voronoi_threshold is not None:
                area = float(
                    growth_threshold(bench.post.voronoi_threshold, lambda: counts[work.AREA])
                )
            found = ThresholdsNote(values=dict(values), notes=list(notes), area=area)
            self.job.write_note("thresholds", found)
        # Flooding without a growth mask has something to say, too.
        return (*found.notes, *advice(self.bench.recipe.decoder, found.values))

    @property
    def thresholds(self) -> dict[str, float]:
        """Those that were settled on."""
        return dict(self.job.read_note("thresholds", ThresholdsNote).values)

    def find_seeds(self) -> int:
        """Seeds of all blocks, joined over their faces; gives how many there are."""
        table = self.job.table("seeds", "ids")
        if not table.is_file():
            if not self.job.done("seeds"):
                self.create(self.job.path / SEEDS, self.plan.shape, np.uint32, kind="labels")
            self.run_phase("seeds", work.find_seeds)
            self._join_seeds()
        return int(self.job.open_table("seeds", "count"))

    def _join_seeds(self) -> None:
        counts, first, pixels = [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        at_border = [np.zeros(0, bool)]
        for record in self.records("seeds"):
            counts.append(len(record["first"]))
            first.append(record["first"])
            pixels.append(record["pixels"])
            at_border.append(record["at_border"])
        component = union_components(counts, self._touching())
        settings = self.bench.recipe.settings
        kept = None
        if settings.remove_before:
            sizes = sum_over(component, np.concatenate(pixels))
            cut = sum_over(component, np.concatenate(at_border).astype(np.int64)) > 0
            kept = is_large(sizes, cut, settings.remove_small, settings.min_border_pixels)
        ids = label_in_raster_order(component, np.concatenate(first), kept)
        count = int(ids.max(initial=0))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        if self.bench.post.close_radius is not None and count:
            ids[np.isin(ids, self._too_close(ids, offsets))] = 0
        kind = np.uint32 if count < 2**32 else np.uint64
        self.job.save_table("seeds", "offsets", offsets)
        self.job.save_table("seeds", "count", np.array(count))
        self.job.save_table("seeds", "ids", ids.astype(kind))

    def _touching(self) -> Iterator[tuple[int, int, Array]]:
        """Pairs of seeds that touch over the faces of blocks."""
        record = lru_cache(maxsize=2)(partial(self.job.load, "seeds"))
        return face_pairs(self.grid, lambda number, *side: work.face_in(record(number), *side))

    def _too_close(self, ids: Array, offsets: Array) -> Array:
        """Ids of the seeds whose centres are too near to that of a larger one."""
        parts = []
        for number, record in enumerate(self.records("seeds")):
            if "extents.ids" in record:
                part = work.unpack(Extents, "extents", record)
                own = ids[offsets[number] :][part.ids - 1]
                columns = {
                    name: record[f"extents.{name}"] for name in ("npixels", "sums", "low", "high")
                }
                there = own > 0
                parts.append(
                    Extents.of_rows(
                        ids=own[there], **{name: column[there] for name, column in columns.items()}
                    )
                )
        radius = self.bench.post.close_radius
        if not parts or radius is None:
            return np.zeros(0, np.int64)
        return close_ids(Extents.merge(parts), radius, spacing=self.plan.spacing)

    def flood(self) -> None:
        """Instances of all blocks, and the numbers that remain when small ones are gone."""
        table = self.job.table("flood", "numbers")
        if table.is_file():
            return
        ids = self.job.open_table("seeds", "ids")
        if not self.job.done("flood"):
            self.create(self.job.path / FLOODED, self.plan.shape, ids.dtype, kind="labels")
        count = int(self.job.open_table("seeds", "count"))
        if count and not self.job.has_note("halo"):
            self.job.write_note("halo", HaloNote(pixels=self._measure_halo()))
        if count:  # without any seed nothing grows, wherever it could
            self.run_phase("flood", work.flood)
        sizes, n_uncertain = np.zeros(count + 1, np.int64), 0
        at_border = np.zeros(count + 1, bool)
        for record in self.records("flood") if count else ():
            sizes[record["ids"]] += record["pixels"]
            at_border[record["at_border"]] = True
            n_uncertain += int(record.get("unproved", 0))
        settings = self.bench.recipe.settings
        least = (
            (0, 0)
            if settings.remove_before
            else (settings.remove_small, settings.min_border_pixels)
        )
        kept = is_large(sizes, at_border, *least)
        kept[0] = False
        numbers = np.cumsum(kept) * kept
        kind = np.min_scalar_type(int(numbers.max(initial=0)))
        self.job.save_table("flood", "numbers", numbers.astype(kind))
        if n_uncertain:
            self.notify(
                f"  {self.plan.name}: {counted(n_uncertain, 'pixel')} could be reached from "
                "farther than memory "
                "allows to look; give more with SYSTEM.MAX_MEMORY to be certain of them"
            )

    def _measure_halo(self) -> list[int]:
        """What is decoded around a block, from the size of the instances in the fullest blocks."""
        ndim, found, sides = len(self.plan.shape), [], []
        for record in self.records("seeds"):
            found.append(len(record["first"]))
            if len(record["first"]):
                sides.append(np.percentile(record["extent"], 90, axis=0))
        if not sides:
            return [1] * ndim
        start = [ceil(1.5 * side) + 4 for side in np.max(sides, axis=0)]
        bench, measured = self.bench, []
        for number in np.argsort(found)[::-1][:_PILOTS]:
            box = self.grid.box(int(number))
            part = flood_part(
                bench.recipe,
                box,
                self.plan.shape,
                bench.read_maps,
                bench.read_seeds,
                halo=start,
                max_pixels=self.plan.most,
            )
            own = extents(part.labels)
            inner = (own.low > 0).all(axis=1) & (own.high < part.labels.shape).all(axis=1)
            if inner.any():
                lengths = (own.high - own.low)[inner]
                measured.append(np.percentile(lengths, 99, axis=0))
        if not measured:
            return start
        return [ceil(1.1 * side) + 2 for side in np.max(measured, axis=0)]

    def write_instances(self) -> None:
        """The decoded instances as a result."""
        source = LayerNote(layer=FLOODED, table="flood/numbers")
        self._write_result("instances", work.write_instances, self.plan.instances, source)

    def write_processed(self) -> None:
        """The instances after all steps as a result; the note ``processed`` says what they are."""
        source = self.job.read_note("processed", LayerNote)
        self._write_result("processed", work.write_processed, self.plan.processed, source)

    def _write_result(self, phase: str, do: Work, path: str, source: LayerNote) -> None:
        """Count instances and write them, with classes after that: only then they are known."""
        kind = self.job.open_table("flood", "numbers").dtype
        if "class" not in self.bench.names:
            if not self.job.done(phase):
                self.create(path, self.plan.shape, kind, kind="labels")
            self.run_phase(phase, do)
            return
        self.run_phase(phase, do)
        ids, classes = self.classes(phase)
        table = np.zeros(int(ids.max(initial=0)) + 1, classes.dtype)
        table[ids] = classes
        self.job.save_table(phase, "classes", table)
        note = ClassesNote(
            layer=source.layer, table=source.table, classes=f"{phase}/classes", target=path
        )
        self.job.write_note("classes", note)
        writing = f"{phase}-classes"
        if not self.job.done(writing):
            shape, both = (*self.plan.shape, 2), np.promote_types(kind, classes.dtype)
            self.create(path, shape, both, names=("instances", "class"), kind="labels")
        self.run_phase(writing, work.write_classes)

    def classes(self, phase: str) -> tuple[Array, Array]:
        """Ids of the instances that a phase counted, and the class of each."""
        votes = (work.overlap_in(record, "votes") for record in self.records(phase))
        return winning_classes(sum_overlaps(votes))

    def build_pyramid(
        self, path: str, phase: str, properties: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Coarser levels of a result, and the metadata that make it one."""
        target = BlockArray.open(path)
        for level in range(1, len(target.levels)):
            self.job.write_note("pyramid", PyramidNote(path=path, level=level))
            self.run_phase(
                f"{phase}-level{level}", work.build_level, len(list(target.blocks(level)))
            )
        target.finish(self.plan.name, properties)

    def colour(self, instances: str, picture: Path, match: Match) -> None:
        """Paint hits and misses of one threshold."""
        phase = f"colour-{picture.stem}"
        note = ColorNote(match=f"{phase}.npz", instances=instances, picture=str(picture))
        save_arrays(self.job.path / note.match, work.pack("match", match))
        self.job.write_note("colour", note)
        if not self.job.done(phase):
            self.create(picture, (*self.plan.shape, 3), np.uint8, names=("red", "green", "blue"))
        self.run_phase(phase, work.colour)
        self.build_pyramid(str(picture), phase)

    def clean(self) -> None:
        """Delete the images that only the phases needed; the records stay."""
        for name in (SEEDS, FLOODED, REPAIRED, GROWN):
            shutil.rmtree(self.job.path / name, ignore_errors=True)
