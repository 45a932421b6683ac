"""Tables and the plot of the compared programs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any

Row = dict[str, Any]
REFERENCE = "StarDist"
SCORES = ("mean 0.5", "pooled 0.5", "mean 0.75", "pooled 0.75")


def speed_table(rows: Iterable[Row], workload: str) -> str:
    """Return the Markdown table of a workload, with medians over the rounds.

    The ratio is the speed relative to StarDist, from CPU seconds of the same round. Programs that
    got less than the others have it in their title.
    """
    chosen = [row for row in rows if row["workload"] == workload]
    if not chosen:
        return ""
    columns = (
        "program", "start (CPU s)", "work (CPU s)", "Mpixel per CPU s", "× StarDist",
        "peak MiB", "command (CPU s)",
    )  # fmt: skip
    images = max(chosen, key=lambda row: row["pixels"])["images"]
    lines = [f"## {images}", "", header(columns)]
    for title, group in by_title(chosen).items():
        piece = "" if group[-1]["images"] == images else f" ({group[-1]['images']})"
        command = [row["command"]["cpu"] for row in group if "command" in row]
        ratio = ratios(group, chosen)
        cells = (
            title + piece,
            number(median(group, lambda row: row["start_cpu"])),
            number(median(group, lambda row: row["work_cpu"])),
            number(median(group, speed)),
            number(statistics.median(ratio)) if ratio else "–",
            f"{median(group, lambda row: row['peak_mib']):.0f}",
            number(statistics.median(command)) if command else "–",
        )
        lines.append(line(cells))
    return "\n".join(lines)


def accuracy_table(rows: Iterable[Row]) -> str:
    """Return the Markdown table of F1 and the time on the test images; empty without them.

    Programs with random weights have only a time.
    """
    lines = []
    for title, group in by_title(row for row in rows if row["workload"] == "test").items():
        scores = next((row["scores"] for row in group if "scores" in row), {})
        minutes = training_minutes(group[0])
        timed = [row["work_cpu"] / row["count"] for row in group if row.get("count")]
        cells = (
            title,
            "–" if minutes is None else number(minutes),
            *(f"{scores[name]:.3f}" if scores else "–" for name in SCORES),
            f"{statistics.median(timed):.3f}" if timed else "–",
        )
        lines.append(line(cells))
    columns = ("program", "training (CPU min)", *SCORES, "CPU s per image")
    return "\n".join(["## F1 on `dsb2018/test`", "", header(columns), *lines]) if lines else ""


def training_minutes(row: Row) -> float | None:
    """Return the CPU minutes of the training; None if they are not recorded."""
    seconds = row.get("training_cpu")
    return None if seconds is None else seconds / 60


def speed(row: Row) -> float:
    """Return the megapixels per CPU second, without start-up."""
    return float(row["pixels"] / row["work_cpu"] / 1e6)


def ratios(group: list[Row], rows: list[Row]) -> list[float]:
    """Return the speed relative to the reference, for each round that has both."""
    reference = {row["round"]: speed(row) for row in rows if row["title"].startswith(REFERENCE)}
    return [speed(row) / reference[row["round"]] for row in group if row["round"] in reference]


def by_title(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["title"], []).append(row)
    return groups


def median(rows: list[Row], value: Callable[[Row], float]) -> float:
    return statistics.median(value(row) for row in rows)


def number(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def header(columns: Iterable[str]) -> str:
    names = list(columns)
    return "\n".join((line(names), line(["---", *["---:"] * (len(names) - 1)])))


def line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plot(rows: list[Row], target: Path) -> None:
    """Draw F1 on the test images against the speed on the large image.

    Programs with random weights have no F1, and appear as vertical lines. The legend has the CPU
    minutes of the trainings.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    speeds = {
        title: median(group, speed)
        for title, group in by_title(row for row in rows if row["workload"] == "large").items()
    }
    scored = {row["title"]: row for row in rows if row["workload"] == "test" and "scores" in row}
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), sharex=True)
    for axes, threshold in zip(panels, (0.5, 0.75), strict=True):
        for place, (title, value) in enumerate(sorted(speeds.items(), key=itemgetter(1))):
            if title in scored:
                f1 = scored[title]["scores"][f"mean {threshold}"]
                minutes = training_minutes(scored[title])
                label = title if minutes is None else f"{title} ({number(minutes)} min)"
                axes.plot(value, f1, "s" if title.startswith(REFERENCE) else "o", label=label)
            else:
                axes.axvline(value, color="0.7", linestyle="--", linewidth=1)
                axes.text(
                    value, 0.02 + place % 2 / 2, f"{title} (speed only)", rotation=90, fontsize=8,
                    color="0.4",
                    ha="right", va="bottom", transform=axes.get_xaxis_transform(),
                )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
        axes.set_ylim(0, 1)
        axes.set_xlabel("megapixels per CPU second, 4096² from file to labels")
        axes.set_ylabel(f"F1 at IoU {threshold}, mean over dsb2018/test")
        axes.grid(alpha=0.3)
    if scored:
        panels[0].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(target, dpi=110)
