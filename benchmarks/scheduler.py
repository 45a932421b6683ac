"""Measure the cost of managing a million blocks that do no work.

    python benchmarks/scheduler.py tasks --blocks 1e6          # Dask: scheduler, driver, records
    python benchmarks/scheduler.py tasks --blocks 5e3 --alone  # one block per task
    python benchmarks/scheduler.py records --blocks 1e6        # one process: written, and read
    python benchmarks/scheduler.py join --pieces 1e7           # union-find over faces of blocks

Scheduler, workers and driver are separate processes on this machine, so that the CPU time
of each can be measured. Every command prints one Markdown table; `docs/scale.md` uses them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from singula.blocks import Grid, JobFolder, runner
from singula.blocks.stitch import label_in_raster_order, union_components

ME = psutil.Process()
PHASE = "nothing"


def nothing(folder: Path, number: int) -> dict[str, Any]:
    """Return the record of a block without objects."""
    return {"ids": np.zeros(0, np.int64), "pixels": np.zeros(0, np.int64)}


def seeds(folder: Path, number: int) -> dict[str, Any]:
    """Return the record of a block of 256³ voxels with 300 seeds and 100 voxels on each face."""
    rng = np.random.default_rng(number)
    record = {
        "first": np.sort(rng.integers(0, 2**24, 300)),
        "pixels": rng.integers(100, 900, 300),
        "extent": rng.integers(5, 12, (300, 3)),
        "alive": np.array(True),
    }
    for axis in range(3):
        for end in (0, -1):
            record[f"face{axis}{end}.places"] = np.sort(rng.integers(0, 2**16, 100))
            record[f"face{axis}{end}.labels"] = rng.integers(1, 301, 100).astype(np.int32)
    return record


WORK = {"nothing": nothing, "seeds": seeds}


def rows(title: str, values: dict[str, str]) -> None:
    """Print a table of two columns."""
    print(f"\n| {title} | |\n|---|---|")
    for name, value in values.items():
        print(f"| {name} | {value} |")
    sys.stdout.flush()


def spent(process: psutil.Process) -> float:
    """Return the CPU seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def peak() -> float:
    """Return the peak memory of this process in MB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


@contextmanager
def cluster(workers: int, threads: int) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address of a scheduler with workers in separate processes, and its process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(places),
            "DASK_LOGGING__DISTRIBUTED": "error",
        }
        file = folder / "scheduler.json"
        command = [sys.executable, "-m", "distributed.cli"]

        def start(part: str, *options: object) -> subprocess.Popen[bytes]:
            line = [*command[:2], f"distributed.cli.dask_{part}", *map(str, options)]
            process = subprocess.Popen(line, env=environment)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        found = start("scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", file,
                      "--dashboard-address", "127.0.0.1:0", "--no-dashboard")  # fmt: skip
        while not file.is_file():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        for _ in range(workers):
            start("worker", address, "--nthreads", threads, "--no-dashboard", "--no-nanny",
                  "--host", "127.0.0.1", "--local-directory", folder)  # fmt: skip
        yield address, psutil.Process(found.pid)


def measure_tasks(arguments: argparse.Namespace) -> None:
    """Measure blocks that Dask distributes."""
    from distributed import Client

    from singula.blocks import dask_run

    sent = [0]

    class Counted(Client):
        def map(self, function: Any, *parts: Any, **options: Any) -> Any:
            sent[0] += len(parts[0])
            return super().map(function, *parts, **options)

    if arguments.alone:
        dask_run.MAX_BATCH = 1
    with (
        cluster(arguments.workers, arguments.threads) as (address, scheduler),
        Counted(address) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        client.wait_for_workers(arguments.workers)
        crew, job = dask_run.DaskRunner(client), JobFolder(folder)
        crew.run(WORK[arguments.record], job, "warm", range(100), lambda done, total: None)
        sent[0] = 0
        held = scheduler.memory_info().rss
        before = spent(ME), spent(scheduler), time.perf_counter()
        crew.run(
            WORK[arguments.record], job, PHASE, range(arguments.blocks), lambda done, total: None
        )
        driver, other = spent(ME) - before[0], spent(scheduler) - before[1]
        wall, tasks = time.perf_counter() - before[2], sent[0]
        rows(
            f"{arguments.blocks:,} blocks, {arguments.workers} workers of {arguments.threads}"
            + (", a block per task" if arguments.alone else ""),
            {
                "seconds": f"{wall:.0f}",
                "blocks/s": f"{arguments.blocks / wall:,.0f}",
                "tasks": f"{tasks:,} ({arguments.blocks / tasks:.0f} blocks each)",
                "scheduler, processor time per task": f"{1e6 * other / tasks:,.0f} µs",
                "scheduler, per block": f"{1e6 * other / arguments.blocks:,.1f} µs",
                "driver, processor time per task": f"{1e6 * driver / tasks:,.0f} µs",
                "driver, per block": f"{1e6 * driver / arguments.blocks:,.1f} µs",
                "scheduler, memory before and after": f"{held / 1e6:.0f}, "
                f"{scheduler.memory_info().rss / 1e6:.0f} MB",
                "driver, most memory": f"{peak():.0f} MB",
            },
        )
        assert len(job.done(PHASE)) == arguments.blocks


def measure_records(arguments: argparse.Namespace) -> None:
    """Measure blocks in one process, and reading their records."""
    if arguments.alone:
        runner.MAX_BATCH = 1
    blocks = arguments.blocks

    with tempfile.TemporaryDirectory() as folder:
        job, work = JobFolder(folder), WORK[arguments.record]
        start = time.perf_counter()
        for number in range(min(blocks, 20_000)):
            work(job.path, number)
        itself = (time.perf_counter() - start) / min(blocks, 20_000)
        times = {}

        def timed(name: str, do: Any) -> Any:
            wall, processor = time.perf_counter(), spent(ME)
            result = do()
            wall, processor = time.perf_counter() - wall, spent(ME) - processor
            times[name] = (
                f"{wall:.1f} s: {1e6 * wall / blocks:,.1f} µs per block, of them "
                f"{1e6 * processor / blocks:,.1f} processor time"
            )
            return result

        one = runner.OneProcess()
        timed("blocks done", lambda: one.run(work, job, PHASE, range(blocks), lambda a, b: None))
        found = timed("which are done (`done`)", lambda: job.done(PHASE))
        timed("records read in order", lambda: [None for n in range(blocks) if job.load(PHASE, n)])
        files = [path for path in Path(folder).rglob("*.npz")]
        size = sum(path.stat().st_size for path in files)
        assert len(found) == blocks
        rows(
            f"{blocks:,} blocks in one process, record of {arguments.record}"
            + (", a file per record" if arguments.alone else ""),
            {
                **times,
                "making the record takes": f"{1e6 * itself:,.1f} µs of it",
                "files": f"{len(files):,}, {size / blocks:,.0f} bytes per block",
                "most memory": f"{peak():.0f} MB",
            },
        )


def face_pairs(grid: Grid, each: int, pairs: int, rng: np.random.Generator) -> Any:
    """Yield pairs of seeds that touch across faces of a grid, as `touching_pairs` does."""
    table = rng.integers(1, each + 1, (64, pairs, 2))
    for number in range(len(grid)):
        for _, behind in grid.next_blocks(number):
            yield number, behind, table[(number + behind) % 64]


def measure_join(arguments: argparse.Namespace) -> None:
    """Measure the union of 300 pieces per block, of which 20 touch a piece across each face."""
    each, pairs = 300, 20
    side = round((arguments.pieces / each) ** (1 / 3))
    grid = Grid((side,) * 3, (1,) * 3)
    total = len(grid) * each
    rng = np.random.default_rng(0)
    first = rng.permutation(total)
    start = time.perf_counter()
    count = sum(len(found) for _, _, found in face_pairs(grid, each, pairs, rng))
    walked = time.perf_counter() - start
    base = peak()
    start = time.perf_counter()
    component = union_components([each] * len(grid), face_pairs(grid, each, pairs, rng))
    joined, most = time.perf_counter() - start - walked, peak()
    start = time.perf_counter()
    ids = label_in_raster_order(component, first)
    labeled = time.perf_counter() - start
    rows(
        f"{total:,} pieces in {len(grid):,} blocks, {count:,} pairs",
        {
            "`union_components`": f"{joined:.1f} s: {1e9 * joined / total:.0f} ns per piece",
            "its memory": f"{most - base:,.0f} MB: {1e6 * (most - base) / total:.0f} B per piece",
            "`label_in_raster_order`": f"{labeled:.1f} s: {1e9 * labeled / total:.0f} ns per piece",
            "most memory of all": f"{peak():,.0f} MB: {1e6 * peak() / total:.0f} B per piece",
            "instances": f"{int(ids.max()):,}",
        },
    )


def main() -> None:
    """Run one measurement."""
    import scheduler  # so that workers can import what they are to do

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("tasks", "records", "join"))
    parser.add_argument("--blocks", type=lambda text: int(float(text)), default=100_000)
    parser.add_argument("--pieces", type=float, default=1e7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--record", choices=tuple(WORK), default="nothing")
    parser.add_argument("--alone", action="store_true", help="one block per task and record file")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start", flush=True)
    getattr(scheduler, f"measure_{arguments.what}")(arguments)


if __name__ == "__main__":
    main()
