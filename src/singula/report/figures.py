"""Charts as SVG, with the colors of the light or dark style of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.report.html import Markup, join, tag
from singula.util.format import grouped

Values = npt.NDArray[np.float64]
WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
_BINS = 28


@dataclass(frozen=True)
class Series:
    """A curve, or the values of a histogram.

    Parameters
    ----------
    name : str
        Name in the legend.
    style : {0, 1}
        0 for the ground truth or training, 1 for the series that is compared with it.
    x : ndarray of float64, shape (n,)
        Positions of a curve, or values of a histogram.
    y : ndarray of float64, shape (n,), optional
        Values of a curve; None for a histogram.
    """

    name: str
    style: int
    x: Values
    y: Values | None = None


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Parameters
    ----------
    low, high : float
        Range of values; above 0 for a logarithmic axis.
    start, stop : float
        Coordinates of the two ends in the drawing, in pixels.
    label : str
        Text next to the axis.
    log : bool
        True for a logarithmic axis.
    whole : bool
        Place ticks only at integers.
    """

    low: float
    high: float
    start: float
    stop: float
    label: str
    log: bool = False
    whole: bool = False

    def position(self, value: float) -> float:
        """Return the coordinate of a value in the drawing, in pixels."""
        low, high, scaled = self.low, self.high, value
        if self.log:
            low, high, scaled = math.log(low), math.log(high), math.log(max(value, low))
        fraction = (scaled - low) / (high - low) if high > low else 0.5
        return round(self.start + fraction * (self.stop - self.start), 2)

    def ticks(self) -> list[float]:
        """Return the values of the ticks, round numbers in the range."""
        if self.log:
            return log_ticks(self.low, self.high)
        values = ticks(self.low, self.high)
        return [value for value in values if value == int(value)] if self.whole else values


def ticks(low: float, high: float, max_ticks: int = 6) -> list[float]:
    """Return at most `max_ticks` multiples of 1, 2 or 5 · 10ⁿ from low to high."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / max_ticks))
    max_steps = max_ticks - 1 + 1e-9
    step = next(s * power for s in (1, 2, 5, 10, 20) if (high - low) / (s * power) <= max_steps)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten from low to high, with multiples if there are less than four."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        values = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
        if len(values) >= 4:
            break
    return values


def line_chart(title: str, x_label: str, series: Sequence[Series]) -> Markup:
    """Return a chart of curves over a common axis, such as losses over epochs."""
    drawn = [s for s in series if s.y is not None and len(s.x)]
    xs = np.concatenate([s.x for s in drawn])
    ys = np.concatenate([s.y for s in drawn if s.y is not None])
    ys = ys[np.isfinite(ys)]
    low, high = (float(ys.min()), float(ys.max())) if len(ys) else (0.0, 1.0)
    low, high = _round_range(*_include_zero(low, high))
    x = Axis(float(xs.min()), float(xs.max()), LEFT, WIDTH - RIGHT, x_label, whole=True)
    y = Axis(low, high, HEIGHT - BOTTOM, TOP, "")
    curves = []
    for curve in drawn:
        pairs = zip(curve.x, curve.y if curve.y is not None else [], strict=True)
        points = [f"{x.position(a)},{y.position(b)}" for a, b in pairs if np.isfinite(b)]
        curves.append(tag("polyline", points=" ".join(points), class_=f"line s{curve.style}"))
        if len(points) == 1:
            cx, cy = points[0].split(",")
            curves.append(tag("circle", cx=cx, cy=cy, r=3, class_=f"dot s{curve.style}"))
    last = ", ".join(f"{s.name} ends at {s.y[-1]:.3g}" for s in drawn if s.y is not None)
    description = f"{title}: {last}"
    return _figure(title, description, _legend(drawn, filled=False), x, y, curves)


def histogram(title: str, label: str, series: Sequence[Series]) -> Markup:
    """Return a histogram of objects; the axis is logarithmic for a wide range of values."""
    drawn = [s for s in series if len(s.x)]
    values = np.concatenate([s.x for s in drawn])
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high / low > 15
    if not log:
        low, high = (low - 0.5, high + 0.5) if low == high else (min(low, 0.0), high)
    edges = np.geomspace(low, high, _BINS + 1) if log else np.linspace(low, high, _BINS + 1)
    edges[0], edges[-1] = low, high
    counts = [np.histogram(s.x, edges)[0] for s in drawn]
    x = Axis(low, high, LEFT, WIDTH - RIGHT, label, log)
    top = _round_range(0.0, float(max(c.max() for c in counts)) or 1.0)[1]
    y = Axis(0.0, top, HEIGHT - BOTTOM, TOP, "objects")
    shapes = [
        tag("path", d=_steps(edges, c, x, y), class_=f"{'step' if s.style else 'area'} s{s.style}")
        for s, c in zip(drawn, counts, strict=True)
    ]
    medians = ", ".join(f"median {s.name} {np.median(s.x):.4g}" for s in drawn)
    return _figure(title, f"{title}: {medians}", _legend(drawn, filled=True), x, y, shapes)


def _include_zero(low: float, high: float) -> tuple[float, float]:
    """Extend a range to 0, unless all values are far from 0."""
    if low > 0 and low < 0.7 * high:
        low = 0.0
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return low, high


def _round_range(low: float, high: float) -> tuple[float, float]:
    """Extend a range to round numbers."""
    steps = ticks(low, high)
    step = steps[1] - steps[0] if len(steps) > 1 else high - low
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _steps(edges: Values, counts: npt.NDArray[Any], x: Axis, y: Axis) -> str:
    """Return the outline of the bars of a histogram, as an SVG path."""
    path = [f"M{x.position(edges[0])},{y.position(0)}"]
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        height = y.position(float(count))
        path.append(f"L{x.position(left)},{height}L{x.position(right)},{height}")
    path.append(f"L{x.position(edges[-1])},{y.position(0)}")
    return "".join(path)


def _legend(drawn: Sequence[Series], *, filled: bool) -> Markup:
    """Return the names of the series, each with a sample of its curve or area.

    For areas, the legend includes the number of values.
    """
    keys = []
    for series in drawn:
        count = f" ({grouped(len(series.x))})" if filled else ""
        if filled and not series.style:
            sample = tag("rect", x=1, y=2, width=20, height=8, class_="area s0")
        else:
            sample = tag("line", x1=1, x2=21, y1=6, y2=6, class_=f"line s{series.style}")
        picture = tag("svg", sample, viewBox="0 0 22 12", width=22, height=12, aria_hidden="true")
        keys.append(tag("span", picture, " ", series.name, count, class_="key"))
    return join(keys, " ")


def _figure(
    title: str, description: str, legend: Markup, x: Axis, y: Axis, shapes: Sequence[Markup]
) -> Markup:
    drawing = tag(
        "svg",
        tag("title", description),
        _grid(x, y),
        *shapes,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=description,
    )
    return tag("figure", tag("figcaption", tag("b", title), " ", legend), drawing, class_="chart")


def _grid(x: Axis, y: Axis) -> Markup:
    parts = []
    for value in y.ticks():
        row = y.position(value)
        parts.append(tag("line", x1=x.start, x2=x.stop, y1=row, y2=row, class_="grid"))
        parts.append(tag("text", _short(value), x=x.start - 6, y=row + 4, class_="end"))
    for value in x.ticks():
        column = x.position(value)
        parts.append(tag("line", x1=column, x2=column, y1=y.start, y2=y.start + 4, class_="axis"))
        parts.append(tag("text", _short(value), x=column, y=y.start + 17, class_="middle"))
    parts.append(tag("line", x1=x.start, x2=x.stop, y1=y.start, y2=y.start, class_="axis"))
    middle = (x.start + x.stop) / 2
    parts.append(tag("text", x.label, x=middle, y=HEIGHT - 5, class_="middle label"))
    if y.label:
        turned = f"translate(12 {(y.start + y.stop) / 2}) rotate(-90)"
        parts.append(tag("text", y.label, transform=turned, class_="middle label"))
    return tag("g", *parts, aria_hidden="true")


def _short(value: float) -> str:
    """Return the text of a tick, without trailing zeros."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.6g}".replace(",", "\u202f")
