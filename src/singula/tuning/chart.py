"""Chart of a search: the objective over two parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.atomic import atomic_path
from singula.tuning.trial import Trial

Values = npt.NDArray[np.float64]


def draw_search(
    trials: Sequence[Trial], best: Trial, before: dict[str, float], title: str, target: Path
) -> Path | None:
    """Draw contours of the objective over the two parameters with the largest effect.

    The other parameters have the values of the best trial.

    Parameters
    ----------
    trials : sequence of Trial
        All trials; the first has the configured thresholds.
    best : Trial
        Selected trial.
    before : dict
        Configured values by key; automatic thresholds have their mean over the images.
    title : str
        Name of the objective, for the color bar.
    target : Path
        File to write.

    Returns
    -------
    Path, optional
        Written file; None if there are fewer than two parameters.
    """
    tried = [trial for trial in trials[1:] if trial.thresholds]
    if not tried:
        return None
    center = best if best.thresholds else max(tried, key=lambda trial: trial.value)
    keys = [key for key in center.thresholds if key != "TH_TYPE"]
    # The search ends with a grid over the two parameters with the largest effect.
    planes = {pair: _plane(tried, center, pair) for pair in combinations(keys, 2)}
    if not planes:
        return None
    pair, plane = max(planes.items(), key=lambda item: len(item[1]))
    if len(plane) < 4:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    x, y = (np.array([float(trial.thresholds[key]) for trial in plane]) for key in pair)
    value = np.array([trial.value for trial in plane])
    figure = Figure(figsize=(6.4, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _contours(figure, axes, x, y, value, title)
    axes.plot(x, y, ".", color="black", markersize=2, alpha=0.5)
    after = {key: float(best.thresholds.get(key, before[key])) for key in pair}
    _mark(axes, before, pair, "o", f"before {trials[0].value:.3f}")
    _mark(axes, after, pair, "*", f"after {best.value:.3f}")
    axes.set_xlabel(pair[0])
    axes.set_ylabel(pair[1])
    others = [f"{key} {center.thresholds[key]:.3g}" for key in keys if key not in pair]
    if others:
        axes.set_title(f"with {', '.join(others)}", fontsize=8)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    with atomic_path(target) as temporary:
        figure.savefig(temporary)
    return target


def _plane(tried: Sequence[Trial], center: Trial, pair: Sequence[str]) -> list[Trial]:
    """Return the trials that differ from the center in the two parameters only."""

    def rest(trial: Trial) -> dict[str, Any]:
        return {key: value for key, value in trial.thresholds.items() if key not in pair}

    return [trial for trial in tried if rest(trial) == rest(center)]


def _mark(axes: Any, point: dict[str, float], pair: Sequence[str], marker: str, label: str) -> None:
    size = 14 if marker == "*" else 8
    axes.plot(
        point[pair[0]], point[pair[1]], marker, color="white", markeredgecolor="black",
        markersize=size, linestyle="none", label=label, clip_on=False, zorder=5,
    )  # fmt: skip


def _contours(figure: Any, axes: Any, x: Values, y: Values, value: Values, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    high = float(value.max())
    # Limit the range to the upper three quarters, where the differences matter.
    low = min(float(np.quantile(value, 0.25)), high - 1e-3)
    levels = MaxNLocator(12).tick_values(low, high)
    drawn = axes.tricontourf(x, y, value, levels=levels, cmap="viridis", extend="min")
    figure.colorbar(drawn, ax=axes).set_label(title)
