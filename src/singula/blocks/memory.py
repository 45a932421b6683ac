"""Choose the shape of blocks from the available memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

# Bytes of an idle worker: interpreter, libraries, network
RESTING = 700_000_000
# Shares of the remaining memory for a forward pass and a decoded box, which are never concurrent
_NETWORK, _DECODING = 0.5, 0.7
HALO_FACTOR = 1.5
"""Typical ratio of the side of a block with its halo to the side of the block."""
# Larger blocks save little time, and a worker that dies loses a whole block.
_MAX_SIDE = {2: 4096, 3: 256}
_MIN_SIDE = {2: 256, 3: 32}  # all sides are multiples of it, except at the end of the image
# Typical width in pixels of the region at each face that both neighbors process
_OVERLAP = 32


@dataclass(frozen=True)
class Budget:
    """Limits of the memory of one worker.

    Parameters
    ----------
    block : tuple of int
        Shape of a block in pixels.
    max_pixels : int
        Maximum number of pixels of a decoded box.
    network : int
        Maximum size of a forward pass in bytes.
    """

    block: tuple[int, ...]
    max_pixels: int
    network: int


def plan_blocks(
    shape: Sequence[int],
    memory: int,
    bytes_per_pixel: float,
    *,
    block: Sequence[int] | None = None,
) -> Budget | None:
    """Choose the block shape with the least overlap that fits into the memory of a worker.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image in pixels.
    memory : int
        Bytes of one worker.
    bytes_per_pixel : float
        Bytes that decoding needs per pixel of a box, for maps, labels and masks.
    block : sequence of int, optional
        Shape set by the user; it is not checked against the memory.

    Returns
    -------
    Budget or None
        None if the memory is too small for any block.
    """
    ndim, free = len(shape), memory - RESTING
    max_pixels = int(free * _DECODING / bytes_per_pixel)
    if free <= 0:
        return None
    if block is None:
        block = _min_overlap_block(shape, int(max_pixels / HALO_FACTOR**ndim))
    if block is None:
        return None
    return Budget(tuple(block), max_pixels, int(free * _NETWORK))


def min_memory(
    shape: Sequence[int], bytes_per_pixel: float, *, block: Sequence[int] | None = None
) -> int:
    """Return the minimum bytes of a worker for which `plan_blocks` returns a block.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image in pixels.
    bytes_per_pixel : float
        As for `plan_blocks`.
    block : sequence of int, optional
        Shape set by the user.
    """
    if block is not None:
        return RESTING + 1
    ndim = len(shape)
    smallest = prod(min(_MIN_SIDE[ndim], _longest_side(size, ndim)) for size in shape)
    decoded = ceil(smallest * HALO_FACTOR**ndim) + 1
    return RESTING + ceil(decoded * bytes_per_pixel / _DECODING) + 1


def _longest_side(size: int, ndim: int) -> int:
    return min(_MAX_SIDE[ndim], ceil(size / 32) * 32)


def _min_overlap_block(shape: Sequence[int], max_pixels: int) -> tuple[int, ...] | None:
    """Return the block shape of at most `max_pixels` for which the fewest pixels overlap."""
    ndim = len(shape)
    step, axes = _MIN_SIDE[ndim], []
    for size in shape:
        whole = _longest_side(size, ndim)
        sides = (*range(step, whole, step), whole)
        axes.append([(_processed_length(size, side), side) for side in sides])
    candidates = [
        (prod(length for length, _ in sides), -prod(block), block)
        for sides in product(*axes)
        if prod(block := tuple(side for _, side in sides)) <= max_pixels
    ]
    return min(candidates)[2] if candidates else None


def _processed_length(size: int, side: int) -> int:
    """Return the total pixels along an axis of all blocks with their overlaps."""
    cuts = ceil(size / side) - 1
    if not cuts:
        return size
    return size + (2 * cuts - 1) * _OVERLAP + min(_OVERLAP, size - cuts * side)
