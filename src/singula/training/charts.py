"""Curves of a training as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from singula.io.atomic import atomic_path

Rows = Sequence[Mapping[str, float]]


def draw_charts(rows: Rows, title: str, chart_path: Callable[[str], Path]) -> list[Path]:
    """One picture for the loss and one for each metric, training and validation together.

    Parameters
    ----------
    rows : sequence of mapping
        One per epoch: ``epoch``, ``train_loss``, ``val_loss``, ``train_iou_B`` …
    title : str
        Written above each chart.
    chart_path : callable
        From a metric's name to its file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not rows:
        return []
    names = dict.fromkeys(
        key.split("_", 1)[1] for row in rows for key in row if key.startswith(("train_", "val_"))
    )
    written = []
    for name in names:
        figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for part, style in (("train", "-"), ("val", "--")):
            points = [(r["epoch"], r[f"{part}_{name}"]) for r in rows if f"{part}_{name}" in r]
            if points:
                epochs, values = zip(*points, strict=True)
                axes.plot(epochs, values, style, marker=".", markersize=4, label=part)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " "))
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend()
        path = chart_path(name)
        with atomic_path(path) as temporary:
            figure.savefig(temporary)
        written.append(path)
    return written
