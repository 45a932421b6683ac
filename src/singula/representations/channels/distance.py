"""Distance channels: `D` inside instances, `Dv2` inside and outside, each in one pass.

Both measure the distance to the nearest contour pixel of the image, which belongs to the instance
itself. Proof: consider a path of face steps from a pixel of instance i to a pixel outside of i,
each step leading away from the start. In every contour mode, the last pixel of the path in i, or
the next one, is contour of i. Therefore, no pixel beyond the contour of i is nearer than it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channels.source import Source
from singula.representations.channels.table import register
from singula.representations.channels.transform import distance_to_zeros
from singula.util.citation import Citation
from singula.util.process import compiled

_DISTANCES = Citation(
    "lin2021",
    "Lin, Z.; others",
    "NucMM dataset: 3D neuronal nuclei instance segmentation at sub-cubic millimeter scale",
    "MICCAI",
    2021,
    "10.1007/978-3-030-87193-2_16",
)


@register(
    "D",
    "distance",
    "distance of instance pixels to their contour",
    reach="radius",
    citations=(_DISTANCES,),
)
def encode_distance(source: Source) -> NDArray[np.float32]:
    """Return the distance of instance pixels to their contour, 0 on contour and background.

    An instance that fills the image has no contour. Its distance is measured to the pixels just
    outside the image, the smallest possible value.
    """
    return _distance(source.foreground & ~source.contour, source)


@register(
    "Dv2", "distance", "nearness to the contour, inside and outside, from 0 to 1", reach="image"
)
def encode_nearness(source: Source) -> NDArray[np.float32]:
    """Return 1 on the contour, else ``1 - d / max d``, the maximum over the instance or background.

    It is 1 in instances without interior, and 0 in images without instances. For an instance that
    fills the image, see `encode_distance`.
    """
    if not source.foreground.any():
        return np.zeros(source.labels.shape, np.float32)
    distance = _distance(~source.contour, source)
    furthest = furthest_pixels(distance, source.index)
    if source.furthest:
        furthest[0] = source.furthest
    make_near(distance, source.index, furthest)
    # Only a maximum from a larger image can be exceeded.
    return distance.clip(0, 1, out=distance) if source.furthest else distance


def furthest_pixels(distance: NDArray[np.float32], index: NDArray[Any]) -> NDArray[np.float32]:
    """Return the largest distance of the pixels with each value of `index`, 0 without pixels.

    Parameters
    ----------
    distance : ndarray of float32
        Distance of each pixel to the nearest contour.
    index : ndarray of unsigned int
        Row of each pixel, in the same shape.
    """
    furthest = np.zeros(int(index.max(initial=0)) + 1, np.float32)
    compiled(_find_furthest)(distance.ravel(), index.ravel(), furthest)
    return furthest


def make_near(
    distance: NDArray[np.float32], index: NDArray[Any], furthest: NDArray[np.float32]
) -> None:
    """Replace distances by ``1 - distance / furthest``, in place; 1 where `furthest` is 0.

    Parameters
    ----------
    distance, index
        As for `furthest_pixels`; `distance` is contiguous.
    furthest : ndarray of float32, shape (rows,)
        Largest distance of each row.
    """
    rows = np.where(furthest == 0, np.float32(1), furthest)
    compiled(_make_near)(distance.ravel(), index.ravel(), rows)


def furthest_background(source: Source) -> float:
    """Return the largest distance of a background pixel to a contour, 0 without instances."""
    if not source.foreground.any():
        return 0.0
    distance = _distance(~source.contour, source)
    return float(distance.max(where=~source.foreground, initial=0.0))


def _find_furthest(distance: Any, index: Any, furthest: Any) -> None:
    """Update the largest distance of each value of `index`; compiled.

    Parameters
    ----------
    distance : float32, (pixels,)
    index : unsigned int, (pixels,)
        Row of each pixel.
    furthest : float32, (rows,)
        Largest distances, which are updated.
    """
    for pixel in range(len(index)):
        furthest[index[pixel]] = max(furthest[index[pixel]], distance[pixel])


def _make_near(distance: Any, index: Any, furthest: Any) -> None:
    """Replace distances by ``1 - distance / furthest``, in place; compiled."""
    for pixel in range(len(index)):
        distance[pixel] = 1 - distance[pixel] / furthest[index[pixel]]


def _distance(inside: NDArray[np.bool_], source: Source) -> NDArray[np.float32]:
    """Return the distance of each pixel to the nearest pixel where `inside` is False.

    An image without contour is empty or a single instance: its zeros are just outside.
    """
    if source.contour.any():
        return distance_to_zeros(inside, source.spacing)
    framed = distance_to_zeros(np.pad(inside, 1), source.spacing)
    return np.ascontiguousarray(framed[(slice(1, -1),) * inside.ndim])
