"""How large a block may be, from the memory that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

# Libraries, the network, and what the interpreter holds, in bytes
RESTING = 700_000_000
# Of what is left, the shares of a forward pass and of a decoded box; they never are at once.
_NETWORK, _DECODING = 0.5, 0.7
WITH_HALO = 1.5
"""A block with its halo has so many times its pixels along each axis, as a rule."""
# Larger blocks save nothing worth having, and are lost whole when a worker dies.
_LARGEST = {2: 4096, 3: 256}
_SMALLEST = {2: 256, 3: 32}  # and sides are multiples of it, or the image's
# What neighbours do twice along each face, in pixels, as a rule
_OVERLAP = 32


@dataclass(frozen=True)
class Budget:
    """What one worker may hold.

    Parameters
    ----------
    block : tuple of int
        Shape of a block.
    most : int
        Pixels of a box that is decoded.
    network : int
        Bytes of a forward pass.
    """

    block: tuple[int, ...]
    most: int
    network: int


def plan_blocks(
    shape: Sequence[int],
    memory: int,
    bytes_per_pixel: float,
    *,
    block: Sequence[int] | None = None,
) -> Budget | None:
    """The block with which the least is done twice, of those that a worker's memory allows.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image.
    memory : int
        Bytes of one worker.
    bytes_per_pixel : float
        What decoding takes for each pixel of a box: maps, labels, masks.
    block : sequence of int, optional
        A shape that was asked for.

    Returns
    -------
    Budget or None
        None when memory is too small for any block.
    """
    ndim, left = len(shape), memory - RESTING
    most = int(left * _DECODING / bytes_per_pixel)
    if left <= 0:
        return None
    if block is None:
        block = _least_overlap(shape, int(most / WITH_HALO**ndim))
    if block is None:
        return None
    return Budget(tuple(block), most, int(left * _NETWORK))


def least_memory(
    shape: Sequence[int], bytes_per_pixel: float, *, block: Sequence[int] | None = None
) -> int:
    """Return the bytes that a worker needs for the smallest block, as `plan_blocks` counts them.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image.
    bytes_per_pixel : float
        As for `plan_blocks`.
    block : sequence of int, optional
        A shape that was asked for.
    """
    if block is not None:
        return RESTING + 1
    ndim = len(shape)
    smallest = prod(min(_SMALLEST[ndim], _longest_side(size, ndim)) for size in shape)
    decoded = ceil(smallest * WITH_HALO**ndim) + 1
    return RESTING + ceil(decoded * bytes_per_pixel / _DECODING) + 1


def _longest_side(size: int, ndim: int) -> int:
    return min(_LARGEST[ndim], ceil(size / 32) * 32)


def _least_overlap(shape: Sequence[int], most: int) -> tuple[int, ...] | None:
    """The block of so many pixels at most with which the least is done twice."""
    ndim = len(shape)
    step, axes = _SMALLEST[ndim], []
    for size in shape:
        whole = _longest_side(size, ndim)
        sides = (*range(step, whole, step), whole)
        axes.append([(_done(size, side), side) for side in sides])
    found = [
        (prod(done for done, _ in sides), -prod(block), block)
        for sides in product(*axes)
        if prod(block := tuple(side for _, side in sides)) <= most
    ]
    return min(found)[2] if found else None


def _done(size: int, side: int) -> int:
    """Pixels along an axis that all blocks have together."""
    cuts = ceil(size / side) - 1
    if not cuts:
        return size
    return size + (2 * cuts - 1) * _OVERLAP + min(_OVERLAP, size - cuts * side)
