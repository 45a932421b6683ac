"""Search for the best thresholds: coarse grid, refinement, and centering on plateaus."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from singula.tuning.space import Parameter

Point = dict[str, float]
_TOLERANCE = 1e-9
_PLANE_POINTS = 9
_STEPS_PER_PARAMETER = 25  # typical number in refinement and centering


@dataclass(frozen=True)
class Evaluation:
    """Point with its value.

    Parameters
    ----------
    point : dict
        Values of the parameters by key.
    value : float
        Value of the objective.
    """

    point: Point
    value: float


class Search:
    """Search for the point with the largest value; no point is evaluated twice.

    Parameters
    ----------
    evaluate : callable
        Function from a point to its value.
    parameters : sequence of Parameter
        Parameters with their ranges.
    start : mapping
        Values of the parameters at the start, by key.
    """

    def __init__(
        self,
        evaluate: Callable[[Point], float],
        parameters: Sequence[Parameter],
        start: Mapping[str, float],
    ) -> None:
        self.evaluate = evaluate
        self.parameters = tuple(parameters)
        self.evaluations: dict[tuple[float, ...], Evaluation] = {}
        self.best = self._try({p.key: p.rounded(start[p.key]) for p in self.parameters})

    def _try(self, point: Point) -> Evaluation:
        key = tuple(point[p.key] for p in self.parameters)
        if key not in self.evaluations:
            self.evaluations[key] = Evaluation(point, self.evaluate(point))
        return self.evaluations[key]

    def _improve(self, point: Point) -> bool:
        """Evaluate a point, and return True if it is better than the best point so far."""
        evaluation = self._try(point)
        if evaluation.value <= self.best.value + _TOLERANCE:
            return False
        self.best = evaluation
        return True

    def grid(self, keys: Sequence[str]) -> None:
        """Evaluate every combination of the initial values of some parameters.

        Parameters
        ----------
        keys : sequence of str
            Parameters of the grid; the others have the values of the best point.
        """
        selected = [p for p in self.parameters if p.key in keys]
        center = dict(self.best.point)
        for values in itertools.product(*(p.values for p in selected)):
            self._improve({**center, **dict(zip((p.key for p in selected), values, strict=True))})

    def expected_evaluations(self, grids: Sequence[Sequence[str]]) -> int:
        """Return the approximate number of evaluations of a search: grids, refinement and plane.

        Parameters
        ----------
        grids : sequence of sequence of str
            Keys of each grid.
        """
        sizes = {p.key: len(p.values) for p in self.parameters}
        in_grids = sum(math.prod(sizes[key] for key in keys if key in sizes) for keys in grids)
        plane = _PLANE_POINTS**2 if len(sizes) > 1 else _PLANE_POINTS
        return in_grids + plane + _STEPS_PER_PARAMETER * len(sizes)

    def refine(self, tolerance: float = 0.02) -> None:
        """Step along each parameter as long as the value improves, then halve the steps.

        Parameters
        ----------
        tolerance : float
            Smallest step, relative to the range of the initial values.
        """
        step = 0.5
        widths = {p.key: _spacing(p) for p in self.parameters}
        spans = {p.key: _span(p) for p in self.parameters}
        while any(step * widths[p.key] >= tolerance * spans[p.key] for p in self.parameters):
            while any([self._step(p, step * widths[p.key]) for p in self.parameters]):
                pass
            step /= 2

    def center(
        self, keys: Sequence[str] | None = None, *, step: float = 0.02, reach: int = 5
    ) -> None:
        """Move to the middle of the plateau around the best point, one parameter after the other.

        On few images, many values have the same score. A value at the edge of the plateau is the
        least robust for other images.

        Parameters
        ----------
        keys : sequence of str, optional
            Parameters to center; all by default.
        step : float
            Step relative to the range of the initial values.
        reach : int
            Maximum number of steps on either side.
        """
        for parameter in (p for p in self.parameters if keys is None or p.key in keys):
            while self._center(parameter, step * _span(parameter), reach):
                pass  # a better point has another plateau

    def _center(self, parameter: Parameter, width: float, reach: int) -> bool:
        """Move along one parameter; return True if a better point was reached."""
        start, ends = self.best.point, []
        for sign in (1, -1):
            end = start[parameter.key]
            for count in range(1, reach + 1):
                value = parameter.rounded(start[parameter.key] + sign * count * width)
                point = {**start, parameter.key: value}
                if self._improve(point):
                    return True
                if self._try(point).value < self.best.value - _TOLERANCE:
                    break
                end = value
            ends.append(end)
        middle = self._try({**start, parameter.key: parameter.rounded(sum(ends) / 2)})
        if middle.value >= self.best.value - _TOLERANCE:
            self.best = middle
        return False

    def plane(self, points: int = _PLANE_POINTS) -> tuple[str, ...]:
        """Evaluate a grid over the two parameters with the largest effect.

        Parameters
        ----------
        points : int
            Number of values of each parameter.

        Returns
        -------
        tuple of str
            Keys of the two parameters.
        """
        pair = sorted(self.parameters, key=self._effect, reverse=True)[:2]
        center = self.best.point
        for values in itertools.product(*(_even(p, points) for p in pair)):
            self._improve({**center, **dict(zip((p.key for p in pair), values, strict=True))})
        return tuple(p.key for p in self.parameters if p in pair)

    def _effect(self, parameter: Parameter) -> float:
        """Return the range of the best value along a parameter."""
        best: dict[float, float] = {}
        for evaluation in self.evaluations.values():
            value = evaluation.point[parameter.key]
            best[value] = max(best.get(value, evaluation.value), evaluation.value)
        return max(best.values()) - min(best.values())

    def _step(self, parameter: Parameter, width: float) -> bool:
        """Step up or down along a parameter; return True if the value improves."""
        start = self.best.point
        for sign in (1, -1):
            value = parameter.rounded(start[parameter.key] + sign * width)
            if value != start[parameter.key] and self._improve({**start, parameter.key: value}):
                return True
        return False


def _span(parameter: Parameter) -> float:
    return max(parameter.values[-1] - parameter.values[0], 1e-12)


def _spacing(parameter: Parameter) -> float:
    """Return the mean distance between the initial values."""
    values = parameter.values
    return (values[-1] - values[0]) / max(1, len(values) - 1)


def _even(parameter: Parameter, points: int) -> list[float]:
    """Return evenly spaced values in the range of the initial values."""
    low, high = parameter.values[0], parameter.values[-1]
    steps = range(points)
    values = (parameter.rounded(low + (high - low) * step / (points - 1)) for step in steps)
    return list(dict.fromkeys(values))
