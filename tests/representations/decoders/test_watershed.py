from __future__ import annotations

import heapq
import itertools
import threading
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import watershed

from singula.representations.decoders import components
from singula.representations.decoders import flood as flooding
from singula.representations.decoders.components import inside, label_seeds
from singula.representations.decoders.flood import flood_in_place
from singula.representations.decoders.morphology import (
    compact_in_place,
    drop_small_in_place,
    morph,
    step,
)
from singula.util.process import compiled

SHAPES = [(90, 110), (14, 40, 45)]


def framed(image):
    return np.pad(image, 1)


def flood(surface, markers, mask, **how):
    labels = framed(markers.astype(np.int32))
    flood_in_place(surface, labels, mask, **how)
    return np.maximum(inside(labels), 0)


def compact(labels, count, **how):
    return compact_in_place(framed(labels.astype(np.int32)), count, **how)


def smooth(shape: tuple[int, ...], seed: int) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.5)
    return ((field - field.min()) / np.ptp(field)).astype(np.float32)


def markers_of(field: np.ndarray) -> np.ndarray:
    return label(field > np.quantile(field, 0.9), connectivity=1).astype(np.uint32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("downhill", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_flood_agrees_with_skimage(shape, masked, downhill, seed):
    field = smooth(shape, seed)
    surface = field if downhill else 1 - field
    markers = markers_of(field)
    mask = field > np.quantile(field, 0.4) if masked else None
    ours = flood(surface, markers, mask, downhill=downhill)
    theirs = watershed(-field, markers.astype(np.int32), mask=mask)
    assert np.mean(ours == theirs) >= 0.999
    np.testing.assert_array_equal(np.unique(ours), np.unique(theirs))


def flood_from_one_heap(surface, markers, mask, downhill, by_slices):
    """Flood by definition: of all waiting pixels, the lowest, and of these the first, is next."""
    sign = np.float32(-(2**15) if downhill else 2**15)
    level = surface.astype(np.float32) * sign + np.float32(2**14 + downhill * 2**15)
    level = level.clip(0, 2**16 - 1).astype(int)
    labels = np.where(mask, markers.astype(int), -1)
    axes = range(1 if by_slices and surface.ndim == 3 else 0, surface.ndim)
    steps = [(a, -1) for a in axes] + [(a, 1) for a in reversed(axes)]
    ticket = itertools.count()
    marked = map(tuple, np.argwhere(labels > 0).tolist())
    heap = [(level[at], next(ticket), at) for at in marked]
    heapq.heapify(heap)
    while heap:
        height, _, at = heapq.heappop(heap)
        for axis, step_size in steps:
            beside = (*at[:axis], at[axis] + step_size, *at[axis + 1 :])
            if 0 <= beside[axis] < labels.shape[axis] and labels[beside] == 0:
                labels[beside] = labels[at]
                heapq.heappush(heap, (max(height, level[beside]), next(ticket), beside))
    return np.maximum(labels, 0)


@contextmanager
def in_threads(threads):
    """Flood in this number of threads, also small images."""
    with (
        mock.patch.object(flooding, "free_threads", return_value=threads),
        mock.patch.object(flooding, "_MIN_PIXELS", 1),
    ):
        yield


@settings(max_examples=150, deadline=None)
@given(
    shape=st.sampled_from([(1, 1), (9, 11), (17, 5), (1, 30), (4, 6, 5), (3, 1, 8), (2, 7, 7)]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64, np.uint8, bool]),
    levels=st.sampled_from([1, 4, 1000]),
    masked=st.sampled_from([None, 0.3, 0.6, 0.9, 1.0]),
    marked=st.sampled_from([0.0, 0.05, 0.4]),
    downhill=st.booleans(),
    by_slices=st.booleans(),
    by_parts=st.booleans(),
    threads=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_flood_equals_one_queue_over_the_image(
    shape, dtype, levels, masked, marked, downhill, by_slices, by_parts, threads, seed
):
    rng = np.random.default_rng(seed)
    surface = (rng.integers(0, levels + 1, shape) / levels * 2 - 0.5).round(3)
    surface = surface.clip(0).astype(dtype) if dtype in (np.uint8, bool) else surface.astype(dtype)
    mask = None if masked is None else rng.random(shape) < masked
    chosen = rng.random(shape) < marked
    markers = np.where(chosen, rng.integers(1, 6, shape), 0)
    with (
        mock.patch.object(components, "_PIXELS_PER_RUN", 0 if by_parts else 16),
        in_threads(threads),
    ):
        ours = flood(surface, markers, mask, downhill=downhill, by_slices=by_slices)
    allowed = np.ones(shape, bool) if mask is None else mask
    theirs = flood_from_one_heap(surface, markers, allowed, downhill, by_slices)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_large_components_with_many_levels_are_flooded_equally(shape, dtype):
    field = smooth(shape, 8).astype(dtype)
    mask = field > np.quantile(field, 0.2)
    for markers in (markers_of(field), scattered(shape, 40)):
        ours = flood(field, markers, mask, downhill=True)
        np.testing.assert_array_equal(ours, flood_from_one_heap(field, markers, mask, True, False))


@settings(max_examples=30, deadline=None)
@given(
    shape=st.sampled_from([(60, 70), (10, 24, 26)]),
    sigma=st.sampled_from([1, 2]),
    levels=st.sampled_from([3, 30, 10_000]),  # plateaus with ties, and almost no ties
    threads=st.sampled_from([2, 3, 8]),
    by_slices=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_instances_do_not_depend_on_the_number_of_threads(
    shape, sigma, levels, threads, by_slices, seed
):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    soft = np.round((field - field.min()) / np.ptp(field) * levels) / levels
    mask, markers = soft > np.quantile(soft, 0.5), markers_of(soft)
    how = {"downhill": True, "by_slices": by_slices}
    with in_threads(1):
        expected = flood(soft, markers, mask, **how)
    with in_threads(threads), mock.patch.object(components, "_PIXELS_PER_RUN", 0):
        np.testing.assert_array_equal(flood(soft, markers, mask, **how), expected)


@settings(max_examples=50, deadline=None)
@given(pixels=st.lists(st.integers(1, 1000), max_size=60), threads=st.integers(1, 9))
def test_every_part_belongs_to_one_group(pixels, threads):
    with in_threads(threads):
        groups = flooding._groups(np.array(pixels, np.int64), threads)
    parts = [part for group in groups for part in range(len(pixels))[group]]
    assert parts == list(range(len(pixels)))
    assert len(groups) <= (1 if threads == 1 else 4 * threads)
    if len(pixels) > 1 and threads > 1 and max(pixels) <= sum(pixels) / 2:
        assert len(groups) > 1


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_are_flooded_by_several_threads(monkeypatch, threads):
    seen = set()

    def recorded(function):
        def call(*args):
            if function is flooding._spread:
                seen.add(threading.get_ident())
                started.wait(timeout=60)  # until all threads flood at the same time
            return compiled(function)(*args)

        return call

    started = threading.Barrier(threads)
    monkeypatch.setattr(flooding, "compiled", recorded)
    mask = np.zeros((8, 60), bool)
    mask[::2] = True  # four parts
    monkeypatch.setattr(flooding, "_GROUPS_PER_THREAD", 1)
    with in_threads(threads):
        ours = flood(np.ones(mask.shape, np.float32), mask * np.arange(60), mask, downhill=True)
    assert len(seen) == threads
    np.testing.assert_array_equal(ours[::2], np.tile([1, *range(1, 60)], (4, 1)))


def scattered(shape: tuple[int, ...], count: int) -> np.ndarray:
    markers = np.zeros(shape, np.uint32)
    spots = np.random.default_rng(0).choice(markers.size, count, replace=False)
    markers.ravel()[spots] = np.arange(1, count + 1)
    return markers


@pytest.mark.parametrize("shape", SHAPES)
def test_markers_share_a_plateau_by_distance(shape):
    markers = scattered(shape, 30)
    ours = flood(np.zeros(shape, np.float32), markers, None, downhill=True)
    pixels = np.indices(shape).reshape(len(shape), -1)
    steps = np.stack(
        [abs(pixels - np.argwhere(markers == i).T).sum(0) for i in range(1, 31)]
    )  # city-block distance of every pixel to every marker
    own = steps[ours.ravel().astype(int) - 1, np.arange(markers.size)]
    np.testing.assert_array_equal(own, steps.min(0))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_surface_of_few_levels_equals_skimage(shape):
    terraces = (np.round(smooth(shape, 5) * 20) / 20).astype(np.float32)  # a saturated network
    for markers in (scattered(shape, 30), markers_of(terraces)):
        ours = flood(terraces, markers, None, downhill=True)
        assert np.mean(ours == watershed(-terraces, markers.astype(np.int32))) >= 0.99


def test_a_surface_can_exceed_its_range_and_is_not_changed():
    field = smooth((30, 30), 6) * 4 - 1.5
    markers = np.zeros(field.shape, np.uint32)
    markers[3, 3], markers[25, 25] = 1, 2
    mask = np.ones(field.shape, bool)
    before = [a.copy() for a in (field, mask)]
    ours = flood(field, markers, mask, downhill=False)
    np.testing.assert_array_equal(np.unique(ours), [1, 2])
    for array, copy in zip((field, mask), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_flood_by_slices_is_a_flood_of_each_slice_with_ids_of_the_volume():
    field = smooth((8, 40, 45), 3)
    markers, mask = markers_of(field), field > 0.4
    ours = flood(field, markers, mask, downhill=True, by_slices=True)
    for z in range(len(field)):
        theirs = watershed(-field[z], markers[z].astype(np.int32), mask=mask[z])
        assert np.mean(ours[z] == theirs) >= 0.999
        assert set(np.unique(ours[z])) <= {0, *np.unique(markers[z])}
    assert np.any(np.unique(ours[0]) > 0)


def test_flood_accepts_half_precision_and_strided_maps():
    field = smooth((40, 50), 4).astype(np.float16)
    stack = np.stack([field, field], -1)
    markers = markers_of(field)
    expected = flood(field.astype(np.float32), markers, None, downhill=True)
    np.testing.assert_array_equal(flood(stack[..., 1], markers, None, downhill=True), expected)


@settings(max_examples=25, deadline=None)
@given(shape=st.sampled_from([(1, 1), (7, 9), (20, 3), (4, 6, 5)]), seed=st.integers(0, 99))
def test_seeds_equal_the_components_of_skimage(shape, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.5
    ours, count = label_seeds(mask)
    assert ours.sum() == inside(ours).sum()
    ours = inside(ours)
    theirs, expected = label(mask, connectivity=1, return_num=True)
    assert count == expected == ours.max()
    assert len(np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1).T) == len(
        np.unique(theirs)
    )


@settings(max_examples=25, deadline=None)
@given(shape=st.sampled_from([(1, 1), (7, 9), (4, 6, 5)]), seed=st.integers(0, 99))
def test_a_step_equals_one_iteration_of_scipy(shape, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.4
    before = mask.copy()
    np.testing.assert_array_equal(step(mask, grow=True), ndimage.binary_dilation(mask))
    np.testing.assert_array_equal(
        step(mask, grow=False), ndimage.binary_erosion(mask, border_value=1)
    )
    np.testing.assert_array_equal(mask, before)


@settings(max_examples=25, deadline=None)
@given(
    case=st.sampled_from(
        [((30, 34), None), ((9, 20, 22), None), ((9, 20, 22), (2.0, 0.5, 0.5)), ((12, 14), (1, 2))]
    ),
    radius=st.sampled_from([0, 1, 2, 3.5, 5]),
    density=st.sampled_from([0.02, 0.5, 0.95, 1.0]),
    seed=st.integers(0, 99),
)
def test_morphology_is_that_of_a_disk_or_ball(case, radius, density, seed):
    shape, spacing = case
    mask = np.random.default_rng(seed).random(shape) < density
    relative = np.ones(len(shape)) if spacing is None else np.array(spacing) / min(spacing)
    reach = int(np.ceil(radius))
    offsets = np.indices((2 * reach + 1,) * len(shape)).astype(float) - reach
    scaled = sum((o * r) ** 2 for o, r in zip(offsets, relative, strict=True))
    element = scaled <= radius**2
    np.testing.assert_array_equal(
        morph(mask, "erode", radius, spacing),
        ndimage.binary_erosion(mask, element, border_value=1),
    )
    np.testing.assert_array_equal(
        morph(mask, "dilate", radius, spacing), ndimage.binary_dilation(mask, element)
    )


def test_compact_drops_and_renumbers():
    labels = np.array([[1, 1, 0, 3], [4, 4, 4, 3], [6, 6, 6, 6]], np.uint32)
    np.testing.assert_array_equal(
        compact(labels, 6, min_size=3), [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 2, 2]]
    )
    np.testing.assert_array_equal(
        compact(labels, 6, min_size=0, drop=4), [[1, 1, 0, 2], [0, 0, 0, 2], [3, 3, 3, 3]]
    )


@pytest.mark.parametrize(("count", "dtype"), [(0, "u1"), (255, "u1"), (256, "u2"), (65536, "u4")])
@pytest.mark.parametrize("gap", [False, True])
def test_compact_uses_the_smallest_dtype(count, dtype, gap):
    labels = np.arange(count + 1, dtype=np.uint32)[None]
    if gap:
        labels = labels * 2
    result = compact(labels, int(labels.max()), min_size=0)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result[0], np.arange(count + 1))


def test_small_labels_are_dropped_in_place():
    labels = framed(np.array([[1, 1, 0, 3], [4, 4, 4, 3], [6, 6, 6, 6]], np.int32))
    assert drop_small_in_place(labels, 6, 3) == 2
    np.testing.assert_array_equal(inside(labels), [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 2, 2]])
    assert labels.sum() == inside(labels).sum()
