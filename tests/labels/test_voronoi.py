from __future__ import annotations

import numpy as np
import pytest
from cut_images import blocks, cuts, label_images
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from singula.errors import UserError
from singula.labels import growth_area, growth_foreground, growth_threshold, voronoi, voronoi_block
from singula.representations.decoders.thresholds import histogram

SIZES = st.sampled_from((0.1, 0.3, 0.5, 1.0, 2.5, 7.0)) | st.floats(0.05, 20)


def brute_force(labels, area, spacing) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest instance (or the lowest id) of each pixel, and its squared distance."""
    sites, pixels = np.argwhere(labels), np.argwhere(np.ones(labels.shape))
    ids = labels[tuple(sites.T)].astype(np.int64)
    squared = (((pixels[:, None] - sites) * spacing) ** 2).sum(-1)
    least = squared.min(axis=1)
    tied = np.where(squared <= least[:, None], ids, ids.max() + 1).min(axis=1)
    tied = tied.reshape(labels.shape)
    return np.where(area & (labels == 0), tied, labels), least.reshape(labels.shape)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.lists(st.integers(1, 11), min_size=2, max_size=3),
    spacing=st.lists(st.integers(1, 5), min_size=3, max_size=3),
    share=st.floats(0.01, 0.5),
)
def test_every_pixel_goes_to_the_nearest_instance(seed, shape, spacing, share):
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 9, shape) * (rng.random(shape) < share)
    labels.flat[rng.integers(labels.size)] = 4
    labels, area = labels.astype(np.uint16), rng.random(shape) < 0.8
    before = labels.copy()
    steps = np.array(spacing[: len(shape)], float)
    # multiples of the finest pixel size: ties are exact
    steps[np.argmin(steps)] = 1
    grown = voronoi(labels, area, spacing=steps)
    expected, _ = brute_force(labels, area, steps)
    np.testing.assert_array_equal(grown, expected)
    np.testing.assert_array_equal(labels, before)
    assert grown.dtype == labels.dtype


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    spacing=st.lists(st.floats(0.05, 20), min_size=3, max_size=3),
)
def test_any_voxel_size(seed, spacing):
    rng = np.random.default_rng(seed)
    shape, steps = (6, 7, 8), np.array(spacing)
    labels = np.zeros(shape, np.uint16)
    labels.flat[rng.choice(labels.size, 12, replace=False)] = np.arange(1, 13)
    grown = voronoi(labels, np.ones(shape, bool), spacing=spacing)
    _, least = brute_force(labels, True, steps)
    at = np.zeros((13, 3))
    at[labels[labels > 0]] = np.argwhere(labels)
    away = (((np.argwhere(grown) - at[grown.ravel()]) * steps) ** 2).sum(1)
    np.testing.assert_allclose(away, least.ravel(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 7, 37), (2, 40, 16), (33, 5)])
def test_adjacent_lines_are_independent(shape):
    rng = np.random.default_rng(5)
    labels = rng.integers(1, 200, shape) * (rng.random(shape) < 0.04)
    grown = voronoi(labels, np.ones(shape, bool))
    np.testing.assert_array_equal(grown, brute_force(labels, True, np.ones(len(shape)))[0])


def test_the_distance_of_slices_counts():
    labels = np.zeros((3, 1, 5), np.uint8)
    labels[0, 0, 2], labels[1, 0, 0] = 1, 2
    area = np.ones(labels.shape, bool)
    assert voronoi(labels, area)[1].tolist() == [[2, 2, 1, 1, 1]]
    assert voronoi(labels, area, spacing=(5, 1, 1))[1].tolist() == [[2, 2, 2, 2, 2]]


def test_instances_are_kept_and_ids_can_be_large():
    labels = np.array([[2**32 - 1, 0, 0, 0, 7]], np.uint32)
    area = np.array([[False, True, True, False, False]])
    assert voronoi(labels, area).tolist() == [[2**32 - 1, 2**32 - 1, 7, 0, 7]]


def test_an_image_without_instances_stays_empty():
    empty = np.zeros((3, 4), np.uint16)
    grown = voronoi(empty, np.ones((3, 4), bool))
    assert not grown.any()
    assert not np.shares_memory(grown, empty)
    with pytest.raises(UserError, match=r"\(3, 4\).*\(4, 3\)"):
        voronoi(empty, np.ones((4, 3), bool))


def test_the_area_is_the_foreground():
    rng = np.random.default_rng(0)
    B = np.where(rng.random((30, 30)) < 0.4, 0.7, 0.05).astype(np.float32)
    C = (rng.random((30, 30)) * 0.25).astype(np.float32)
    area, threshold = growth_area({"B": B, "C": C}, 0.6)
    assert threshold == 0.6
    np.testing.assert_array_equal(area, B + C > 0.6)
    area, threshold = growth_area({"B": B, "C": C})
    assert threshold == pytest.approx(threshold_otsu(B + C), abs=2 / 256)
    np.testing.assert_array_equal(area, threshold < B + C)
    area, _ = growth_area({"B": B, "C": C, "M": B}, 0.5)
    np.testing.assert_array_equal(area, B > 0.5)


def test_the_area_of_a_list_of_channels_is_its_mask():
    rng = np.random.default_rng(0)
    mask, other = rng.random((2, 9, 9), np.float32)
    np.testing.assert_array_equal(growth_foreground({"C": other, "F": mask, "Db": other}), mask)
    np.testing.assert_allclose(growth_foreground({"Bg": mask, "C": other}), 1 - mask)
    with pytest.raises(UserError, match="got C, Db"):
        growth_foreground({"C": other, "Db": mask})


def test_the_area_of_an_image_without_objects_is_empty():
    noise = np.random.default_rng(0).random((20, 20), np.float32) * 0.02
    area, threshold = growth_area({"M": noise})
    assert threshold == 0.5
    assert not area.any()


def test_the_area_needs_its_maps():
    with pytest.raises(UserError, match="got B, P"):
        growth_area({"B": np.zeros((2, 2)), "P": np.zeros((2, 2))})
    with pytest.raises(UserError, match=r"VORONOI_TH\): got 1.5"):
        growth_area({"M": np.zeros((2, 2))}, 1.5)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_certain_pixels_of_blocks_equal_the_whole_image(data):
    labels = data.draw(label_images())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    thin = rng.random(labels.shape) < data.draw(st.sampled_from((1, 0.3, 0.03)))
    labels, area = labels * thin, rng.random(labels.shape) < data.draw(st.sampled_from((0.5, 1)))
    spacing = data.draw(st.lists(SIZES, min_size=labels.ndim, max_size=labels.ndim))
    expected = voronoi(labels, area, spacing=spacing)
    cell = [data.draw(st.integers(1, n)) for n in labels.shape]
    halo = [data.draw(st.integers(0, 3)) for _ in cell]
    grid = blocks(labels.shape, cell, halo)
    wide = None
    for number, (block, read) in enumerate(grid):
        own = tuple(map(slice, block.start, block.stop))
        found = voronoi_block(labels[read], area[read], block, spacing=spacing)
        np.testing.assert_array_equal(found.labels[found.is_exact], expected[own][found.is_exact])
        if found.halo is not None:
            enough = np.maximum(found.halo, halo)
            block, read = blocks(labels.shape, cell, enough)[number]
            wide = voronoi_block(labels[read], area[read], block, spacing=spacing)
            assert wide.is_exact.all()
            np.testing.assert_array_equal(wide.labels, expected[own])
        elif not found.is_exact.all():
            assert not labels[read].any()


@pytest.mark.parametrize("seed", [0, 1, 59])  # 59 is one where rounding alone would decide
def test_ties_of_thick_slices_are_equal_in_blocks(seed):
    # Squared ratios of sizes such as 0.65 / 0.1 are rounded, and so is where parabolas meet.
    rng = np.random.default_rng(seed)
    shape = ((60, 45), (21, 18, 24))[seed % 2]
    labels = np.zeros(shape, np.uint32)
    labels.flat[rng.choice(labels.size, 80, replace=False)] = rng.permutation(80) + 1
    area = np.ones(shape, bool)
    spacing = rng.choice([0.1, 0.3, 0.7, 0.65, 1.3, 0.6], len(shape))
    expected = voronoi(labels, area, spacing=spacing)
    for block, read in blocks(shape, [n // 2 for n in shape], [8] * len(shape)):
        own = tuple(map(slice, block.start, block.stop))
        found = voronoi_block(labels[read], area[read], block, spacing=spacing)
        np.testing.assert_array_equal(found.labels[found.is_exact], expected[own][found.is_exact])
        assert found.is_exact.any()


def test_an_equally_near_instance_beyond_the_halo_can_have_the_lower_id():
    labels = np.array([[1, 0, 0, 0, 2, 0]])
    area = np.ones(labels.shape, bool)
    assert voronoi(labels, area).tolist() == [[1, 1, 1, 2, 2, 2]]
    block, read = blocks((1, 6), (1, 2), (0, 1))[1]
    found = voronoi_block(labels[:, read[1]], area[:, read[1]], block)
    assert found.labels.tolist() == [[2, 2]]
    assert found.is_exact.tolist() == [[False, True]]
    assert found.halo == (3, 3)
    whole, read = blocks((1, 6), (1, 2), (0, 2))[1]
    found = voronoi_block(labels, area, whole)
    assert found.is_exact.all()
    assert found.labels.tolist() == [[1, 2]]


def test_without_an_instance_only_the_outside_of_the_area_is_certain():
    labels, area = np.zeros((4, 6), np.uint8), np.ones((4, 6), bool)
    area[0, 0] = False
    block, read = blocks((4, 6), (4, 3), (0, 1))[0]
    found = voronoi_block(labels[read], area[read], block)
    assert found.is_exact.sum() == found.is_exact[0, 0] == 1
    assert found.halo is None
    block, read = blocks((4, 6), (4, 6), (0, 0))[0]
    assert voronoi_block(labels[read], area[read], block).is_exact.all()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_area_to_grow_in_is_found_in_blocks(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    maps = {c: rng.random((12, 9)).astype(np.float32) ** 3 for c in "BC"}
    asked = data.draw(st.sampled_from((0.0, 0.4)))
    area, threshold = growth_area(maps, asked)
    grid = data.draw(cuts(area))
    parts = [
        growth_foreground({c: m[read][block.core] for c, m in maps.items()}) for block, read in grid
    ]
    assert growth_threshold(asked, lambda: sum(histogram(part) for part in parts)) == threshold
    for (block, _), part in zip(grid, parts, strict=True):
        own = tuple(map(slice, block.start, block.stop))
        np.testing.assert_array_equal(part > threshold, area[own])
