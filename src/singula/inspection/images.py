"""What is wrong with the values of one image, alone and beside its labels."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.inspection.findings import Place
from singula.inspection.labels import Look, Noticed
from singula.postprocess.labels import survey
from singula.words import counted

Array = npt.NDArray[Any]
# The largest numbers of cameras with 10, 12 and 14 bits, whose images come as 16 bits
_CAMERA_ENDS = (1023, 4095, 16383)
_SATURATED = 0.01
_LEAST_OBJECTS = 5
_ROOM = 2  # pixels around an object that are left to it
_SAMPLE = 1 << 20


def fingerprint(array: Array) -> str:
    """The same for the same pixels, in whatever format they were stored."""
    digest = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def notice_saturation(array: Array, ids: Array | None) -> list[Noticed]:
    """Values at the end of the range: of the objects' pixels, or of all where there are none.

    Parameters
    ----------
    array : ndarray
        (y, x, c) or (z, y, x, c).
    ids : ndarray, optional
        Labels of the same spatial shape. A white background is no fault.
    """
    top = array.max()
    if array.dtype.kind not in "ui":
        return []
    ends = (int(np.iinfo(array.dtype).max), *_CAMERA_ENDS)
    if int(top) not in ends:
        return []
    inside = ids is not None and bool(ids.any())
    chosen = array[ids > 0] if ids is not None and inside else array.reshape(-1, array.shape[-1])
    share = float((chosen == top).any(axis=-1).mean())
    if share < _SATURATED:
        return []
    where = "of the objects' pixels" if inside else "of all pixels"
    return [Noticed("saturated", f"{100 * share:.1f} % {where} are at {top}, the largest value")]


def notice_leftovers(array: Array, ids: Array, seen: Look) -> list[Noticed]:
    """Structures as bright (or dark) and as large as most objects, that have no label.

    Parameters
    ----------
    array : ndarray
        (y, x, c) or (z, y, x, c).
    ids : ndarray
        (y, x) or (z, y, x).
    seen : Look
        Of `ids`.

    Notes
    -----
    Everything is measured against medians and quartiles of this image. A structure counts when it
    stands out from the background's median by at least half of what the lower quartile of the
    objects does, and by four times the background's spread; when its mean reaches three quarters;
    when its size is between half the lower and twice the upper quartile of the objects'; and when
    it fills its box about as a blob does, which the halo around an object does not. In images whose
    objects do not stand out like that nothing is looked for.
    """
    if len(seen.objects) < _LEAST_OBJECTS or seen.semantic:
        return []
    values = _most_telling(array, ids)
    if values is None:
        return []
    index, rows = seen.index, seen.rows
    sums = np.bincount(index.index.ravel(), values.ravel(), len(index.ids))
    means = sums[rows] / index.npixels[rows]
    free = ids == 0
    if not free.any():
        return []
    background = values[free]
    centre = float(np.median(background))
    spread = 1.4826 * float(np.median(np.abs(background - centre)))
    typical = float(np.percentile(means, 25))
    level = max(centre + 0.5 * (typical - centre), centre + 4 * spread)
    if level >= centre + 0.75 * (typical - centre):
        return []
    places = _blobs(values, (values > level) & free, ids, seen, centre + 0.75 * (typical - centre))
    if not places:
        return []
    count = len(places)
    text = f"{counted(count, 'place')} as bright and as large as most objects"
    return [Noticed("leftover", text, count, places)]


def _most_telling(array: Array, ids: Array) -> npt.NDArray[np.float32] | None:
    """The smoothed channel that tells objects from background best; objects are the brighter."""
    from scipy import ndimage

    step = max(1, ids.size // _SAMPLE)
    inside = ids.ravel()[::step] > 0
    if inside.all() or not inside.any():
        return None
    best, way, chosen, middle = 0.0, 1.0, 0, 0.0
    for channel in range(array.shape[-1]):
        values = array[..., channel].ravel()[::step].astype(np.float64)
        one, two = np.median(values[inside]), np.median(values[~inside])
        noise = np.median(np.abs(values[~inside] - two)) + np.median(np.abs(values[inside] - one))
        difference = abs(float(one - two))
        contrast = difference / float(noise) if noise > 0 else math.inf * bool(difference)
        if contrast > best:
            best, way, chosen, middle = contrast, float(np.sign(one - two)), channel, float(two)
    if best < 1:
        return None
    # Relative to the background, so that single precision keeps the contrast
    plane = ((array[..., chosen] - middle) * way).astype(np.float32)
    width = (0.0,) * (plane.ndim - 2) + (1.0, 1.0)
    smoothed: npt.NDArray[np.float32] = ndimage.gaussian_filter(plane, width)
    return smoothed


def _blobs(
    values: Array, mask: npt.NDArray[np.bool_], ids: Array, seen: Look, least: float
) -> tuple[Place, ...]:
    """Connected parts of a mask that have the size, form and mean of objects."""
    import cc3d
    from scipy import ndimage

    mask = mask & ~ndimage.binary_dilation(ids > 0, iterations=_ROOM)
    parts, count = cc3d.connected_components(
        mask, connectivity=4 if mask.ndim == 2 else 6, return_N=True
    )
    if not count:
        return ()
    found = survey(parts)
    sizes = found.npixels
    means = np.bincount(parts.ravel(), values.ravel(), count + 1) / np.maximum(sizes, 1)
    volumes = np.prod(found.high - found.low, axis=1)
    low, high = np.percentile(seen.objects.npixels, (25, 75))
    # A disk fills 0.79 of its box, a ball 0.52
    full = (0.5 if mask.ndim == 2 else 0.35) * volumes
    fits = (sizes >= low / 2) & (sizes <= 2 * high) & (means >= least) & (sizes >= full)
    fits[0] = False
    boxes = zip(found.low[fits].tolist(), found.high[fits].tolist(), strict=True)
    return tuple(Place(0, tuple(first), tuple(last)) for first, last in boxes)
