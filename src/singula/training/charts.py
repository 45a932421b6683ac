"""Learning curves of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from singula.io.atomic import atomic_path
from singula.representations.channel_table import channel_title

Rows = Sequence[Mapping[str, float]]


def learning_curves(rows: Rows) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Return epochs and values by metric (or loss), then by ``train`` and ``val``."""
    curves: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for row in rows:
        for column, value in row.items():
            part, _, name = column.partition("_")
            if part in ("train", "val"):
                epochs, values = curves.setdefault(name, {}).setdefault(part, ([], []))
                epochs.append(row["epoch"])
                values.append(value)
    return curves


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

    written = []
    for name, parts in learning_curves(rows).items():
        figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for part, (epochs, values) in parts.items():
            style = "-" if part == "train" else "--"
            axes.plot(epochs, values, style, marker=".", markersize=4, label=part)
        axes.set_xlabel("epoch")
        kind, _, channel = name.partition("_")
        axes.set_ylabel(f"{kind} {channel_title(channel)}".replace("_", " ").strip())
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend()
        path = chart_path(name)
        with atomic_path(path) as temporary:
            figure.savefig(temporary)
        written.append(path)
    return written
