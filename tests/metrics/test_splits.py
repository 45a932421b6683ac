from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.metrics import overlap, splits


def found(truth, pred) -> tuple[list[int], list[int]]:
    result = splits(overlap(np.asarray(truth, np.uint16), np.asarray(pred, np.uint16)))
    return result.split.tolist(), result.merging.tolist()


def brute_force(truth, pred) -> tuple[list[int], list[int]]:
    def cover(one, other):
        return 2 * (one & other).sum() > min(one.sum(), other.sum())

    trues = {i: truth == i for i in np.unique(truth) if i}
    preds = {i: pred == i for i in np.unique(pred) if i}
    split = [i for i, t in trues.items() if sum(cover(t, p) for p in preds.values()) > 1]
    merging = [i for i, p in preds.items() if sum(cover(t, p) for t in trues.values()) > 1]
    return split, merging


@pytest.mark.parametrize(
    ("truth", "pred", "expected"),
    [
        ([1] * 8, [5] * 4 + [6] * 4, ([1], [])),
        ([1] * 4 + [2] * 4, [7] * 8, ([], [7])),
        ([1] * 8, [5] * 7 + [6], ([1], [])),  # a piece of one pixel is a piece
        ([1] * 4 + [2] * 4, [5] * 4 + [6] * 4, ([], [])),
        ([1] * 4 + [0] * 4, [5] * 2 + [6] * 4 + [0] * 2, ([], [])),  # 6 lies half outside
        ([1] * 5 + [0] * 3, [5] * 2 + [6] * 4 + [0] * 2, ([1], [])),  # and here less than half
        ([1] * 6 + [2] * 2, [5] * 3 + [6] * 5, ([1], [6])),  # split and merging at once
        ([0] * 4, [0] * 4, ([], [])),
        ([1] * 4, [0] * 4, ([], [])),
    ],
)
def test_cases_made_by_hand(truth, pred, expected):
    assert found([truth], [pred]) == expected


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([(9, 13), (4, 7, 5), (30,)]), st.integers(0, 9999))
def test_equals_the_definition(shape, seed):
    rng = np.random.default_rng(seed)
    truth, pred = (rng.choice([0, 3, 4, 90, 65535], [-(-n // 2) for n in shape]) for _ in "ab")
    for axis in range(len(shape)):
        truth, pred = truth.repeat(2, axis), pred.repeat(2, axis)
    pred = np.roll(pred, 1, axis=0)
    assert found(truth, pred) == brute_force(truth, pred)
