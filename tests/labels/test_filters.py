from __future__ import annotations

import numpy as np
import pytest
from cut_images import blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from singula.errors import UserError
from singula.prediction import median_filters
from singula.prediction.median_filters import median_halo, median_yz, median_z


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)),
    size=st.integers(1, 7),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_medians_equal_scipy(seed, shape, size, dtype):
    values = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    before = values.copy()
    known = values.astype(np.float64)
    for function, window in ((median_z, (size, 1, 1)), (median_yz, (size, size, 1))):
        result = function(values, size)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, median_filter(known, window))
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("block", [1, 40, 10_000])
def test_blocks_do_not_change_the_result(block, monkeypatch):
    monkeypatch.setattr(median_filters, "_BLOCK", block)
    values = np.random.default_rng(1).random((6, 11, 8), np.float32)
    np.testing.assert_array_equal(median_yz(values, 5), median_filter(values, (5, 5, 1)))


def test_a_defective_slice_is_corrected():
    values = np.zeros((7, 6, 5), np.float32)
    values[:, 2:4] = 1
    wrong = values.copy()
    wrong[3] = 0.5
    np.testing.assert_array_equal(median_z(wrong, 3), values)


def test_invalid_filters_are_refused():
    with pytest.raises(UserError, match="ANALIZE_2D_IMGS_AS_3D_STACK"):
        median_z(np.zeros((5, 5), np.float32))
    with pytest.raises(UserError, match="uint8"):
        median_z(np.zeros((5, 5, 5), np.uint8))
    with pytest.raises(UserError, match="size: got 0"):
        median_yz(np.zeros((5, 5, 5), np.float32), 0)


def test_empty_maps_stay_empty():
    assert median_yz(np.zeros((0, 5, 5), np.float32)).shape == (0, 5, 5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_blocks_with_their_halo_are_filtered_as_the_volume(data):
    shape = data.draw(st.lists(st.integers(1, 9), min_size=3, max_size=3))
    sizes = [data.draw(st.none() | st.integers(1, 6)) for _ in range(2)]
    values = np.random.default_rng(data.draw(st.integers(0, 99))).random(shape)
    cell = [data.draw(st.integers(1, n)) for n in shape]

    def filtered(part):
        for size, median in zip(sizes, (median_z, median_yz), strict=True):
            part = part if size is None else median(part, size)
        return part

    expected = filtered(values)
    for block, read in blocks(shape, cell, median_halo(*sizes)):
        own = tuple(map(slice, block.start, block.stop))
        np.testing.assert_array_equal(filtered(values[read])[block.core], expected[own])
