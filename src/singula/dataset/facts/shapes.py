"""Shapes of instances: elongation, convexity, and the fraction of their outline in contact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.dataset.facts.facts import Objects
from singula.measure.moments import Moments, axis_ratio
from singula.util.boxes import evenly_spaced

MAX_HULLS = 50
"""Maximum number of instances of an image of which the convex hull is computed."""


@dataclass(frozen=True)
class ShapeSummary:
    """Shapes of the instances of a data set.

    Parameters
    ----------
    elongation : float
        Median ratio of the longest to the shortest axis; 1 for a disk or ball.
    convexity : float
        Median fraction of the convex hull that an instance fills; 1 for a convex instance.
    contact : float
        Fraction of the outlines of the instances that they share with other instances.
    density : float
        Fraction of the pixels in instances.
    """

    elongation: float
    convexity: float
    contact: float
    density: float

    @property
    def text(self) -> str:
        """Description in one line."""
        return (
            f"shapes: {self.elongation:.1f} times as long as wide, {self.convexity:.0%} of their "
            f"convex hull (medians), {self.contact:.0%} of the outlines shared with other objects, "
            f"{self.density:.0%} of the pixels in objects"
        )


@dataclass
class ShapeCollector:
    """Shapes of the instances of several label images."""

    elongations: list[NDArray[np.float64]] = field(default_factory=list)
    convexities: list[NDArray[np.float64]] = field(default_factory=list)
    densities: list[float] = field(default_factory=list)
    contact: int = 0
    sides: int = 0

    def add(self, objects: Objects, density: float, anisotropy: float) -> None:
        """Add the instances of a label image.

        Parameters
        ----------
        objects : Objects
            Instances of the image.
        density : float
            Fraction of the pixels in instances.
        anisotropy : float
            Voxel size along z relative to the voxel size in the plane.
        """
        # The border cuts instances into other shapes.
        whole = objects if objects.border.all() else objects.select(~objects.border)
        self.elongations.append(elongations(whole, anisotropy))
        self.convexities.append(whole.convexity[np.isfinite(whole.convexity)])
        self.densities.append(density)
        self.contact += int(objects.contact.sum())
        self.sides += int(objects.sides.sum())

    def summary(self) -> ShapeSummary | None:
        """Return the summary; None without instances."""
        if not any(map(len, self.elongations)):
            return None
        return ShapeSummary(
            float(np.median(np.concatenate(self.elongations))),
            float(np.median(np.concatenate(self.convexities))),
            self.contact / max(1, self.sides),
            float(np.mean(self.densities)),
        )


def elongations(objects: Objects, anisotropy: float) -> NDArray[np.float64]:
    """Return the ratio of the longest to the shortest axis of each instance.

    Parameters
    ----------
    objects : Objects
        Instances.
    anisotropy : float
        Voxel size along z relative to the voxel size in the plane; no effect in 2D.
    """
    if not len(objects):
        return np.zeros(0)
    ndim = objects.box.shape[1]
    spacing = (anisotropy, 1.0, 1.0)[-ndim:] if ndim == 3 else (1.0, 1.0)
    sums = np.zeros((len(objects), ndim))
    moments = Moments(objects.ids, objects.npixels, sums, objects.moments)
    return axis_ratio(moments, spacing=spacing)


def convexities(
    index: NDArray[Any], rows: NDArray[np.integer[Any]], objects: Objects
) -> NDArray[np.float64]:
    """Return the fraction of the convex hull that each instance fills.

    Instances at the border of the image are measured only if there are no others. Of many
    instances, `MAX_HULLS` at equal distances in their order are measured. The hull contains the
    centers of the sides of all pixels, as in scikit-image.

    Parameters
    ----------
    index : ndarray of int, (y, x) or (z, y, x)
        Row number of the instance of each pixel.
    rows : ndarray of int, shape (n,)
        Row numbers of the instances.
    objects : Objects
        Instances, of which the bounding boxes are used.

    Returns
    -------
    ndarray of float64, shape (n,)
        Values from 0 to 1; NaN for instances that are not measured.
    """
    result = np.full(len(objects), np.nan)
    whole = np.flatnonzero(objects.border == objects.border.all())
    for place in whole[evenly_spaced(len(whole), MAX_HULLS)]:
        low, high = objects.low[place], objects.low[place] + objects.box[place]
        box = tuple(map(slice, low.tolist(), high.tolist()))
        result[place] = _convexity(index[box] == rows[place])
    return result


def _convexity(mask: NDArray[np.bool_]) -> float:
    """Return the fraction of its convex hull that an instance fills."""
    from scipy.spatial import ConvexHull

    # Only the ends of each line of pixels can be corners of the hull.
    lines = np.argwhere(mask.any(axis=-1))
    first = mask.argmax(axis=-1)
    last = mask.shape[-1] - 1 - mask[..., ::-1].argmax(axis=-1)
    ends = [np.column_stack([lines, each[tuple(lines.T)]]) for each in (first, last)]
    corners = np.concatenate(ends)
    sides = np.concatenate([np.eye(mask.ndim), -np.eye(mask.ndim)]) / 2
    points = (corners[:, None] + sides).reshape(-1, mask.ndim)
    hull = float(ConvexHull(np.unique(points, axis=0)).volume)
    return min(1.0, np.count_nonzero(mask) / hull)
