"""What the rules ask of the instances: a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma, pi

import numpy as np

from singula.errors import UserError
from singula.survey import Objects, Survey

_ENOUGH = 10  # complete instances that statistics need
_SOME = 3  # complete instances that the smallest size needs


@dataclass(frozen=True)
class Sizes:
    """Statistics of the training instances; lengths in pixels.

    Sizes and shapes are those of complete instances, which the border of the image does not cut.
    If there are fewer than 10 of them, the larger half of the cut instances is counted too.

    Parameters
    ----------
    count : int
        Number of instances.
    cut : int
        Number of instances that touch the border of their image.
    complete : bool
        Sizes and shapes are those of complete instances only.
    typical, large : tuple of float
        Median and 95th percentile of the bounding box along each axis.
    spread : float
        How many times longer large instances are than small ones (95th over 5th percentile).
    least : float
        Number of pixels that 99 % of the complete instances reach, or half of what 95 % reach if
        that is less. Of three complete instances or more, no others are counted.
    least_cut : float
        Half of it, as the border leaves half of an instance on average; at most what 80 % of the
        instances at the border reach.
    radius : float
        Median of the largest distance to the outside.
    thin : float
        Its 5th percentile.
    touching : float
        Fraction that share a side of a pixel with another one.
    lost : float
        Fraction of which nothing is left once the thick contour is taken away.
    compact : float
        Median of pixels over those of the ellipse or ellipsoid in the bounding box: about 1 for
        round instances, less for branched ones.
    foreground : float
        Fraction of the pixels that are in an instance.
    """

    count: int
    cut: int
    complete: bool
    typical: tuple[float, ...]
    large: tuple[float, ...]
    spread: float
    least: float
    least_cut: float
    radius: float
    thin: float
    touching: float
    lost: float
    compact: float
    foreground: float

    @property
    def ndim(self) -> int:
        """Axes."""
        return len(self.typical)

    @property
    def side(self) -> float:
        """The longer side in the plane of a large instance."""
        return max(self.large[-2:])

    @classmethod
    def of(cls, survey: Survey) -> Sizes:
        """Those of the training data.

        Raises
        ------
        UserError
            When there is no instance.
        """
        objects = survey.objects("train")
        if not len(objects):
            raise UserError(
                f"{survey.root}: the training labels hold no object, only background (0)",
                "a label image holds the id of its object in every pixel: 1, 2, 3 and so on",
            )
        whole, complete = _representative(objects)
        box = whole.box.astype(float)
        plane = box[:, -2:].max(axis=1)
        ellipse = pi ** (survey.ndim / 2) / gamma(survey.ndim / 2 + 1) * np.prod(box / 2, axis=1)
        part = survey.part("train")
        least, least_cut = _least(objects, whole)
        return cls(
            len(objects),
            int(objects.border.sum()),
            complete,
            tuple(np.median(box, axis=0).tolist()),
            tuple(np.percentile(box, 95, axis=0).tolist()),
            float(np.percentile(plane, 95) / np.percentile(plane, 5)),
            least,
            least_cut,
            float(np.median(whole.radius)),
            float(np.percentile(whole.radius, 5)),
            float(objects.touching.mean()),
            float((whole.core == 0).mean()),
            float(np.median(whole.npixels / ellipse)),
            float(np.mean([labels.foreground for labels in part.labels])) if part else 0.0,
        )


def _representative(objects: Objects) -> tuple[Objects, bool]:
    """Return the instances whose sizes are counted, and whether all of them are complete.

    In a thin volume the border can cut nearly all instances. The larger half of the cut ones is
    then counted too: little of these is missing, while small ones are mostly slivers.
    """
    complete = ~objects.border
    if complete.sum() >= _ENOUGH or complete.all():
        return objects.part(complete), True
    median = np.median(objects.npixels[objects.border])
    return objects.part(complete | (objects.npixels >= median)), False


def _least(objects: Objects, representative: Objects) -> tuple[float, float]:
    """Return the smallest usual number of pixels: of complete instances, and at the border."""
    complete, cut = objects.npixels[~objects.border], objects.npixels[objects.border]
    pixels = complete if len(complete) >= _SOME else representative.npixels
    least = float(min(np.percentile(pixels, 1), np.percentile(pixels, 5) / 2))
    return least, min(least / 2, float(np.percentile(cut, 20))) if len(cut) else least
