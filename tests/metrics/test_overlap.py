from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.errors import UserError
from singula.metrics import overlap, sum_overlaps

DTYPES = [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


def as_counter(table) -> Counter:
    return Counter(
        dict(
            zip(
                zip(table.true.tolist(), table.pred.tolist(), strict=True),
                table.pixels.tolist(),
                strict=True,
            )
        )
    )


def blocky(shape, dtype, seed) -> np.ndarray:
    """Return labels in patches, with ids over the range of the dtype."""
    rng = np.random.default_rng(seed)
    ids = np.r_[0, rng.integers(1, np.iinfo(dtype).max, 6, dtype=dtype, endpoint=True)]
    coarse = rng.choice(ids.astype(dtype), [-(-n // 3) for n in shape])
    for axis in range(len(shape)):
        coarse = coarse.repeat(3, axis)
    return coarse[tuple(slice(n) for n in shape)]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(1, 1), (9, 13), (4, 7, 5), (0, 3), (50,)]),
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
    seed=st.integers(0, 999),
)
def test_overlap_counts_pairs(shape, dtypes, seed):
    truth, pred = (blocky(shape, d, seed + i) for i, d in enumerate(dtypes))
    table = overlap(truth, pred)
    expected = Counter(zip(truth.ravel().tolist(), pred.ravel().tolist(), strict=True))
    assert as_counter(table) == expected
    assert sorted(as_counter(table)) == list(as_counter(table))


def test_ids_at_the_end_of_the_range():
    truth = np.array([[0, 2**32 - 1, 2**32 - 1]], np.uint32)
    pred = np.array([[2**64 - 1, 2**64 - 1, 0]], np.uint64)
    assert as_counter(overlap(truth, pred)) == {
        (0, 2**64 - 1): 1,
        (2**32 - 1, 0): 1,
        (2**32 - 1, 2**64 - 1): 1,
    }


def test_views_of_any_order_give_the_same():
    truth, pred = blocky((24, 30), np.uint16, 0), blocky((24, 30), np.int32, 1)
    table = overlap(truth, pred)
    assert as_counter(overlap(truth.T, pred.T)) == as_counter(table)
    assert as_counter(overlap(truth[::-1, ::-1], pred[::-1, ::-1])) == as_counter(table)


def test_overlaps_of_blocks_add_up():
    truth, pred = blocky((30, 40), np.uint32, 2), blocky((30, 40), np.uint8, 3)
    blocks = [
        overlap(truth[y : y + 7, x : x + 11], pred[y : y + 7, x : x + 11])
        for y in range(0, 30, 7)
        for x in range(0, 40, 11)
    ]
    whole = as_counter(overlap(truth, pred))
    assert as_counter(sum_overlaps(blocks)) == whole
    assert as_counter(sum_overlaps([])) == {}
    left, right = (overlap(truth[:, s], pred[:, s]) for s in (slice(17), slice(17, None)))
    assert as_counter(left + right) == whole


@pytest.mark.parametrize(
    ("truth", "pred", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"\(2, 3\).*\(3, 2\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), "truth: got .*float64"),
        (np.zeros((2, 3), int), np.full((2, 3), -1), "pred: got the negative id -1"),
    ],
)
def test_mistakes_are_named(truth, pred, message):
    with pytest.raises(UserError, match=message):
        overlap(truth, pred)
