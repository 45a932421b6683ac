"""A picture of a search: how good each pair of values was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.atomic import atomic_path
from singula.tuning.tuner import Trial

Values = npt.NDArray[np.float64]


def draw_search(
    trials: Sequence[Trial], before: dict[str, float], words: str, target: Path
) -> Path | None:
    """Contours of the best value over the two numbers that matter most.

    Parameters
    ----------
    trials : sequence of Trial
        What was tried; the first is what was configured.
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
    tried = [t for t in trials[1:] if t.thresholds]
    keys = [key for key in (tried[0].thresholds if tried else {}) if key != "TH_TYPE"]
    pair = _most_important(tried, keys)
    if len(pair) < 2:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    x, y, value = _envelope(tried, *pair)
    figure = Figure(figsize=(6.4, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _contours(figure, axes, x, y, value, words)
    axes.plot(x, y, ".", color="black", markersize=2, alpha=0.5)
    best = max(trials, key=lambda trial: trial.value)
    after = {key: float(best.thresholds.get(key, before[key])) for key in pair}
    _mark(axes, before, pair, "o", f"before {trials[0].value:.3f}")
    _mark(axes, after, pair, "*", f"after {best.value:.3f}")
    axes.set_xlabel(pair[0])
    axes.set_ylabel(pair[1])
    others = [key for key in keys if key not in pair]
    if others:
        axes.set_title(f"at each point the best of {', '.join(others)}", fontsize=8)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    with atomic_path(target) as temporary:
        figure.savefig(temporary)
    return target


def _mark(axes: Any, place: dict[str, float], pair: Sequence[str], marker: str, words: str) -> None:
    size = 14 if marker == "*" else 8
    axes.plot(
        place[pair[0]], place[pair[1]], marker, color="white", markeredgecolor="black",
        markersize=size, linestyle="none", label=words, clip_on=False, zorder=5,
    )  # fmt: skip


def _contours(figure: Any, axes: Any, x: Values, y: Values, value: Values, words: str) -> None:
    # Far below the best there is nothing to see
    low = max(float(value.min()), float(np.quantile(value, 0.2)))
    high = float(value.max())
    if high - low < 1e-6:
        low = high - 1e-6
    levels = np.linspace(low, high, 13)
    drawn = axes.tricontourf(x, y, value, levels=levels, cmap="viridis", extend="min")
    bar = figure.colorbar(drawn, ax=axes)
    bar.set_label(words)


def _envelope(tried: Sequence[Trial], first: str, second: str) -> tuple[Values, Values, Values]:
    """The best value at each pair of numbers."""
    best: dict[tuple[float, float], float] = {}
    for trial in tried:
        place = (float(trial.thresholds[first]), float(trial.thresholds[second]))
        best[place] = max(best.get(place, -1.0), trial.value)
    x, y = np.array(list(best), float).T
    return x, y, np.array(list(best.values()))


def _most_important(tried: Sequence[Trial], keys: Sequence[str]) -> list[str]:
    """Two keys along which the best value changes most, in the order of `keys`."""

    def effect(key: str) -> float:
        best: dict[float, float] = {}
        for trial in tried:
            value = float(trial.thresholds[key])
            best[value] = max(best.get(value, -1.0), trial.value)
        return max(best.values()) - min(best.values()) if len(best) > 1 else -1.0

    ordered = sorted((key for key in keys if effect(key) >= 0), key=effect, reverse=True)
    return [key for key in keys if key in ordered[:2]]
