"""Measure how records, joins and tables grow with the number of blocks, up to a petabyte.

    OMP_NUM_THREADS=1 python benchmarks/petabyte.py driver --blocks 1e3 1e4 [--objects 4]
    OMP_NUM_THREADS=1 python benchmarks/petabyte.py driver --blocks 1e4 1e5 --alone
    OMP_NUM_THREADS=1 python benchmarks/petabyte.py joins --blocks 1e4 1e5 [--objects 4]
    OMP_NUM_THREADS=1 python benchmarks/petabyte.py levels --blocks 1e3 1e4 1e5 1e6 6e7
    OMP_NUM_THREADS=1 python benchmarks/petabyte.py pixels --blocks 64 512 4096

`driver` sends the blocks of 256³ voxels through the scheduler of Dask, the record files and the
joins of a run. Its tasks read no pixels: they return the records of a block with some objects, and
with one object across each of its faces. With `--alone`, the tasks run in one process without
Dask. `joins` computes the records when they are read. `levels` runs tasks of the coarser levels of
an empty label image. `pixels` runs the tasks of a run on blocks of 16³ voxels, with a network that
costs nothing. Each size runs in a process of its own, for at most `--seconds`, and the number of
instances is compared with the number of drawn objects. `docs/scale.md` uses the tables.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from singula.blocks import JobFolder
from singula.blocks.runner import OneProcess, unfinished_blocks
from singula.config import config_from_dict
from singula.io.block_array import BlockArray
from singula.io.records.blocks import HaloNote, PyramidNote, ThresholdsNote
from singula.io.write import write_csv, write_csv_parts
from singula.labels.border import Ids
from singula.measure import Shapes
from singula.pipeline.blocks import tasks
from singula.pipeline.blocks.context import BlockContext, block_context
from singula.pipeline.blocks.image import BlockImage
from singula.pipeline.blocks.job_spec import JobSpec
from singula.pipeline.blocks.seeds import join_seeds
from singula.pipeline.blocks.steps import Measured
from singula.util.process import prepare_process, release_memory

Record = dict[str, np.ndarray]
SIDE, SMALL_SIDE = 256, 16  # of a block, in voxels
WIDTH = 4  # of an object, in voxels
MARGIN = 2  # of objects inside of a small block
ALONE = False  # True to process all blocks in this process
BINS, PROBABLE = 1024, 1000  # of a histogram, and the bin of the voxels of objects


# The image: the same objects in each block, and one across each face between two blocks


@functools.cache
def pieces(objects: int, low: tuple[bool, ...], high: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """Return the first voxels and widths of the pieces of a block in raster order, and its faces.

    Parameters
    ----------
    objects : int
        Number of objects inside of the block.
    low, high : tuple of bool
        True if there is a block before and after this one, along each axis.
    """
    corners, faces = [(8 * number + 8, 100, 100) for number in range(objects)], []
    for axis in range(3) if objects else ():
        for end, exists in ((0, low[axis]), (-1, high[axis])):
            if exists:
                corner = [40 + 40 * axis] * 3
                corner[axis] = 0 if end == 0 else SIDE - WIDTH // 2
                faces.append((axis, end, tuple(corner)))
    corners = sorted([*corners, *(corner for *_, corner in faces)])
    widths = np.full((len(corners), 3), WIDTH)
    packed: Record = {}
    steps = np.arange(WIDTH)
    for axis, end, corner in faces:
        row = corners.index(corner)
        widths[row, axis] = WIDTH // 2
        first, second = (value for at, value in enumerate(corner) if at != axis)
        places = ((first + steps)[:, None] * SIDE + second + steps).ravel()
        packed[f"face{axis}{end}.places"] = places.astype(np.int64)
        packed[f"face{axis}{end}.labels"] = np.full(places.size, row + 1, np.int32)
    return np.array(corners, np.int64).reshape(-1, 3), widths, packed


def pieces_of(context: BlockContext, number: int) -> tuple[Any, Any, Any]:
    """Return the pieces of a block in coordinates of the image; see `pieces`."""
    position, counts = context.grid.position(number), context.grid.counts
    low = tuple(index > 0 for index in position)
    high = tuple(index + 1 < count for index, count in zip(position, counts, strict=True))
    corners, widths, faces = pieces(int(context.spec.name), low, high)
    return corners + np.array(position) * SIDE, widths, faces


def count_objects(counts: tuple[int, ...], objects: int) -> int:
    """Return the number of objects in an image."""
    total = int(np.prod(counts))
    return objects and total * objects + sum(total // count * (count - 1) for count in counts)


# Tasks that return records without pixels


@functools.cache
def _first_context(folder: Path) -> BlockContext:
    return block_context(folder)


def context_of(folder: Path) -> BlockContext:
    """Return the context of a job; with `--alone`, without reading its specification again."""
    return _first_context(folder) if ALONE else block_context(folder)


def maps_record(folder: Path, number: int) -> Record:
    """Return the record of a block whose maps cost nothing."""
    context = context_of(folder)
    _, widths, _ = pieces_of(context, number)
    counts = np.zeros(BINS, np.int64)
    counts[PROBABLE] = widths.prod(axis=1).sum()
    counts[0] = SIDE**3 - counts[PROBABLE]
    return {"levels.B": counts, "levels.C": counts[::-1].copy()}


def seeds_record(folder: Path, number: int) -> Record:
    """Return the record of the seeds of a block."""
    context = context_of(folder)
    corners, widths, faces = pieces_of(context, number)
    _, height, width = context.shape
    return {
        "first": corners @ np.array([height * width, width, 1], np.int64),
        "pixels": widths.prod(axis=1),
        "extent": widths,
        "at_border": np.zeros(len(corners), bool),
        "alive": np.array(len(corners) > 0),
        **faces,
    }


def flood_record(folder: Path, number: int) -> Record:
    """Return the record of a flooded block: the seeds do not grow."""
    context = context_of(folder)
    _, widths, _ = pieces_of(context, number)
    ids, offsets = context.seed_ids
    return {
        "ids": np.asarray(ids[int(offsets[number]) : int(offsets[number + 1])], np.int64),
        "pixels": widths.prod(axis=1),
        "at_border": np.zeros(0, np.int64),
        "unproved": np.array(0),
        "halo": np.array([12, 12, 12]),
    }


def instances_record(folder: Path, number: int) -> Record:
    """Return the record of the measurements of a block."""
    context = context_of(folder)
    corners, widths, _ = pieces_of(context, number)
    ids, offsets = context.seed_ids
    numbers = context.job.open_table("flood", "numbers")
    ids = np.asarray(numbers[ids[int(offsets[number]) : int(offsets[number + 1])]], np.int64)
    order, npixels = np.argsort(ids), widths.prod(axis=1)
    table = Shapes(
        ids=ids[order],
        npixels=npixels[order],
        sums=(npixels[:, None] * (corners + (widths - 1) / 2)).astype(np.int64)[order],
        low=corners[order],
        high=(corners + widths)[order],
        outline=np.full(len(ids), 6.0 * WIDTH**2),
    )
    return tasks.pack("shapes", table) | tasks.pack("border", Ids(np.zeros(0, np.int64)))


def cheap_maps(folder: Path, number: int) -> Record:
    """Store the maps of a small block without a network: cubes inside, and across its faces."""
    context = block_context(folder)
    box, constants = context.box(number), context.constant_blocks
    if not int(context.spec.name) and 0 in constants:
        context.maps.copy(constants[0][0], box)
        return dict(constants[0][1])
    inside = np.zeros([part.stop - part.start for part in box], bool)
    if int(context.spec.name):
        inside[MARGIN : MARGIN + WIDTH, MARGIN : MARGIN + WIDTH, MARGIN : MARGIN + WIDTH] = True
        for axis, (part, size) in enumerate(zip(box, context.shape, strict=True)):
            plane = [slice(8, 8 + WIDTH)] * 3
            if part.start:
                inside[(*plane[:axis], slice(0, WIDTH // 2), *plane[axis + 1 :])] = True
            if part.stop < size:
                inside[(*plane[:axis], slice(-WIDTH // 2, None), *plane[axis + 1 :])] = True
    maps = {"B": inside.astype(np.float32), "C": np.zeros(inside.shape, np.float32)}
    context.write_maps(box, maps)
    record = tasks._levels(context, context.prepared(maps, box, box))
    constants[0] = box, record
    return record


# Measurement


def spent() -> float:
    """Return the CPU seconds of this process."""
    return time.process_time()


def memory(field: str) -> int:
    """Return the memory (VmRSS) or the peak (VmHWM) of this process in bytes."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(text.split(f"{field}:")[1].split()[0]) * 1024


def worker_peak() -> int:
    """Return the peak of a worker in bytes."""
    return memory("VmHWM")


class Meter:
    """CPU time and additional memory of each step of this process.

    Attributes
    ----------
    steps : dict
        CPU seconds, wall-clock seconds and bytes of each step.
    """

    def __init__(self) -> None:
        self.steps: dict[str, tuple[float, float, int]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step."""
        release_memory()
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts again
        before, start, began = memory("VmRSS"), spent(), time.perf_counter()
        yield
        seconds, wall = spent() - start, time.perf_counter() - began
        self.steps[name] = seconds, wall, max(0, memory("VmHWM") - before)


def files_of(folder: Path) -> dict[str, Any]:
    """Return the number of files, their bytes, and the most entries of a folder."""
    count, size, folders, most, place = 0, 0, 0, 0, ""
    for path, names, files in os.walk(folder):
        folders += len(names)
        if len(names) + len(files) > most:
            most, place = len(names) + len(files), str(Path(path).relative_to(folder))
        count += len(files)
        size += sum(os.stat(os.path.join(path, file)).st_size for file in files)
    return {"files": count, "bytes": size, "folders": folders, "entries": most, "place": place}


def image_of(folder: Path, side: int, count: int, objects: int, runner: Any) -> BlockImage:
    """Return the image of a job with a number of blocks along each axis."""
    config = config_from_dict(
        {
            "PROBLEM": {"NDIM": "3D", "INSTANCE_SEG": {"DATA_CHANNELS": "BC"}},
            "DATA": {"PATCH_SIZE": "(16, 16, 16, 1)", "TEST": {"PATH": "x"}},
            "MODEL": {"FEATURE_MAPS": [4, 8]},
            "TRAIN": {"ENABLE": False},
            "TEST": {"ENABLE": True, "BY_CHUNKS": {"ENABLE": True}},
        }
    )
    job = JobFolder(folder / "job")
    spec = JobSpec(
        name=str(objects), config=config.to_yaml(), image="", label="", mask="", checkpoint="",
        image_place=None, label_place=None, maps=str(folder / "maps.zarr"),
        instances=str(folder / "instances.zarr"), processed="", shape=(side * count,) * 3,
        block=(side,) * 3, spacing=None, unit=None, most=10**7, network=10**9, halo=(0, 0, 0),
        maps_key="", key="",
    )  # fmt: skip
    spec.save(job)
    return BlockImage(
        job, spec, runner, lambda *_: 0.0, lambda _: nullcontext(lambda done, total: None)
    )


def measure_driver(arguments: argparse.Namespace, folder: Path, count: int) -> dict[str, Any]:
    """Run all phases without pixels on the workers of a cluster."""
    import petabyte
    from distributed import Client
    from scheduler import cluster
    from scheduler import spent as spent_by

    from singula.blocks.dask_run import DaskRunner

    meter, tasks_cpu, runner, peaks = Meter(), {}, OneProcess(), {}
    petabyte.ALONE = arguments.alone
    with ExitStack() as stack:
        if not arguments.alone:
            address, scheduler = stack.enter_context(cluster(arguments.workers, 1))
            client = stack.enter_context(Client(address))
            client.wait_for_workers(arguments.workers)
            runner = DaskRunner(client)
        image = image_of(folder, SIDE, count, arguments.objects, runner)
        image.job.write_note("halo", HaloNote(pixels=[12, 12, 12]))

        def phase(name: str, do: Callable[[Path, int], Record]) -> None:
            if arguments.alone:
                with meter.step(f"phase {name}"):
                    image.run_phase(name, do)
                return
            before = spent_by(scheduler), workers_cpu(client)
            with meter.step(f"phase {name}"):
                image.run_phase(name, do)
            tasks_cpu[name] = spent_by(scheduler) - before[0], workers_cpu(client) - before[1]

        phase("maps", petabyte.maps_record)
        with meter.step("thresholds"):
            image.store_thresholds()
        phase("seeds", petabyte.seeds_record)
        with meter.step("join of seeds"):
            join_seeds(image.context)
        phase("flood", petabyte.flood_record)
        with meter.step("sizes after the flood"):
            image.flood()
        phase("instances", petabyte.instances_record)
        if not arguments.alone:
            peaks = client.run(petabyte.worker_peak)
    with meter.step("table of measurements and CSV"):
        found = write_measurements(image, folder / "stats.csv")
    with meter.step("which blocks are finished"):
        left = unfinished_blocks(JobFolder(image.job.path), "maps", range(len(image.grid)))
    expected = count_objects(image.grid.counts, arguments.objects)
    if (*found, len(left)) != (expected * WIDTH**3, expected, 0):
        raise RuntimeError(f"got {found}, expected {expected} objects of {WIDTH**3} voxels")
    offsets = image.job.open_table("seeds", "offsets")
    return {
        "blocks": len(image.grid),
        "instances": expected,
        "pieces": int(offsets[-1]),
        "steps": meter.steps,
        "tasks": tasks_cpu,
        **({"worker": max(peaks.values())} if peaks else {}),
        **files_of(image.job.path),
    }


def write_measurements(image: BlockImage, path: Path) -> tuple[int, int]:
    """Write the table of measurements, and return its number of voxels and of rows."""
    found = np.zeros(2, np.int64)

    def parts() -> Iterator[Any]:
        for part in Measured(image, "instances"):
            found[:] += part["npixels"].sum(), len(part)
            yield part

    write_csv_parts(path, parts())
    return int(found[0]), int(found[1])


class DrawnRecords(JobFolder):
    """Job whose records are computed when they are read; no file is written."""

    def load(self, phase: str, number: int) -> Record:
        """Return the record of a block."""
        return {"seeds": seeds_record, "instances": instances_record}[phase](self.path, number)


def measure_joins(arguments: argparse.Namespace, folder: Path, count: int) -> dict[str, Any]:
    """Join seeds and measurements whose records are not in files."""
    import petabyte

    petabyte.ALONE, meter = True, Meter()
    image = image_of(folder, SIDE, count, arguments.objects, OneProcess())
    image.job = DrawnRecords(image.job.path)
    context = context_of(image.job.path)
    context.job = image.job
    context.job.write_note("thresholds", ThresholdsNote(values={"B": 0.5, "C": 0.5}, notes=[]))
    for phase in ("seeds", "flood"):
        (image.job.path / phase).mkdir()
    write_csv(folder / "warm.csv", [{"a": 1}])  # imports pandas
    with meter.step("records"):
        for number in range(len(image.grid)):
            seeds_record(image.job.path, number)
    with meter.step("records and join of seeds"):
        join_seeds(context)
    expected = count_objects(image.grid.counts, arguments.objects)
    image.job.save_table("flood", "numbers", np.arange(expected + 1))
    with meter.step("records, table of measurements and CSV"):
        found = write_measurements(image, folder / "stats.csv")
    if found != (expected * WIDTH**3, expected):
        raise RuntimeError(f"got {found}, expected {expected} objects of {WIDTH**3} voxels")
    pieces = int(image.job.open_table("seeds", "offsets")[-1])
    return {
        "blocks": len(image.grid), "instances": expected, "pieces": pieces, "steps": meter.steps
    }  # fmt: skip


def workers_cpu(client: Any) -> float:
    """Return the CPU seconds of all workers."""
    import petabyte

    return sum(client.run(petabyte.spent).values())


def measure_levels(arguments: argparse.Namespace, folder: Path, count: int) -> dict[str, Any]:
    """Run some tasks of the first coarser level of an empty label image."""
    image = image_of(folder, SIDE, count, 0, OneProcess())
    image.create(image.spec.instances, image.spec.shape, np.uint32, kind="labels")
    image.job.write_note("pyramid", PyramidNote(path=image.spec.instances, level=1))
    target, meter = BlockArray.open(image.spec.instances), Meter()
    with meter.step("number of boxes"):
        boxes = len(tasks.level_grid(target, 1))
    tasks.build_level(image.job.path, 0)
    samples = max(1, min(200, 2_000_000 // boxes))
    with meter.step("task"):
        for sample in range(samples):
            tasks.build_level(image.job.path, sample * boxes // samples)
    return {"blocks": len(image.grid), "boxes": boxes, "samples": samples, "steps": meter.steps}


def measure_pixels(arguments: argparse.Namespace, folder: Path, count: int) -> dict[str, Any]:
    """Run the tasks of a run on small blocks in this process."""
    meter = Meter()
    image = image_of(folder, SMALL_SIDE, count, arguments.objects, OneProcess())
    warm = image_of(folder / "warm", SMALL_SIDE, 2, 1, OneProcess())
    run_small(warm, Meter())
    found = run_small(image, meter)
    expected = count_objects(image.grid.counts, min(1, arguments.objects))
    if found != expected:
        raise RuntimeError(f"got {found} instances, expected {expected}")
    return {
        "blocks": len(image.grid),
        "instances": found,
        "steps": meter.steps,
        **files_of(folder),
    }


def run_small(image: BlockImage, meter: Meter) -> int:
    """Run all phases with pixels, and return the number of instances."""
    with meter.step("maps"):
        image._create_maps()
        image.run_phase("maps", cheap_maps)
    with meter.step("thresholds"):
        image.store_thresholds()
    with meter.step("seeds and join"):
        image.find_seeds()
    with meter.step("flood"):
        image.flood()
    with meter.step("instances"):
        image.write_instances()
    with meter.step("table of measurements"):
        count = sum(len(part) for part in Measured(image, "instances"))
    with meter.step("coarser levels"):
        image.build_pyramid(image.spec.maps, "maps")
        image.build_pyramid(image.spec.instances, "instances")
    return count


MEASURES = {
    "driver": measure_driver,
    "joins": measure_joins,
    "levels": measure_levels,
    "pixels": measure_pixels,
}


# Tables


def report(what: str, results: list[dict[str, Any]]) -> None:
    """Print Markdown tables with a column for each size."""
    heads = [f"{result['blocks']:,} blocks" for result in results]
    print(f"\n| {what} | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|")

    def row(title: str, cell: Callable[[dict[str, Any]], str]) -> None:
        print(f"| {title} | " + " | ".join(cell(result) for result in results) + " |")

    for name in ("instances", "pieces", "boxes"):
        if name in results[0]:
            row(name, lambda result, name=name: f"{result[name]:,}")
    for step in results[0]["steps"]:

        def cell(result: dict[str, Any], step: str = step) -> str:
            seconds, wall, size = result["steps"][step]
            each = result["samples"] if step == "task" else result["blocks"]
            return (
                f"{seconds:.2f} s CPU ({wall:.1f} s wall), {1e6 * seconds / each:,.0f} µs each, "
                f"{size / 1e6:,.0f} MB, {size / result['blocks']:,.0f} B per block"
            )

        row(step, cell)
    for name in results[0].get("tasks", ()):

        def shares(result: dict[str, Any], name: str = name) -> str:
            seconds = result["tasks"][name]
            return ", ".join(f"{1e6 * part / result['blocks']:,.0f} µs" for part in seconds)

        row(f"tasks of {name}: scheduler, workers", shares)
    if "worker" in results[0]:
        row("largest worker", lambda result: f"{result['worker'] / 1e6:,.0f} MB")
    if "files" in results[0]:
        row("files", lambda r: f"{r['files']:,} in {r['folders']:,} folders")
        row("most entries of a folder", lambda r: f"{r['entries']:,} (`{r['place']}`)")
        row("bytes", lambda r: f"{r['bytes']:,}, {r['bytes'] / r['blocks']:,.0f} per block")
    sys.stdout.flush()


def main() -> None:
    """Measure each size in a process of its own, or a size in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=tuple(MEASURES))
    parser.add_argument("--blocks", type=float, nargs="+", default=[1e3, 1e4])
    parser.add_argument("--objects", type=int, default=0, help="inside of each block")
    parser.add_argument("--alone", action="store_true", help="no Dask: only records and joins")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=900, help="limit of each size")
    parser.add_argument("--folder", type=Path, help="of the temporary files")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)  # blocks along each axis
    arguments = parser.parse_args()
    if arguments.size:
        import petabyte  # so that workers can import the tasks

        prepare_process()
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            result = petabyte.MEASURES[arguments.what](arguments, Path(folder), arguments.size)
        print(json.dumps(result))
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    results = []
    for blocks in arguments.blocks:
        command = [sys.executable, __file__, *sys.argv[1:], "--size", str(round(blocks ** (1 / 3)))]
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, timeout=arguments.seconds, check=True
            )
        except subprocess.TimeoutExpired:
            print(f"{blocks:,.0f} blocks: not finished in {arguments.seconds:.0f} s", flush=True)
            break
        results.append(json.loads(done.stdout.splitlines()[-1]))
        report(arguments.what, results)


if __name__ == "__main__":
    main()
