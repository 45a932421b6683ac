"""Estimate of the scale of an image from the objects that a model finds in it.

A few crops are predicted at several zooms. Around the correct zoom, the diameters of the predicted
objects, divided by the zoom, agree: they are the diameters in the image. Where the objects are too
small or too large for the network, they vanish, merge or break into pieces, and the diameters
disagree; pieces also vary more in size than objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.preprocess import scaled_shape
from singula.errors import UserError
from singula.labels.diameters import equivalent_diameters, representative
from singula.pipeline.common_spacing import MAX_FACTOR
from singula.pipeline.object_size import TrainedObjects

Array = npt.NDArray[Any]
_ZOOMS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0)
_CLEAR = log(1.3)  # disagreement of two zooms that needs no other zooms
_MAX_COST = log(1.5)
_MAX_SPREAD = 0.25  # difference of spreads that shows that objects break into pieces
_MIN_CHANGE = log(4 / 3)  # smaller changes of the scale are not worth a resampling
_MIN_SIDE = 24  # pixels of a crop after resampling, along y and x
_WINDOW = {2: 256, 3: 64}  # pixels of a crop after resampling, along each axis
_POSITIONS = 16  # number of crops that are compared, along each axis
_SAMPLES = 64  # pixels of a crop that are compared, along each axis


@dataclass(frozen=True)
class AutoScale:
    """Scale of an image.

    Parameters
    ----------
    factor : float
        Factor by which the image is enlarged before prediction.
    diameter : float, optional
        Estimated diameter of the objects in the image, in pixels; None if it is not known.
    """

    factor: float
    diameter: float | None = None

    def __str__(self) -> str:
        """Return the factor and its reason."""
        if self.diameter is None:
            return "scale 1: the size of its objects could not be estimated"
        return f"scale {self.factor:.3g}: objects of about {self.diameter:.3g} pixels"


def estimate_scale(
    image: Array,
    objects: TrainedObjects,
    predict: Callable[[Array, float], Array],
) -> AutoScale:
    """Estimate the factor that gives the objects of an image the size of the training objects.

    The factor is 1 if objects of this size occur in the training images, or 1/2 if the objects then
    vary much less in size.

    Parameters
    ----------
    image : ndarray, (y, x, c) or (z, y, x, c)
        Image.
    objects : TrainedObjects
        Sizes of the training objects.
    predict : callable
        Function that takes a crop and the factor by which it is enlarged, and returns the label
        image of the enlarged crop.

    Raises
    ------
    UserError
        ``predict.scale_unknown``: the sizes of the training objects are not known.
    """
    size, (low, high) = trained_sizes(objects)
    search = _Search(image, predict, low, high)
    diameter = search.diameter()
    if diameter is None:
        return AutoScale(1.0)
    if low <= diameter <= high:
        return AutoScale(search.usual_zoom(), diameter)
    if abs(log(size / diameter)) <= _MIN_CHANGE:
        return AutoScale(1.0, diameter)
    factor = _limited(size / diameter)
    sizes = search.measure(factor)
    if sizes is not None and abs(log(sizes.diameter / size)) < log(2):  # refine once
        diameter = sizes.diameter / factor
        factor = _limited(size / diameter)
    return AutoScale(factor, diameter)


def _limited(factor: float) -> float:
    return min(MAX_FACTOR, max(1 / MAX_FACTOR, factor))


def trained_sizes(objects: TrainedObjects) -> tuple[float, tuple[float, float]]:
    """Return the size of the training objects and its range over images, as mean over the axes.

    Raises
    ------
    UserError
        ``predict.scale_unknown``: the sizes are not known.
    """
    if objects.size is None:
        raise UserError(
            "--scale: got auto, expected a factor, because an earlier version trained this model "
            "and did not store the size of its training objects",
            "give a factor, such as --scale 0.5, or train the model again",
            "predict.scale_unknown",
        )
    size = float(np.exp(np.mean(np.log(objects.size))))
    low, high = objects.range or (objects.size[-1], objects.size[-1])
    return size, (low * size / objects.size[-1], high * size / objects.size[-1])


@dataclass(frozen=True)
class _Sizes:
    """Median diameter in pixels of the objects of a crop, and deviation of its logarithm."""

    diameter: float
    spread: float


@dataclass
class _Search:
    """Measurement of the objects at several zooms."""

    image: Array
    predict: Callable[[Array, float], Array]
    low: float
    high: float
    sizes: dict[float, _Sizes | None] = field(default_factory=dict)

    def diameter(self) -> float | None:
        """Return the diameter of the objects in the image, in pixels; None if it is not clear."""
        self.sizes = {zoom: self.measure(zoom) for zoom in (1.0, 1 / 2)}
        _, cost, diameter = self._compare(1 / 2, 1.0)
        if cost <= _CLEAR and self.low <= diameter <= self.high:
            return diameter
        self.sizes |= {zoom: self.measure(zoom) for zoom in _ZOOMS if zoom not in self.sizes}
        _, cost, diameter = min(self._compare(*pair) for pair in pairwise(_ZOOMS))
        return diameter if cost <= _MAX_COST else None

    def usual_zoom(self) -> float:
        """Return the zoom for objects whose size is usual: 1, or 1/2 if 1 gives pieces."""
        whole, half = self.sizes[1.0], self.sizes[1 / 2]
        if whole is None or half is None or half.diameter < self.low:
            return 1.0
        return 1 / 2 if whole.spread - half.spread > _MAX_SPREAD else 1.0

    def _compare(self, zoom: float, other: float) -> tuple[float, float, float]:
        """Compare the objects at two zooms.

        Returns
        -------
        rank : float
            Disagreement with half of the spread, by which pairs of zooms are compared.
        disagreement : float
            Difference of the logarithms of the diameters in the image, and half of the distance to
            the range of the training images.
        diameter : float
            Mean diameter in the image, in pixels.
        """
        first, second = self.sizes[zoom], self.sizes[other]
        if first is None or second is None:
            return inf, inf, 0.0
        outside = min(self._outside(first.diameter), self._outside(second.diameter))
        diameters = first.diameter / zoom, second.diameter / other
        cost = abs(log(diameters[0] / diameters[1])) + outside / 2
        return cost + (first.spread + second.spread) / 4, cost, sqrt(diameters[0] * diameters[1])

    def _outside(self, diameter: float) -> float:
        return max(0.0, log(self.low / diameter), log(diameter / self.high))

    def measure(self, zoom: float) -> _Sizes | None:
        """Return the sizes of the objects in a crop at a zoom; None without objects."""
        ndim = self.image.ndim - 1
        sides = [max(1, round(_WINDOW[ndim] / zoom))] * ndim
        crop = self.image[richest_box(self.image, sides)]
        if min(scaled_shape(crop.shape[:-1], (zoom,) * ndim)[-2:]) < _MIN_SIDE:
            return None
        diameters, cut = equivalent_diameters(self.predict(crop, zoom))
        if not len(diameters):
            return None
        used = diameters[representative(diameters, cut)]
        return _Sizes(float(np.median(used)), float(np.log(used).std()))


def richest_box(image: Array, sides: Sequence[int]) -> tuple[slice, ...]:
    """Return the box with the largest standard deviation, which shows objects and background.

    Parameters
    ----------
    image : ndarray, (y, x, c) or (z, y, x, c)
        Image; only some pixels of each box are compared.
    sides : sequence of int
        Sides of the box in pixels; a smaller side of the image is used whole.
    """
    shape = image.shape[:-1]
    sides = [min(side, n) for side, n in zip(sides, shape, strict=True)]
    starts = []
    for side, n in zip(sides, shape, strict=True):
        count = min(_POSITIONS, 1 if n == side else 1 + -(-2 * (n - side) // side))
        starts.append(np.linspace(0, n - side, count).astype(int).tolist())
    best, spread = (slice(None),) * len(shape), -1.0
    for start in np.array(np.meshgrid(*starts, indexing="ij")).reshape(len(shape), -1).T.tolist():
        box = tuple(slice(s, s + side) for s, side in zip(start, sides, strict=True))
        samples = tuple(
            slice(b.start, b.stop, max(1, side // _SAMPLES))
            for b, side in zip(box, sides, strict=True)
        )
        value = float(image[samples].astype(np.float32).std(axis=tuple(range(len(shape)))).max())
        if value > spread:
            best, spread = box, value
    return best
