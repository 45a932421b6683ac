"""Equivalent diameters of instances."""

import numpy as np
import pytest
from skimage.draw import disk
from skimage.measure import regionprops

from singula.labels.diameters import equivalent_diameters, representative


@pytest.mark.parametrize("ndim", [2, 3])
def test_diameters_equal_those_of_regionprops(ndim: int) -> None:
    rng = np.random.default_rng(ndim)
    labels = rng.integers(0, 9, (12,) * ndim) * 7
    diameters, _ = equivalent_diameters(labels)
    expected = [region.equivalent_diameter_area for region in regionprops(labels)]
    np.testing.assert_allclose(diameters, expected)


def test_instances_at_each_side_are_cut() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[0, 4], labels[8, 4], labels[4, 0], labels[4, 8] = 1, 2, 3, 4
    labels[4, 4] = 5
    assert equivalent_diameters(labels)[1].tolist() == [True] * 4 + [False]


def test_an_image_without_instances_has_no_diameters() -> None:
    assert equivalent_diameters(np.zeros((4, 4), int))[0].shape == (0,)


def test_cut_instances_count_only_if_few_are_complete() -> None:
    diameters = np.array([4.0, 8, 2] + [6] * 10)
    cut = np.array([True, True, True] + [False] * 10)
    assert representative(diameters, cut).tolist() == (~cut).tolist()
    few = representative(diameters[:4], cut[:4])
    assert few.tolist() == [True, True, False, True]  # slivers are left out


def test_the_diameter_of_a_drawn_disk() -> None:
    labels = np.zeros((64, 64), int)
    labels[disk((32, 32), 15.5)] = 3
    assert equivalent_diameters(labels)[0] == pytest.approx([31], rel=0.02)
