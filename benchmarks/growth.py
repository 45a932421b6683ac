"""Measure how the stages grow with the size of the image and the number of instances.

    OMP_NUM_THREADS=1 python benchmarks/growth.py --picture docs/growth.png

Images of drawn cells: from 512² to 8192² pixels (or `--largest 16384`) with one cell per 2,900
pixels, and 2048² pixels with 100 to 100,000 cells. The time per pixel of a linear stage is
constant. Prints two Markdown tables: nanoseconds of CPU time per pixel, the minimum of some rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from stage_cases import STAGES, cpu_seconds, draw_cells, make_case

from singula.util.process import prepare_process

PIXELS_PER_CELL = 2900
SIDE = 2048
COUNTS = (100, 1_000, 10_000, 100_000)
Curve = list[tuple[int, list[float]]]


def measure(inputs: Iterable[tuple[int, int, int]], what: str, rounds: int) -> Curve:
    """Return nanoseconds per pixel of each stage, by (axis position, side, number of cells)."""
    print(f"\n| {what} | " + " | ".join(stage.name for stage in STAGES) + " |")
    print("|---" * (len(STAGES) + 1) + "|", flush=True)
    curve = []
    for place, side, count in inputs:
        case = make_case("", draw_cells((side, side), count))
        times = []
        for stage in STAGES:
            stage.run(case)
            least = min(cpu_seconds(stage.run, case) for _ in range(rounds))
            times.append(1e9 * least / side**2)
        curve.append((place, times))
        print(f"| {place:,} | " + " | ".join(f"{t:.1f}" for t in times) + " |", flush=True)
    return curve


def draw(path: Path, by_size: Curve, by_count: Curve) -> None:
    """Draw both curves next to each other."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    titles = ("side of the image, pixels", f"instances in {SIDE}² pixels")
    for panel, curve, title in zip(panels, (by_size, by_count), titles, strict=True):
        places = [place for place, _ in curve]
        for number, stage in enumerate(STAGES):
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", type=Path, help="draw the curves into this file")
    options = parser.parse_args()
    prepare_process()  # as every command does: else the system's new pages are measured
    doublings = int(np.log2(options.largest // options.smallest)) + 1
    sides = [options.smallest * 2**step for step in range(doublings)]
    sizes = [(side, side, max(1, side**2 // PIXELS_PER_CELL)) for side in sides]
    counts = [(count, SIDE, count) for count in COUNTS if count <= options.most]
    by_size = measure(sizes, "side", options.rounds)
    by_count = measure(counts, "instances", options.rounds)
    if options.picture:
        draw(options.picture, by_size, by_count)


if __name__ == "__main__":
    main()
