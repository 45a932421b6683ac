from __future__ import annotations

import numpy as np
import pytest

from singula.metrics import match, score_rows
from singula.metrics.summary import COLUMNS, MEAN, POOLED


def test_rows_of_images_precede_mean_and_pooled_scores():
    one = np.repeat([1, 2, 3, 4], 5)[None]
    half = np.where(one > 2, 0, one)
    rows = score_rows({"a": match(one, one, [0.3, 0.5]), "b": match(half, one, [0.3, 0.5])})
    assert [row["image"] for row in rows] == ["a", "a", "b", "b", MEAN, MEAN, POOLED, POOLED]
    assert [row["threshold"] for row in rows] == [0.3, 0.5] * 4
    assert all(tuple(row) == COLUMNS for row in rows)
    assert rows[5]["precision"] == pytest.approx((1 + 0.5) / 2)
    assert rows[7]["precision"] == pytest.approx(6 / 8)
    assert rows[5]["n_images"] == rows[7]["n_images"] == 2


def test_no_images_give_no_rows():
    assert score_rows({}) == []
