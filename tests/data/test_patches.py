from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.data.patches import TilePlan, check_patch_fits, read_patch, training_starts
from singula.errors import UserError


@st.composite
def plans(draw: st.DrawFn) -> tuple[tuple[int, ...], TilePlan]:
    ndim = draw(st.integers(2, 3))
    multiple = tuple(draw(st.sampled_from([1, 2, 4])) for _ in range(ndim))
    padding = tuple(draw(st.integers(0, 2)) * m for m in multiple)
    core = tuple(draw(st.integers(1, 4)) * m for m in multiple)
    overlap = tuple(draw(st.sampled_from([0.0, 0.25, 0.5, 0.9])) for _ in range(ndim))
    shape = tuple(draw(st.integers(2, 30)) for _ in range(ndim))
    patch = tuple(c + 2 * p for c, p in zip(core, padding, strict=True))
    return shape, TilePlan(patch, overlap, padding, multiple)


@settings(deadline=None, max_examples=60)
@given(plans())
def test_cores_cover_the_image_and_reassembly_is_the_identity(
    case: tuple[tuple[int, ...], TilePlan],
) -> None:
    shape, plan = case
    image = np.random.default_rng(0).random((*shape, 2))
    again = np.full_like(image, np.nan)
    tiles = list(plan.tiles(shape))
    for tile in tiles:
        patch = read_patch(image, tile.start, plan.patch)
        assert patch.shape == (*plan.patch, 2)
        again[tile.outer] = patch[tile.inner]
        # The pooling grid of the network lies the same way in every tile.
        for start, first, multiple in zip(tile.start, tiles[0].start, plan.multiple, strict=True):
            assert (start - first) % multiple == 0
    np.testing.assert_array_equal(again, image)
    assert plan.count(shape) == len(tiles)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.tuples(st.integers(-8, 5), st.integers(-8, 5)),
    st.tuples(st.integers(9, 25), st.integers(9, 25)),
)
def test_mirroring_equals_reflection_in_numpy(
    shape: tuple[int, int], start: tuple[int, int], length: tuple[int, int]
) -> None:
    if any(s >= n for s, n in zip(start, shape, strict=True)):
        return
    image = np.arange(shape[0] * shape[1]).reshape(*shape, 1)
    margin = 40
    wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    expected = wide[
        tuple(slice(s + margin, s + margin + n) for s, n in zip(start, length, strict=True))
    ]
    np.testing.assert_array_equal(read_patch(image, start, length), expected)


def test_a_patch_inside_is_a_view() -> None:
    image = np.zeros((8, 8, 1))
    assert np.shares_memory(read_patch(image, (1, 2), (3, 4)), image)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(4, 40), st.integers(4, 40)),
    st.sampled_from([0.0, 0.3, 0.5]),
    st.integers(0, 2),
)
def test_training_patches_cover_the_image_and_stay_inside(
    shape: tuple[int, int], overlap: float, padding: int
) -> None:
    patch = (8, 8)
    covered = np.zeros(shape, bool)
    for start in training_starts(shape, patch, (overlap, overlap), (padding, padding)):
        for s, size in zip(start, shape, strict=True):
            if size >= 8 - 2 * padding:
                assert -padding <= s <= size - 8 + padding
        core = tuple(slice(max(0, s + padding), s + 8 - padding) for s in start)
        covered[core] = True
    assert covered.all()


def test_overlap_is_at_least_the_configured_one() -> None:
    for size, overlap in product((50, 64, 100), (0.0, 0.25, 0.5)):
        starts = [s[0] for s in training_starts((size,), (16,), (overlap,), (0,))]
        assert max(np.diff(starts)) <= 16 * (1 - overlap)


def test_patch_larger_than_image_names_the_key() -> None:
    check_patch_fits((10, 10), (12, 12), True, "a.tif", "y, x")
    with pytest.raises(UserError, match=r"a\.tif.*DATA\.PATCH_SIZE") as error:
        check_patch_fits((10, 20), (12, 12), False, "a.tif", "y, x")
    assert "DATA.REFLECT_TO_COMPLETE_SHAPE" in str(error.value)
