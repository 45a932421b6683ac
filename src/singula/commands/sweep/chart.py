"""Chart of a sweep: the score of each run over each varied key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from singula.commands.sweep.plan import Sweep
from singula.commands.sweep.results import (
    Objective,
    Result,
    best_combination,
    combination_scores,
)
from singula.io.atomic import atomic_path

CHART = "sweep.png"
_MAX_PANELS = 6
_MAX_COLUMNS = 3
_MAX_LETTERS = 18  # of a value below an axis
_LOG_RATIO = 8  # of the largest to the smallest value of a logarithmic axis
_MAX_TICKS = 6  # values of a key that are all labeled
_RUN, _BEST, _ENSEMBLE = "#1f77b4", "#d62728", "#2ca02c"


@dataclass(frozen=True)
class Points:
    """Runs in a panel.

    Parameters
    ----------
    label : str
        Name of the axis.
    labels : list of str
        Values as text; empty for an axis of numbers.
    x : list of float
        Position of each run: its number, or the index of its value.
    y : list of float
        Objective of each run.
    ensemble : list of bool
        True for an ensemble.
    """

    label: str
    labels: list[str]
    x: list[float]
    y: list[float]
    ensemble: list[bool]

    @property
    def is_logarithmic(self) -> bool:
        """True for positive numbers of different orders of magnitude."""
        return not self.labels and min(self.x) > 0 and max(self.x) / min(self.x) >= _LOG_RATIO

    def means(self) -> tuple[list[float], list[float]]:
        """Return the different positions and the mean of the runs, without ensembles, at each."""
        places = sorted({x for x, e in zip(self.x, self.ensemble, strict=True) if not e})
        rows = list(zip(self.x, self.y, self.ensemble, strict=True))
        return places, [fmean(y for x, y, e in rows if x == place and not e) for place in places]


def points_of(key: str, results: Sequence[Result], objective: Objective) -> Points:
    """Return the runs with an objective, over a key or over the fold.

    Parameters
    ----------
    key : str
        Varied key; empty for the fold.
    results : sequence of Result
        Results with an objective.
    objective : Objective
        Number on the vertical axis.
    """
    if key:
        texts = [result.run.values[key] for result in results]
    else:
        texts = [str(result.fold) for result in results]
    y = [value for result in results if (value := objective.of(result)) is not None]
    ensemble = [result.is_ensemble for result in results]
    label = key or "fold"
    try:
        numbers = [float(text) for text in texts] if key else []
    except ValueError:
        numbers = []
    if numbers:
        return Points(label, [], numbers, y, ensemble)
    values = list(dict.fromkeys(texts))
    return Points(label, values, [float(values.index(text)) for text in texts], y, ensemble)


def draw_results(
    sweep: Sweep, results: Sequence[Result], objective: Objective, target: Path
) -> Path | None:
    """Draw the objective of each run over each varied key, and over the folds.

    Means of several runs with a value are connected if the values are numbers.

    Parameters
    ----------
    sweep : Sweep
        The runs.
    results : sequence of Result
        Results of the runs and the ensembles; those without an objective are not drawn.
    objective : Objective
        Number on the vertical axis.
    target : Path
        File to write.

    Returns
    -------
    Path, optional
        Written file; None if no run has an objective.
    """
    drawn = [result for result in results if objective.of(result) is not None]
    keys = [*sweep.keys, *([""] if sweep.runs[0].fold is not None else [])][:_MAX_PANELS]
    if not drawn or not any(not result.is_ensemble for result in drawn):
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(keys), _MAX_COLUMNS)
    rows = -(-len(keys) // columns)
    size = (max(3.4 * columns, 4.6), 3.1 * rows + 0.4)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    scores = combination_scores(sweep, results, objective)
    best = best_combination(scores)
    is_best = [not r.is_ensemble and r.run.combination == best for r in drawn]
    for number, panel in enumerate(panels.flat):
        if number >= len(keys):
            panel.set_axis_off()
            continue
        _draw_panel(panel, points_of(keys[number], drawn, objective), is_best)
        if number % columns == 0:
            panel.set_ylabel(objective.name[0].upper() + objective.name[1:], fontsize=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    with atomic_path(target) as temporary:
        figure.savefig(temporary)
    return target


def _draw_panel(panel: Any, points: Points, is_best: Sequence[bool]) -> None:
    style = {"linestyle": "none", "clip_on": False, "zorder": 3}
    places, means = points.means()
    if len(points.x) > len(places) + sum(points.ensemble):
        line = "none" if points.labels else "-"
        panel.plot(places, means, color=_RUN, alpha=0.4, zorder=1, linestyle=line, marker="_",
                   markersize=16, label="mean")  # fmt: skip
    for chosen, mark in (
        ([not (e or b) for e, b in zip(points.ensemble, is_best, strict=True)],
         {"marker": "o", "color": _RUN, "markersize": 5, "alpha": 0.8, "label": "run"}),
        (is_best, {"marker": "*", "color": _BEST, "markersize": 10, "label": "best values"}),
        (points.ensemble, {"marker": "D", "color": _ENSEMBLE, "markersize": 6,
                           "label": "ensemble"}),
    ):  # fmt: skip
        drawn = [(x, y) for x, y, use in zip(points.x, points.y, chosen, strict=True) if use]
        if drawn:
            panel.plot(*zip(*drawn, strict=True), **mark, **style)
    _label_axis(panel, points)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _label_axis(panel: Any, points: Points) -> None:
    """Set the ticks and the label of the horizontal axis."""
    panel.set_xlabel(points.label, fontsize=8)
    if points.labels:
        cut = [t if len(t) <= _MAX_LETTERS else t[: _MAX_LETTERS - 1] + "…" for t in points.labels]
        style = {"rotation": 30, "ha": "right"} if sum(map(len, cut)) > _MAX_LETTERS else {}
        panel.set_xticks(range(len(cut)), cut, **style)
        panel.set_xlim(-0.5, len(cut) - 0.5)
        return
    if points.is_logarithmic:
        panel.set_xscale("log")
    values = sorted(set(points.x))
    if len(values) <= _MAX_TICKS:
        panel.set_xticks(values, [f"{value:g}" for value in values])
        panel.minorticks_off()
