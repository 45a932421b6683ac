"""Boxes: parts of an image, by a slice along each axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

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


def moved(box: Box, origin: Sequence[int]) -> Box:
    """A box in the coordinates of an image whose pixel `origin` is the first of this one."""
    return tuple(slice(part.start + o, part.stop + o) for part, o in zip(box, origin, strict=True))


def shape_of(box: Box) -> tuple[int, ...]:
    """Length along each axis."""
    return tuple(part.stop - part.start for part in box)


def pixels_in(box: Box) -> int:
    """How many pixels a box has."""
    return prod(shape_of(box))
