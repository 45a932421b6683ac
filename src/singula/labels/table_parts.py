"""Merged tables of many blocks in parts, so that the rows of an image need not fit into memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from singula.io.atomic import write_error
from singula.labels.block_table import Table

ROWS = 1 << 18
"""Largest number of instances in a part."""

T = TypeVar("T", bound=Table)


class TableParts(Generic[T]):
    """Table of an image, merged from the tables of its blocks, in parts of consecutive ids.

    A part contains the ids from ``k · size + 1`` to ``(k + 1) · size``, and may have no rows. If
    there are several parts, the rows of the blocks are stored in a file for each part when the
    parts are iterated for the first time; later iterations read these files. The concatenated parts
    equal `Table.merge` of all tables.

    Parameters
    ----------
    kind : type
        Subclass of `Table` whose only key is ``ids``.
    tables : callable
        Return the tables of the blocks.
    count : int
        Largest id.
    folder : Path
        Folder for the files; an existing one is deleted.
    size : int, optional
        Number of ids in a part. Default: `ROWS`.
    """

    def __init__(
        self,
        kind: type[T],
        tables: Callable[[], Iterable[T]],
        count: int,
        folder: Path,
        size: int | None = None,
    ) -> None:
        size = size or ROWS
        self._kind, self._tables, self._folder, self._size = kind, tables, folder, size
        self._files = [folder / f"{part:06d}.rows" for part in range(-(-count // size))]
        self._whole: T | None = None
        self._dtype: np.dtype[Any] | None = None

    def __iter__(self) -> Iterator[T]:
        if len(self._files) <= 1:
            if self._whole is None:
                self._whole = self._kind.merge(self._tables())
            yield self._whole
            return
        if self._dtype is None:
            self._dtype = self._store()
        for file in self._files:
            rows = np.fromfile(file, self._dtype) if file.exists() else np.empty(0, self._dtype)
            yield self._kind.of_rows(**{name: rows[name] for name in self._dtype.names or ()})

    def _store(self) -> np.dtype[Any]:
        """Append the rows of all blocks to the files of their parts, and return their type."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with self._writing():
            self._folder.mkdir(parents=True)
        dtype: np.dtype[Any] | None = None
        waiting: list[T] = []
        n_waiting = 0
        for table in self._tables():
            waiting.append(table)
            n_waiting += table.n_rows
            if n_waiting >= self._size:
                dtype = self._append(waiting, dtype)
                waiting, n_waiting = [], 0
        return self._append(waiting, dtype) if waiting or dtype is None else dtype

    def _append(self, tables: list[T], dtype: np.dtype[Any] | None) -> np.dtype[Any]:
        names = [column.name for column in fields(self._kind)]
        columns = {
            name: np.concatenate([getattr(table, name) for table in tables]) for name in names
        }
        if dtype is None:
            dtype = np.dtype([(n, each.dtype, each.shape[1:]) for n, each in columns.items()])
        part = (columns["ids"] - 1) // self._size
        order = np.argsort(part, kind="stable")  # rows of an id stay in the order of the blocks
        rows = np.empty(len(order), dtype)
        for name in names:
            values = columns.pop(name)[order]
            if not np.can_cast(values.dtype, dtype[name].base):
                raise TypeError(f"{name}: got {values.dtype} after {dtype[name].base}")
            rows[name] = values
        for number, begin in zip(*np.unique(part[order], return_index=True), strict=True):
            end = np.searchsorted(part[order], number, side="right")
            with self._writing(), self._files[number].open("ab") as file:
                rows[begin:end].tofile(file)
        return dtype

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Report an error of the file system as an error of the folder."""
        try:
            yield
        except OSError as error:
            raise write_error(self._folder, error) from error
