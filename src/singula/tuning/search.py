"""A coarse grid, then ever smaller steps around its best point."""

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
        spans = {p.key: max(p.values[-1] - p.values[0], 1e-12) for p in self.parameters}
        while any(step * widths[p.key] >= tolerance * spans[p.key] for p in self.parameters):
            while any([self._step(p, step * widths[p.key]) for p in self.parameters]):
                pass
            step /= 2

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
