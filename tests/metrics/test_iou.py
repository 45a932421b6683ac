from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.errors import UserError
from singula.metrics import iou, mae


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0, 1))
def test_iou_counts_pixels(seed, share):
    rng = np.random.default_rng(seed)
    truth = (rng.random((6, 7)) < share).astype(np.uint8)
    pred = rng.random((6, 7)).astype(np.float16)
    both = either = 0
    for t, p in zip(truth.ravel(), pred.ravel(), strict=True):
        both += t == 1 and p > 0.5
        either += t == 1 or p > 0.5
    assert iou(truth, pred) == (both / either if either else 1.0)


def test_iou_of_empty_masks_is_one():
    empty = np.zeros((4, 4))
    assert iou(empty, empty) == 1.0
    assert iou(empty, np.ones((4, 4))) == 0.0


def test_iou_with_another_threshold():
    truth, pred = np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.4, 0.9])
    assert iou(truth, pred, threshold=0.2) == pytest.approx(2 / 3)


def test_mae_is_the_mean_absolute_error():
    truth, pred = np.array([[0.0, 2.0], [5.0, 1.0]]), np.array([[1.0, 2.0], [3.0, 7.0]])
    assert mae(truth, pred) == 2.25
    assert mae(truth, pred, truth > 1) == 1.0
    assert mae(truth, pred, truth > 9) == 0.0
    assert mae(np.array([3], np.uint8), np.array([5], np.uint8)) == 2


def test_maps_must_have_one_shape():
    with pytest.raises(UserError, match=r"\(2,\).*\(3,\)"):
        iou(np.zeros(2), np.zeros(3))
    with pytest.raises(UserError, match=r"\(2,\).*\(3,\)"):
        mae(np.zeros(2), np.zeros(3))
    with pytest.raises(UserError, match=r"\(2,\).*\(3,\)"):
        mae(np.zeros(2), np.zeros(2), np.zeros(3, bool))
