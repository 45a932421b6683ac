from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from stardist.matching import matching, matching_dataset

from singula.errors import UserError
from singula.metrics import match, match_dataset, match_overlap, overlap
from singula.metrics.matching import COUNTS, RATES

THRESHOLDS = (0.1, 0.2, 0.3, 0.5, 0.75, 0.9)


def cells(shape, seed, sigma=2.0, level=0.6) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return label(field > np.quantile(field, level)).astype(np.uint16)


def crowd(shape, seed, n) -> np.ndarray:
    """Return Voronoi cells without background, so that all overlaps are ambiguous."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (n, len(shape))) * shape
    grid = np.indices(shape).reshape(len(shape), 1, -1)
    return (((grid - points.T[:, :, None]) ** 2).sum(0).argmin(0) + 1).reshape(shape)


def shaken(truth: np.ndarray, seed: int) -> np.ndarray:
    """Return a prediction with shifted, split, merged, missed and additional objects."""
    rng = np.random.default_rng(seed)
    pred = np.roll(truth, rng.integers(-2, 3, truth.ndim), tuple(range(truth.ndim)))
    ids = np.unique(pred[pred > 0])
    for i in ids[rng.random(len(ids)) < 0.2]:
        pred = np.where(pred == i, 0 if rng.random() < 0.5 else rng.choice(ids), pred)
    halves = np.indices(truth.shape)[0] % 11 > 6
    return np.where(halves & np.isin(pred, ids[::4]), pred + pred.max() * (pred > 0), pred)


def assert_equal_to_stardist(score, theirs) -> None:
    """Compare to 1e-9; with equal IoUs, up to the rounding of sums in another order."""
    tied = False
    if hasattr(theirs, "matched_pairs"):
        pairs = [theirs.matched_pairs[i] for i in theirs.matched_tps]
        tied = pairs != list(zip(score.true_ids, score.pred_ids, strict=True))
    for name in COUNTS:
        assert getattr(score, name) == getattr(theirs, name), name
    for name in RATES:
        expected = pytest.approx(getattr(theirs, name), abs=5e-7 if tied else 1e-9)
        assert getattr(score, name) == expected, name


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["cells", "crowd", "shaken cells", "shaken crowd"]),
    shape=st.sampled_from([(40, 50), (8, 20, 16)]),
    seed=st.integers(0, 9999),
)
def test_matching_equals_stardist(kind, shape, seed):
    make = (lambda s: crowd(shape, s, 25)) if "crowd" in kind else (lambda s: cells(shape, s))
    truth = make(seed)
    pred = shaken(truth, seed) if "shaken" in kind else make(seed + 1)
    ours = match(truth, pred, THRESHOLDS)
    for score, theirs in zip(
        ours, matching(truth, pred, THRESHOLDS, report_matches=True), strict=True
    ):
        assert score.threshold == theirs.thresh
        assert_equal_to_stardist(score, theirs)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_ambiguous_matches_equal_stardist(data):
    size = data.draw(st.integers(4, 40))
    ids = st.lists(st.integers(0, 4), min_size=size, max_size=size)
    truth = np.array([data.draw(ids)])
    pred = np.array([data.draw(ids)])
    if not (truth.any() or pred.any()):
        truth[0, 0] = 1
    for threshold in (0.05, 0.2, 0.3, 0.5):
        (score,) = match(truth, pred, [threshold])
        assert_equal_to_stardist(score, matching(truth, pred, threshold, report_matches=True))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999))
def test_no_other_assignment_is_better(seed):
    rng = np.random.default_rng(seed)
    truth, pred = rng.integers(0, 5, (2, 4, 6))
    pred[:2] = truth[:2]
    n_true, n_pred = truth.max(), pred.max()
    ious = np.zeros((n_true + n_pred, n_pred))
    for t, p in itertools.product(range(1, n_true + 1), range(1, n_pred + 1)):
        union = np.count_nonzero((truth == t) | (pred == p))
        ious[t - 1, p - 1] = np.count_nonzero((truth == t) & (pred == p)) / max(1, union)
    best = 0.0, 0.0
    for rows in itertools.permutations(range(n_true + n_pred), int(n_pred)):
        chosen = ious[list(rows), range(n_pred)]
        best = max(best, (np.count_nonzero(chosen >= 0.3), chosen.sum()))
    (score,) = match(truth, pred, [0.3])
    assert score.tp == best[0]
    assert score.ious.sum() <= best[1] + 1e-5
    assert np.all(score.ious >= np.float32(0.3))


@pytest.mark.parametrize("by_image", [False, True])
def test_scores_of_data_sets_equal_stardist(by_image):
    truths = [cells((60, 60), s) for s in range(10, 15)] + [crowd((30, 30), 1, 12)]
    preds = [shaken(t, s) for s, t in enumerate(truths)]
    preds[2] = np.zeros_like(preds[2])
    truths[3] = np.zeros_like(truths[3])
    ours = match_dataset(
        [match(t, p, THRESHOLDS) for t, p in zip(truths, preds, strict=True)], by_image
    )
    theirs = matching_dataset(truths, preds, THRESHOLDS, by_image=by_image, show_progress=False)
    for score, their in zip(ours, theirs, strict=True):
        assert_equal_to_stardist(score, their)
        assert score.n_images == len(truths)


def test_an_image_without_objects_scores_one_where_stardist_gives_zero():
    empty = np.zeros((5, 5), np.uint8)
    (score,) = match(empty, empty, [0.5])
    assert [getattr(score, name) for name in RATES] == [1.0] * len(RATES)
    assert [getattr(score, name) for name in COUNTS] == [0] * len(COUNTS)
    assert matching(empty, empty, 0.5).f1 == 0

    full = np.ones((5, 5), np.uint8)
    (wrong,) = match(full, empty, [0.5])
    assert [getattr(wrong, name) for name in RATES] == [0.0] * len(RATES)
    (by_image,) = match_dataset([[score], [wrong]], by_image=True)
    assert [getattr(by_image, name) for name in RATES] == [0.5] * len(RATES)
    (pooled,) = match_dataset([[score], [wrong]])
    assert (pooled.fn, pooled.f1) == (1, 0)
    (nothing,) = match_dataset([[score], [score]])
    assert nothing.f1 == 1


def test_pairs_and_unmatched_objects():
    truth = np.zeros((6, 20), np.uint32)
    pred = np.zeros((6, 20), np.int64)
    truth[:, :4], truth[:, 5:9], truth[:, 15:] = 7, 4_000_000_000, 9
    pred[:, :4], pred[:, 5:8], pred[:, 11:14] = 70, 90, 60
    (score,) = match(truth, pred, [0.5])
    assert score.true_ids.tolist() == [7, 4_000_000_000]
    assert score.pred_ids.tolist() == [70, 90]
    np.testing.assert_allclose(score.ious, [1, 0.75])
    assert score.missed.tolist() == [9]
    assert score.extra.tolist() == [60]
    assert (score.tp, score.fp, score.fn, score.n_true, score.n_pred) == (2, 1, 1, 3, 3)
    assert score.panoptic_quality == pytest.approx(1.75 / 3)


def test_more_pairs_precede_a_better_pair():
    truth = np.repeat([1, 2], [10, 6])[None]
    pred = np.repeat([1, 2], [4, 12])[None]  # IoUs: (1,1) 0.4, (1,2) 6/16, (2,2) 0.5
    (score,) = match(truth, pred, [0.375])
    assert list(zip(score.true_ids, score.pred_ids, strict=True)) == [(1, 1), (2, 2)]
    pred[0, :4] = 0  # now both true objects want the one that is left
    (score,) = match(truth, pred, [0.375])
    assert list(zip(score.true_ids, score.pred_ids, strict=True)) == [(2, 2)]
    assert score.missed.tolist() == [1]


def test_the_threshold_is_inclusive():
    truth, pred = np.repeat([1, 0], [3, 7])[None], np.repeat([1, 0], [10, 0])[None]
    assert match(truth, pred, [0.3])[0].tp == 1
    assert match(truth, pred, [0.3001])[0].tp == 0


def test_scores_do_not_depend_on_ids():
    truth, pred = cells((50, 50), 3), shaken(cells((50, 50), 3), 3)
    rng = np.random.default_rng(0)
    ids = np.r_[0, np.sort(rng.choice(2**32 - 1, 2000, replace=False)) + 1].astype(np.uint32)
    assert match(ids[truth], ids[::1][pred]) == match(truth, pred)


def test_an_overlap_can_be_merged_from_blocks():
    truth, pred = crowd((40, 40), 0, 20), crowd((40, 40), 1, 20)
    table = overlap(truth[:13], pred[:13]) + overlap(truth[13:], pred[13:])
    assert match_overlap(table) == match(truth, pred)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold):
    image = np.ones((2, 2), int)
    with pytest.raises(UserError, match="threshold"):
        match(image, image, [threshold])


def test_a_data_set_needs_images_of_the_same_thresholds():
    image = np.ones((2, 2), int)
    with pytest.raises(UserError, match="no image"):
        match_dataset([])
    with pytest.raises(UserError, match="different thresholds"):
        match_dataset([match(image, image, [0.5]), match(image, image, [0.3])])


def test_one_threshold_gives_one_result_as_in_stardist():
    truth, pred = np.zeros((2, 9, 9), int)
    truth[1:5, 1:5], pred[1:5, 2:5] = 4, 7
    for threshold in (0.5, np.float32(0.5), np.array(0.5), 1):
        one = match(truth, pred, threshold)
        assert one == match(truth, pred, [float(threshold)])[0]
        peer = matching(truth, pred, thresh=float(threshold))
        assert (one.tp, one.fp, one.fn, one.f1) == (peer.tp, peer.fp, peer.fn, peer.f1)
    assert match(truth, pred, np.array([0.5, 0.8])) == match(truth, pred, (0.5, 0.8))


@pytest.mark.parametrize("threshold", [0, 1.5, float("nan"), "0.5", None, ("a",)])
def test_an_invalid_threshold_is_refused(threshold):
    labels = np.ones((3, 3), int)
    with pytest.raises((TypeError, UserError), match=r"thresholds.*got"):
        match(labels, labels, threshold)
