"""The distance transform compared with SciPy, for noise and thin images."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from singula.representations.channels.transform import distance_to_zeros

SHAPES = [(40, 50), (1, 30), (30, 1), (7, 20, 31), (1, 20, 20), (1, 1, 9), (3, 1, 17)]
SPACING = (2.5, 1.0, 0.7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("zeros", [0.005, 0.05, 0.4, 0.95])
@pytest.mark.parametrize("physical", [False, True])
def test_equals_scipy(shape, zeros, physical):
    rng = np.random.default_rng(len(shape) + int(1000 * zeros))
    inside = rng.random(shape) > zeros
    inside.flat[rng.integers(inside.size)] = False
    spacing = SPACING[-len(shape) :] if physical else (1.0,) * len(shape)
    expected = distance_transform_edt(inside, sampling=spacing)
    found = distance_to_zeros(inside, spacing)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(300, 200), (20, 60, 70)])
def test_one_zero_determines_all_distances(shape):
    inside = np.ones(shape, bool)
    inside.flat[inside.size // 3] = False
    expected = distance_transform_edt(inside)
    np.testing.assert_allclose(distance_to_zeros(inside, (1,) * len(shape)), expected, rtol=1e-6)


def test_intervals_between_zeros_are_independent():
    inside = np.array([[1, 1, 0, 1, 1, 1, 0, 0, 1]], bool)
    assert distance_to_zeros(inside, (1, 1)).tolist() == [[2, 1, 0, 1, 2, 1, 0, 0, 1]]
    assert distance_to_zeros(inside.T, (3, 1)).ravel().tolist() == [6, 3, 0, 3, 6, 3, 0, 0, 3]
