"""Time and memory of the stages around the network, each beside a named peer.

    make bench
    OMP_NUM_THREADS=1 python benchmarks/stages.py

Each stage and its peer run in turn, in several rounds, on one core; what is printed are medians of
processor time and of the ratios. Data are the label images of ../shared/data/bench, or drawn ones
of the same size where they are missing. Writes one Markdown table.
"""

from __future__ import annotations

import argparse
import statistics

from stage_cases import STAGES, Case, Stage, bench_cases, cpu_seconds, peak_mib

HEAD = ("stage", "data", "seconds", "peer", "peer seconds", "ratio", "limit ratio", "peak MiB")


def row(stage: Stage, case: Case, rounds: int, *, warn: bool) -> list[str]:
    """A line of the table."""
    stage.run(case)  # compiles, and touches the input
    peak = peak_mib(stage.run, case)
    stage.peer(case)
    own, peers, ratios = [], [], []
    for _ in range(rounds):
        own.append(cpu_seconds(stage.run, case))
        peers.append(cpu_seconds(stage.peer, case))
        ratios.append(own[-1] / max(peers[-1], 1e-9))
    ratio, limit = statistics.median(ratios), stage.limits[case.labels.ndim - 2]
    return [
        stage.name,
        case.name,
        f"{statistics.median(own):.3f}",
        stage.peer_name,
        f"{statistics.median(peers):.3f}",
        f"{ratio:.3f}" + (" (above)" if warn and ratio > limit else ""),
        f"{limit:g}",
        "–" if peak is None else f"{peak:.0f}",
    ]


def main() -> None:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny images: only whether it works")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD), flush=True)
    for make in bench_cases(options.quick):
        case = make()
        for stage in STAGES:
            line = row(stage, case, options.rounds, warn=not options.quick)
            print("| " + " | ".join(line) + " |", flush=True)


if __name__ == "__main__":
    main()
