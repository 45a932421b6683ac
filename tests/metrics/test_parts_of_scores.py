"""Scores merged from blocks equal those of the image."""

from __future__ import annotations

import numpy as np
import pytest
from cut_images import cuts, label_images, merged
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.metrics import (
    Ratio,
    color_associations,
    iou,
    iou_sums,
    mae,
    mae_sums,
    match,
    match_overlap,
    overlap,
    overlap_among,
    sum_overlaps,
    winning_classes,
)

MANY = settings(max_examples=100, deadline=None)
LEVELS = (0.1, 0.5, 0.9)


def altered(labels, rng):
    """Return a prediction of labels: shifted, with missing and renamed instances."""
    shift = tuple(rng.integers(-1, 2, labels.ndim))
    moved = np.roll(labels, shift, tuple(range(labels.ndim)))
    ids = np.unique(moved[moved > 0])
    new = np.where(rng.random(len(ids)) < 0.8, rng.permutation(ids), 0).astype(labels.dtype)
    table = dict(zip(ids.tolist(), new.tolist(), strict=True))
    return np.array([table.get(i, 0) for i in moved.ravel().tolist()], labels.dtype).reshape(
        labels.shape
    )


@MANY
@given(st.data())
def test_matching_and_association_images_in_blocks(data):
    truth = data.draw(label_images())
    pred = altered(truth, np.random.default_rng(data.draw(st.integers(0, 99))))
    grid = data.draw(cuts(truth))
    parts = [overlap(truth[r][b.core], pred[r][b.core]) for b, r in grid]
    table = data.draw(merged(sum_overlaps, parts))
    expected = match(truth, pred, LEVELS)
    found = match_overlap(table, LEVELS)
    assert found == expected
    for one, two in zip(found, expected, strict=True):
        for name in ("true_ids", "pred_ids", "ious", "missed", "extra"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        picture = color_associations(truth, pred, two)
        for _, read in grid:
            painted = color_associations(truth[read], pred[read], one)
            np.testing.assert_array_equal(painted, picture[read])


@MANY
@given(st.data())
def test_majority_classes_in_blocks(data):
    labels = data.draw(label_images())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    classes = rng.integers(0, data.draw(st.integers(1, 4)), labels.shape).astype(np.uint8)
    grid = data.draw(cuts(labels))
    votes = sum_overlaps([overlap(labels[r][b.core], classes[r][b.core]) for b, r in grid])
    ids, own = winning_classes(votes)
    assert ids.tolist() == np.unique(labels[labels > 0]).tolist()
    for i, chosen in zip(ids, own, strict=True):
        counts = np.bincount(classes[labels == i], minlength=2)[1:]
        assert chosen == (counts.argmax() + 1 if counts.any() else 0)


@MANY
@given(st.data())
def test_overlap_within_a_class_ignores_other_classes(data):
    truth = data.draw(label_images())
    pred = altered(truth, np.random.default_rng(data.draw(st.integers(0, 99))))
    true_ids, pred_ids = (
        np.array([i for i in np.unique(x[x > 0]) if data.draw(st.booleans())], x.dtype)
        for x in (truth, pred)
    )
    found = overlap_among(overlap(truth, pred), true_ids, pred_ids)
    alone = [np.where(np.isin(x, i), x, 0) for x, i in ((truth, true_ids), (pred, pred_ids))]
    expected = overlap(*alone)
    for name in ("true", "pred", "pixels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@MANY
@given(st.data())
def test_scores_of_maps_in_blocks(data):
    shape = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    truth, pred = rng.random((2, *shape)).astype(np.float32)
    mask = rng.random(shape) < data.draw(st.sampled_from((0, 0.3, 1)))
    grid = [(r, b.core) for b, r in data.draw(cuts(truth))]
    for parts, expected in (
        ([iou_sums(truth[r][c], pred[r][c]) for r, c in grid], iou(truth, pred)),
        ([iou_sums((truth * mask)[r][c], mask[r][c]) for r, c in grid], iou(truth * mask, mask)),
    ):
        assert data.draw(merged(Ratio.merge, parts)).value == expected
    parts = [mae_sums(truth[r][c], pred[r][c], mask[r][c]) for r, c in grid]
    score = data.draw(merged(Ratio.merge, parts)).value
    assert score == pytest.approx(mae(truth, pred, mask), rel=1e-9)
