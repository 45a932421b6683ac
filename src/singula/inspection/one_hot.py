"""One-hot labels, with a plane for each class or object, and their conversion to ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from singula.words import counted

Array = npt.NDArray[Any]
_MOST_OVERLAP = 0.05  # of the pixels in any plane; objects may overlap a little
_COVERED = 0.999  # of the image: then one of the planes is the background
_SINGLE = 0.8  # of the planes hold one object: then there is a plane for each object


def one_hot_labels(planes: Array, *, in_colour: bool = False) -> tuple[Array, str, bool] | None:
    """Turn one-hot masks into ids.

    Parameters
    ----------
    planes : ndarray
        (y, x, c) or (z, y, x, c).
    in_colour : bool
        The planes are red, green and blue; values other than 1 are colors then.

    Returns
    -------
    labels : ndarray of unsigned int
        (…, 1) with ids, or (…, 2) with ids and classes, where there are several planes of classes.
    text : str
        What the planes hold.
    fixable : bool
        There is at least one object.

    Notes
    -----
    Each plane has a single value other than 0, and hardly any pixel is set in two planes. Labels of
    ids and classes differ: each pixel of an object is set in both channels.
    """
    count = planes.shape[-1]
    if count < 2 or planes.dtype.kind not in "buif":
        return None
    tops = planes.reshape(-1, count).max(axis=0)
    if (tops < 0).any() or np.count_nonzero(tops > 0) < 2 or (in_colour and (tops > 1).any()):
        return None
    masks = planes != 0
    if not all(bool((planes[..., c][masks[..., c]] == tops[c]).all()) for c in range(count)):
        return None
    cover = masks.sum(axis=-1, dtype=np.uint16)
    covered, twice = int(np.count_nonzero(cover)), int(np.count_nonzero(cover > 1))
    if twice > (_MOST_OVERLAP * covered if count > 3 else 0):
        return None
    chosen = [place for place in range(count) if tops[place] > 0]
    words = f"{count} planes of 0 and {_value(tops)}, hardly a pixel of which is set in two"
    if covered >= _COVERED * cover.size:
        chosen.remove(_most_at_border(masks, chosen))
        words += "; one is the background"
    labels, objects, each = _number(masks, chosen)
    kind = "a plane for each object" if each else "one-hot masks"
    return labels, f"{kind}: {words}; {counted(objects, 'object')}", objects > 0


def _value(tops: Array) -> str:
    """Return the value of a plane, or that they differ."""
    values = np.unique(tops[tops > 0])
    return f"{values[0]:g}" if len(values) == 1 else "one other value"


def _most_at_border(masks: Array, chosen: list[int]) -> int:
    """Return the plane that has most pixels at the border of the image."""
    ndim = masks.ndim - 1
    sides = [np.take(masks, end, axis).reshape(-1, masks.shape[-1])
             for axis in range(ndim) for end in (0, -1)]  # fmt: skip
    counts = np.concatenate(sides).sum(axis=0)
    return max(chosen, key=lambda place: int(counts[place]))


def _number(masks: Array, chosen: list[int]) -> tuple[Array, int, bool]:
    """Return labels, the number of objects, and whether each plane is one object."""
    import cc3d

    shape = masks.shape[:-1]
    parts = []
    for place in chosen:
        found = cc3d.connected_components(
            np.ascontiguousarray(masks[..., place]), connectivity=4 if len(shape) == 2 else 6
        )
        parts.append(found.astype(np.uint32))
    single = [int(found.max(initial=0)) == 1 for found in parts]
    each = len(chosen) > 1 and sum(single) >= _SINGLE * len(chosen)
    ids, classes = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
    last = 0
    for number, found in enumerate(parts, 1):
        free = (found > 0) & (ids == 0)
        ids[free] = last + (1 if each else found[free])
        classes[free] = number
        last += 1 if each else int(found.max(initial=0))
    wanted = [ids] if each or len(chosen) < 2 else [ids, classes]
    labels = np.stack(wanted, axis=-1)
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0)))), last, each
