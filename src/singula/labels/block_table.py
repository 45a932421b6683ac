"""Blocks of an image, and tables that are computed per block and merged.

A step on instances may need sums over the whole image. It then consists of three pure functions:
the first computes a small table of a block, `Table.merge` combines the tables of all blocks, and
the last decides from the merged table what happens to each instance. A whole image is the case of
a single block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Self

import numpy as np

from singula.errors import UserError
from singula.util.arguments import instance

NO_PIXEL = np.iinfo(np.int64).max
"""Initial value of a minimum of coordinates."""
_MAX_SMALL = 1024  # arrays that are not yet concatenated


@dataclass(frozen=True)
class Block:
    """Position of an array in its image, and the part of it that belongs to the block.

    Parameters
    ----------
    core : tuple of slice
        Box of the block within the array, with non-negative starts and stops. The pixels around
        it, the halo, belong to other blocks. The cores of all blocks form a regular grid.
    origin : tuple of int
        Position of the first pixel of the array in the image.
    shape : tuple of int
        Shape of the image.
    """

    core: tuple[slice, ...]
    origin: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Self:
        """Return the single block of an undivided image of a shape."""
        return cls(tuple(slice(0, size) for size in shape), (0,) * len(shape), tuple(shape))

    @classmethod
    def of(cls, block: object, array: np.ndarray) -> Block:
        """Return `block` if it fits the array; for None, the block of the whole image.

        Raises
        ------
        TypeError
            Not a `Block`.
        UserError
            ``arguments.block``: a block with a different number of axes.
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
        """Position in the image of the first pixel of the core."""
        return tuple(low + box.start for low, box in zip(self.origin, self.core, strict=True))

    @property
    def stop(self) -> tuple[int, ...]:
        """Position in the image of the first pixel after the core, along each axis."""
        return tuple(low + box.stop for low, box in zip(self.origin, self.core, strict=True))

    @property
    def at_start(self) -> tuple[bool, ...]:
        """True for each axis along which the core begins at the image border."""
        return tuple(start == 0 for start in self.start)

    @property
    def at_stop(self) -> tuple[bool, ...]:
        """True for each axis along which the core ends at the image border."""
        return tuple(stop == size for stop, size in zip(self.stop, self.shape, strict=True))

    def box(self, array: np.ndarray, before: int = 0, after: int = 0) -> tuple[slice, ...]:
        """Return the box of the core within the array, grown but not beyond the image.

        Parameters
        ----------
        array : ndarray
            Array of the block with its halo.
        before, after : int
            Pixels by which the box grows before and after the core, along each axis.

        Raises
        ------
        ValueError
            The halo is too small. A cropped neighborhood would be treated as the image border
            and give wrong results.
        """
        grown = []
        for axis, (box, origin) in enumerate(zip(self.core, self.origin, strict=True)):
            low = max(box.start - before, -origin)
            high = min(box.stop + after, self.shape[axis] - origin)
            if low < 0 or high > array.shape[axis]:
                raise ValueError(
                    f"axis {axis}: the core {box.start}:{box.stop} of an array of the shape "
                    f"{array.shape} needs a halo of {before} before and {after} after it"
                )
            grown.append(slice(low, high))
        return tuple(grown)


class ArrayList:
    """Arrays of many blocks that are concatenated.

    The arrays of some blocks become one array from time to time, because a small array takes more
    memory than its values.

    Parameters
    ----------
    arrays : iterable of ndarray
        Arrays to begin with.
    """

    def __init__(self, arrays: Iterable[np.ndarray] = ()) -> None:
        self._joined: list[np.ndarray] = []
        self._small = list(arrays)

    def append(self, array: np.ndarray) -> None:
        """Append the array of a block."""
        self._small.append(array)
        if len(self._small) == _MAX_SMALL:
            self._joined.append(np.concatenate(self._small))
            self._small = []

    def joined(self) -> np.ndarray:
        """Return the concatenated arrays, and forget them.

        Raises
        ------
        ValueError
            There is no array.
        """
        arrays = [*self._joined, *self._small]
        self._joined, self._small = [], []
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


TOTAL = {"merge": np.add}
LOWEST = {"merge": np.minimum}
HIGHEST = {"merge": np.maximum}
"""Rules to merge the columns of a `Table`, used as ``field(metadata=TOTAL)``."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a block or an image; rows are sorted by unique keys.

    A subclass declares its keys first, then its other columns, each with a rule to merge them.
    """

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Return the merged table of several blocks, in any order and any grouping.

        Raises
        ------
        ValueError
            No table.
        """
        tables = iter(parts)
        first = next(tables, None)
        if first is None:
            raise ValueError("no table to merge; a block without instances has a table too")
        second = next(tables, None)
        if second is None:
            return first
        names = [column.name for column in fields(cls)]
        columns = {name: ArrayList() for name in names}
        for table in chain((first, second), tables):
            for name in names:
                columns[name].append(getattr(table, name))
        return cls.of_columns(columns)

    @classmethod
    def of_rows(cls, **columns: np.ndarray) -> Self:
        """Return the table of rows in any order; rows with equal keys are merged."""
        return cls.of_columns({name: ArrayList([rows]) for name, rows in columns.items()})

    @classmethod
    def of_columns(cls, columns: dict[str, ArrayList]) -> Self:
        """Merge rows with equal keys; each column is removed from `columns` when it is merged.

        A subclass overrides this if a column depends on other columns of the merged rows.
        """
        rules = {column.name: column.metadata.get("merge") for column in fields(cls)}
        key_names = [name for name, rule in rules.items() if rule is None]
        keys = {name: columns.pop(name).joined() for name in key_names}
        order = np.lexsort(list(keys.values())[::-1])
        first = np.zeros(len(order), bool)
        first[:1] = True
        for name, key in keys.items():
            keys[name] = key[order]
            first[1:] |= keys[name][1:] != keys[name][:-1]
        starts = np.flatnonzero(first)
        merged = {name: key[starts] for name, key in keys.items()}
        del keys
        for name, rule in rules.items():
            if rule is not None:
                rows = columns.pop(name).joined()[order]
                merged[name] = rule.reduceat(rows, starts, axis=0) if len(starts) else rows
        return cls(**merged)
