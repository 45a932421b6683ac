"""Boxes: parts of an image, a slice for each spatial axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from singula.io.image import Box


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
    """Boxes of one size, the last ones smaller, that cover a shape; in row-major order."""
    axes = [
        [slice(first, min(first + step, length)) for first in range(0, length, step)]
        for length, step in zip(shape, size, strict=True)
    ]
    yield from product(*axes)
