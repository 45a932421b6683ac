"""Properties of corrected labels."""

from __future__ import annotations

import numpy as np
import pytest
from example_data import labels
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from singula.dataset.checks.correct import correct_labels
from singula.dataset.checks.labels import (
    explain_uncorrected,
    find_class_issues,
    find_object_issues,
    looks_semantic,
)
from singula.dataset.facts.objects import survey_objects

SHAPES = st.sampled_from([(9, 11), (4, 6, 7)])


def everywhere(ndim: int) -> np.ndarray:
    return np.ones((3,) * ndim, bool)


def same_objects(one: np.ndarray, two: np.ndarray) -> bool:
    """Return True if labels are equal except for the ids."""
    pairs = np.unique(np.stack([one.ravel(), two.ravel()]), axis=1)
    return len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1]


@st.composite
def noisy(draw) -> np.ndarray:
    """Draw labels with all mistakes at once, also with large ids."""
    shape = draw(SHAPES)
    ids = draw(arrays(np.uint32, shape, elements=st.sampled_from([0, 1, 2, 7, 2**32 - 1])))
    return np.repeat(np.repeat(ids, 2, axis=-1), 2, axis=-2)


@settings(max_examples=60, deadline=None)
@given(noisy(), st.booleans())
def test_a_corrected_copy_needs_no_further_correction(ids: np.ndarray, each_piece: bool) -> None:
    """Findings on a corrected image are beyond the limits of a correction."""
    semantic = looks_semantic(survey_objects(ids))
    done = correct_labels(ids[..., None], 5, semantic=semantic, each_piece=each_piece)
    seen = survey_objects(done.labels[..., 0])
    semantic = looks_semantic(seen)
    again = correct_labels(done.labels, 5, semantic=semantic)
    issues = find_object_issues(seen, 5, None, semantic=semantic)
    left = [explain_uncorrected(one, again) for one in issues]
    if not done.uncorrected:
        assert {one.kind for one in left} <= {"empty"}
    assert not any(one.fixable for one in left)
    np.testing.assert_array_equal(again.labels, done.labels)
    assert (again.pieces, again.tiny, again.filled) == (0, 0, 0)


@settings(max_examples=60, deadline=None)
@given(noisy())
def test_objects_of_the_copy_are_components_of_the_original(ids: np.ndarray) -> None:
    """By brute force: an object of the copy is a component of the original with its holes."""
    done = correct_labels(ids[..., None], 1, each_piece=True).labels[..., 0]
    expected = []
    for number in np.unique(ids[ids > 0]):
        parts, count = ndimage.label(ids == number, everywhere(ids.ndim))
        expected += [parts == i for i in range(1, count + 1)]
    kept = [number for number in np.unique(done) if number]
    assert len(kept) == len(expected)
    for mask in expected:
        own = np.unique(done[mask])
        assert len(own) == 1
        assert own[0] > 0
        grown = done == own[0]
        filled = ndimage.binary_fill_holes(mask)
        assert not (grown & ~filled).any()
        if filled.sum() - mask.sum() > filled.sum() / 4:
            assert grown.sum() == mask.sum() or (filled & (ids > 0) & ~mask).any()


def many_pieces(ids: np.ndarray) -> np.ndarray:
    """Use five ids for sixteen objects, as for classes."""
    return np.where(ids > 0, 1 + ids % 5, 0)


def many_specks(ids: np.ndarray) -> np.ndarray:
    """Put most labeled pixels into specks."""
    made = np.where(ids < 4, ids, 0)
    specks = np.zeros(ids.shape, bool)
    specks[..., ::4, ::4] = True
    specks &= ids == 0
    made[specks] = 100 + np.arange(specks.sum())
    return made


def outlines(ids: np.ndarray) -> np.ndarray:
    """Draw objects as outlines, with holes larger than the objects."""
    inside = ndimage.grey_erosion(ids, size=(3,) * ids.ndim) == ids
    return np.where(inside, 0, ids)


def one_spans_the_image(ids: np.ndarray) -> np.ndarray:
    """Draw a frame around the image with a small hole."""
    frame = np.full_like(ids, 77)
    frame[ids == 5] = 0
    return frame


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    ("make", "kind"),
    [(many_pieces, "pieces"), (many_specks, "tiny"), (outlines, "holes"),
     (one_spans_the_image, "holes")],
)  # fmt: skip
def test_large_changes_are_not_corrected(make, kind: str, ndim: int) -> None:
    ids = make(labels(ndim).astype(np.uint32))
    done = correct_labels(ids[..., None], 9)
    assert kind in done.uncorrected
    np.testing.assert_array_equal(done.labels[..., 0], ids)
    seen = survey_objects(ids)
    (one,) = [
        explain_uncorrected(n, done) for n in find_object_issues(seen, 9, None) if n.kind == kind
    ]
    assert not one.fixable
    assert done.uncorrected[kind] in one.text


def test_a_mask_of_specks_or_of_one_large_region_is_not_corrected() -> None:
    specks = np.zeros((60, 60, 1), np.uint8)
    specks[::3, ::3] = 255
    large = np.zeros((60, 60, 1), np.uint8)
    large[5:55, :50] = large[2:4, 2:40] = 255
    for mask in (specks, large):
        done = correct_labels(mask, 9, semantic=True)
        assert "semantic" in done.uncorrected
        np.testing.assert_array_equal(done.labels, mask)


def test_classes_without_a_clear_majority_are_not_corrected() -> None:
    ids = labels()
    classes = np.where(ids > 0, 1, 0).astype(np.uint16)
    half = (ids == 5) & (np.indices(ids.shape)[0] < np.argwhere(ids == 5)[:, 0].mean())
    classes[half] = 2
    done = correct_labels(np.stack([ids, classes], -1), 9)
    assert "classes" in done.uncorrected
    np.testing.assert_array_equal(done.labels[..., 1], classes)
    elsewhere = np.where(ids == 3, 1, 0) + np.where(ids == 0, 1, 0)
    done = correct_labels(np.stack([ids, elsewhere], -1), 9)
    assert "classes" in done.uncorrected
    assert (done.labels[..., 1][ids == 0] == 1).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_damage_is_undone(ndim: int) -> None:
    clean = labels(ndim)
    broken = clean.copy()
    broken[clean == 12] = 3  # two objects with one id
    middle = tuple(int(c) for c in np.argwhere(clean == 6).mean(axis=0).round())
    broken[middle] = 0  # a hole
    broken[(0,) * ndim] = 30  # a stray pixel
    broken[(-1,) * ndim] = 5  # and one of another object
    done = correct_labels(broken[..., None], 9)
    assert same_objects(done.labels[..., 0], clean)
    assert (done.pieces, done.tiny, done.filled) == (1, 2, 1)
    mask = np.where(clean > 0, 255, 0)[..., None].astype(np.uint8)
    assert same_objects(correct_labels(mask, 9, semantic=True).labels[..., 0], clean)
    np.testing.assert_array_equal(correct_labels(clean[..., None], 9).labels[..., 0], clean)


def test_objects_that_share_a_corner_are_one_component_but_two_regions() -> None:
    ids = np.zeros((8, 8, 1), np.uint8)
    ids[:4, :4] = ids[4:, 4:] = 1
    assert len(np.unique(correct_labels(ids, 4).labels)) == 2
    assert len(np.unique(correct_labels(ids, 4, semantic=True).labels)) == 3


def test_a_piece_of_a_tiny_object_inside_another_is_filled() -> None:
    ids = np.zeros((9, 9, 1), np.uint8)
    ids[1:8, 1:8] = 1
    ids[4, 4] = 2
    done = correct_labels(ids, 9).labels[..., 0]
    assert (done[1:8, 1:8] == 1).all()
    assert done.sum() == 49


def test_each_object_has_its_majority_class() -> None:
    ids = labels()
    classes = np.where(ids > 0, 2, 0).astype(np.uint16)
    classes[(ids == 4) & (np.indices(ids.shape)[1] < 79)] = 1
    classes[(ids == 5) & (np.indices(ids.shape)[0] < 40)] = 0
    classes[ids == 6] = 0
    classes[0, 0] = 2
    done = correct_labels(np.stack([ids, classes], -1), 9).labels
    expected = {number: 2 for number in range(1, 17)} | {6: 0}
    counts = np.bincount(classes[ids == 4])
    expected[4] = int(counts[1:].argmax()) + 1
    for number, kind in expected.items():
        assert (done[..., 1][ids == number] == kind).all()
    assert (done[..., 1][ids == 0] == 0).all()
    left = find_class_issues(done[..., 0], done[..., 1], survey_objects(done[..., 0]), 3)
    assert [one.text.startswith("1 object without a class") for one in left] == [True]


def test_ids_above_the_largest_number_are_renumbered() -> None:
    ids = np.zeros((10, 20, 1), np.uint32)
    ids[1:5, 1:5] = ids[1:5, 8:12] = 2**32 - 1
    ids[6:, 1:5] = 9
    done = correct_labels(ids, 9).labels
    assert sorted(np.unique(done)) == [0, 1, 2, 3]
