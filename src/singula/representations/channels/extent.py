"""Region around a patch whose labels determine the channels inside the patch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channel import Reach
from singula.representations.channel_table import CHANNELS
from singula.representations.channels.distance import furthest_background
from singula.representations.channels.neighbor import furthest_neighbor
from singula.representations.channels.source import EncodeSettings, Furthest, Source
from singula.representations.channels.sparse import (
    furthest_annotated,
    is_planar,
    refuse_single_slices,
)
from singula.representations.channels.table import parse_channels
from singula.util.arguments import as_array, instance, label_image
from singula.util.sparse_labels import is_sparse, without_unannotated

CONTOUR_REACH = 2
"""Pixels around a contour pixel that determine it: 1, and 2 for the mode 'dense'."""


@dataclass(frozen=True)
class Extent:
    """Region that determines the channels of a pixel, in addition to the contour, in pixels.

    Parameters
    ----------
    box : tuple of float
        Distance per axis to the pixels that matter: those of the same instance, of its nearest
        neighbors, and within the radii of the options.
    ball : tuple of float
        Half axes of an ellipsoid (a ball in physical units) around a pixel that contains the
        contour to which its distance is measured.
    furthest : mapping of str to float
        Largest distances of the image by the reach of the channels that use it; see `encode_with`.
    planar : bool
        Only single slices of the volume are annotated; see `is_planar`.
    """

    box: tuple[float, ...]
    ball: tuple[float, ...]
    furthest: Furthest = field(default_factory=dict)
    planar: bool = False

    def margin(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the margin of a patch, in pixels along each axis, after the image is transformed.

        Parameters
        ----------
        matrix : ndarray of float, (ndim, ndim)
            Linear map from coordinates of the image to coordinates of the patch.
        """
        box = np.abs(matrix) @ np.array(self.box)
        ball = np.sqrt(matrix**2 @ np.array(self.ball) ** 2)
        return np.asarray(np.maximum(box, ball) + CONTOUR_REACH)

    def enlarged(self, factor: float) -> Furthest:
        """Return the largest distances in the image after it is enlarged by a factor."""
        return {reach: distance * factor for reach, distance in self.furthest.items()}

    @property
    def is_local(self) -> bool:
        """True if only the neighbors of a pixel matter."""
        return not (any(self.box) or any(self.ball))


def needs_extent(settings: EncodeSettings) -> bool:
    """Return True if the extent depends on the labels.

    Parameters
    ----------
    settings : EncodeSettings
        Settings of the channels.

    Raises
    ------
    TypeError
        `settings` has another type.
    """
    settings = instance(settings, "settings", EncodeSettings)
    codes = parse_channels(settings.channels)
    return any(CHANNELS[code].reach != "contour" for code in codes) or _local_reach(settings) > 0


def depends_on_ids(settings: EncodeSettings) -> bool:
    """Return True if a channel depends on which pixels that do not touch have the same id.

    Parameters
    ----------
    settings : EncodeSettings
        Settings of the channels.

    Raises
    ------
    TypeError
        `settings` has another type.
    """
    settings = instance(settings, "settings", EncodeSettings)
    channels = [CHANNELS[code] for code in parse_channels(settings.channels)]
    return any(
        channel.reach != "contour"
        or channel.family
        or any(option.is_radius for option in channel.options)
        for channel in channels
    )


def measure_extent(labels: NDArray[Any], settings: EncodeSettings) -> Extent:
    """Measure the region on which the channels of an image depend.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids of the whole image.
    settings : EncodeSettings
        Settings of the channels.

    Raises
    ------
    TypeError, UserError
        `labels` is not a label image, or `settings` has another type; ``channels.no_z``: a channel
        has no target, because only single slices are annotated.
    """
    settings = instance(settings, "settings", EncodeSettings)
    array = as_array(labels, "labels")
    sparse = is_sparse(array)
    planar = sparse and is_planar(array)
    if planar:
        refuse_single_slices(settings)
    labels = label_image(without_unannotated(array), empty=False)
    reaches = {CHANNELS[code].reach for code in parse_channels(settings.channels)}
    local = _local_reach(settings)
    nothing = (0.0,) * labels.ndim
    if reaches <= {"contour"} and not local:
        return Extent(nothing, nothing, planar=planar)
    source = Source(labels, settings)
    spacing = np.array(source.spacing)
    starts, stops = _boxes(source)
    box, radius = np.zeros(labels.ndim), 0.0
    furthest: dict[Reach, float] = {}
    if sparse:
        furthest |= furthest_annotated(settings, array, planar)
    if len(starts) and reaches & {"instance", "neighbors", "image"}:
        box = (stops - starts).max(axis=0) - 1
    if len(starts) and "radius" in reaches:
        radius = max(radius, _largest_radius(starts, stops, labels.shape, spacing))
        if sparse:  # the contour of a cut instance can be on one side only
            radius = max(radius, np.sqrt((((stops - starts) * spacing) ** 2).sum(axis=1)).max())
    if "neighbors" in reaches:
        # The largest distance of an instance is at any of its pixels.
        away = furthest_neighbor(source)
        furthest.setdefault("neighbors", away)
        box = box + max(away, furthest["neighbors"]) / spacing
    if "image" in reaches:
        if not sparse:
            furthest["image"] = furthest_background(source)
        radius = max(radius, furthest["image"])
    # Options select a cube of pixels, or a ball whose radius is in in-plane pixels.
    box = box + local * np.maximum(1, spacing[-2:].min() / spacing)
    return Extent(tuple(box.tolist()), tuple((radius / spacing).tolist()), furthest, planar)


def _local_reach(settings: EncodeSettings) -> float:
    """Return the largest distance in in-plane pixels that options add to the neighbors."""
    # The defaults of P and T are covered by the instance and by CONTOUR_REACH.
    return max(
        (
            CHANNELS[code].local_reach(settings.options_of(code))
            for code in parse_channels(settings.channels)
            if CHANNELS[code].options_code in settings.options
        ),
        default=0.0,
    )


def _boxes(source: Source) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the starts and stops of the bounding boxes, one row for each instance."""
    from scipy.ndimage import find_objects

    boxes = [box for box in find_objects(source.index) if box is not None]
    shape = (len(boxes), source.labels.ndim)
    starts = np.array([[axis.start for axis in box] for box in boxes], np.int64).reshape(shape)
    stops = np.array([[axis.stop for axis in box] for box in boxes], np.int64).reshape(shape)
    return starts, stops


def _largest_radius(
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    shape: tuple[int, ...],
    spacing: NDArray[np.float64],
) -> float:
    """Return an upper bound of the distances of instance pixels to their contour, from the boxes.

    Along an axis, the contour is within half the length of the box, or within its whole length if
    the box touches the image edge on one side, where there is no contour.
    """
    lengths = (stops - starts).astype(np.float64)
    ends = (starts == 0).astype(int) + (stops == np.array(shape))
    bounds = np.where(ends == 0, (lengths + 1) / 2, np.where(ends == 1, lengths, np.inf)) * spacing
    diagonals = np.sqrt(((lengths * spacing) ** 2).sum(axis=1))
    return float(np.minimum(bounds.min(axis=1), diagonals).max())
