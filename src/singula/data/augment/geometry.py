"""Draw a mapping from the pixels of a patch to those of the image; flips and quarter turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.augment.bend import draw_bend
from singula.data.augment.change import FloatArray, Range
from singula.data.augment.settings import AugmentSettings

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Movement:
    """How the slices of a volume from `first` on lie, relative to those before.

    ``patch = matrix @ output + shift`` in pixels from the patch's centre.
    """

    first: int
    matrix: Matrix
    shift: Matrix


@dataclass(frozen=True)
class Geometry:
    """One drawn mapping in the y-x plane: ``input = matrix @ patch + shift + displacement``.

    Coordinates are pixels from the patch's centre. The displacement is one for each output pixel,
    shape (2, y, x). `misalignment` comes before all of it.
    """

    matrix: Matrix
    shift: Matrix
    displacement: FloatArray | None = None
    misalignment: Movement | None = None

    @property
    def is_identity(self) -> bool:
        """True when nothing has to be resampled."""
        return (
            self.displacement is None
            and self.misalignment is None
            and not self.shift.any()
            and bool(np.array_equal(self.matrix, np.eye(2)))
        )

    def planes(self, depth: int) -> list[tuple[slice, Matrix, Matrix]]:
        """Slices of a patch of `depth` slices that share a mapping, with its matrix and shift."""
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
    settings: AugmentSettings, shape: Sequence[int], rng: np.random.Generator
) -> Geometry:
    """Draw rotation, zoom, shear, shift, elastic displacement and misalignment.

    Parameters
    ----------
    settings : AugmentSettings
    shape : sequence of int
        Spatial shape of the patch.
    rng : Generator
    """

    def chosen(values: Range | None) -> Range | None:
        return values if values is not None and rng.random() < settings.probability else None

    plane = (shape[-2], shape[-1])
    matrix, shift = np.eye(2), np.zeros(2)
    if degrees := chosen(settings.rotation):
        matrix = matrix @ turn(np.deg2rad(rng.uniform(*degrees)))
    if factors := chosen(settings.zoom):
        matrix = matrix / rng.uniform(*factors)
    if degrees := chosen(settings.shear):
        slope = np.tan(np.deg2rad(rng.uniform(*degrees)))
        matrix = matrix @ [[1.0, 0.0], [slope, 1.0]]
    if fractions := chosen(settings.shift):
        shift = rng.uniform(*fractions, size=2) * rng.choice([-1.0, 1.0], size=2) * plane
    displacement = None
    if strengths := chosen(settings.elastic_alpha):
        displacement = draw_bend(plane, rng.uniform(*strengths), settings.elastic_sigma, rng)
    return Geometry(matrix, shift, displacement, _draw_misalignment(settings, shape, rng))


def turn(angle: float) -> Matrix:
    """The matrix of a rotation in the (y, x) plane, radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _draw_misalignment(
    settings: AugmentSettings, shape: Sequence[int], rng: np.random.Generator
) -> Movement | None:
    """A shift of whole pixels, or a turn that moves the middle of an edge at most as far."""
    reach = settings.misalignment
    if not reach or len(shape) < 3 or shape[0] < 2 or rng.random() >= settings.probability:
        return None
    first = int(rng.integers(1, shape[0]))
    if rng.random() < settings.misalignment_turns:
        largest = np.arctan(reach / (max(shape[-2:]) / 2))
        return Movement(first, turn(rng.uniform(-largest, largest)), np.zeros(2))
    return Movement(first, np.eye(2), rng.integers(-reach, reach + 1, size=2).astype(float))


def mirror(
    arrays: Sequence[npt.NDArray[Any]],
    ndim: int,
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> list[npt.NDArray[Any]]:
    """Flip and turn several patches (spatial…, c) alike; exact, as views."""
    y, x = ndim - 2, ndim - 1
    wanted = [(y, settings.vflip), (x, settings.hflip)]
    if ndim == 3:
        wanted.append((0, settings.zflip))
    flips = [axis for axis, flip in wanted if flip and rng.random() < settings.probability]
    turns = 0
    if settings.rot90 and rng.random() < settings.probability:
        # Only half turns keep the shape of a patch that is not square.
        square = arrays[0].shape[y] == arrays[0].shape[x]
        turns = int(rng.integers(1, 4)) if square else 2
    changed = []
    for array in arrays:
        flipped = np.flip(array, tuple(flips)) if flips else array
        changed.append(np.rot90(flipped, turns, axes=(y, x)) if turns else flipped)
    return changed
