"""Tables that are merged in parts equal those that are merged at once."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field, fields

import numpy as np
import pytest
from cut_images import cuts, label_images
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.errors import UserError
from singula.labels import extents
from singula.labels.block_table import TOTAL, Table
from singula.labels.index import Extents
from singula.labels.table_parts import TableParts
from singula.measure import Moments, second_moments


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_parts_are_the_rows_of_the_merged_table(tmp_path_factory, data) -> None:
    image = data.draw(label_images())
    labels = np.searchsorted(np.union1d(0, image), image)  # consecutive ids
    size = data.draw(st.integers(1, 6))
    grid = data.draw(cuts(labels))
    for kind, measure in ((Extents, extents), (Moments, second_moments)):
        tables = [measure(labels[read], block) for block, read in grid]
        count = int(labels.max())
        parts = TableParts(
            kind, lambda t=tables: iter(t), count, tmp_path_factory.mktemp("p"), size
        )
        whole = kind.merge(tables)
        first, again = list(parts), list(parts)
        assert len(first) == len(again) == max(1, -(-count // size))
        for number, part in enumerate(first):
            if len(first) > 1:
                inside = (part.ids > number * size) & (part.ids <= (number + 1) * size)
                assert inside.all()
        for column in fields(kind):
            expected = getattr(whole, column.name)
            for found in (first, again):
                # Floating point sums are added in the same order, and equal in each bit.
                joined = np.concatenate([getattr(part, column.name) for part in found])
                np.testing.assert_array_equal(joined, expected)


@dataclass(frozen=True, eq=False)
class Sums(Table):
    """A table with a key and a sum."""

    ids: np.ndarray
    sums: np.ndarray = field(metadata=TOTAL)


def test_memory_depends_on_the_size_of_a_part(tmp_path) -> None:
    count, size = 1 << 17, 1 << 11

    def tables():
        for start in range(0, count, 64):  # each block shares half of its ids with the next one
            ids = np.arange(start + 1, min(start + 96, count) + 1)
            yield Sums(ids, np.ones(len(ids)))

    tracemalloc.start()
    try:
        total, n_rows = 0.0, 0
        for part in TableParts(Sums, tables, count, tmp_path / "parts", size):
            total, n_rows = total + part.sums.sum(), n_rows + part.n_rows
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (total, n_rows) == (count + count // 64 * 32 - 32, count)
    assert peak < count * 16 / 4  # the columns of all rows take 16 bytes each


def test_files_of_a_killed_process_are_not_read(tmp_path) -> None:
    tables = [Sums(np.arange(1, 5), np.ones(4))]
    for _ in range(2):
        parts = list(TableParts(Sums, lambda: tables, 4, tmp_path / "parts", 2))
        assert [part.sums.tolist() for part in parts] == [[1, 1], [1, 1]]


def test_an_id_above_the_count_is_an_error(tmp_path) -> None:
    with pytest.raises(IndexError):
        list(TableParts(Sums, lambda: [Sums(np.array([9]), np.ones(1))], 4, tmp_path / "p", 2))


def test_columns_keep_their_type(tmp_path) -> None:
    tables = [Sums(np.arange(1, 5), kind(4)) for kind in (lambda n: np.ones(n, int), np.ones)]
    with pytest.raises(TypeError, match="sums: got float64 after int64"):
        list(TableParts(Sums, lambda: tables, 4, tmp_path / "parts", 2))


def test_a_missing_record_is_not_an_error_of_the_folder(tmp_path) -> None:
    def tables():
        yield Sums(np.arange(1, 5), np.ones(4))
        raise FileNotFoundError("block 7 has no record")

    with pytest.raises(FileNotFoundError, match="block 7"):
        list(TableParts(Sums, tables, 4, tmp_path / "parts", 2))


def test_a_folder_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as error:
        list(TableParts(Sums, lambda: [], 4, tmp_path / "file" / "parts", 2))
    assert error.value.code.startswith("storage.")
    assert "file" in error.value.message
