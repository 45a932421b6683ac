"""Charts as SVG inside the page; their colours follow its light or dark style."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.report.html import Markup, join, tag

Values = npt.NDArray[np.float64]
WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
_BINS = 28


@dataclass(frozen=True)
class Series:
    """A named curve, or the values of a histogram (then without `y`).

    `look` is 0 for the truth or training, 1 for what is compared with it.
    """

    name: str
    look: int
    x: Values
    y: Values | None = None


@dataclass(frozen=True)
class Axis:
    """Numbers along one side of a chart.

    Parameters
    ----------
    low, high : float
        Ends; above 0 when `log`.
    start, stop : float
        Where the ends are drawn.
    label : str
    log : bool
    whole : bool
        Ticks stand at whole numbers alone.
    """

    low: float
    high: float
    start: float
    stop: float
    label: str
    log: bool = False
    whole: bool = False

    def place(self, value: float) -> float:
        """Where a value is drawn."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, low))
        part = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + part * (self.stop - self.start), 2)

    def ticks(self) -> list[float]:
        """Round numbers within the ends."""
        if self.log:
            return log_ticks(self.low, self.high)
        found = ticks(self.low, self.high)
        return [place for place in found if place == int(place)] if self.whole else found


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` multiples of 1, 2 or 5 · 10ⁿ from low to high."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    fits = (s * power for s in (1, 2, 5, 10, 20) if (high - low) / (s * power) <= most - 1 + 1e-9)
    step = next(fits)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within the ends, and their double and fivefold where these are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
        if len(found) >= 4:
            break
    return found


def line_chart(title: str, x_label: str, series: Sequence[Series]) -> Markup:
    """Curves over one axis, such as the loss over the epochs."""
    drawn = [s for s in series if s.y is not None and len(s.x)]
    xs = np.concatenate([s.x for s in drawn])
    ys = np.concatenate([s.y for s in drawn if s.y is not None])
    ys = ys[np.isfinite(ys)]
    low, high = (float(ys.min()), float(ys.max())) if len(ys) else (0.0, 1.0)
    low, high = _round_ends(*_with_zero(low, high))
    x = Axis(float(xs.min()), float(xs.max()), LEFT, WIDTH - RIGHT, x_label, whole=True)
    y = Axis(low, high, HEIGHT - BOTTOM, TOP, "")
    curves = []
    for one in drawn:
        pairs = zip(one.x, one.y if one.y is not None else [], strict=True)
        points = [f"{x.place(a)},{y.place(b)}" for a, b in pairs if np.isfinite(b)]
        curves.append(tag("polyline", points=" ".join(points), class_=f"line s{one.look}"))
        if len(points) == 1:
            cx, cy = points[0].split(",")
            curves.append(tag("circle", cx=cx, cy=cy, r=3, class_=f"dot s{one.look}"))
    last = ", ".join(f"{s.name} ends at {s.y[-1]:.3g}" for s in drawn if s.y is not None)
    words = f"{title}: {last}"
    return _figure(title, words, _legend(drawn, filled=False), x, y, curves)


def histogram(title: str, label: str, series: Sequence[Series]) -> Markup:
    """Number of objects over their size or shape; logarithmic where sizes differ widely."""
    drawn = [s for s in series if len(s.x)]
    every = np.concatenate([s.x for s in drawn])
    low, high = float(every.min()), float(every.max())
    log = low > 0 and high / low > 15
    if not log:
        low, high = (low - 0.5, high + 0.5) if low == high else (min(low, 0.0), high)
    edges = np.geomspace(low, high, _BINS + 1) if log else np.linspace(low, high, _BINS + 1)
    edges[0], edges[-1] = low, high
    counts = [np.histogram(s.x, edges)[0] for s in drawn]
    x = Axis(low, high, LEFT, WIDTH - RIGHT, label, log)
    most = _round_ends(0.0, float(max(c.max() for c in counts)) or 1.0)[1]
    y = Axis(0.0, most, HEIGHT - BOTTOM, TOP, "objects")
    shapes = [
        tag("path", d=_steps(edges, c, x, y), class_=f"{'step' if s.look else 'area'} s{s.look}")
        for s, c in zip(drawn, counts, strict=True)
    ]
    medians = ", ".join(f"median {s.name} {np.median(s.x):.4g}" for s in drawn)
    return _figure(title, f"{title}: {medians}", _legend(drawn, filled=True), x, y, shapes)


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """Begin at 0 unless all values are far from it."""
    if low > 0 and low < 0.7 * high:
        low = 0.0
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return low, high


def _round_ends(low: float, high: float) -> tuple[float, float]:
    """Widen to the next round number above, and below unless that is 0 already."""
    steps = ticks(low, high)
    step = steps[1] - steps[0] if len(steps) > 1 else high - low
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _steps(edges: Values, counts: npt.NDArray[Any], x: Axis, y: Axis) -> str:
    """Outline of a histogram's bars."""
    path = [f"M{x.place(edges[0])},{y.place(0)}"]
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        height = y.place(float(count))
        path.append(f"L{x.place(left)},{height}L{x.place(right)},{height}")
    path.append(f"L{x.place(edges[-1])},{y.place(0)}")
    return "".join(path)


def _legend(drawn: Sequence[Series], *, filled: bool) -> Markup:
    """Names with a sample of their curve or area; those of areas with their number of values."""
    keys = []
    for one in drawn:
        many = f" ({len(one.x):,})".replace(",", "\u202f") if filled else ""
        if filled and not one.look:
            sample = tag("rect", x=1, y=2, width=20, height=8, class_="area s0")
        else:
            sample = tag("line", x1=1, x2=21, y1=6, y2=6, class_=f"line s{one.look}")
        picture = tag("svg", sample, viewBox="0 0 22 12", width=22, height=12, aria_hidden="true")
        keys.append(tag("span", picture, " ", one.name, many, class_="key"))
    return join(keys, " ")


def _figure(
    title: str, words: str, legend: Markup, x: Axis, y: Axis, shapes: Sequence[Markup]
) -> Markup:
    drawing = tag(
        "svg",
        tag("title", words),
        _grid(x, y),
        *shapes,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=words,
    )
    return tag("figure", tag("figcaption", tag("b", title), " ", legend), drawing, class_="chart")


def _grid(x: Axis, y: Axis) -> Markup:
    parts = []
    for value in y.ticks():
        at = y.place(value)
        parts.append(tag("line", x1=x.start, x2=x.stop, y1=at, y2=at, class_="grid"))
        parts.append(tag("text", _short(value), x=x.start - 6, y=at + 4, class_="end"))
    for value in x.ticks():
        at = x.place(value)
        parts.append(tag("line", x1=at, x2=at, y1=y.start, y2=y.start + 4, class_="axis"))
        parts.append(tag("text", _short(value), x=at, y=y.start + 17, class_="middle"))
    parts.append(tag("line", x1=x.start, x2=x.stop, y1=y.start, y2=y.start, class_="axis"))
    middle = (x.start + x.stop) / 2
    parts.append(tag("text", x.label, x=middle, y=HEIGHT - 5, class_="middle label"))
    if y.label:
        turned = f"translate(12 {(y.start + y.stop) / 2}) rotate(-90)"
        parts.append(tag("text", y.label, transform=turned, class_="middle label"))
    return tag("g", *parts, aria_hidden="true")


def _short(value: float) -> str:
    """A tick's number, without needless zeros."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.6g}".replace(",", "\u202f")
