"""Phases of a test image in blocks, from its values to its instances."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from copy import copy
from math import log
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from singula.blocks import JobFolder
from singula.blocks.job import save_arrays
from singula.blocks.runner import Runner, Work
from singula.data.normalize import Normalizer
from singula.data.statistics import Statistics
from singula.io.block_array import BlockArray
from singula.io.lazy_array import LazyArray, constant_image_notices
from singula.io.records.blocks import (
    ClassesNote,
    ColorNote,
    FillNote,
    HaloNote,
    LayerNote,
    PyramidNote,
    ScalingNote,
    ThresholdsNote,
)
from singula.labels.block_table import Table
from singula.labels.overlap import sum_overlaps
from singula.labels.table_parts import TableParts
from singula.labels.voronoi import growth_threshold
from singula.metrics import Match, winning_classes
from singula.pipeline import from_config
from singula.pipeline.blocks import objects, tasks
from singula.pipeline.blocks.context import (
    FLOODED,
    LEVELS,
    SEEDS,
    BlockContext,
    block_context,
    scaling_note,
)
from singula.pipeline.blocks.halo import measure_halo
from singula.pipeline.blocks.job_spec import JobSpec
from singula.pipeline.blocks.seeds import join_seeds
from singula.representations.decoders import histogram_channels, resolve_thresholds
from singula.representations.decoders.blockwise import block_decoder
from singula.representations.decoders.morphology import is_large
from singula.util.format import counted
from singula.util.progress import ProgressCallback

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
OpenProgress = Callable[[str], AbstractContextManager[ProgressCallback]]
_CHUNK = {2: 512, 3: 64}  # preferred side of a Zarr chunk, by number of axes


def chunk_side(side: int, preferred: int) -> int:
    """Return the divisor of a block's side that is closest to the side of a Zarr chunk.

    Parameters
    ----------
    side : int
        Side of the block, in pixels.
    preferred : int
        Preferred side of a chunk, in pixels.
    """
    divisors = [value for value in range(1, side + 1) if side % value == 0]
    return min(divisors, key=lambda value: abs(log(value / preferred)))


T = TypeVar("T", bound=Table)
PARTS = "parts"
"""Folder in a job for the rows of large tables."""


class BlockImage:
    """Test image that is processed block by block, in phases.

    Each phase writes a record for each block and then, from all records, a table or a note.
    Existing records, tables and notes are not computed again.

    Parameters
    ----------
    job : JobFolder
        Folder of the records.
    spec : JobSpec
        Specification of the job, saved in the folder.
    runner : Runner
        Runs the functions of a phase on the blocks.
    clock : callable
        Adds a time to a stage, from the name of the stage and its start.
    progress : callable
        Return a context manager of the progress callback, from the title of a phase.
    """

    def __init__(
        self,
        job: JobFolder,
        spec: JobSpec,
        runner: Runner,
        clock: Callable[[str, float], float],
        progress: OpenProgress,
    ) -> None:
        self.job, self.spec, self.runner = job, spec, runner
        self.clock, self.progress = clock, progress
        self.grid = spec.grid
        self._parts: dict[str, TableParts[Any]] = {}

    @property
    def context(self) -> BlockContext:
        """Files and settings that this process opened."""
        return block_context(self.job.path)

    def run_phase(self, phase: str, do: Work, count: int | None = None) -> None:
        """Run the function of a phase on all blocks without a record.

        Parameters
        ----------
        phase : str
            Name of the phase, and of the folder of its records.
        do : callable
            Return the record of a block, from the job folder and the number of the block.
        count : int, optional
            Number of blocks, if the phase does not use those of the grid.
        """
        blocks = range(len(self.grid) if count is None else count)
        with self.progress(f"{self.spec.name}: {phase}") as report_progress:
            self.runner.run(do, self.job, phase, blocks, report_progress)

    def records(self, phase: str) -> Iterator[dict[str, Array]]:
        """Return the records of a phase, in the order of the blocks."""
        return (self.job.load(phase, number) for number in range(len(self.grid)))

    def table_parts(self, kind: type[T], prefix: str, phase: str) -> TableParts[T]:
        """Return the table of the instances from the records of a phase, in parts.

        Parameters
        ----------
        kind : type
            Subclass of `Table` with the key ``ids``.
        prefix : str
            Name of the table in the records.
        phase : str
            Name of the phase.
        """
        name = f"{phase}-{prefix}"

        def tables() -> Iterator[T]:
            return (tasks.unpack(kind, prefix, record) for record in self.records(phase))

        if name not in self._parts:
            folder = self.job.path / PARTS / name
            self._parts[name] = TableParts(kind, tables, self.n_decoded, folder)
        return self._parts[name]

    @property
    def n_decoded(self) -> int:
        """Number of decoded instances, whose ids are consecutive."""
        return int(self.job.open_table("flood", "numbers").max(initial=0))

    # Maps

    def predict(self, normalizers: Sequence[Normalizer]) -> None:
        """Predict and store the maps of all blocks.

        Parameters
        ----------
        normalizers : sequence of Normalizer
            Normalization of each model.
        """
        start = time.perf_counter()
        if not self.job.has_note(scaling_note(len(normalizers) - 1)):
            self._store_scaling(normalizers)
        if not Path(self.spec.maps).is_dir() or not self.job.done("maps"):
            self._create_maps()
        self.run_phase("maps", tasks.predict_maps)
        self.clock("prediction", start)

    def _store_scaling(self, normalizers: Sequence[Normalizer]) -> None:
        """Store the scaling; count the values of the image if a normalization requires it."""
        image, config = self.context.image, self.context.config
        for line in constant_image_notices(self.spec.image, LazyArray.of(image)):
            _log.warning(line)
        median = config.DATA.TEST.MEDIAN_PADDING
        floats = image.dtype.kind == "f" and any(n.kind == "div" for n in normalizers)
        counts, maxima = Statistics((50.0, 50.0)), [-np.inf]
        if median or floats or any(n.wants_values for n in normalizers):
            self.run_phase("values", tasks.count_values)
            for record in self.records("values"):
                maxima.append(float(record["largest"]))
                counts.add_arrays(record)
            glass = self.context.glass
            if glass is not None and max(maxima) == -np.inf:  # a slide of nothing but glass
                pixel = np.broadcast_to(np.asarray(glass, image.dtype), (1, image.channels))
                counts.add_part(pixel, [0] * len(self.spec.shape), self.spec.shape)
                maxima.append(float(pixel.max()))
        if median:
            medians = [float(v) for v in counts.summary()["low"]]
            self.job.write_note("fill", FillNote(values=medians))
        for number, normalizer in enumerate(normalizers):
            statistics = copy(counts)
            statistics.clip = normalizer.clip
            scaling = normalizer.scaling_from(
                image.dtype, image.channels, statistics, lambda: max(maxima)
            )
            names = ("low", "high", "shift", "scale")
            values = {n: getattr(scaling, n).tolist() for n in names}
            self.job.write_note(scaling_note(number), ScalingNote(**values))

    def _create_maps(self) -> None:
        context = self.context
        half = all(dtype == np.float16 for dtype in context.map_dtypes.values())
        self.create(
            self.spec.maps,
            (*self.spec.shape, len(context.names)),
            np.float16 if half else np.float32,
            names=context.names,
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
        """Create an image with one file per block."""
        ndim = len(self.spec.shape)
        chunks = [chunk_side(side, _CHUNK[ndim]) for side in self.spec.block]
        return BlockArray.create(
            path,
            shape,
            dtype,
            ndim=ndim,
            names=names,
            spacing=self.spec.spacing,
            unit=self.spec.unit,
            kind=kind,
            chunks=chunks,
            shards=self.spec.block,
        )

    # Instances

    def store_thresholds(self) -> tuple[str, ...]:
        """Store the thresholds from the histograms of all blocks, and return notices."""
        stored = self.job.find_note("thresholds", ThresholdsNote)
        if stored is None:
            context = self.context
            if context.counted_in == LEVELS:
                self.run_phase(LEVELS, tasks.count_levels)
            counts: dict[str, Array] = {}
            for record in self.records(context.counted_in):
                for name, count in record.items():
                    if name.startswith("levels."):
                        key = name.removeprefix("levels.")
                        counts[key] = counts.get(key, 0) + count
            settings = from_config.decode_settings(context.config)
            decoder = block_decoder(context.config.decoder)
            binary = {c: counts[c] for c in histogram_channels(decoder, settings)}
            values, notes = resolve_thresholds(binary, settings)
            area = None
            if context.post.voronoi_threshold is not None:
                area = float(
                    growth_threshold(context.post.voronoi_threshold, lambda: counts[tasks.AREA])
                )
            stored = ThresholdsNote(values=dict(values), notes=list(notes), area=area)
            self.job.write_note("thresholds", stored)
        # The decoder adds a notice if it floods without a growth mask.
        decoder = self.context.decode_plan.decoder
        in_blocks = () if decoder.block_note is None else (decoder.block_note,)
        return (*stored.notes, *decoder.notes(stored.values), *in_blocks)

    @property
    def thresholds(self) -> dict[str, float]:
        """Stored thresholds by name."""
        return dict(self.job.read_note("thresholds", ThresholdsNote).values)

    def find_seeds(self) -> int:
        """Find the seeds of all blocks, join them across faces, and return their number.

        Other decoders collect candidates of objects instead, and merge them.
        """
        if self.context.object_decoder is not None:
            if not self.job.table("seeds", "ids").is_file():  # the last table
                self.run_phase("seeds", objects.collect)
                objects.merge(self.context)
        elif not self.job.table("seeds", "lengths").is_file():  # the last table
            if not self.job.done("seeds"):
                self.create(self.job.path / SEEDS, self.spec.shape, np.uint32, kind="labels")
            self.run_phase("seeds", tasks.find_seeds)
            join_seeds(self.context)
        return int(self.job.open_table("seeds", "count"))

    def flood(self) -> None:
        """Flood or paint all blocks, and store the new ids of instances that are not small."""
        table = self.job.table("flood", "numbers")
        if table.is_file():
            return
        ids = self.job.open_table("seeds", "ids")
        if not self.job.done("flood"):
            self.create(self.job.path / FLOODED, self.spec.shape, ids.dtype, kind="labels")
        count = int(self.job.open_table("seeds", "count"))
        if count and not self.job.has_note("halo"):
            self.job.write_note("halo", HaloNote(pixels=measure_halo(self.context)))
        if count:
            is_painted = self.context.object_decoder is not None
            self.run_phase("flood", objects.paint if is_painted else tasks.flood)
        sizes, n_uncertain = np.zeros(count + 1, np.int64), 0
        at_border = np.zeros(count + 1, bool)
        for record in self.records("flood") if count else ():
            sizes[record["ids"]] += record["pixels"]
            at_border[record["at_border"]] = True
            n_uncertain += int(record.get("unproved", 0))
        is_kept = is_large(sizes, at_border, *self.context.decode_plan.min_sizes)
        is_kept[0] = False
        numbers = np.cumsum(is_kept) * is_kept
        kind = np.min_scalar_type(int(numbers.max(initial=0)))
        self.job.save_table("flood", "numbers", numbers.astype(kind))
        if n_uncertain:
            _log.info(
                f"  {self.spec.name}: the instance of {counted(n_uncertain, 'pixel')} is "
                "uncertain: it may depend on pixels outside of the largest halo that fits into "
                "memory; raise SYSTEM.MAX_MEMORY to decide it"
            )

    def write_instances(self) -> None:
        """Write the decoded instances to the results folder."""
        source = LayerNote(layer=FLOODED, table="flood/numbers")
        self._write_result("instances", tasks.write_instances, self.spec.instances, source)

    def write_processed(self) -> None:
        """Write the post-processed instances, given by the note ``processed``, as a result."""
        source = self.job.read_note("processed", LayerNote)
        self._write_result("processed", tasks.write_processed, self.spec.processed, source)

    def _write_result(self, phase: str, do: Work, path: str, source: LayerNote) -> None:
        """Measure and write the instances.

        If the network predicts classes, the instances are written in a second phase, because the
        class of an instance depends on all of its blocks.
        """
        kind = self.job.open_table("flood", "numbers").dtype
        if "class" not in self.context.names:
            if not self.job.done(phase):
                self.create(path, self.spec.shape, kind, kind="labels")
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
            shape, both = (*self.spec.shape, 2), np.promote_types(kind, classes.dtype)
            self.create(path, shape, both, names=("instances", "class"), kind="labels")
        self.run_phase(writing, tasks.write_classes)

    def classes(self, phase: str) -> tuple[Array, Array]:
        """Return the ids of the instances of a phase, and the class of each."""
        votes = (tasks.overlap_in(record, "votes") for record in self.records(phase))
        return winning_classes(sum_overlaps(votes))

    def build_pyramid(
        self, path: str, phase: str, properties: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Write the coarser levels of an image and its metadata."""
        target = BlockArray.open(path)
        for level in range(1, len(target.levels)):
            self.job.write_note("pyramid", PyramidNote(path=path, level=level))
            count = len(tasks.level_grid(target, level))
            self.run_phase(f"{phase}-level{level}", tasks.build_level, count)
        target.finish(self.spec.name, properties)

    def color(self, instances: str, picture: Path, match: Match) -> None:
        """Write an image of true positives, false positives and false negatives."""
        phase = f"colour-{picture.stem}"
        note = ColorNote(match=f"{phase}.npz", instances=instances, picture=str(picture))
        save_arrays(self.job.path / note.match, tasks.pack("match", match))
        self.job.write_note("colour", note)
        if not self.job.done(phase):
            self.create(picture, (*self.spec.shape, 3), np.uint8, names=("red", "green", "blue"))
        self.run_phase(phase, tasks.color)
        self.build_pyramid(str(picture), phase)

    def clean(self) -> None:
        """Delete the intermediate images of the job; keep the records."""
        for path in (*self.job.path.glob("*.zarr"), self.job.path / PARTS):
            shutil.rmtree(path, ignore_errors=True)
