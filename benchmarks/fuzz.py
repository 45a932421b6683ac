"""Give damaged files and configurations to Singula, and count how it ends.

    python benchmarks/fuzz.py --seconds 600 --output fuzz_failures

Each case is a copy of a valid input with random damage (`fuzz_cases.py`), read by one function of
the command line, of Python or of the browser interface, in a child process with limits of time
and memory. A case is handled if the function returns or raises `UserError`, and the copy is as it
was. It fails by another exception, by a change of the input, by exceeding the time or the
memory, or by the end of the process. Failures are grouped by the line of Singula in which they
happened; up to ten inputs of each group are kept with the command that reproduces them.

A seed gives the same cases as long as the code and its libraries are the same. Exit code 1 if
anything failed.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fuzz_cases import RUN_CALLS, Call, choose, draw_values, kinds, write_case, write_samples

from singula.errors import UserError

ENDS = ("success", "UserError", "exception", "input changed", "time", "memory", "crash")
HANDLED = ENDS[:2]
KEPT = 10  # inputs of a group
_WRITING = tuple(call.name for call in RUN_CALLS if call.name in ("report", "run --resume", "tune"))
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Result:
    """The end of a case.

    Parameters
    ----------
    kind, call : str
    end : str
        One of `ENDS`.
    place : str
        Line of Singula in which it failed.
    detail : str
        Traceback or message.
    """

    kind: str
    call: str
    end: str
    place: str = ""
    detail: str = ""


@dataclass
class Limits:
    """Limits of a case: seconds, and bytes beyond what the process already has."""

    seconds: float
    memory: int


@dataclass
class Worker:
    """A process that works through every n-th case."""

    number: int
    folder: Path
    next_case: int
    process: Any = None
    results: Connection | None = None
    began: float = field(default_factory=time.monotonic)


def run_case(seed: int, number: int, only: str, folder: Path) -> Result:
    """Write the case of a number below a folder, and run it."""
    kind, call, sample, rng = choose(seed, number, only)
    os.chdir(folder)
    for name in ("case", "out"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    write_case(folder / "samples", folder / "case", kind, call, sample, rng)
    return call_on(kind.name, call, arguments(seed, number), folder / "case")


def arguments(seed: int, number: int) -> random.Random:
    """Return the generator from which a call draws its arguments."""
    return random.Random(f"{seed}/{number}/arguments")


def call_on(kind: str, call: Call, rng: random.Random, case: Path) -> Result:
    """Run a call in the folder of a case, and tell how it ends."""
    os.chdir(case)
    before = snapshot(case, writing=call.name in _WRITING)
    try:
        call.function(rng)
        end, place, detail = "success", "", ""
    except UserError as error:
        end, place, detail = "UserError", "", str(error)
    except MemoryError as error:
        end, place, detail = "memory", _place(error), traceback.format_exc()
    except Exception as error:
        lack = "allocate memory" in str(error) or "out of memory" in str(error)
        end, place = "memory" if lack else "exception", _place(error)
        detail = traceback.format_exc()
    if end in HANDLED and snapshot(case, writing=call.name in _WRITING) != before:
        end, place, detail = "input changed", call.name, "files of the input differ"
    return Result(kind, call.name, end, place, detail)


def snapshot(folder: Path, *, writing: bool) -> dict[str, object]:
    """Map each file of a case to its contents; for a call that writes into a run, only the data."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        stored = any(part.startswith(("x_", "y_")) for part in name.split("/"))
        if stored or (writing and name.startswith("results/")):
            continue
        if path.is_symlink() or not path.is_file():
            found[name] = os.readlink(path) if path.is_symlink() else None
        else:
            found[name] = path.read_bytes()
    return found


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/singula/" in frame.filename]
    frame = (own or frames)[-1]
    return f"{_short(frame.filename)}:{frame.lineno} {type(error).__name__}"


def _short(path: str) -> str:
    return "singula/" + path.rpartition("/singula/")[2] if "/singula/" in path else path


def work(worker: Worker, options: argparse.Namespace, limits: Limits, results: Connection) -> None:
    """Run cases until the time is over, in a child process."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    dump = (worker.folder / "stacks").open("w+")
    os.dup2(dump.fileno(), 2)
    faulthandler.enable(dump)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit_memory(limits.memory)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = worker.next_case
    while number < options.cases and time.monotonic() < options.end:
        results.send(number)
        dump.seek(0)
        dump.truncate()
        faulthandler.dump_traceback_later(limits.seconds, exit=True, file=dump)
        result = run_case(options.seed, number, options.only, worker.folder)
        faulthandler.cancel_dump_traceback_later()
        results.send(result)
        if result.end not in HANDLED:
            results.recv()  # the input is kept
        number += options.workers


def limit_memory(more: int) -> None:
    """Let this process have so many bytes more than it has now."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + more,) * 2)


class Failures:
    """Failing inputs, kept in a folder with the commands that reproduce them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.counts: Counter[tuple[str, str]] = Counter()

    def keep(self, number: int, result: Result, case: Path) -> None:
        """Copy the input of a failed case."""
        group = (result.end, result.place)
        self.counts[group] += 1
        if len(self.groups[group]) >= KEPT:
            return
        kept = self.folder / f"{self.seed}_{number:06d}"
        shutil.rmtree(kept, ignore_errors=True)
        if case.is_dir():
            shutil.copytree(case, kept / "case", symlinks=True)
        else:  # the process ended before it wrote the case
            (kept / "case").mkdir(parents=True)
        facts = {**asdict(result), "seed": self.seed, "number": number}
        (kept / "failure.json").write_text(json.dumps(facts, indent=1))
        (kept / "stack.txt").write_text(result.detail, errors="replace")
        self.groups[group].append(f"python benchmarks/fuzz.py --reproduce {kept}")

    def lines(self) -> list[str]:
        """Return each group with one of its commands, the largest first."""
        found = []
        for (end, place), count in self.counts.most_common():
            found += [f"{count} × {end}: {place}", f"    {self.groups[end, place][0]}"]
        return found


def fuzz(options: argparse.Namespace, folder: Path) -> tuple[Counter[tuple[str, str]], Failures]:
    """Run cases in several processes until the time is over."""
    limits = Limits(options.limit, options.memory << 20)
    counts: Counter[tuple[str, str]] = Counter()
    failures = Failures(options.output, options.seed)
    workers = [Worker(n, folder / str(n), options.first + n) for n in range(options.workers)]
    for worker in workers:
        worker.folder.mkdir()
        (worker.folder / "samples").symlink_to(folder / "samples")
        _start(worker, options, limits)

    def end(worker: Worker, result: Result) -> None:
        counts[result.kind, result.end] += 1
        if result.end not in HANDLED:
            failures.keep(worker.next_case, result, worker.folder / "case")
            if result.end not in ("time", "crash") and worker.results is not None:
                worker.results.send(None)
            if options.verbose:
                print(f"{worker.next_case}: {result.kind}, {result.call}: {result.end} "
                      f"{result.place}", flush=True)  # fmt: skip

    while running := [worker for worker in workers if worker.results is not None]:
        ready = wait([w.results for w in running if w.results is not None], timeout=1)
        for worker in running:
            if worker.results not in ready:
                if time.monotonic() - worker.began > 3 * options.limit:
                    worker.process.kill()  # not even the watchdog of the child came through
                continue
            try:
                message = worker.results.recv()  # type: ignore[union-attr]
            except EOFError:
                worker.process.join()
                if worker.process.exitcode == 0:
                    worker.results = None
                    continue
                end(worker, _dead(worker, options))
                worker.next_case += options.workers
                _start(worker, options, limits)
                continue
            if isinstance(message, int):
                worker.next_case, worker.began = message, time.monotonic()
            else:
                end(worker, message)
    return counts, failures


def _start(worker: Worker, options: argparse.Namespace, limits: Limits) -> None:
    worker.results, child = _FORK.Pipe()
    worker.process = _FORK.Process(target=work, args=(worker, options, limits, child))
    worker.began = time.monotonic()
    worker.process.start()
    child.close()


def _dead(worker: Worker, options: argparse.Namespace) -> Result:
    """Describe the case in which a child ended: by its watchdog, by a signal, or by itself."""
    kind, call, *_ = choose(options.seed, worker.next_case, options.only)
    stack = (worker.folder / "stacks").read_text(errors="replace")
    late = "Timeout (" in stack or worker.process.exitcode == -signal.SIGKILL
    end = "time" if late else "crash"
    own = [line for line in stack.splitlines() if "/singula/" in line and "File" in line]
    place = f"exit code {worker.process.exitcode}"
    if own:
        name, _, rest = own[0].strip().removeprefix('File "').partition('", line ')
        place = f"{_short(name)}:{rest.partition(' ')[0]}"
    lack = "MemoryError" in stack or "allocate memory" in stack
    return Result(kind.name, call.name, "memory" if lack and not late else end, place, stack)


def table(counts: Counter[tuple[str, str]]) -> list[str]:
    """Return the counts of each kind of input as lines of a table."""
    rows = [f"| input | cases | {' | '.join(ENDS)} |", "|---|---" + "|---" * len(ENDS) + "|"]
    names = [kind.name for kind in kinds()]
    for name in names:
        numbers = [counts[name, end] for end in ENDS]
        if sum(numbers):
            rows.append(_row(name, numbers))
    rows.append(_row("all", [sum(counts[name, end] for name in names) for end in ENDS]))
    return rows


def _row(name: str, numbers: list[int]) -> str:
    return f"| {name} | {sum(numbers):,} | " + " | ".join(f"{n:,}" for n in numbers) + " |"


def reproduce(folder: Path, memory: int) -> int:
    """Run a kept case in this process; its traceback is printed."""
    facts = json.loads((folder / "failure.json").read_text())
    kind = next(kind for kind in kinds() if kind.name == facts["kind"])
    call = next(call for call in kind.calls if call.name == facts["call"])
    with tempfile.TemporaryDirectory() as scratch:
        case = Path(scratch) / "case"
        shutil.copytree(folder / "case", case, symlinks=True)
        (Path(scratch) / "out").mkdir()
        if call.name == "predict" and kind.name.startswith("image"):
            write_samples(Path(scratch) / "samples")
        _import_everything()
        limit_memory(memory)
        rng = arguments(facts["seed"], facts["number"])
        result = call_on(kind.name, call, rng, case)
        os.chdir("/")
    print(result.detail or result.end)
    print(f"{result.kind}, {result.call}: {result.end} {result.place}")
    return int(result.end not in HANDLED)


def main() -> int:
    """Fuzz, or reproduce one failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=float, default=math.inf, help="number of cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=60, help="seconds of a case")
    parser.add_argument("--memory", type=int, default=2048, help="MiB of a case")
    parser.add_argument("--only", default="", help="kinds of input whose name contains this")
    parser.add_argument("--output", type=Path, default=Path("fuzz_failures"))
    parser.add_argument("--verbose", action="store_true", help="print each failure at once")
    parser.add_argument("--reproduce", type=Path, metavar="FOLDER", help="run one kept failure")
    options = parser.parse_args()
    if options.reproduce is not None:
        return reproduce(options.reproduce.resolve(), options.memory << 20)
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # Libraries start threads while they write samples; children must not inherit those.
        writer = _FORK.Process(target=write_samples, args=(folder / "samples",))
        writer.start()
        writer.join()
        if writer.exitcode:
            return 2
        _import_everything()
        options.end = time.monotonic() + options.seconds
        counts, failures = fuzz(options, folder)
    print("\n".join([*table(counts), "", *failures.lines()]))
    failed = sum(failures.counts.values())
    print(f"{counts.total():,} cases, {failed} failed (seed {options.seed}); inputs: "
          f"{options.output}")  # fmt: skip
    return int(failed > 0)


def _import_everything() -> None:
    """Import once what every child needs."""
    import torch

    torch.set_num_threads(1)
    draw_values()


if __name__ == "__main__":
    sys.exit(main())
