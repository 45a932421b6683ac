"""Channel `Dn`: nearness of the pixels of an instance to its nearest neighbor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.representations.channels.distance import divide_by_largest
from singula.representations.channels.source import Source


def encode_nearness_to_neighbors(source: Source) -> NDArray[np.float32]:
    """Return the nearness to the nearest other instance, 0 in the background and without others.

    With the option ``norm``, it is ``(1 - d / max d)^p`` with the distance d, its maximum over the
    instance, and the exponent p of ``decline_power``. Without, the maximum is that of the image,
    and the result is multiplied by it.
    """
    options = source.settings.options_of("Dn")
    distance = distance_to_neighbors(source)
    has_neighbor = source.foreground & np.isfinite(distance)
    distance = np.where(has_neighbor, distance, np.float32(0))
    largest = np.float32(1)
    if options["norm"]:
        nearness = 1 - divide_by_largest(distance, source.index)
    else:
        largest = np.float32(source.furthest.get("neighbors", distance.max(initial=0)) or 1)
        # Only a maximum from a larger image can be exceeded.
        nearness = np.maximum(1 - distance / largest, 0)
    nearness = np.where(has_neighbor, nearness, np.float32(0))
    size = int(options["closing_size"])
    if size > 0:
        from scipy.ndimage import grey_closing

        nearness = grey_closing(nearness, size=(size,) * nearness.ndim)
    result: NDArray[np.float32] = nearness ** np.float32(options["decline_power"]) * largest
    return result


def distance_to_neighbors(source: Source) -> NDArray[np.float32]:
    """Return the distance of instance pixels to the nearest pixel of another instance.

    Infinite without other instances, and in the background.

    Notes
    -----
    Each instance is searched in its bounding box, which grows until it contains the nearest pixel
    of another instance for each pixel.
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    index, spacing = source.index, np.array(source.spacing)
    result = np.full(index.shape, np.inf, np.float32)
    boxes = [(n, box) for n, box in enumerate(find_objects(index), start=1) if box is not None]
    if len(boxes) < 2:
        return result
    for number, box in boxes:
        margin = max(4, max(part.stop - part.start for part in box) // 4)
        while True:
            around = tuple(
                slice(max(0, part.start - margin), min(size, part.stop + margin))
                for part, size in zip(box, index.shape, strict=True)
            )
            whole = all(p.stop - p.start == n for p, n in zip(around, index.shape, strict=True))
            part = index[around]
            inside, others = part == number, (part != number) & (part > 0)
            if others.any():
                distance = distance_transform_edt(~others, sampling=source.spacing)[inside]
                # A pixel beyond the margin is further than the margin along the finest axis.
                if whole or distance.max() <= margin * spacing.min():
                    break
            margin *= 2
        result[around][inside] = distance
    return result


def furthest_neighbor(source: Source) -> float:
    """Return the largest distance of an instance pixel to another instance; 0 without others."""
    distance: NDArray[Any] = distance_to_neighbors(source)
    return float(distance.max(where=np.isfinite(distance), initial=0.0))
