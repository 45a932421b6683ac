"""A picture of a search: how good each pair of values was."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.atomic import atomic_path
from singula.tuning.tuner import Trial

Values = npt.NDArray[np.float64]


def draw_search(
    trials: Sequence[Trial], best: Trial, before: dict[str, float], words: str, target: Path
) -> Path | None:
    """Contours of the value over the two numbers that matter most, the others as in the best.

    Parameters
    ----------
    trials : sequence of Trial
        What was tried; the first is what was configured.
    best : Trial
        The one that was chosen.
    before : dict
        Where the configured values lie; means over images where they are automatic.
    words : str
        What is searched for, for the colour bar.
    target : Path

    Returns
    -------
    Path, optional
        None where fewer than two numbers were tried.
    """
    tried = [trial for trial in trials[1:] if trial.thresholds]
    if not tried:
        return None
    centre = best if best.thresholds else max(tried, key=lambda trial: trial.value)
    keys = [key for key in centre.thresholds if key != "TH_TYPE"]
    # The search ends with a grid over these two
    planes = {pair: _plane(tried, centre, pair) for pair in combinations(keys, 2)}
    if not planes:
        return None
    pair, plane = max(planes.items(), key=lambda found: len(found[1]))
    if len(plane) < 4:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    x, y = (np.array([float(trial.thresholds[key]) for trial in plane]) for key in pair)
    value = np.array([trial.value for trial in plane])
    figure = Figure(figsize=(6.4, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _contours(figure, axes, x, y, value, words)
    axes.plot(x, y, ".", color="black", markersize=2, alpha=0.5)
    after = {key: float(best.thresholds.get(key, before[key])) for key in pair}
    _mark(axes, before, pair, "o", f"before {trials[0].value:.3f}")
    _mark(axes, after, pair, "*", f"after {best.value:.3f}")
    axes.set_xlabel(pair[0])
    axes.set_ylabel(pair[1])
    others = [f"{key} {centre.thresholds[key]:.3g}" for key in keys if key not in pair]
    if others:
        axes.set_title(f"with {', '.join(others)}", fontsize=8)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    with atomic_path(target) as temporary:
        figure.savefig(temporary)
    return target


def _plane(tried: Sequence[Trial], centre: Trial, pair: Sequence[str]) -> list[Trial]:
    """Trials that differ from the best one in these two numbers at most."""

    def rest(trial: Trial) -> dict[str, Any]:
        return {key: value for key, value in trial.thresholds.items() if key not in pair}

    return [trial for trial in tried if rest(trial) == rest(centre)]


def _mark(axes: Any, place: dict[str, float], pair: Sequence[str], marker: str, words: str) -> None:
    size = 14 if marker == "*" else 8
    axes.plot(
        place[pair[0]], place[pair[1]], marker, color="white", markeredgecolor="black",
        markersize=size, linestyle="none", label=words, clip_on=False, zorder=5,
    )  # fmt: skip


def _contours(figure: Any, axes: Any, x: Values, y: Values, value: Values, words: str) -> None:
    from matplotlib.ticker import MaxNLocator

    high = float(value.max())
    # Far below the best there is nothing to see
    low = min(float(np.quantile(value, 0.25)), high - 1e-3)
    levels = MaxNLocator(12).tick_values(low, high)
    drawn = axes.tricontourf(x, y, value, levels=levels, cmap="viridis", extend="min")
    figure.colorbar(drawn, ax=axes).set_label(words)
