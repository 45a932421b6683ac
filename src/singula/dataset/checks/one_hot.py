"""Conversion of one-hot labels, with a plane per class or object, to ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from singula.labels.components import connected_components
from singula.util.format import counted

Array = npt.NDArray[Any]
_MAX_OVERLAP = 0.05  # fraction of the covered pixels; objects may overlap slightly
_COVERED = 0.999  # fraction of the image from which one of the planes is the background
_SINGLE = 0.8  # fraction of planes with one object from which each plane is an object


def one_hot_labels(planes: Array, *, in_color: bool = False) -> tuple[Array, str, bool] | None:
    """Convert one-hot masks to ids; return None if the planes are not one-hot masks.

    Parameters
    ----------
    planes : ndarray, (y, x, c) or (z, y, x, c)
        Label image with c planes.
    in_color : bool
        The planes are red, green and blue; values other than 1 are then colors.

    Returns
    -------
    labels : ndarray of unsigned int
        (…, 1) with ids, or (…, 2) with ids and classes if there are several classes.
    text : str
        Description of the planes.
    fixable : bool
        There is at least one object.

    Notes
    -----
    In one-hot masks, each plane has one value other than 0, and hardly any pixels are set in two
    planes. In labels with ids and classes, each pixel of an object is set in both channels.
    """
    count = planes.shape[-1]
    if count < 2 or planes.dtype.kind not in "buif":
        return None
    maxima = planes.reshape(-1, count).max(axis=0)
    if (maxima < 0).any() or np.count_nonzero(maxima > 0) < 2 or (in_color and (maxima > 1).any()):
        return None
    masks = planes != 0
    if not all(bool((planes[..., c][masks[..., c]] == maxima[c]).all()) for c in range(count)):
        return None
    cover = masks.sum(axis=-1, dtype=np.uint16)
    covered, twice = int(np.count_nonzero(cover)), int(np.count_nonzero(cover > 1))
    if twice > (_MAX_OVERLAP * covered if count > 3 else 0):
        return None
    used = [index for index in range(count) if maxima[index] > 0]
    text = f"{count} planes of 0 and {_value(maxima)} that hardly overlap"
    if covered >= _COVERED * cover.size:
        used.remove(_most_at_border(masks, used))
        text += "; one is the background"
    labels, objects, is_per_object = _number(masks, used)
    kind = "a plane for each object" if is_per_object else "one-hot masks"
    return labels, f"{kind}: {text}; {counted(objects, 'object')}", objects > 0


def _value(maxima: Array) -> str:
    """Return the value of the planes as text."""
    values = np.unique(maxima[maxima > 0])
    return f"{values[0]:g}" if len(values) == 1 else "one other value"


def _most_at_border(masks: Array, chosen: list[int]) -> int:
    """Return the plane with the most pixels at the border of the image."""
    ndim = masks.ndim - 1
    sides = [np.take(masks, end, axis).reshape(-1, masks.shape[-1])
             for axis in range(ndim) for end in (0, -1)]  # fmt: skip
    counts = np.concatenate(sides).sum(axis=0)
    return max(chosen, key=lambda place: int(counts[place]))


def _number(masks: Array, used: list[int]) -> tuple[Array, int, bool]:
    """Return labels, the number of objects, and True if each plane is one object."""
    shape = masks.shape[:-1]
    parts = [connected_components(masks[..., index]) for index in used]
    single = [count == 1 for _, count in parts]
    is_per_object = len(used) > 1 and sum(single) >= _SINGLE * len(used)
    ids, classes = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
    last = 0
    for number, (components, count) in enumerate(parts, 1):
        free = (components > 0) & (ids == 0)
        ids[free] = last + (1 if is_per_object else components[free])
        classes[free] = number
        last += 1 if is_per_object else count
    channels = [ids] if is_per_object or len(used) < 2 else [ids, classes]
    labels = np.stack(channels, axis=-1)
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0)))), last, is_per_object
