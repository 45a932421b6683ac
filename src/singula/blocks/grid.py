"""Regular grid of blocks over an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil, prod

from singula.util.arguments import integer, items
from singula.util.boxes import Box


@dataclass(frozen=True)
class Grid:
    """A regular grid of blocks that covers an image.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the image in pixels.
    block : tuple of int
        Shape of a block in pixels; the last block along an axis may be smaller.

    Raises
    ------
    TypeError, UserError
        The values are not shapes, or the shapes have different numbers of axes.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    def __post_init__(self) -> None:
        """Validate the shapes."""
        axes = len(items(self.shape, "shape", partial(integer, at_least=0)))
        items(self.block, "block", partial(integer, at_least=1), count=axes)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(ceil(s / b) for s, b in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        """Return the number of blocks."""
        return prod(self.counts)

    def position(self, number: int) -> tuple[int, ...]:
        """Return the position of a block in the grid.

        Parameters
        ----------
        number : int
            Number of the block in row-major order, from 0.
        """
        position = []
        for count in reversed(self.counts):
            number, index = divmod(number, count)
            position.append(index)
        return tuple(reversed(position))

    def number(self, position: Sequence[int]) -> int:
        """Return the row-major number of the block at a position in the grid."""
        total = 0
        for index, count in zip(position, self.counts, strict=True):
            total = total * count + index
        return total

    def box(self, number: int) -> Box:
        """Return the box of a block, in image coordinates."""
        return tuple(
            slice(p * b, min((p + 1) * b, s))
            for p, b, s in zip(self.position(number), self.block, self.shape, strict=True)
        )

    def overlapping(self, box: Box) -> Iterator[int]:
        """Yield the numbers of the blocks that overlap a box of the image."""
        axes = [
            range(part.start // b, ceil(part.stop / b))
            for part, b in zip(box, self.block, strict=True)
        ]
        return (self.number(position) for position in product(*axes))

    def next_blocks(self, number: int) -> Iterator[tuple[int, int]]:
        """Yield (axis, number) of the next block along each axis, if there is one."""
        position = self.position(number)
        for axis, (index, count) in enumerate(zip(position, self.counts, strict=True)):
            if index + 1 < count:
                yield axis, self.number((*position[:axis], index + 1, *position[axis + 1 :]))
