"""Scores against a ground truth that is annotated in part equal those of brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import singula
from singula.errors import UserError
from singula.metrics import match_overlap, overlap, overlap_among, sum_overlaps
from singula.pipeline.score import map_scores


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, pred = (np.kron(rng.integers(0, 6, (6, 7)), np.ones((3, 3), int)) for _ in range(2))
    pred = np.where(rng.random(pred.shape) < 0.6, truth, np.roll(pred, 1, 0))
    truth = np.where(rng.random(truth.shape) < 0.4, -1, truth)
    truth[0, 0] = 0
    return truth, pred


def brute_force(truth: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both label images without pixels and objects that are not annotated."""
    pred = pred.copy()
    for number in np.unique(pred[pred > 0]):
        if (truth[pred == number] < 0).mean() >= 0.5:
            pred[pred == number] = 0
    return truth[truth >= 0], pred[truth >= 0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["i1", "i4", "i8"]))
def test_matching_equals_brute_force(seed, dtype) -> None:
    truth, pred = scene(seed)
    expected = singula.match(*brute_force(truth, pred), (0.2, 0.5))
    assert singula.match(truth.astype(dtype), pred, (0.2, 0.5)) == expected
    # In blocks, some of which have neither 0 nor -1
    parts = [
        overlap(truth.astype(dtype)[rows, columns], pred[rows, columns])
        for rows in (slice(0, 5), slice(5, 6), slice(6, None))
        for columns in (slice(0, 1), slice(1, None))
    ]
    assert match_overlap(sum_overlaps(parts), (0.2, 0.5)) == expected


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_matching_of_a_class(seed) -> None:
    truth, pred = scene(seed)
    table = overlap_among(overlap(truth, pred), np.array([1, 3]), np.array([1, 3, 5]))
    kept = np.where(np.isin(truth, [-1, 1, 3]), truth, 0), np.where(pred % 2, pred, 0)
    assert match_overlap(table) == singula.match(*brute_force(*kept))


def test_half_of_an_object_decides() -> None:
    truth = np.array([[0, 0, -1, -1, 0, 0, 2, 2, -1]])
    pred = np.array([[5, 5, 5, 5, 0, 6, 6, 6, 6]])
    result = singula.match(truth, pred, 0.5)
    # 5 is hidden by half; 6 is compared within three annotated pixels
    assert (result.tp, result.fp, result.fn) == (1, 0, 0)
    assert result.ious.tolist() == pytest.approx([2 / 3])


def test_minus_one_without_background_is_an_error() -> None:
    with pytest.raises(UserError) as error:
        singula.match(np.array([[-1, 1, 1]]), np.array([[0, 1, 1]]))
    assert error.value.code == "arguments.negative_id"


def test_scores_of_maps_exclude_pixels_without_a_target() -> None:
    rng = np.random.default_rng(0)
    binary, distance = rng.integers(-1, 2, (9, 8)), rng.random((9, 8)).astype(np.float32)
    distance[rng.random((9, 8)) < 0.3] = -1
    truth = {"B": binary.astype(np.int8), "D": distance, "Dv2": distance}
    maps = {name: rng.random((9, 8)).astype(np.float32) for name in truth}
    foreground = rng.random((9, 8)) < 0.5
    scores = map_scores(truth, maps, foreground)
    known, true = binary >= 0, binary == 1
    predicted = maps["B"] > 0.5
    assert scores["iou_B"] == pytest.approx(
        (known & true & predicted).sum() / (known & (true | predicted)).sum()
    )
    for name, mask in (("D", (distance >= 0) & foreground), ("Dv2", distance >= 0)):
        error = np.abs(distance - maps[name])[mask].mean()
        assert scores[f"mae_{name}"] == pytest.approx(error, rel=1e-5)
