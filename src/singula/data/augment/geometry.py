"""Random mappings from pixels of a patch to pixels of the image; flips and rotations by 90°."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.augment.bend import bend_deviation, draw_bend
from singula.data.augment.change import FloatArray, Range
from singula.data.augment.settings import AugmentSettings

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Movement:
    """Displacement of the slices of a volume from `first` on, relative to those before.

    ``patch = matrix @ output + shift`` in pixels from the center of the patch.
    """

    first: int
    matrix: Matrix
    shift: Matrix


@dataclass(frozen=True)
class Geometry:
    """A random mapping in the y-x plane: ``input = matrix @ patch + shift + displacement``.

    Coordinates are pixels from the center of the patch. `displacement` has the shape (2, y, x) of
    the patch or of a window around it. `misalignment` is applied before the mapping. `play` is the
    largest distance in pixels by which displacement and misalignment separate adjacent pixels.
    """

    matrix: Matrix
    shift: Matrix
    displacement: FloatArray | None = None
    misalignment: Movement | None = None
    play: float = 0.0

    @property
    def enlargement(self) -> float:
        """Mean factor of lengths in the plane from the image to the patch."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.matrix))))

    @property
    def is_identity(self) -> bool:
        """True if no resampling is needed."""
        return (
            self.displacement is None
            and self.misalignment is None
            and not self.shift.any()
            and bool(np.array_equal(self.matrix, np.eye(2)))
        )

    def planes(self, depth: int) -> list[tuple[slice, Matrix, Matrix]]:
        """Return the ranges of slices with the same mapping, each with its matrix and shift."""
        moved = self.misalignment
        if moved is None:
            return [(slice(0, depth), self.matrix, self.shift)]
        return [
            (slice(0, moved.first), self.matrix, self.shift),
            (
                slice(moved.first, depth),
                self.matrix @ moved.matrix,
                self.matrix @ moved.shift + self.shift,
            ),
        ]


def draw_geometry(
    settings: AugmentSettings,
    shape: Sequence[int],
    rng: np.random.Generator,
    margin: Callable[[Geometry], Sequence[int]] | None = None,
) -> Geometry:
    """Draw rotation, zoom, shear, shift, elastic displacement and misalignment.

    Parameters
    ----------
    settings : AugmentSettings
    shape : sequence of int
        Spatial shape of the patch.
    rng : Generator
    margin : callable
        Return the additional pixels per axis that are needed around the patch, for a geometry
        without displacement; 0 by default.
    """

    def chosen(values: Range | None) -> Range | None:
        return values if values is not None and rng.random() < settings.probability else None

    plane = (shape[-2], shape[-1])
    matrix, shift = np.eye(2), np.zeros(2)
    if degrees := chosen(settings.rotation):
        matrix = matrix @ turn(np.deg2rad(rng.uniform(*degrees)))
    if factors := chosen(settings.zoom):
        # Uniform in the logarithm: as many patches are shrunk as enlarged by the same factor.
        matrix = matrix / np.exp(rng.uniform(*np.log(factors)))
    if degrees := chosen(settings.shear):
        slope = np.tan(np.deg2rad(rng.uniform(*degrees)))
        matrix = matrix @ [[1.0, 0.0], [slope, 1.0]]
    if fractions := chosen(settings.shift):
        shift = rng.uniform(*fractions, size=2) * rng.choice([-1.0, 1.0], size=2) * plane
    strengths = chosen(settings.elastic_alpha)
    alpha = rng.uniform(*strengths) if strengths else 0.0
    moved = _draw_misalignment(settings, shape, rng)
    play = float(settings.misalignment or 0) if moved is not None else 0.0
    if not strengths:
        return Geometry(matrix, shift, None, moved, play)
    # Two pixels are rarely separated by more than four standard deviations.
    play += 4 * bend_deviation(alpha, settings.elastic_sigma)
    straight = Geometry(matrix, shift, None, moved, play)
    around = margin(straight)[-2:] if margin is not None else (0, 0)
    window = (plane[0] + 2 * around[0], plane[1] + 2 * around[1])
    displacement = draw_bend(window, alpha, settings.elastic_sigma, rng)
    return replace(straight, displacement=displacement)


def turn(angle: float) -> Matrix:
    """Return the matrix of a rotation in the (y, x) plane, radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _draw_misalignment(
    settings: AugmentSettings, shape: Sequence[int], rng: np.random.Generator
) -> Movement | None:
    """Draw a shift by whole pixels, or a rotation that moves the middle of an edge as far."""
    reach = settings.misalignment
    if not reach or len(shape) < 3 or shape[0] < 2 or rng.random() >= settings.probability:
        return None
    first = int(rng.integers(1, shape[0]))
    if rng.random() < settings.misalignment_turns:
        max_angle = np.arctan(reach / (max(shape[-2:]) / 2))
        return Movement(first, turn(rng.uniform(-max_angle, max_angle)), np.zeros(2))
    return Movement(first, np.eye(2), rng.integers(-reach, reach + 1, size=2).astype(float))


@dataclass(frozen=True)
class Mirror:
    """Flips along `axes`, then `turns` rotations by 90° in the plane of the last two axes."""

    ndim: int
    axes: tuple[int, ...] = ()
    turns: int = 0

    def apply(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Flip and rotate an array (spatial…[, c]); the result is a view."""
        flipped = np.flip(array, self.axes) if self.axes else array
        plane = (self.ndim - 2, self.ndim - 1)
        return np.rot90(flipped, self.turns, axes=plane) if self.turns else flipped

    def undo(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Apply the inverse."""
        plane = (self.ndim - 2, self.ndim - 1)
        turned = np.rot90(array, -self.turns, axes=plane) if self.turns else array
        return np.flip(turned, self.axes) if self.axes else turned

    def margins(self, sides: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the pixels before and after a patch along each axis, after the transformation."""
        margins = [
            (after, before) if axis in self.axes else (before, after)
            for axis, (before, after) in enumerate(sides)
        ]
        for _ in range(self.turns):
            (before, after), rows = margins[-1], margins[-2]
            margins[-2:] = [(after, before), rows]
        return margins


def draw_mirror(
    shape: Sequence[int], settings: AugmentSettings, rng: np.random.Generator
) -> Mirror:
    """Draw flips and rotations by 90° of a patch with this spatial shape."""
    ndim = len(shape)
    y, x = ndim - 2, ndim - 1
    wanted = [(y, settings.vflip), (x, settings.hflip)]
    if ndim == 3:
        wanted.append((0, settings.zflip))
    axes = tuple(axis for axis, flip in wanted if flip and rng.random() < settings.probability)
    turns = 0
    if settings.rot90 and rng.random() < settings.probability:
        # Only rotations by 180° keep the shape of a patch that is not square.
        turns = int(rng.integers(1, 4)) if shape[y] == shape[x] else 2
    return Mirror(ndim, axes, turns)
