from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field, fields

import numpy as np
import pytest
from cut_images import blocks, cuts, label_images, merged, steps
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.labels import block_table, border_ids, clear_border, close_ids, extents, remove
from singula.labels import remove_close_points as without_close_points
from singula.labels.block_table import HIGHEST, LOWEST, TOTAL, Block, Table
from singula.labels.border import Ids
from singula.labels.index import Extents

MANY = settings(max_examples=150, deadline=None)


def same(one, two):
    assert type(one) is type(two)
    for column in fields(one):
        np.testing.assert_array_equal(getattr(one, column.name), getattr(two, column.name))


@MANY
@given(st.data())
def test_extents_of_blocks_merge_to_those_of_the_image(data):
    labels = data.draw(label_images())
    parts = [extents(labels[read], block) for block, read in data.draw(cuts(labels))]
    whole = extents(labels)
    same(Extents.merge(parts), whole)
    same(data.draw(merged(Extents.merge, parts)), whole)
    assert whole.ids.tolist() == sorted(set(labels.ravel().tolist()) - {0})


@dataclass(frozen=True, eq=False)
class Columns(Table):
    """A table with two keys and a column for each rule."""

    one: np.ndarray
    two: np.ndarray
    total: np.ndarray = field(metadata=TOTAL)
    lowest: np.ndarray = field(metadata=LOWEST)
    highest: np.ndarray = field(metadata=HIGHEST)


@MANY
@given(st.data())
def test_any_number_of_tables_is_merged(data):
    rows = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-9, 9))
    parts = data.draw(st.lists(st.lists(rows, max_size=4, unique_by=lambda r: r[:2]), min_size=1))
    tables, groups = [], {}
    for part in parts:
        one, two, value = np.array(sorted(part), np.int64).reshape(-1, 3).T
        tables.append(Columns(one, two, value, value, value))
        for first, second, number in part:
            groups.setdefault((first, second), []).append(number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_table, "_MAX_SMALL", data.draw(st.integers(1, 5)))
        found = Columns.merge(iter(tables))
    expected = [(*key, sum(v), min(v), max(v)) for key, v in sorted(groups.items())]
    columns = (getattr(found, column.name).tolist() for column in fields(Columns))
    assert list(zip(*columns, strict=True)) == expected


def test_tables_without_rows_take_no_memory():
    def tables():
        for number in range(20_000):
            rows = np.arange(number % 4000 == 0)  # a row in every 4000th table
            yield Columns(rows + number, *(rows.copy() for _ in range(4)))

    tracemalloc.start()
    try:
        merged = Columns.merge(tables())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert merged.one.tolist() == [0, 4000, 8000, 12000, 16000]
    assert peak < 2**21  # 20,000 tables of five arrays take more than 10 MB


@MANY
@given(st.data())
def test_the_border_is_cleared_in_blocks(data):
    labels = data.draw(label_images())
    grid = data.draw(cuts(labels))
    parts = [border_ids(labels[read], block) for block, read in grid]
    met = data.draw(merged(Ids.merge, parts))
    cleared = clear_border(labels)
    for _, read in grid:
        found = remove(labels[read], met.ids)
        assert found.dtype == labels.dtype
        np.testing.assert_array_equal(found, cleared[read])


@MANY
@given(st.data())
def test_close_points_are_removed_in_blocks(data):
    labels = data.draw(label_images())
    spacing = data.draw(steps)[: labels.ndim]
    radius = data.draw(st.floats(0.1, 5)) * min(spacing)
    seeds = data.draw(st.booleans())
    marks = np.random.default_rng(data.draw(st.integers(0, 9))).random(labels.shape) < 0.3
    expected = without_close_points(labels, radius, seeds=marks if seeds else None, spacing=spacing)
    grid = data.draw(cuts(labels))
    found = Extents.merge([extents(labels[read], block) for block, read in grid])
    seeded = Extents.merge([extents((labels * marks)[read], block) for block, read in grid])
    gone = close_ids(found, radius, seed_points=seeded if seeds else None, spacing=spacing)
    for _, read in grid:
        np.testing.assert_array_equal(remove(labels[read], gone), expected[read])


def test_a_block_has_its_position():
    block, read = blocks((10, 7), (4, 7), (2, 2))[1]
    assert read == (slice(2, 10), slice(0, 7))
    assert (block.start, block.stop) == ((4, 0), (8, 7))
    assert (block.at_start, block.at_stop) == ((False, True), (False, True))
    assert Block.whole((10, 7)).stop == (10, 7)


def test_too_small_a_halo_is_refused():
    labels = np.zeros((10, 7), np.uint8)
    block, read = blocks((10, 7), (4, 7), (1, 0))[1]
    assert block.box(labels[read], 1, 1) == (slice(0, 6), slice(0, 7))
    with pytest.raises(ValueError, match=r"axis 0.*a halo of 2 before and 1 after"):
        block.box(labels[read], 2, 1)
    with pytest.raises(ValueError, match=r"axis 0.*a halo of 1 before and 2 after"):
        block.box(labels[read], 1, 2)


def test_merging_no_tables_is_an_error():
    with pytest.raises(ValueError, match="no table"):
        Extents.merge([])
