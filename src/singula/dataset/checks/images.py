"""Inspection of the values of one image, with and without its labels."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.dataset.checks.findings import Finding, Place
from singula.dataset.facts import Objects
from singula.labels.components import connected_components
from singula.labels.index import index_labels, survey
from singula.util.format import counted

Array = npt.NDArray[Any]
# Maximum values of cameras with 10, 12 and 14 bits, whose images are stored as 16 bits
_CAMERA_MAXIMA = (1023, 4095, 16383)
_SATURATED = 0.01
_MIN_OBJECTS = 5
_MARGIN = 2  # pixels around objects that are not searched
_SAMPLE = 1 << 20


def fingerprint(array: Array) -> str:
    """Return a hash of the pixels, independent of the file format."""
    digest = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def find_saturation(array: Array, ids: Array | None) -> list[Finding]:
    """Find saturated values in the objects, or in the whole image if there are no objects.

    Parameters
    ----------
    array : ndarray, (y, x, c) or (z, y, x, c)
        Image.
    ids : ndarray, optional
        Labels of the same spatial shape. A saturated background is not a problem.
    """
    maximum = array.max()
    if array.dtype.kind not in "ui":
        return []
    maxima = (int(np.iinfo(array.dtype).max), *_CAMERA_MAXIMA)
    if int(maximum) not in maxima:
        return []
    has_objects = ids is not None and bool(ids.any())
    pixels = (
        array[ids > 0] if ids is not None and has_objects else array.reshape(-1, array.shape[-1])
    )
    fraction = float((pixels == maximum).any(axis=-1).mean())
    if fraction < _SATURATED:
        return []
    scope = "of the objects' pixels" if has_objects else "of all pixels"
    return [
        Finding("saturated", f"{100 * fraction:.1f} % {scope} are at {maximum}, the largest value")
    ]


def find_unlabeled(array: Array, ids: Array, objects: Objects) -> list[Finding]:
    """Find unlabeled structures that are as bright (or dark) and as large as most objects.

    Parameters
    ----------
    array : ndarray, (y, x, c) or (z, y, x, c)
        Image.
    ids : ndarray, (y, x) or (z, y, x)
        Label image.
    objects : Objects
        Measurements of `ids`.

    Notes
    -----
    Contrast is the difference to the median of the background, and the typical contrast is the
    lower quartile over the objects. The pixels of a structure have at least half of the typical
    contrast, and four times the spread of the background. Its mean has three quarters of the
    typical contrast. Its size is between half the lower quartile and twice the upper quartile of
    the objects. It fills its bounding box like a blob, unlike the halo around an object. If the
    objects themselves do not have this contrast, no structures are searched.
    """
    if len(objects) < _MIN_OBJECTS:
        return []
    best = _best_channel(array, ids)
    if best is None:
        return []
    values, is_dark = best
    index, row_ids = index_labels(np.ascontiguousarray(ids))
    sums = np.bincount(index.ravel(), values.ravel(), len(row_ids))
    means = sums[np.searchsorted(row_ids, objects.ids)] / objects.npixels
    free = ids == 0
    if not free.any():
        return []
    background = values[free]
    center = float(np.median(background))
    spread = 1.4826 * float(np.median(np.abs(background - center)))
    typical = float(np.percentile(means, 25))
    level = max(center + 0.5 * (typical - center), center + 4 * spread)
    if level >= center + 0.75 * (typical - center):
        return []
    min_mean = center + 0.75 * (typical - center)
    places = _blobs(values, (values > level) & free, ids, objects.npixels, min_mean)
    if not places:
        return []
    count = len(places)
    brightness = "dark" if is_dark else "bright"
    text = f"{counted(count, 'place')} as {brightness} and as large as most objects"
    return [Finding("leftover", text, count, places)]


def _best_channel(array: Array, ids: Array) -> tuple[npt.NDArray[np.float32], bool] | None:
    """Return the smoothed channel with the highest contrast of objects.

    A channel with dark objects is inverted; the second value is True for such a channel. Return
    None if no channel has enough contrast.
    """
    from scipy import ndimage

    step = max(1, ids.size // _SAMPLE)
    inside = ids.ravel()[::step] > 0
    if inside.all() or not inside.any():
        return None
    best, sign, chosen, offset = 0.0, 1.0, 0, 0.0
    for channel in range(array.shape[-1]):
        values = array[..., channel].ravel()[::step].astype(np.float64)
        object_median, background_median = np.median(values[inside]), np.median(values[~inside])
        noise = np.median(np.abs(values[~inside] - background_median)) + np.median(
            np.abs(values[inside] - object_median)
        )
        difference = abs(float(object_median - background_median))
        contrast = difference / float(noise) if noise > 0 else math.inf * bool(difference)
        if contrast > best:
            best, sign, chosen, offset = (
                contrast,
                float(np.sign(object_median - background_median)),
                channel,
                float(background_median),
            )
    if best < 1:
        return None
    # Values are relative to the background, so that float32 keeps the contrast.
    plane = ((array[..., chosen] - offset) * sign).astype(np.float32)
    width = (0.0,) * (plane.ndim - 2) + (1.0, 1.0)
    smoothed: npt.NDArray[np.float32] = ndimage.gaussian_filter(plane, width)
    return smoothed, sign < 0


def _blobs(
    values: Array,
    mask: npt.NDArray[np.bool_],
    ids: Array,
    npixels: Array,
    min_mean: float,
) -> tuple[Place, ...]:
    """Return the connected components of a mask with the size, form and mean of objects."""
    from scipy import ndimage

    mask = mask & ~ndimage.binary_dilation(ids > 0, iterations=_MARGIN)
    parts, count = connected_components(mask)
    if not count:
        return ()
    components = survey(parts)
    sizes = components.npixels
    means = np.bincount(parts.ravel(), values.ravel(), count + 1) / np.maximum(sizes, 1)
    volumes = np.prod(components.high - components.low, axis=1)
    low, high = np.percentile(npixels, (25, 75))
    # A disk fills 0.79 of its bounding box, a ball 0.52.
    min_sizes = (0.5 if mask.ndim == 2 else 0.35) * volumes
    is_match = (sizes >= low / 2) & (sizes <= 2 * high) & (means >= min_mean) & (sizes >= min_sizes)
    is_match[0] = False
    boxes = zip(components.low[is_match].tolist(), components.high[is_match].tolist(), strict=True)
    return tuple(Place(0, tuple(first), tuple(last)) for first, last in boxes)
