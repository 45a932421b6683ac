"""Lovász hinge losses of all instances of an image on a CPU, with their gradients.

Import this module where the loss is computed: importing numba takes half a second.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from singula.util.process import compiled

_NEGLIGIBLE = 1e-8  # half of the largest error of the loss of an instance
_DIGIT = 11  # bits of a pass of the radix sort; three passes sort 32 bits
_BUCKETS = 1 << _DIGIT


def hinge_losses(
    embedded: NDArray[np.float32],
    centers: NDArray[np.float32],
    precision: NDArray[np.float32],
    index: NDArray[np.int32],
) -> tuple[float, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the sum of the losses, the scores of the pixels of instances, and the gradients.

    Pixels outside of an instance are left out if all of them together change its loss by less than
    2e-8: the loss ignores pixels with a smaller error than each pixel of the instance.

    Parameters
    ----------
    embedded : ndarray of float32, (ndim, pixels)
        Positions to which the pixels point.
    centers, precision : ndarray of float32, (ndim, instances)
        Center and inverse squared bandwidth of each instance.
    index : ndarray of int32, (pixels,)
        Number of the instance from 1, 0 for background, -1 for pixels without a target.

    Returns
    -------
    loss : float
        Sum over instances.
    scores : ndarray of float32, (pixels,)
        Score of each pixel for its own instance, 0 outside of instances.
    embedded_slope, precision_slope : ndarray of float32
        Gradients of the loss.
    """
    order = np.argsort(index, kind="stable")
    ends = np.searchsorted(index[order], np.arange(centers.shape[1] + 1), side="right")
    scores = np.zeros(len(index), np.float32)
    slopes = np.zeros_like(embedded), np.zeros_like(precision)
    loss = compiled(_hinge_losses)(
        embedded, centers, precision, index, order, ends, scores, *slopes
    )
    return loss, scores, *slopes


def _hinge_losses(
    embedded: NDArray[np.float32],
    centers: NDArray[np.float32],
    precision: NDArray[np.float32],
    index: NDArray[np.int32],
    order: NDArray[np.int64],
    ends: NDArray[np.int64],
    scores: NDArray[np.float32],
    embedded_slope: NDArray[np.float32],
    precision_slope: NDArray[np.float32],
) -> float:
    """Return the sum of the losses; fill the scores and the gradients."""
    n_pixels = len(index)
    distance = np.empty(n_pixels, np.float32)
    inner, outer = np.empty(n_pixels, np.int32), np.empty(n_pixels, np.int32)
    spare, counts = np.empty(n_pixels, np.int32), np.empty((3, _BUCKETS), np.int64)
    loss = 0.0
    for row in range(centers.shape[1]):
        _measure(embedded, centers[:, row], precision[:, row], distance)
        size = ends[row + 1] - ends[row]
        for place in range(size):
            pixel = order[ends[row] + place]
            inner[place] = pixel
            scores[pixel] = np.exp(-distance[pixel])
        _sort(inner, size, distance, spare, counts)
        reach = -np.log(_smallest_score(inner, size, distance))
        n_outer = 0
        for pixel in range(n_pixels):  # without a branch: which pixels are near is irregular
            outer[n_outer] = pixel
            is_outside = (index[pixel] >= 0) & (index[pixel] != row + 1)
            n_outer += (distance[pixel] < reach) & is_outside
        _sort(outer, n_outer, distance, spare, counts)
        # Both lists in descending order of the errors: 2 - 2 * score inside, 2 * score outside.
        place, n_wrong = size - 1, 0
        while place >= 0:
            pixel = inner[place]
            error = -2 * np.expm1(-distance[pixel])
            sign = -1.0
            if n_wrong < n_outer:
                other = 2 * np.exp(-distance[outer[n_wrong]])
                if other > error:
                    pixel, error, sign = outer[n_wrong], other, 1.0
            # Increase of the Jaccard loss if this pixel is wrong as well
            if sign < 0:
                increase = 1 / (size + n_wrong)
                place -= 1
            else:
                n_wrong += 1
                increase = (place + 1) / ((size + n_wrong - 1.0) * (size + n_wrong))
            loss += error * increase
            slope = 2 * sign * increase * np.exp(-distance[pixel])
            for axis in range(len(embedded)):
                delta = embedded[axis, pixel] - centers[axis, row]
                embedded_slope[axis, pixel] -= slope * 2 * delta * precision[axis, row]
                precision_slope[axis, row] -= slope * delta * delta
    return loss


@register_jitable
def _measure(
    embedded: NDArray[np.float32],
    center: NDArray[np.float32],
    precision: NDArray[np.float32],
    distance: NDArray[np.float32],
) -> None:
    """Fill the squared distance of each pixel from a center, in bandwidths."""
    distance[:] = 0
    for axis in range(len(embedded)):
        positions, middle, scale = embedded[axis], center[axis], precision[axis]
        for pixel in range(len(distance)):
            delta = positions[pixel] - middle
            distance[pixel] += delta * delta * scale


@register_jitable
def _smallest_score(inner: NDArray[np.int32], size: int, distance: NDArray[np.float32]) -> float:
    """Return the score below which the pixels outside of an instance change the loss negligibly.

    If `count` pixels of the instance have smaller errors than twice this score, the other pixels
    with such errors change the loss by at most ``2 * score * count / size``.
    """
    smallest = _NEGLIGIBLE
    for count in range(size):
        score = -np.expm1(-distance[inner[count]])
        limit = _NEGLIGIBLE * size / count if count else 1.0
        smallest = max(smallest, min(score, limit))
        if score >= limit:
            break
    return smallest


@register_jitable
def _sort(
    pixels: NDArray[np.int32],
    size: int,
    distance: NDArray[np.float32],
    spare: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    """Sort the first pixels of a list by distance: a radix sort by the bits of the distances."""
    bits = distance.view(np.uint32)  # in the order of the values, which are not negative
    counts[:] = 0
    for place in range(size):
        key = bits[pixels[place]]
        for digit in range(3):
            counts[digit, (key >> (digit * _DIGIT)) & (_BUCKETS - 1)] += 1
    for digit in range(3):
        total = 0
        for bucket in range(_BUCKETS):
            count = counts[digit, bucket]
            counts[digit, bucket] = total
            total += count
    for digit in range(3):
        source, result = (spare, pixels) if digit % 2 else (pixels, spare)
        for place in range(size):
            pixel = source[place]
            bucket = (bits[pixel] >> (digit * _DIGIT)) & (_BUCKETS - 1)
            result[counts[digit, bucket]] = pixel
            counts[digit, bucket] += 1
    pixels[:size] = spare[:size]
