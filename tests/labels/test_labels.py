from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from singula.errors import UserError
from singula.labels import count_instances, extents, remove, survey


@pytest.mark.parametrize("highest", [0, 1, 300, 2**32 - 1])
@pytest.mark.parametrize("shape", [(7, 9), (3, 4, 5)])
def test_instances_with_any_ids_are_counted(highest, shape):
    labels = np.random.default_rng(3).integers(0, highest, shape, np.uint32, endpoint=True)
    assert count_instances(labels) == len(set(labels.ravel().tolist()) - {0})


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=3),
    far=st.booleans(),
)
def test_the_index_contains_every_instance(seed, shape, far):
    labels = np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint32)
    shown = np.where(labels > 0, labels * 800_000_000, 0).astype(np.uint32) if far else labels
    found = survey(shown)
    np.testing.assert_array_equal(found.ids[found.index], shown)
    assert found.ids[0] == found.npixels[0] == 0
    assert (np.diff(found.ids) > 0).all()
    rows = np.flatnonzero(found.npixels)
    for row, region in zip(rows, regionprops(labels.astype(np.uint8)), strict=True):
        assert found.npixels[row] == region.num_pixels
        assert (*found.low[row], *found.high[row]) == region.bbox
    seen = extents(shown)
    np.testing.assert_array_equal(seen.ids, found.ids[rows])
    centers = [region.centroid for region in regionprops(labels.astype(np.uint8))]
    np.testing.assert_allclose(seen.center, np.reshape(centers, seen.center.shape))


@pytest.mark.parametrize("largest", [5, 2**32 - 1])
@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64])
def test_removal_keeps_other_instances(largest, dtype):
    labels = np.array([[1, 1, 0, 3], [largest, 4, 4, 3]], dtype)
    before = labels.copy()
    cleaned = remove(labels, [3, largest, 77])
    assert cleaned.dtype == dtype
    np.testing.assert_array_equal(cleaned, [[1, 1, 0, 0], [0, 4, 4, 0]])
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(remove(labels, []), labels)
    assert not np.shares_memory(remove(labels, []), labels)


def test_an_image_without_background_has_a_row_for_it():
    found = survey(np.full((2, 3), 2**31, np.uint32))
    assert found.ids.tolist() == [0, 2**31]
    assert found.npixels.tolist() == [0, 6]


def test_ids_beyond_63_bits_are_refused():
    with pytest.raises(UserError, match="2\\^63"):
        survey(np.full((2, 2), 2**63, np.uint64))
