"""Corrected labels: what is expected of them, whatever was wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_data import labels
from scipy import ndimage

from singula.inspection.correct import correct_labels
from singula.inspection.labels import look, notice_classes, notice_objects

SHAPES = st.sampled_from([(9, 11), (4, 6, 7)])


def everywhere(ndim: int) -> np.ndarray:
    return np.ones((3,) * ndim, bool)


def same_objects(one: np.ndarray, two: np.ndarray) -> bool:
    """Equal but for the numbers of the ids."""
    pairs = np.unique(np.stack([one.ravel(), two.ravel()]), axis=1)
    return len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1]


@st.composite
def noisy(draw) -> np.ndarray:
    """Labels with everything wrong at once; large ids too."""
    shape = draw(SHAPES)
    ids = draw(arrays(np.uint32, shape, elements=st.sampled_from([0, 1, 2, 7, 2**32 - 1])))
    return np.repeat(np.repeat(ids, 2, axis=-1), 2, axis=-2)


@settings(max_examples=60, deadline=None)
@given(noisy(), st.booleans())
def test_nothing_is_left_to_correct(ids: np.ndarray, semantic: bool) -> None:
    done = correct_labels(ids[..., None], 5, semantic=semantic)
    kinds = {one.kind for one in notice_objects(look(done.labels[..., 0]), 5, None)}
    assert kinds <= {"empty"}
    again = correct_labels(done.labels, 5)
    np.testing.assert_array_equal(again.labels, done.labels)
    assert (again.pieces, again.tiny, again.filled) == (0, 0, 0)


@settings(max_examples=60, deadline=None)
@given(noisy())
def test_pixels_keep_their_company(ids: np.ndarray) -> None:
    """By brute force: an object of the copy is a piece of the original, with its holes."""
    done = correct_labels(ids[..., None], 5).labels[..., 0]
    expected = []
    for number in np.unique(ids[ids > 0]):
        parts, count = ndimage.label(ids == number, everywhere(ids.ndim))
        expected += [parts == i for i in range(1, count + 1) if (parts == i).sum() >= 5]
    kept = [number for number in np.unique(done) if number]
    assert len(kept) == len(expected)
    for mask in expected:
        own = np.unique(done[mask])
        assert len(own) == 1
        assert own[0] > 0
        grown = done == own[0]
        filled = ndimage.binary_fill_holes(mask)
        assert not (grown & ~filled).any()


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


def test_objects_that_meet_at_a_corner_are_one_piece_but_two_regions() -> None:
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


def test_each_object_has_the_class_of_most_of_its_pixels() -> None:
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
    left = notice_classes(done[..., 0], done[..., 1], look(done[..., 0]), 3)
    assert [one.text.startswith("1 object without any class") for one in left] == [True]


def test_ids_above_the_largest_number_are_counted_anew() -> None:
    ids = np.zeros((10, 20, 1), np.uint32)
    ids[1:5, 1:5] = ids[1:5, 8:12] = 2**32 - 1
    ids[6:, 1:5] = 9
    done = correct_labels(ids, 9).labels
    assert sorted(np.unique(done)) == [0, 1, 2, 3]
