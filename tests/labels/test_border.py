from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import segmentation
from skimage.measure import label

from singula.labels import clear_border


@pytest.mark.parametrize("shape", [(40, 50), (20, 26, 24), (1, 9), (1, 1, 5)])
@pytest.mark.parametrize("far", [False, True])
def test_equals_scikit_image(shape, far):
    field = gaussian_filter(np.random.default_rng(4).standard_normal(shape), 1.2)
    labels = label(field > np.quantile(field, 0.85)).astype(np.uint32)
    expected = segmentation.clear_border(labels)
    if far:
        labels, expected = labels * 20_000_003, expected * 20_000_003
    before = labels.copy()
    cleared = clear_border(labels)
    np.testing.assert_array_equal(cleared, expected)
    np.testing.assert_array_equal(labels, before)
    assert cleared.dtype == labels.dtype
    assert cleared.any() == (min(shape) > 1)


def test_all_components_of_an_instance_are_removed():
    labels = np.zeros((7, 7), np.uint16)
    labels[0, 0] = labels[3, 3] = 4
    labels[5, 5] = 6
    np.testing.assert_array_equal(clear_border(labels), np.where(labels == 6, 6, 0))


def test_no_instance_at_the_border():
    assert not clear_border(np.zeros((4, 4), np.uint8)).any()
    assert clear_border(np.zeros((0, 4), np.uint8)).shape == (0, 4)
