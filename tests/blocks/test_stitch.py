"""Components of blocks are merged into those of the image, compared with `scipy.ndimage.label`."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from singula.blocks import Grid, stitch
from singula.blocks.stitch import (
    HIGH,
    LOW,
    Face,
    face_of,
    face_pairs,
    label_in_raster_order,
    sum_over,
    touching_pairs,
    union_components,
)


def label_blocks(mask, grid):
    """Return the labels of each block, and the first pixel in the image of each component."""
    labels, first = [], []
    flat = np.arange(mask.size).reshape(mask.shape)
    for number in range(len(grid)):
        box = grid.box(number)
        block, count = ndimage.label(mask[box])
        labels.append(block)
        first.append(np.array([flat[box][block == n].min() for n in range(1, count + 1)], np.int64))
    return labels, first


def by_block(faces, grid):
    """Yield a function of axis and end for each block, valid until the next block."""
    for number in range(len(grid)):
        current = [number]
        yield lambda axis, end, current=current: faces[current[0], axis, end]
        current[:] = [None]


def faces_of(labels, ndim):
    return {
        (number, axis, end): face_of(block, axis, end)
        for number, block in enumerate(labels)
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
@given(masks(), st.integers(1, 50), st.integers(1, 9))
def test_labels_of_blocks_equal_labels_of_the_whole_image(case, rows, tables):
    mask, grid = case
    before = stitch._MAX_ROWS, stitch._MAX_TABLES
    stitch._MAX_ROWS, stitch._MAX_TABLES = rows, tables  # to merge in several batches
    try:
        labels, first = label_blocks(mask, grid)
        faces = faces_of(labels, mask.ndim)
        pairs = face_pairs(grid, by_block(faces, grid))
        component = union_components([len(f) for f in first], pairs)
    finally:
        stitch._MAX_ROWS, stitch._MAX_TABLES = before
    ids = label_in_raster_order(component, np.concatenate(first))
    offsets = np.cumsum([0, *map(len, first)])
    merged = np.zeros(mask.shape, int)
    for number, block in enumerate(labels):
        table = np.concatenate([[0], ids[offsets[number] : offsets[number + 1]]])
        merged[grid.box(number)] = table[block]
    expected, _ = ndimage.label(mask)
    np.testing.assert_array_equal(merged, expected)


@settings(deadline=None)
@given(masks(), st.integers(0, 12))
def test_small_components_get_no_id_and_leave_no_gap(case, min_pixels):
    mask, grid = case
    labels, first = label_blocks(mask, grid)
    pixels = [np.bincount(block.ravel(), minlength=len(f) + 1)[1:]
              for block, f in zip(labels, first, strict=True)]  # fmt: skip
    faces = faces_of(labels, mask.ndim)
    component = union_components([len(f) for f in first], face_pairs(grid, by_block(faces, grid)))
    keep = sum_over(component, np.concatenate(pixels)) >= min_pixels
    ids = label_in_raster_order(component, np.concatenate(first), keep)
    whole, count = ndimage.label(mask)
    sizes = np.bincount(whole.ravel(), minlength=count + 1)
    large = np.flatnonzero(sizes[1:] >= min_pixels) + 1
    expected = np.zeros(count + 1, int)
    expected[large] = np.arange(1, len(large) + 1)
    np.testing.assert_array_equal(ids, expected[whole.ravel()[np.concatenate(first)]])


def test_no_components_and_no_pairs():
    none = union_components([0, 0], [])
    assert len(none) == 0
    assert len(label_in_raster_order(none, np.zeros(0, np.int64))) == 0
    separate = union_components([2, 1], [])
    np.testing.assert_array_equal(label_in_raster_order(separate, np.array([5, 9, 2])), [2, 3, 1])


def test_each_touching_pair_occurs_once():
    low = Face(np.array([0, 1, 2, 7]), np.array([3, 3, 3, 1]))
    high = Face(np.array([1, 2, 5, 7]), np.array([4, 4, 6, 9]))
    np.testing.assert_array_equal(touching_pairs(low, high), [[1, 9], [3, 4]])


def test_indices_beyond_32_bits():
    """The index of a pixel exceeds 32 bits in an image of more than 2³² pixels."""
    component = union_components([3], [])
    first = np.array([2**52 + 1, 2**33, 2**52])
    np.testing.assert_array_equal(label_in_raster_order(component, first), [3, 1, 2])
