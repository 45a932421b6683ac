"""Boxes: parts of an image, by a slice along each axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import prod

from singula.arguments import integer, items

Box = tuple[slice, ...]


def grown(box: Box, halo: Sequence[int], shape: Sequence[int]) -> Box:
    """A box with what surrounds it, as far as the image goes."""
    return tuple(
        slice(max(0, part.start - h), min(size, part.stop + h))
        for part, h, size in zip(box, halo, shape, strict=True)
    )


def local(inner: Box, outer: Box) -> Box:
    """A box in the coordinates of the box around it."""
    return tuple(
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True)
    )


def shape_of(box: Box) -> tuple[int, ...]:
    """Length along each axis."""
    return tuple(part.stop - part.start for part in box)


def pixels_in(box: Box) -> int:
    """How many pixels a box has."""
    return prod(shape_of(box))


def clipped(box: Sequence[slice], shape: Sequence[int]) -> Box:
    """A box with its bounds written out, cut to the image.

    Raises
    ------
    ValueError
        Steps, or another number of axes.
    """
    if len(box) != len(shape) or any(one.step not in (None, 1) for one in box):
        raise ValueError(f"{box} is no box of an image {tuple(shape)}")
    bounds = []
    for one, size in zip(box, shape, strict=True):
        start, stop, _ = one.indices(size)
        bounds.append(slice(start, max(start, stop)))
    return tuple(bounds)


def boxes(shape: Sequence[int], size: Sequence[int]) -> Iterator[Box]:
    """Boxes of one size, the last ones smaller, that cover a shape; in row-major order.

    Parameters
    ----------
    shape : sequence of int
        Lengths to cover, in pixels.
    size : sequence of int
        Sides of a box, in pixels, as many as `shape` has.

    Raises
    ------
    TypeError, UserError
        Not sequences of integers, or of different lengths.
    """
    shape = items(shape, "shape", partial(integer, at_least=0))
    size = items(size, "size", partial(integer, at_least=1), count=len(shape))
    return _boxes(shape, size)


def _boxes(shape: Sequence[int], size: Sequence[int]) -> Iterator[Box]:
    axes = [
        [slice(first, min(first + step, length)) for first in range(0, length, step)]
        for length, step in zip(shape, size, strict=True)
    ]
    yield from product(*axes)
