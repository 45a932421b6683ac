"""Corrections of label images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from skimage.draw import polygon2mask

from singula.errors import UserError
from singula.labels.edit import LabelEditor

LABELS = np.zeros((14, 20), np.uint8)
LABELS[1:6, 1:8], LABELS[1:6, 10:15], LABELS[8:13, 3:17] = 2, 5, 9
SQUARE = [(6.5, 5.5), (6.5, 12.5), (9.5, 12.5), (9.5, 5.5)]


def test_delete_and_merge_by_hand() -> None:
    editor = LabelEditor(LABELS)
    editor.delete([5])
    np.testing.assert_array_equal(editor.labels, np.where(LABELS == 5, 0, LABELS))
    editor.undo()
    assert editor.merge([5, 2]) == 5
    expected = np.where(LABELS == 2, 5, LABELS)
    expected[2:5, 8:10] = 5  # the gap, except for its ends
    inner = np.ones(LABELS.shape, bool)
    inner[[1, 5], 8:10] = False
    np.testing.assert_array_equal(editor.labels[inner], expected[inner])
    assert label(editor.labels == 5)[1] == 1


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("near", [0, 5])
def test_two_touching_balls_are_split_at_their_neck(ndim: int, near: int) -> None:
    grid = np.indices((25, 30, 50)[-ndim:])
    centers = np.array([[12, 15, 16], [12, 16, 33]])[:, -ndim:]
    away = [
        np.sqrt(((grid - center.reshape(-1, *(1,) * ndim)) ** 2).sum(axis=0)) for center in centers
    ]
    truth = np.where(away[0] <= 10.5, 1, np.where(away[1] <= 8.5, 2, 0))
    points = centers.copy()
    points[0, -1] += near
    editor = LabelEditor((truth > 0) * 7)
    assert editor.split(7, points) == [7, 8]
    parts = np.where(editor.labels == 7, 1, np.where(editor.labels == 8, 2, 0))
    assert (parts != truth).sum() < 0.06 * (truth > 0).sum()


def test_points_next_to_an_object_split_it_and_far_points_do_not() -> None:
    editor = LabelEditor(LABELS)
    with pytest.raises(UserError) as caught:
        editor.split(9, [(10, 5), (0, 0)])
    assert caught.value.code == "edit.points"
    assert not editor.can_undo
    assert editor.split(9, [(10, 2), (10.4, 16.6), (7, 9)]) == [9, 10, 11]
    assert set(np.unique(editor.labels[LABELS == 9])) == {9, 10, 11}
    np.testing.assert_array_equal(editor.labels[LABELS != 9], LABELS[LABELS != 9])


def test_drawn_pixels_equal_a_polygon_of_scikit_image_and_spare_other_objects() -> None:
    editor = LabelEditor(LABELS)
    number = editor.draw(SQUARE)
    inside = polygon2mask(LABELS.shape, SQUARE) & (LABELS == 0)
    np.testing.assert_array_equal(editor.labels, np.where(inside, number, LABELS))
    assert number == 10
    editor.undo()
    assert editor.draw([(-5, -5), (-5, 30), (20, 30), (20, -5)]) == 11
    assert (editor.labels == 11).sum() == (LABELS == 0).sum()


def test_reshape_adds_background_and_removes_a_part() -> None:
    editor = LabelEditor(LABELS)
    assert editor.reshape(9, SQUARE) == [9]
    inside = polygon2mask(LABELS.shape, SQUARE) & (LABELS == 0)
    np.testing.assert_array_equal(editor.labels == 9, (LABELS == 9) | inside)
    editor.undo()
    middle = [(7, 7.5), (7, 10.5), (14, 10.5), (14, 7.5)]
    assert editor.reshape(9, middle, add=False) == [9, 10]  # the larger part keeps the id
    assert (editor.labels[8:13, 8:11] == 0).all()
    assert (editor.labels[8:13, 11:17] == 9).all()
    assert (editor.labels[8:13, 3:8] == 10).all()
    assert editor.reshape(2, [(0, 0), (0, 9), (9, 9), (9, 0)], add=False) == []  # all of it
    assert not (editor.labels == 2).any()


def test_volumes_are_drawn_in_a_slice() -> None:
    volume = np.stack([LABELS, LABELS, np.zeros_like(LABELS)])
    editor = LabelEditor(volume)
    number = editor.draw(SQUARE, 2)
    np.testing.assert_array_equal(editor.labels[:2], volume[:2])
    assert (editor.labels[2] == number).sum() == polygon2mask(LABELS.shape, SQUARE).sum()
    editor.reshape(number, SQUARE, 1)
    assert (editor.labels[1] == number).any()
    assert not (editor.labels[0] == number).any()
    with pytest.raises(UserError):
        editor.draw(SQUARE, 3)


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda e: e.delete([3]), "edit.no_object"),
        (lambda e: e.delete([]), "edit.no_object"),
        (lambda e: e.merge([2, 2]), "edit.one_object"),
        (lambda e: e.split(2, [(2, 2)]), "edit.points"),
        (lambda e: e.split(2, [(2, 2), (2, 2)]), "edit.points"),
        (lambda e: e.draw([]), "edit.outline"),
        (lambda e: e.draw([(2, 2), (3, 3)]), "edit.outline"),
        (lambda e: e.draw([(1e300, 2), (1e300, 3), (1e301, 4)]), "edit.outline"),
        (lambda e: e.draw([(2, 2), (2, 4), (4, 4)]), "edit.outline"),
        (lambda e: e.draw([(50, 50), (50, 60), (60, 60)]), "edit.outline"),
        (lambda e: e.reshape(5, [(9, 4), (9, 9), (12, 9)], add=False), "edit.outline"),
        (lambda e: e.draw([(2, 2), (3, float("nan")), (1, 1)]), "edit.position"),
    ],
)
def test_refused_corrections_change_nothing(edit, code: str) -> None:
    editor = LabelEditor(LABELS)
    with pytest.raises(UserError) as caught:
        edit(editor)
    assert caught.value.code == code
    np.testing.assert_array_equal(editor.labels, LABELS)
    assert not editor.can_undo


corner = st.tuples(st.floats(-3, 16), st.floats(-3, 22))
outlines = st.lists(corner, min_size=3, max_size=6)
numbers = st.integers(0, 12)
edits = st.one_of(
    st.tuples(st.just("delete"), st.lists(numbers, max_size=3)),
    st.tuples(st.just("merge"), st.lists(numbers, max_size=3)),
    st.tuples(st.just("split"), numbers, st.lists(corner, max_size=3)),
    st.tuples(st.just("draw"), outlines),
    st.tuples(st.just("reshape"), numbers, outlines, st.booleans()),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
)


@given(st.lists(edits, max_size=8))
@settings(deadline=None, max_examples=60)
def test_undo_reverses_every_sequence_of_corrections_and_redo_repeats_it(sequence) -> None:
    editor = LabelEditor(LABELS)
    for name, *arguments in sequence:
        before, done = editor.labels.copy(), len(editor.changes)
        try:
            if name == "reshape":
                number, outline, add = arguments
                editor.reshape(number, outline, add=add)
            else:
                getattr(editor, name)(*arguments)
        except UserError:
            np.testing.assert_array_equal(editor.labels, before)
            continue
        if name not in ("undo", "redo"):
            assert len(editor.changes) == done + 1
            after = editor.labels.copy()
            changed = set(np.unique(before[before != after])) | set(
                np.unique(after[before != after])
            )
            assert set(editor.changes[-1].ids) == changed - {0}
    final, count = editor.labels.copy(), len(editor.changes)
    for _ in range(count):
        editor.undo()
    np.testing.assert_array_equal(editor.labels, LABELS)
    for _ in range(count):
        editor.redo()
    np.testing.assert_array_equal(editor.labels, final)


@given(st.lists(edits, max_size=12), st.booleans())
@settings(deadline=None, max_examples=60)
def test_undo_and_redo_equal_a_stack_of_full_copies(sequence, is_volume: bool) -> None:
    editor = LabelEditor(np.stack([LABELS, LABELS.T[:14, :14].repeat(2, 1)[:, :20]]) if is_volume
                         else LABELS)  # fmt: skip
    done, undone = [editor.labels.copy()], []
    for name, *arguments in sequence:
        if name == "undo" and len(done) > 1:
            undone.append(done.pop())
        elif name == "redo" and undone:
            done.append(undone.pop())
        try:
            if name == "draw":
                editor.draw(*arguments, plane=1 if is_volume else None)
            elif name == "reshape":
                number, outline, add = arguments
                editor.reshape(number, outline, 1 if is_volume else None, add=add)
            elif name == "split":
                number, points = arguments
                editor.split(number, [(1, *p) if is_volume else p for p in points])
            else:
                getattr(editor, name)(*arguments)
        except UserError:
            assert name not in ("undo", "redo")
        else:
            if name not in ("undo", "redo"):
                done.append(editor.labels.copy())
                undone.clear()
        np.testing.assert_array_equal(editor.labels, done[-1])
        assert len(editor.changes) == len(done) - 1
        assert editor.can_redo == bool(undone)


def test_a_change_stores_runs_and_not_its_box() -> None:
    editor = LabelEditor(np.zeros((500, 500), np.uint8))
    editor.draw([(0, 0), (499, 499), (499, 495)])
    change = editor.changes[-1]
    assert change.box == (slice(0, 500), slice(0, 500))
    assert change.lengths.sum() == np.count_nonzero(editor.labels)
    assert len(change.starts) <= 500  # at most one run in each row


def test_the_input_is_copied_and_large_ids_remain() -> None:
    labels = LABELS.astype(np.uint32) * 400_000_000
    editor = LabelEditor(labels)
    editor.delete([800_000_000])
    assert (labels == 800_000_000).any()
    assert editor.draw(SQUARE) == 3_600_000_001
