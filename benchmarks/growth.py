"""Measure how the stages grow with the size of the image and the number of instances.

    OMP_NUM_THREADS=1 python benchmarks/growth.py --picture docs/growth.png

Images of drawn cells: from 512² to 8192² pixels (or `--largest 16384`) with one cell per 2,900
pixels, and 2048² pixels with 100 to 100,000 cells. The time per pixel of a linear stage is
constant. Prints two Markdown tables: nanoseconds of CPU time per pixel, the minimum of some rounds.
A third one compares decoding with one thread and with all cores, and with the share of the pixels
that the flood labels. `--only` chooses stages for the first two tables.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from stage_cases import STAGES, Stage, cpu_seconds, draw_cells, make_case

from singula.representations.decoders import decode
from singula.util.process import available_cores, prepare_process

PIXELS_PER_CELL = 2900
SIDE = 2048
COUNTS = (100, 1_000, 10_000, 100_000)
Curve = list[tuple[int, list[float]]]


def measure(
    stages: Sequence[Stage], inputs: Iterable[tuple[int, int, int]], what: str, rounds: int
) -> Curve:
    """Return nanoseconds per pixel of each stage, by (axis position, side, number of cells)."""
    print(f"\n| {what} | " + " | ".join(stage.name for stage in stages) + " |")
    print("|---" * (len(stages) + 1) + "|", flush=True)
    curve = []
    for place, side, count in inputs:
        case = make_case("", draw_cells((side, side), count))
        times = []
        for stage in stages:
            stage.run(case)
            least = min(cpu_seconds(stage.run, case) for _ in range(rounds))
            times.append(1e9 * least / side**2)
        curve.append((place, times))
        print(f"| {place:,} | " + " | ".join(f"{t:.1f}" for t in times) + " |", flush=True)
    ratios = [last / first for first, last in zip(curve[0][1], curve[-1][1], strict=True)]
    print("| last : first | " + " | ".join(f"{ratio:.1f}" for ratio in ratios) + " |", flush=True)
    return curve


def compare_threads(inputs: Iterable[tuple[int, int, int]], rounds: int) -> None:
    """Print nanoseconds per pixel of decoding with one thread and with all cores, in turn."""
    numbers = (1, available_cores())
    heads = [f"{kind}, {number} threads" for number in numbers for kind in ("CPU", "wall")]
    print("\n| side | instances | flooded | " + " | ".join(heads) + " |")
    print("|---" * (3 + len(heads)) + "|", flush=True)
    before = os.environ.get("OMP_NUM_THREADS")
    for _, side, count in inputs:
        case = make_case("", draw_cells((side, side), count))
        parts = decode(case.maps, "BC", keep_parts=True).parts
        flooded = 0.0 if parts is None else float((parts.foreground & (parts.seeds == 0)).mean())
        best = np.full((len(numbers), 2), np.inf)
        for _ in range(rounds):
            for row, number in enumerate(numbers):
                os.environ["OMP_NUM_THREADS"] = str(number)
                began = time.process_time(), time.perf_counter()
                decode(case.maps, "BC")
                took = time.process_time() - began[0], time.perf_counter() - began[1]
                best[row] = np.minimum(best[row], took)
        cells = " | ".join(f"{1e9 * seconds / side**2:.1f}" for seconds in best.ravel())
        print(f"| {side:,} | {count:,} | {flooded:.1%} | {cells} |", flush=True)
    if before is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = before


def draw(path: Path, stages: Sequence[Stage], by_size: Curve, by_count: Curve) -> None:
    """Draw both curves next to each other."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    titles = ("side of the image, pixels", f"instances in {SIDE}² pixels")
    for panel, curve, title in zip(panels, (by_size, by_count), titles, strict=True):
        places = [place for place, _ in curve]
        for number, stage in enumerate(stages):
            values = [times[number] for _, times in curve]
            panel.plot(places, values, "o-", markersize=4, color=f"C{number}", label=stage.name)
        panel.set(xscale="log", yscale="log", xlabel=title)
        panel.set_xticks(places, [f"{place:,}" for place in places])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("nanoseconds per pixel, one core")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right", fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smallest", type=int, default=512)
    parser.add_argument("--largest", type=int, default=8192, help="side; 16384 needs 25 GiB")
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="largest number of cells")
    names = [stage.name for stage in STAGES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="stages")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", type=Path, help="draw the curves into this file")
    options = parser.parse_args()
    prepare_process()  # as every command does: else the system's new pages are measured
    doublings = int(np.log2(options.largest // options.smallest)) + 1
    sides = [options.smallest * 2**step for step in range(doublings)]
    sizes = [(side, side, max(1, side**2 // PIXELS_PER_CELL)) for side in sides]
    counts = [(count, SIDE, count) for count in COUNTS if count <= options.most]
    stages = [stage for stage in STAGES if stage.name in options.only]
    by_size = measure(stages, sizes, "side", options.rounds)
    by_count = measure(stages, counts, "instances", options.rounds)
    compare_threads([*counts, *sizes[-2:]], options.rounds)
    if options.picture:
        draw(options.picture, stages, by_size, by_count)


if __name__ == "__main__":
    main()
