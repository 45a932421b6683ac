from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from singula.errors import UserError
from singula.labels import remove_close_points


def kept_one_by_one(labels, radius, spacing) -> set[int]:
    regions = sorted(regionprops(labels), key=lambda r: (-r.num_pixels, r.label))
    kept: dict[int, np.ndarray] = {}
    for region in regions:
        point = np.array(region.centroid) * spacing
        if all(np.linalg.norm(point - other) >= radius for other in kept.values()):
            kept[region.label] = point
    return set(kept)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    ndim=st.integers(2, 3),
    radius=st.floats(0.5, 12),
    spacing=st.lists(st.floats(0.3, 3), min_size=3, max_size=3),
)
def test_equals_removal_one_by_one(seed, ndim, radius, spacing):
    rng = np.random.default_rng(seed)
    labels = np.zeros((9,) * ndim, np.uint8)
    for i, start in enumerate(rng.integers(0, 8, (30, ndim)), 1):
        labels[tuple(slice(a, a + rng.integers(1, 3)) for a in start)] = i
    steps = spacing[:ndim]
    kept = kept_one_by_one(labels, radius, steps)
    result = remove_close_points(labels, radius, spacing=steps)
    np.testing.assert_array_equal(result, np.where(np.isin(labels, list(kept)), labels, 0))


def row(*ids: int) -> np.ndarray:
    return np.array([ids], np.uint32)


def test_the_larger_instance_or_the_lower_id_is_kept():
    assert remove_close_points(row(5, 8, 8), 2).tolist() == [[0, 8, 8]]
    assert remove_close_points(row(8, 0, 5), 3).tolist() == [[0, 0, 5]]


def test_only_points_below_the_distance_are_removed():
    labels = row(1, 0, 2)
    assert remove_close_points(labels, 2).tolist() == [[1, 0, 2]]
    assert remove_close_points(labels, 2.01).tolist() == [[1, 0, 0]]
    assert remove_close_points(labels, 2.01, spacing=(1, 3)).tolist() == [[1, 0, 2]]


def test_every_second_point_of_a_chain_is_removed():
    # 2 goes because of 1, so nothing is too near to 3
    assert remove_close_points(row(1, 1, 1, 2, 2, 3), 2.6).tolist() == [[1, 1, 1, 0, 0, 3]]


@pytest.mark.parametrize("far", [1, 2**31])
def test_points_are_those_of_the_seeds(far):
    labels = row(1, 1, 1, 1, 2, 2, 2) * np.uint32(far)
    seeds = row(0, 0, 0, 9, 9, 0, 0)
    assert remove_close_points(labels, 2).tolist() == labels.tolist()
    assert remove_close_points(labels, 2, seeds=seeds).tolist() == [[far] * 4 + [0] * 3]
    only_one = row(0, 0, 0, 9, 0, 0, 0) > 0  # the other keeps its own centroid
    assert remove_close_points(labels, 2, seeds=only_one).tolist() == labels.tolist()


def test_empty_images_and_mistakes():
    empty = np.zeros((3, 3), np.uint16)
    assert not remove_close_points(empty, 5).any()
    with pytest.raises(UserError, match=r"radius .*RADIUS.*-1"):
        remove_close_points(empty, -1)
    with pytest.raises(UserError, match=r"\(3, 3\).*\(2, 2\)"):
        remove_close_points(empty, 1, seeds=np.zeros((2, 2), int))
