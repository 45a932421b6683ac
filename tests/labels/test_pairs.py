from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.labels.pair_counts import Pairs


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    largest=st.sampled_from([1, 90, 2**16, 2**33, 2**64 - 1]),
    parts=st.lists(st.integers(0, 9_000), max_size=4),
)
def test_pairs_are_counted_in_any_parts(seed, largest, parts):
    rng = np.random.default_rng(seed)
    counts, expected = Pairs(), Counter()
    for size in parts:
        first, second = rng.integers(0, largest, (2, size), np.uint64, endpoint=True)
        times = rng.integers(1, 5, size)
        counts.add(first, second, times)
        for one, two, number in zip(first.tolist(), second.tolist(), times.tolist(), strict=True):
            expected[one, two] += number
    first, second, times = counts.table()
    found = list(zip(first.tolist(), second.tolist(), strict=True))
    assert found == sorted(expected)
    assert dict(zip(found, times.tolist(), strict=True)) == expected


@pytest.mark.parametrize("step", [1, 2**20, 2**32, 2**44])
def test_ids_at_equal_distances_do_not_collide_in_the_table(step):
    ids = np.arange(20_000, dtype=np.uint64) * np.uint64(step)
    for first, second in ((ids, ids), (ids, ids[::-1]), (ids, 0 * ids), (0 * ids, ids)):
        pairs = Pairs()
        pairs.add(first, second, np.ones(len(ids), int))
        taken = np.append(pairs._slots, -1) >= 0
        ends = np.flatnonzero(np.diff(np.r_[0, taken.astype(int), 0]))
        assert np.diff(ends)[::2].max() < 400  # of 20,000 that could lie in a row
        assert len(pairs.table()[0]) == len(ids)
