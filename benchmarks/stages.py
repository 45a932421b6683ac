"""Measure time and memory of the stages around the network, compared with peers.

    make bench
    OMP_NUM_THREADS=1 python benchmarks/stages.py [--peer PYTHON]

Each stage and its peers run in turn, in several rounds, on one core. Prints a Markdown table with
medians of CPU time and of the ratios. Data are the label images of ../shared/data/bench, or drawn
ones of the same size. With `--peer`, an interpreter of an environment with BiaPy (see `peers.py`),
its functions are timed too.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import numpy as np
from peer_programs.biapy_stages import Peer
from stage_cases import STAGES, Case, Stage, bench_cases, cpu_seconds, peak_mib

HEAD = ("stage", "data", "seconds", "library", "library's", "ratio", "limit", "peak MiB")
PEER_HEAD = ("BiaPy's", "ratio", "goal")


def ratio_of(own: list[float], theirs: list[float], limit: float | None, *, warn: bool) -> str:
    """Return the median over the rounds as text, with a mark if it is too large."""
    ratio = statistics.median(a / max(b, 1e-9) for a, b in zip(own, theirs, strict=True))
    return f"{ratio:.3g}" + (" (above)" if warn and limit and ratio > limit else "")


def row(stage: Stage, case: Case, rounds: int, peer: Peer | None, *, warn: bool) -> list[str]:
    """Return a row of the table."""
    place = case.labels.ndim - 2
    stage.run(case)  # compiles, and touches the input
    peak = peak_mib(stage.run, case)
    stage.peer(case)
    program = stage.program if peer else None
    own, library, others = [], [], []
    for _ in range(rounds):
        own.append(cpu_seconds(stage.run, case))
        library.append(cpu_seconds(stage.peer, case))
        if peer and program:
            found = peer.seconds(program)
            others += [] if found is None else [found]
    limit, goal = stage.limits[place], stage.goals[place] if stage.goals else None
    cells = [
        stage.name,
        case.name,
        f"{statistics.median(own):.3f}",
        stage.peer_name,
        f"{statistics.median(library):.3f}",
        ratio_of(own, library, limit, warn=warn),
        f"{limit:g}",
        "–" if peak is None else f"{peak:.0f}",
    ]
    if len(others) == rounds:
        shown = "–" if goal is None else f"{goal:.3g}"
        others_ratio = ratio_of(own, others, goal, warn=warn)
        cells += [f"{statistics.median(others):.3f}", others_ratio, shown]
    elif peer:
        cells += ["fails" if program else "–", "–", "–"]
    return cells


def give(peer: Peer, case: Case) -> None:
    """Load a case in the other environment, and compile its functions."""
    arrays: dict[str, Any] = {
        "labels": case.labels,
        "found": case.found,
        "large": np.array(case.large),
        **case.maps,
    }
    small = tuple(slice(0, min(size, 200)) for size in case.labels.shape)
    peer.load({name: v[small] if v.ndim else v for name, v in arrays.items()})
    for stage in STAGES:
        if stage.program:
            peer.seconds(stage.program)
    peer.load(arrays)


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny images: only whether it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ndim", type=int, choices=(2, 3), help="the image or the volume alone")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that can import biapy")
    options = parser.parse_args()
    peer = Peer(options.peer) if options.peer else None
    head = HEAD + PEER_HEAD if peer else HEAD
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    for make in bench_cases(options.quick):
        case = make()
        if options.ndim not in (None, case.labels.ndim):
            continue
        if peer:
            give(peer, case)
        for stage in STAGES:
            line = row(stage, case, options.rounds, peer, warn=not options.quick)
            print("| " + " | ".join(line) + " |", flush=True)
    if peer:
        peer.close()


if __name__ == "__main__":
    main()
