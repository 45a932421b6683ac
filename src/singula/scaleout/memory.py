"""How large a block may be, from the memory that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

# Libraries, the network, and what the interpreter holds, in bytes
RESTING = 700_000_000
# Of what is left, the shares of a forward pass and of a decoded box; they never are at once.
_NETWORK, _DECODING = 0.5, 0.7
# A block with its halo has so many times its pixels along each axis, as a rule
_WITH_HALO = 1.5
# Larger blocks save nothing worth having, and are lost whole when a worker dies.
_LARGEST = {2: 4096, 3: 256}
_SMALLEST = {2: 256, 3: 32}
_STEP = 32


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
    """The largest block that a worker's memory allows.

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
        sides = [min(_LARGEST[ndim], ceil(size / _STEP) * _STEP) for size in shape]
        while prod(sides) * _WITH_HALO**ndim > most:
            longest = sides.index(max(sides))
            half = ceil(sides[longest] / 2 / _STEP) * _STEP
            if half >= sides[longest] or half < _SMALLEST[ndim]:
                return None
            sides[longest] = half
        block = sides
    return Budget(tuple(block), most, int(left * _NETWORK))
