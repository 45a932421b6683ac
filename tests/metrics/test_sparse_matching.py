"""Scores against a ground truth that is annotated in part equal those of brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import singula
from singula.errors import UserError
from singula.labels.overlap import overlap_in_block
from singula.metrics import match_dataset, match_overlap, overlap, overlap_among, sum_overlaps
from singula.metrics.matching import RATES
from singula.pipeline.score import Scores, map_scores, result_text, score_lines
from singula.util.annotated_slices import annotated_slices, mark_slices


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


def test_images_without_annotated_pixels_have_no_score() -> None:
    truth = np.array([[0, 1, 1, 2, 2, 0]])
    pred = np.array([[0, 1, 1, 2, 0, 3]])
    nothing = np.zeros_like(truth)
    hidden = match_overlap(overlap(np.full_like(truth, -1), pred), (0.5, 0.75))
    assert [score.n_images for score in hidden] == [0, 0]
    assert all(np.isnan(getattr(score, name)) for score in hidden for name in RATES)
    assert all(score.tp == score.fp == score.fn == 0 for score in hidden)
    images = [singula.match(truth, pred, (0.5, 0.75)), singula.match(nothing, pred, (0.5, 0.75))]
    for by_image in (True, False):
        expected = match_dataset(images, by_image)
        assert match_dataset([hidden, images[0], hidden, images[1]], by_image) == expected
        (first, _) = match_dataset([hidden, hidden], by_image)
        assert first.n_images == 0
        assert np.isnan(first.f1)
    # An image without objects is annotated
    assert singula.match(nothing, nothing, 0.5).f1 == 1


def test_maps_without_a_target_have_no_score() -> None:
    truth = {"B": np.full((4, 4), -1, np.int8), "C": np.zeros((4, 4), np.int8)}
    maps = {name: np.ones((4, 4), np.float32) for name in truth}
    assert map_scores(truth, maps, np.zeros((4, 4), bool)) == {"iou_C": 0.0}


def test_tables_name_images_without_annotated_pixels() -> None:
    truth, pred = np.array([[0, 1, 1]]), np.array([[0, 1, 0]])
    hidden = match_overlap(overlap(np.full_like(truth, -1), pred), (0.5,))
    scored = singula.match(truth, pred, (0.5,))
    scores = Scores({"per_image": {"a": scored, "b": hidden}})
    scores.add_maps("a", "per_image", {"iou_B": 0.5})
    rows = scores.rows()
    assert [row["n_images"] for row in rows] == [1, 0, 1, 1]
    assert ["per_image_iou_B" in row for row in rows] == [True, False, True, True]
    assert any("not annotated" in line and "b" in line for line in score_lines(scores))
    assert result_text(7, scores, "b") == "7 instances, not annotated"
    lines = score_lines(Scores({"per_image": {"b": hidden}}))
    assert not any(line.lstrip().startswith("0.50") for line in lines)


def test_the_log_counts_instances_outside_of_the_annotated_part() -> None:
    truth, pred = np.array([[0, 1, 1, -1, -1]]), np.array([[0, 1, 1, 2, 2]])
    scores = Scores({"per_image": {"a": singula.match(truth, pred, (0.5,))}})
    text = result_text(2, scores, "a")
    assert text == "2 instances; in the annotated part: 1 instance, F1 1.000 at 0.5"


@pytest.mark.parametrize("seed", range(3))
def test_cross_sections_are_compared_in_annotated_slices(seed) -> None:
    rng = np.random.default_rng(seed)
    planes = [scene(int(rng.integers(99))) for _ in range(9)]
    truth, pred = (np.stack([plane[side] for plane in planes]) for side in (0, 1))
    slices = [1, 5]
    sparse = np.full_like(truth, -1)
    sparse[slices] = truth[slices]
    expected = singula.match(*brute_force(truth[slices], pred[slices]), (0.2, 0.5))
    assert singula.match(sparse, pred, (0.2, 0.5)) == expected
    assert expected[0].n_pred > 0
    # In blocks, some of which contain no annotated slice
    marked = mark_slices(sparse, annotated_slices(sparse))
    parts = [
        overlap_in_block(marked[planes, rows], pred[planes, rows])
        for planes in (slice(0, 2), slice(2, 4), slice(4, None))
        for rows in (slice(0, 5), slice(5, None))
    ]
    assert match_overlap(sum_overlaps(parts), (0.2, 0.5)) == expected


def test_a_complete_prediction_of_annotated_slices_has_score_1() -> None:
    truth = np.zeros((32, 40, 40), np.int16)
    truth[3:20, 4:16, 4:16], truth[10:30, 20:36, 20:36] = 1, 2
    for slices in ([16], [8, 24]):
        sparse = np.full_like(truth, -1)
        sparse[slices] = truth[slices]
        assert singula.match(sparse, truth, 0.5).f1 == 1


def test_minus_one_without_background_is_an_error() -> None:
    with pytest.raises(UserError) as error:
        singula.match(np.array([[-1, 1, 1]]), np.array([[0, 1, 1]]))
    assert error.value.code == "arguments.negative_id"


def test_scores_of_maps_exclude_pixels_without_a_target() -> None:
    rng = np.random.default_rng(0)
    binary, distance = rng.integers(-1, 2, (9, 8)), rng.random((9, 8)).astype(np.float32)
    distance[rng.random((9, 8)) < 0.3] = np.nan
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
