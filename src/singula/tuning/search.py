"""A coarse grid, ever smaller steps around its best point, then away from the drops beside it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from singula.tuning.space import Parameter

Point = dict[str, float]
_BETTER = 1e-9


@dataclass(frozen=True)
class Tried:
    """A point and how good it was."""

    point: Point
    value: float


class Search:
    """Looks for the point of the largest value; no point is evaluated twice.

    Parameters
    ----------
    evaluate : callable
        From a point to its value.
    parameters : sequence of Parameter
    start : mapping
        A point to begin with; also the values of what a grid leaves out.
    """

    def __init__(
        self,
        evaluate: Callable[[Point], float],
        parameters: Sequence[Parameter],
        start: Mapping[str, float],
    ) -> None:
        self.evaluate = evaluate
        self.parameters = tuple(parameters)
        self.tried: dict[tuple[float, ...], Tried] = {}
        self.best = self._try({p.key: p.rounded(start[p.key]) for p in self.parameters})

    def _try(self, point: Point) -> Tried:
        key = tuple(point[p.key] for p in self.parameters)
        if key not in self.tried:
            self.tried[key] = Tried(point, self.evaluate(point))
        return self.tried[key]

    def _offer(self, point: Point) -> bool:
        """Try a point; whether it is better than all before."""
        found = self._try(point)
        if found.value <= self.best.value + _BETTER:
            return False
        self.best = found
        return True

    def grid(self, keys: Sequence[str]) -> None:
        """Try every combination of the first values of some parameters, beside the best point."""
        chosen = [p for p in self.parameters if p.key in keys]
        around = dict(self.best.point)
        for values in itertools.product(*(p.values for p in chosen)):
            self._offer({**around, **dict(zip((p.key for p in chosen), values, strict=True))})

    def refine(self, tolerance: float = 0.02) -> None:
        """Step along each parameter as long as that helps, then halve the steps.

        Parameters
        ----------
        tolerance : float
            Smallest step, as a part of the range of the first values.
        """
        step = 0.5
        widths = {p.key: _spacing(p) for p in self.parameters}
        spans = {p.key: _span(p) for p in self.parameters}
        while any(step * widths[p.key] >= tolerance * spans[p.key] for p in self.parameters):
            while any([self._step(p, step * widths[p.key]) for p in self.parameters]):
                pass
            step /= 2

    def centre(
        self, keys: Sequence[str] | None = None, *, step: float = 0.02, reach: int = 5
    ) -> None:
        """Go to the middle of what is as good as the best, one parameter after the other.

        Where a few images cannot tell one value from another, the one beside a drop is the least
        safe for the next image.

        Parameters
        ----------
        keys : sequence of str, optional
            Of the parameters; all by default.
        step : float
            As a part of the range of the first values.
        reach : int
            Steps that are looked at on either side.
        """
        for parameter in (p for p in self.parameters if keys is None or p.key in keys):
            while self._centre(parameter, step * _span(parameter), reach):
                pass  # something better was met, and its surroundings are looked at

    def _centre(self, parameter: Parameter, width: float, reach: int) -> bool:
        here, ends = self.best.point, []
        for sign in (1, -1):
            end = here[parameter.key]
            for count in range(1, reach + 1):
                value = parameter.rounded(here[parameter.key] + sign * count * width)
                point = {**here, parameter.key: value}
                if self._offer(point):
                    return True
                if self._try(point).value < self.best.value - _BETTER:
                    break
                end = value
            ends.append(end)
        middle = self._try({**here, parameter.key: parameter.rounded(sum(ends) / 2)})
        if middle.value >= self.best.value - _BETTER:
            self.best = middle
        return False

    def plane(self, points: int = 9) -> tuple[str, ...]:
        """Try a grid over the two parameters that matter most, the others as in the best point.

        Parameters
        ----------
        points : int
            Values of each.

        Returns
        -------
        tuple of str
            Their keys, in the order of the parameters.
        """
        pair = sorted(self.parameters, key=self._effect, reverse=True)[:2]
        around = self.best.point
        for values in itertools.product(*(_even(p, points) for p in pair)):
            self._offer({**around, **dict(zip((p.key for p in pair), values, strict=True))})
        return tuple(p.key for p in self.parameters if p in pair)

    def _effect(self, parameter: Parameter) -> float:
        """How much the best value changes along a parameter."""
        best: dict[float, float] = {}
        for tried in self.tried.values():
            value = tried.point[parameter.key]
            best[value] = max(best.get(value, tried.value), tried.value)
        return max(best.values()) - min(best.values())

    def _step(self, parameter: Parameter, width: float) -> bool:
        """Go up or down one parameter; whether that helped."""
        here = self.best.point
        for sign in (1, -1):
            value = parameter.rounded(here[parameter.key] + sign * width)
            if value != here[parameter.key] and self._offer({**here, parameter.key: value}):
                return True
        return False


def _span(parameter: Parameter) -> float:
    return max(parameter.values[-1] - parameter.values[0], 1e-12)


def _spacing(parameter: Parameter) -> float:
    """Distance of the first values from each other."""
    values = parameter.values
    return (values[-1] - values[0]) / max(1, len(values) - 1)


def _even(parameter: Parameter, points: int) -> list[float]:
    """Evenly spaced values between the first ones of a parameter."""
    low, high = parameter.values[0], parameter.values[-1]
    steps = range(points)
    values = (parameter.rounded(low + (high - low) * step / (points - 1)) for step in steps)
    return list(dict.fromkeys(values))
