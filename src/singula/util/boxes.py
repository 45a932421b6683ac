"""Boxes: regions of an image, given as a slice along each axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import prod

from singula.util.arguments import integer, items

Box = tuple[slice, ...]
DISPLAY_SIDE, DISPLAY_SLICES = 2048, 16
"""Longest side in pixels, and number of slices, of the part of a large image in pictures."""


def grown(box: Box, halo: Sequence[int], shape: Sequence[int]) -> Box:
    """Return a box extended by a halo, cut to the image.

    Parameters
    ----------
    box : tuple of slice
        Region of the image.
    halo : sequence of int
        Pixels to add on both sides, by axis.
    shape : sequence of int
        Shape of the image, in pixels.
    """
    return tuple(
        slice(max(0, part.start - h), min(size, part.stop + h))
        for part, h, size in zip(box, halo, shape, strict=True)
    )


def local(inner: Box, outer: Box) -> Box:
    """Return the box `inner` in the coordinates of the box `outer` that contains it."""
    return tuple(
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True)
    )


def shared_box(one: Box, two: Box) -> Box:
    """Return the region that two overlapping boxes share."""
    return tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, two, strict=True)
    )


def pair_boxes(shape: Sequence[int], offset: Sequence[int]) -> tuple[Box, Box]:
    """Return the box of the pixels with a partner at the offset, and the box of the partners.

    Parameters
    ----------
    shape : sequence of int
        Shape of the image.
    offset : sequence of int
        Step from a pixel to its partner along each axis.

    Returns
    -------
    first, second : Box
        Boxes of the same shape, which is empty if the offset is larger than the image.
    """
    first = tuple(
        slice(min(max(-step, 0), size), max(min(size - step, size), 0))
        for size, step in zip(shape, offset, strict=True)
    )
    second = tuple(
        slice(min(max(step, 0), size), max(min(size + step, size), 0))
        for size, step in zip(shape, offset, strict=True)
    )
    return first, second


def shape_of(box: Box) -> tuple[int, ...]:
    """Return the shape of a box, in pixels."""
    return tuple(part.stop - part.start for part in box)


def pixels_in(box: Box) -> int:
    """Return the number of pixels in a box."""
    return prod(shape_of(box))


def clipped(box: Sequence[slice], shape: Sequence[int]) -> Box:
    """Return a box with explicit bounds, cut to the image.

    Parameters
    ----------
    box : sequence of slice
        Region of the image; bounds may be missing or negative.
    shape : sequence of int
        Shape of the image, in pixels.

    Raises
    ------
    ValueError
        The slices have steps, or their number differs from the number of axes.
    """
    if len(box) != len(shape) or any(part.step not in (None, 1) for part in box):
        raise ValueError(f"{box} is not a box of an image of shape {tuple(shape)}")
    bounds = []
    for part, size in zip(box, shape, strict=True):
        start, stop, _ = part.indices(size)
        bounds.append(slice(start, max(start, stop)))
    return tuple(bounds)


def boxes(shape: Sequence[int], size: Sequence[int]) -> Iterator[Box]:
    """Yield boxes that cover a shape, in row-major order; the last ones may be smaller.

    Parameters
    ----------
    shape : sequence of int
        Shape to cover, in pixels.
    size : sequence of int
        Sides of a box, in pixels, by axis.

    Raises
    ------
    TypeError, UserError
        The arguments are not sequences of integers, or differ in length.
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


def center_box(shape: Sequence[int], max_sides: Sequence[int] | None = None) -> Box:
    """Return the box in the center of an image.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image, in pixels.
    max_sides : sequence of int, optional
        Maximum sides of the box. Default: those of a large image that is shown in pictures.
    """
    if max_sides is None:
        max_sides = (DISPLAY_SLICES, DISPLAY_SIDE, DISPLAY_SIDE)[-len(shape) :]
    sides = [min(size, side) for size, side in zip(shape, max_sides, strict=True)]
    starts = [(size - side) // 2 for size, side in zip(shape, sides, strict=True)]
    return tuple(slice(a, a + n) for a, n in zip(starts, sides, strict=True))


def evenly_spaced(count: int, max_count: int) -> list[int]:
    """Return at most `max_count` indices of a sequence of length `count`, from first to last.

    Examples
    --------
    >>> evenly_spaced(10, 4), evenly_spaced(3, 4)
    ([0, 3, 6, 9], [0, 1, 2])
    """
    import numpy as np

    indices: list[int] = np.linspace(0, count - 1, min(count, max_count)).astype(int).tolist()
    return indices
