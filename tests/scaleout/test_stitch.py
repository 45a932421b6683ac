"""Pieces of blocks become the components of the image: the oracle is `scipy.ndimage.label`."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from singula.scaleout import Grid, stitch
from singula.scaleout.stitch import (
    HIGH,
    LOW,
    Face,
    face_of,
    face_pairs,
    join,
    number_by_first,
    sum_over,
    touching_pairs,
)


def in_pieces(mask, grid):
    """Each block labelled by itself: its labels, and the first pixel of each piece in the image."""
    labels, first = [], []
    flat = np.arange(mask.size).reshape(mask.shape)
    for number in range(len(grid)):
        box = grid.box(number)
        own, count = ndimage.label(mask[box])
        labels.append(own)
        first.append(np.array([flat[box][own == n].min() for n in range(1, count + 1)], np.int64))
    return labels, first


def faces_of(labels, ndim):
    return {
        (number, axis, end): face_of(own, axis, end)
        for number, own in enumerate(labels)
        for axis in range(ndim)
        for end in (LOW, HIGH)
    }


@st.composite
def masks(draw):
    ndim = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.integers(1, 24 if ndim == 2 else 10)) for _ in range(ndim))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    mask = rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.8, 1.0]))
    return mask, Grid(shape, tuple(draw(st.integers(1, 9)) for _ in range(ndim)))


@settings(max_examples=200, deadline=None)
@given(masks(), st.integers(1, 50))
def test_labels_are_those_of_the_whole_image(case, rows):
    mask, grid = case
    before, stitch._ROWS = stitch._ROWS, rows  # pairs come to the union in parts
    try:
        labels, first = in_pieces(mask, grid)
        faces = faces_of(labels, mask.ndim)
        pairs = face_pairs(grid, lambda *side: faces[side])
        component = join([len(f) for f in first], pairs)
    finally:
        stitch._ROWS = before
    ids = number_by_first(component, np.concatenate(first))
    offsets = np.cumsum([0, *map(len, first)])
    found = np.zeros(mask.shape, int)
    for number, own in enumerate(labels):
        table = np.concatenate([[0], ids[offsets[number] : offsets[number + 1]]])
        found[grid.box(number)] = table[own]
    expected, _ = ndimage.label(mask)
    np.testing.assert_array_equal(found, expected)


@settings(deadline=None)
@given(masks(), st.integers(0, 12))
def test_small_components_get_no_id_and_leave_no_gap(case, least):
    mask, grid = case
    labels, first = in_pieces(mask, grid)
    pixels = [np.bincount(own.ravel(), minlength=len(f) + 1)[1:]
              for own, f in zip(labels, first, strict=True)]  # fmt: skip
    faces = faces_of(labels, mask.ndim)
    component = join([len(f) for f in first], face_pairs(grid, lambda *side: faces[side]))
    kept = sum_over(component, np.concatenate(pixels)) >= least
    ids = number_by_first(component, np.concatenate(first), kept)
    whole, count = ndimage.label(mask)
    sizes = np.bincount(whole.ravel(), minlength=count + 1)
    large = np.flatnonzero(sizes[1:] >= least) + 1
    expected = np.zeros(count + 1, int)
    expected[large] = np.arange(1, len(large) + 1)
    np.testing.assert_array_equal(ids, expected[whole.ravel()[np.concatenate(first)]])


def test_no_pieces_and_no_pairs():
    none = join([0, 0], [])
    assert len(none) == 0
    assert len(number_by_first(none, np.zeros(0, np.int64))) == 0
    alone = join([2, 1], [])
    np.testing.assert_array_equal(number_by_first(alone, np.array([5, 9, 2])), [2, 3, 1])


def test_pairs_are_of_pixels_that_touch_each_once():
    low = Face(np.array([0, 1, 2, 7]), np.array([3, 3, 3, 1]))
    high = Face(np.array([1, 2, 5, 7]), np.array([4, 4, 6, 9]))
    np.testing.assert_array_equal(touching_pairs(low, high), [[1, 9], [3, 4]])


def test_ids_beyond_32_bits_stay():
    """The first pixel of a piece lies anywhere in an image of more than 2³² pixels."""
    component = join([3], [])
    first = np.array([2**52 + 1, 2**33, 2**52])
    np.testing.assert_array_equal(number_by_first(component, first), [3, 1, 2])
