"""What the rules ask of the instances: a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma, pi

import numpy as np

from singula.errors import UserError
from singula.survey import Survey

_ENOUGH = 10


@dataclass(frozen=True)
class Sizes:
    """The training instances in numbers; lengths in pixels.

    Parameters
    ----------
    count : int
    typical, large : tuple of float
        Median and 95th percentile of the bounding box along each axis.
    spread : float
        How many times longer large instances are than small ones (95th over 5th percentile).
    least : float
        What 99 % of the instances have at least in pixels, those that the image cuts included, or
        half of what 95 % have if that is less.
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
    typical: tuple[float, ...]
    large: tuple[float, ...]
    spread: float
    least: float
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
        whole = objects.part(~objects.border)
        if len(whole) < _ENOUGH:
            whole = objects
        box = whole.box.astype(float)
        plane = box[:, -2:].max(axis=1)
        ellipse = pi ** (survey.ndim / 2) / gamma(survey.ndim / 2 + 1) * np.prod(box / 2, axis=1)
        part = survey.part("train")
        return cls(
            len(objects),
            tuple(np.median(box, axis=0).tolist()),
            tuple(np.percentile(box, 95, axis=0).tolist()),
            float(np.percentile(plane, 95) / np.percentile(plane, 5)),
            float(min(np.percentile(objects.npixels, 1), np.percentile(objects.npixels, 5) / 2)),
            float(np.median(whole.radius)),
            float(np.percentile(whole.radius, 5)),
            float(objects.touching.mean()),
            float((objects.core == 0).mean()),
            float(np.median(whole.npixels / ellipse)),
            float(np.mean([labels.foreground for labels in part.labels])) if part else 0.0,
        )
