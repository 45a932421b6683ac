"""Blocks of an image: where each lies, what surrounds it, and which one follows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil, prod

from singula.arguments import integer, items
from singula.boxes import Box


@dataclass(frozen=True)
class Grid:
    """A regular grid of blocks that covers an image.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the image.
    block : tuple of int
        Shape of a block; the last ones along an axis are smaller.

    Raises
    ------
    TypeError, UserError
        Not shapes of as many axes.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse values that are not shapes."""
        axes = len(items(self.shape, "shape", partial(integer, at_least=0)))
        items(self.block, "block", partial(integer, at_least=1), count=axes)

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        return tuple(ceil(s / b) for s, b in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        """Blocks in all."""
        return prod(self.counts)

    def place(self, number: int) -> tuple[int, ...]:
        """Position of a block in the grid, from its number in row-major order."""
        found = []
        for count in reversed(self.counts):
            number, rest = divmod(number, count)
            found.append(rest)
        return tuple(reversed(found))

    def number(self, place: Sequence[int]) -> int:
        """Number of the block at a position."""
        total = 0
        for step, count in zip(place, self.counts, strict=True):
            total = total * count + step
        return total

    def box(self, number: int) -> Box:
        """The pixels of a block."""
        return tuple(
            slice(p * b, min((p + 1) * b, s))
            for p, b, s in zip(self.place(number), self.block, self.shape, strict=True)
        )

    def touching(self, box: Box) -> Iterator[int]:
        """Numbers of the blocks that share pixels with a box."""
        axes = [
            range(part.start // b, ceil(part.stop / b))
            for part, b in zip(box, self.block, strict=True)
        ]
        return (self.number(place) for place in product(*axes))

    def following(self, number: int) -> Iterator[tuple[int, int]]:
        """(axis, number) of the blocks behind the upper faces of a block."""
        place = self.place(number)
        for axis, (step, count) in enumerate(zip(place, self.counts, strict=True)):
            if step + 1 < count:
                yield axis, self.number((*place[:axis], step + 1, *place[axis + 1 :]))
