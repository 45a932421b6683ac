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


@register("D", "distance", "distance of instance pixels to their contour", reach="radius")
def encode_distance(source: Source) -> NDArray[np.float32]:
    """Euclidean distance of each instance pixel to its own contour, 0 on contour and background.

    An instance that fills the image has no contour there; the distance is then measured to the
    pixels just outside the image, the least that it can be.
    """
    return _distance(source.labels * ~source.contour, source)


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
    furthest = np.zeros(int(source.index.max()) + 1, np.float32)
    np.maximum.at(furthest, source.index.ravel(), distance.ravel())
    if source.furthest:
        furthest[0] = source.furthest
    furthest[furthest == 0] = 1
    distance /= furthest[source.index]
    np.subtract(1, distance, out=distance)
    # Only a distance that was given can be exceeded.
    return distance.clip(0, 1, out=distance) if source.furthest else distance


def furthest_background(source: Source) -> float:
    """Largest distance of a background pixel to a contour, 0 without instances."""
    if not source.foreground.any():
        return 0.0
    distance = _distance(~source.contour, source)
    return float(distance.max(where=~source.foreground, initial=0.0))


def _distance(regions: NDArray[Any], source: Source) -> NDArray[np.float32]:
    """Distance of each pixel to the nearest one of another value, 0 where `regions` is."""
    import edt

    distance: NDArray[np.float32] = edt.edt(
        regions, anisotropy=source.spacing, black_border=not source.contour.any()
    )
    return distance
