"""Statistics of the training instances."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma, pi

import numpy as np

from singula.dataset.facts import Objects, Survey
from singula.dataset.facts.sections import objects_from_sections
from singula.dataset.facts.shapes import ShapeCollector, ShapeSummary
from singula.errors import UserError

_MIN_INSTANCES = 10  # complete instances needed for statistics
_MIN_FOR_SMALLEST = 3  # complete instances needed for the minimum size


@dataclass(frozen=True)
class Sizes:
    """Statistics of the training instances; lengths in pixels.

    Sizes and shapes are measured on complete instances, which do not touch the border of the image.
    If there are fewer than 10, the larger half of the other instances is also used. If single
    slices of the volumes are annotated, sizes are estimated from cross sections; see
    `objects_from_sections`.

    Parameters
    ----------
    count : int
        Number of instances.
    cut : int
        Number of instances that touch the border of their image.
    complete : bool
        True if sizes and shapes were measured on complete instances only.
    typical, large : tuple of float
        Median and 95th percentile of the bounding box along each axis.
    spread : float
        Ratio of the lengths of large and small instances (95th over 5th percentile).
    min_pixels : float
        Minimum usual number of pixels: the 1st percentile, or half of the 5th percentile if that
        is less. If there are three complete instances or more, only these are used.
    min_pixels_at_border : float
        Minimum usual number of pixels of instances at the border, half of which is inside the image
        on average: half of `min_pixels`, or the 20th percentile of these instances if that is less.
    radius : float
        Median of the largest distance to the outside, in pixels.
    thin : float
        5th percentile of the largest distance to the outside, in pixels.
    touching : float
        Fraction of instances that share a pixel side with another instance.
    lost : float
        Fraction of instances that consist only of the thick contour.
    compact : float
        Median ratio of the size to that of the ellipse or ellipsoid in the bounding box: about 1
        for round instances, less for branched ones.
    foreground : float
        Fraction of the pixels in instances.
    shape : ShapeSummary
        Elongation, convexity, contact and density.
    """

    count: int
    cut: int
    complete: bool
    typical: tuple[float, ...]
    large: tuple[float, ...]
    spread: float
    min_pixels: float
    min_pixels_at_border: float
    radius: float
    thin: float
    touching: float
    lost: float
    compact: float
    foreground: float
    shape: ShapeSummary

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.typical)

    @property
    def side(self) -> float:
        """Longer side of a large instance in the plane, in pixels."""
        return max(self.large[-2:])

    @classmethod
    def of(cls, survey: Survey) -> Sizes:
        """Return the statistics of the training data.

        Raises
        ------
        UserError
            ``init.no_objects``: the training labels have no object.
        """
        objects, shape = survey.objects("train"), _shapes(survey)
        if shape is None:
            raise UserError(
                f"{survey.root}: the training labels have no objects, only background (0)",
                "give each object an id in the label images: 1, 2, 3 and so on",
                "init.no_objects",
            )
        sized = _sized(survey)
        representative, complete = _representative(sized)
        box = representative.box.astype(float)
        plane = box[:, -2:].max(axis=1)
        ellipse = pi ** (survey.ndim / 2) / gamma(survey.ndim / 2 + 1) * np.prod(box / 2, axis=1)
        min_pixels, min_pixels_at_border = _min_pixels(sized, representative)
        return cls(
            len(objects),
            int(objects.border.sum()),
            complete,
            tuple(np.median(box, axis=0).tolist()),
            tuple(np.percentile(box, 95, axis=0).tolist()),
            float(np.percentile(plane, 95) / np.percentile(plane, 5)),
            min_pixels,
            min_pixels_at_border,
            float(np.median(representative.radius)),
            float(np.percentile(representative.radius, 5)),
            float(objects.touching.mean()),
            float((representative.core == 0).mean()),
            float(np.median(representative.npixels / ellipse)),
            shape.density,
            shape,
        )


def _shapes(survey: Survey) -> ShapeSummary | None:
    """Return the shapes of the training instances; None without instances."""
    part, anisotropy = survey.part("train"), survey.anisotropy
    shapes = ShapeCollector()
    for facts in () if part is None else part.labels:
        objects = facts.objects
        if facts.is_section:
            objects = objects_from_sections(objects, anisotropy)
        shapes.add(objects, facts.foreground, anisotropy)
    return shapes.summary()


def _sized(survey: Survey) -> Objects:
    """Return the instances for sizes: estimates for cross sections, else the instances."""
    part = survey.part("train")
    labels = () if part is None else part.labels
    whole = [facts.objects for facts in labels if not facts.is_section]
    sections = [facts.objects for facts in labels if facts.is_section]
    if sections:
        joined = Objects.concatenate(sections, survey.ndim)
        whole.append(objects_from_sections(joined, survey.anisotropy))
    return Objects.concatenate(whole, survey.ndim)


def _representative(objects: Objects) -> tuple[Objects, bool]:
    """Return the instances for the statistics, and True if all of them are complete.

    In a thin volume, the border can cut nearly all instances. The larger half of the cut instances
    is then also used: little of them is missing, while the small ones are mostly slivers.
    """
    complete = ~objects.border
    if complete.sum() >= _MIN_INSTANCES or complete.all():
        return objects.select(complete), True
    median = np.median(objects.npixels[objects.border])
    return objects.select(complete | (objects.npixels >= median)), False


def _min_pixels(objects: Objects, representative: Objects) -> tuple[float, float]:
    """Return the minimum usual number of pixels of complete instances and at the border."""
    complete, cut = objects.npixels[~objects.border], objects.npixels[objects.border]
    pixels = complete if len(complete) >= _MIN_FOR_SMALLEST else representative.npixels
    min_pixels = float(min(np.percentile(pixels, 1), np.percentile(pixels, 5) / 2))
    return min_pixels, min(min_pixels / 2, float(np.percentile(cut, 20))) if len(
        cut
    ) else min_pixels
