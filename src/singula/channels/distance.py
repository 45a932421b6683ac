"""Distance channels: `D` inside instances, `Dv2` inside and outside, each in one pass.

Both measure to the nearest contour pixel of the image, and that is the instance's own: on a path
from a pixel of instance i to any pixel beyond i, by steps across faces that each lead away from
the start, the last pixel of i or the next one is contour of i, in every contour mode. So no pixel
beyond the contour of i is nearer than that contour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.channels.source import Source
from singula.channels.table import register
from singula.channels.transform import distance_to_zeros
from singula.runtime import compiled


@register("D", "distance", "distance of instance pixels to their contour", reach="radius")
def encode_distance(source: Source) -> NDArray[np.float32]:
    """Euclidean distance of each instance pixel to its own contour, 0 on contour and background.

    An instance that fills the image has no contour there; the distance is then measured to the
    pixels just outside the image, the least that it can be.
    """
    return _distance(source.foreground & ~source.contour, source)


@register(
    "Dv2", "distance", "nearness to the contour, inside and outside, from 0 to 1", reach="image"
)
def encode_nearness(source: Source) -> NDArray[np.float32]:
    """1 on the contour, else ``1 - d / max d``: over the instance inside, over the image outside.

    An instance without interior is 1 everywhere, an image without instances 0. An instance that
    fills the image is measured as in `encode_distance`.
    """
    if not source.foreground.any():
        return np.zeros(source.labels.shape, np.float32)
    distance = _distance(~source.contour, source)
    index = source.index.ravel()
    furthest = np.zeros(int(index.max()) + 1, np.float32)
    compiled(_find_furthest)(distance.ravel(), index, furthest)
    if source.furthest:
        furthest[0] = source.furthest
    furthest[furthest == 0] = 1
    compiled(_make_near)(distance.ravel(), index, furthest)
    # Only a distance that was given can be exceeded.
    return distance.clip(0, 1, out=distance) if source.furthest else distance


def furthest_background(source: Source) -> float:
    """Largest distance of a background pixel to a contour, 0 without instances."""
    if not source.foreground.any():
        return 0.0
    distance = _distance(~source.contour, source)
    return float(distance.max(where=~source.foreground, initial=0.0))


def _find_furthest(distance: Any, index: Any, furthest: Any) -> None:
    """Raise `furthest` to the largest distance of each number of `index`; compiled."""
    for pixel in range(len(index)):
        furthest[index[pixel]] = max(furthest[index[pixel]], distance[pixel])


def _make_near(distance: Any, index: Any, furthest: Any) -> None:
    """Turn distances into nearness, in place; compiled."""
    for pixel in range(len(index)):
        distance[pixel] = 1 - distance[pixel] / furthest[index[pixel]]


def _distance(inside: NDArray[np.bool_], source: Source) -> NDArray[np.float32]:
    """Distance of each pixel to the nearest one where `inside` is False.

    An image without contour is empty or a single instance: its zeros are just outside.
    """
    if source.contour.any():
        return distance_to_zeros(inside, source.spacing)
    framed = distance_to_zeros(np.pad(inside, 1), source.spacing)
    return np.ascontiguousarray(framed[(slice(1, -1),) * inside.ndim])
