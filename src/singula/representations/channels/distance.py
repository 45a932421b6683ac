"""Distance channels: `D` and `Db` inside instances, `Dv2` and `Ds` inside and outside.

`Db` and `Ds` measure the distance to the nearest pixel outside of the instance. `D` and `Dv2`
measure the distance to the nearest contour pixel of the image, which belongs to the instance
itself. Proof: consider a path of face steps from a pixel of instance i to a pixel outside of i,
each step leading away from the start. In every contour mode, the last pixel of the path in i, or
the next one, is contour of i. Therefore, no pixel beyond the contour of i is nearer than it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channels.source import Source
from singula.representations.channels.transform import distance_to_zeros
from singula.util.process import compiled


def encode_distance(source: Source) -> NDArray[np.float32]:
    """Return the distance of instance pixels to their contour, 0 on contour and background.

    An instance that fills the image has no contour. Its distance is measured to the pixels just
    outside the image, the smallest possible value.
    """
    return _distance(source.foreground & ~source.contour, source)


def encode_nearness(source: Source) -> NDArray[np.float32]:
    """Return 1 on the contour, else ``1 - d / max d``, the maximum over the instance or background.

    It is 1 in instances without interior, and 0 in images without instances. For an instance that
    fills the image, see `encode_distance`.
    """
    if not source.foreground.any():
        return np.zeros(source.labels.shape, np.float32)
    distance = _distance(~source.contour, source)
    furthest = furthest_pixels(distance, source.index)
    of_image = source.furthest.get("image")
    if of_image:
        furthest[0] = of_image
    make_near(distance, source.index, furthest)
    # Only a maximum from a larger image can be exceeded.
    return distance.clip(0, 1, out=distance) if of_image else distance


def encode_border_distance(source: Source) -> NDArray[np.float32]:
    """Return the distance of instance pixels to the nearest pixel outside of their instance.

    It is 0 in the background. With the option ``norm``, it is divided by the largest distance of
    the instance. The image border is not a border of an instance; for an instance that fills the
    image, see `encode_distance`.
    """
    if not source.foreground.any():
        return np.zeros(source.labels.shape, np.float32)
    distance = distance_inside(source)
    if source.settings.options_of("Db")["norm"]:
        return divide_by_largest(distance, source.index)
    return distance


def encode_signed_distance(source: Source) -> NDArray[np.float32]:
    """Return the distance to the border of the instances, negative outside of them.

    The distances are divided by the options ``alpha`` (inside) and ``beta`` (outside). With the
    option ``norm``, the result is their hyperbolic tangent. It is -1, or the negative diagonal of
    the image, in images without instances.
    """
    options = source.settings.options_of("Ds")
    alpha, beta = float(options["alpha"]), float(options["beta"])
    if not source.foreground.any():
        lengths = np.array(source.labels.shape) * np.array(source.spacing)
        signed = np.full(source.labels.shape, -np.sqrt((lengths**2).sum()) / beta, np.float32)
    else:
        signed = distance_inside(source) / np.float32(alpha)
        if not source.foreground.all():
            outside = distance_to_zeros(~source.foreground, source.spacing)
            signed -= outside / np.float32(beta)
    if options["norm"]:
        np.tanh(signed, out=signed)
    return signed


def distance_inside(source: Source) -> NDArray[np.float32]:
    """Return the distance of instance pixels to the nearest pixel outside of their instance."""
    index = source.index
    if int(index.min()) == int(index.max()):  # one instance that fills the image
        cut = (slice(1, -1),) * index.ndim
        return np.ascontiguousarray(multi_label_distance(np.pad(index, 1), source.spacing)[cut])
    return multi_label_distance(index, source.spacing)


def multi_label_distance(index: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return the distance of each pixel to the nearest pixel with another value.

    Parameters
    ----------
    index : ndarray of unsigned int, (y, x) or (z, y, x)
        Row of each pixel, at least two different ones; 0 is background, with the distance 0.
    spacing : sequence of float
        Voxel size per axis.
    """
    import edt

    distance: NDArray[np.float32] = edt.edt(
        np.ascontiguousarray(index), anisotropy=tuple(spacing), black_border=False, parallel=1
    )
    return distance


def divide_by_largest(values: NDArray[np.float32], index: NDArray[Any]) -> NDArray[np.float32]:
    """Return values divided by the largest one of each instance; 0 where all of them are 0.

    Parameters
    ----------
    values : ndarray of float32
        Values of 0 or more; 0 in the background.
    index : ndarray of unsigned int
        Row of each pixel, in the same shape; 0 is background.
    """
    largest = furthest_pixels(np.ascontiguousarray(values), np.ascontiguousarray(index))
    largest[largest == 0] = 1
    result: NDArray[np.float32] = values / largest[index]
    return result


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
