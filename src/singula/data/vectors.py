"""Mirroring of channels that are components of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.augment import Mirror
from singula.data.patches import read_patch
from singula.data.samples import Maps
from singula.io.lazy_array import Pixels
from singula.representations.channel_table import CHANNELS

Component = tuple[int, int]


def read_target(
    code: str, target: Pixels, start: Sequence[int], shape: Sequence[int]
) -> npt.NDArray[Any]:
    """Read a patch of a channel, mirrored beyond the edge of the image; see `read_patch`.

    Parameters
    ----------
    code : str
        Code of the channel.
    target : ndarray or LazyArray, (y, x) or (z, y, x)
        Channel of the image.
    start, shape : sequence of int
        Patch in image coordinates; `start` may be negative.

    Returns
    -------
    ndarray
        Components of vectors have the opposite sign where their axis is mirrored.
    """
    patch, component = read_patch(target, start, shape), CHANNELS[code].component
    if not CHANNELS[code].vector:
        return patch
    axis = target.ndim - component
    places, last = np.arange(start[axis], start[axis] + shape[axis]), target.shape[axis] - 1
    is_mirrored = (places // max(1, last)) % 2 == 1
    is_mirrored &= (places < 0) | (places > last)
    if not is_mirrored.any():
        return patch
    signs = np.where(is_mirrored, -1, 1).astype(patch.dtype)
    others = tuple(other for other in range(target.ndim) if other != axis)
    return np.asarray(patch * np.expand_dims(signs, others))


def mirror_maps(mirror: Mirror, maps: Maps) -> dict[str, npt.NDArray[Any]]:
    """Flip and rotate the channels of a patch, and the vectors whose components they are.

    Parameters
    ----------
    mirror : Mirror
        Flips and rotation.
    maps : mapping of str to ndarray
        Channels by code, all (y, x) or all (z, y, x).

    Returns
    -------
    dict of str to ndarray
    """
    moved = {code: mirror.apply(np.asarray(values)) for code, values in maps.items()}
    flipped = [mirror.ndim - axis for axis in mirror.axes]
    changed: dict[str, npt.NDArray[Any]] = {}
    for name in dict.fromkeys(CHANNELS[code].vector for code in maps if CHANNELS[code].vector):
        vector = {CHANNELS[code].component: code for code in maps if CHANNELS[code].vector == name}
        sources = mirrored_components(tuple(vector), flipped, mirror.turns)
        changed |= {
            vector[component]: sign * moved[vector[source]]
            for component, (source, sign) in sources.items()
            if (source, sign) != (component, 1)
        }
    return {code: changed.get(code, values) for code, values in moved.items()}


def mirrored_components(
    components: tuple[int, ...], flipped: list[int], turns: int
) -> Mapping[int, Component]:
    """Return the components of vectors after flips, and then rotations by 90 degrees.

    Parameters
    ----------
    components : tuple of int
        Components by axis from the end: 1 for x, 2 for y, 3 for z.
    flipped : list of int
        Flipped axes from the end.
    turns : int
        Rotations from y towards x, as by `numpy.rot90` in the last two axes; 1 and 2 must both be
        in `components` if it is odd.

    Returns
    -------
    mapping of int to (int, int)
        For each new component, the old one and the sign.
    """
    current = {each: (each, -1 if each in flipped else 1) for each in components}
    for _ in range(turns % 4):
        x, y = current.get(1), current.get(2)
        turned = dict(current)
        # A pixel at (y, x) moves to (-x, y) with respect to the center.
        if y is not None:
            turned[1] = y
        if x is not None:
            turned[2] = (x[0], -x[1])
        current = turned
    return current
