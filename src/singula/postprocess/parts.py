"""Images in blocks: where a block lies, and the table that it leaves.

What is done to instances needs sums over the whole image, which blocks can add up. So each step
that looks beyond a pixel's neighbourhood is three pure functions: one turns a block into a small
table, `Table.merge` makes one table of many, and one tells from the table of the whole image what
becomes of each instance. The step on a whole image is the same with a single block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from singula.arguments import instance
from singula.errors import UserError

NOWHERE = np.iinfo(np.int64).max
"""Lowest coordinate of what has no pixel."""


@dataclass(frozen=True)
class Block:
    """Where an array lies in its image, and which part of it is the block's own.

    Parameters
    ----------
    core : tuple of slice
        The block's own box within the array, with plain starts and stops. What is around it, the
        halo, belongs to other blocks. The cores of all blocks are the cells of a regular grid.
    origin : tuple of int
        Place in the image of the first pixel of the array.
    shape : tuple of int
        Of the image.
    """

    core: tuple[slice, ...]
    origin: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Self:
        """The one block of an image that is not cut."""
        return cls(tuple(slice(0, size) for size in shape), (0,) * len(shape), tuple(shape))

    @classmethod
    def of(cls, block: object, array: np.ndarray) -> Block:
        """Return the block of an array, by default the whole image.

        Raises
        ------
        TypeError
            Not a `Block`.
        UserError
            ``arguments.block``: it has another number of axes.
        """
        if block is None:
            return cls.whole(array.shape)
        block = instance(block, "block", Block)
        if len(block.shape) != array.ndim:
            raise UserError(
                f"block: got a block of an image of {len(block.shape)} axes, expected "
                f"{array.ndim} axes",
                "give the block of this array",
                "arguments.block",
            )
        return block

    @property
    def start(self) -> tuple[int, ...]:
        """Place in the image of the first pixel of the core."""
        return tuple(low + own.start for low, own in zip(self.origin, self.core, strict=True))

    @property
    def stop(self) -> tuple[int, ...]:
        """First place in the image beyond the core, along each axis."""
        return tuple(low + own.stop for low, own in zip(self.origin, self.core, strict=True))

    @property
    def at_start(self) -> tuple[bool, ...]:
        """Whether the core begins at the image border, along each axis."""
        return tuple(start == 0 for start in self.start)

    @property
    def at_stop(self) -> tuple[bool, ...]:
        """Whether the core ends at the image border, along each axis."""
        return tuple(stop == size for stop, size in zip(self.stop, self.shape, strict=True))

    def box(self, array: np.ndarray, before: int = 0, after: int = 0) -> tuple[slice, ...]:
        """The core within the array, grown by so many pixels but not beyond the image.

        Raises
        ------
        ValueError
            If the array does not reach that far: a neighbourhood that is cut off would be taken
            for the image border and give wrong numbers.
        """
        grown = []
        for axis, (own, origin) in enumerate(zip(self.core, self.origin, strict=True)):
            low = max(own.start - before, -origin)
            high = min(own.stop + after, self.shape[axis] - origin)
            if low < 0 or high > array.shape[axis]:
                raise ValueError(
                    f"axis {axis}: the core {own.start}:{own.stop} of an array of the shape "
                    f"{array.shape} needs a halo of {before} before and {after} after it"
                )
            grown.append(slice(low, high))
        return tuple(grown)


TOTAL = {"merge": np.add}
LOWEST = {"merge": np.minimum}
HIGHEST = {"merge": np.maximum}
"""How a column of a `Table` merges: ``field(metadata=TOTAL)``."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a block or of an image; rows are in order of the keys, and no key occurs twice.

    A subclass lists its keys first, then its columns, each with how it merges.
    """

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """One table of the tables of several blocks, in any order and any grouping."""
        tables = list(parts)
        if not tables:
            raise ValueError("there is no table to merge; a block without instances leaves one too")
        if len(tables) == 1:
            return tables[0]
        columns = {
            column.name: np.concatenate([getattr(table, column.name) for table in tables])
            for column in fields(cls)
        }
        return cls.of_rows(**columns)

    @classmethod
    def of_rows(cls, **columns: np.ndarray) -> Self:
        """Table of rows in any order, in which keys may occur more than once."""
        ways = {column.name: column.metadata.get("merge") for column in fields(cls)}
        keys = [columns[name] for name, way in ways.items() if way is None]
        order = np.lexsort(keys[::-1])
        first = np.zeros(len(order), bool)
        first[:1] = True
        for key in keys:
            first[1:] |= key[order][1:] != key[order][:-1]
        starts = np.flatnonzero(first)
        merged = {name: columns[name][order] for name in ways}
        for name, way in ways.items():
            if way is None:
                merged[name] = merged[name][starts]
            elif len(starts):
                merged[name] = way.reduceat(merged[name], starts, axis=0)
        return cls(**merged)
