"""Learning curves of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from singula.io.atomic import atomic_path

Rows = Sequence[Mapping[str, float]]


def draw_charts(rows: Rows, title: str, chart_path: Callable[[str], Path]) -> list[Path]:
    """Draw one chart for the loss and one for each metric, with training and validation values.

    Parameters
    ----------
    rows : sequence of mapping
        History with one row per epoch: ``epoch``, ``train_loss``, ``val_loss``, ``train_iou_B`` …
    title : str
        Title of each chart.
    chart_path : callable
        Function from the name of a metric to the path of its chart.

    Returns
    -------
    list of Path
        Written files.
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
