"""Block shapes and the memory of a worker."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.blocks.memory import min_memory, plan_blocks

SHAPES = st.lists(st.integers(1, 100_000), min_size=2, max_size=3)
GB = 10**9


def done(shape, block) -> int:
    """Return the pixels of all blocks, each with 32 pixels around it within the image."""
    sums = []
    for size, side in zip(shape, block, strict=True):
        starts = range(0, size, side)
        sums.append(sum(min(s + side + 32, size) - max(s - 32, 0) for s in starts))
    return prod(sums)


@settings(deadline=None)
@given(SHAPES, st.integers(0, 64), st.integers(0, 64), st.floats(1, 200))
def test_more_memory_never_means_more_overlap(shape, one, two, each):
    less, more = (plan_blocks(shape, gb * GB, each) for gb in sorted((one, two)))
    if less is None:
        return
    assert more is not None
    assert done(shape, more.block) <= done(shape, less.block)
    assert more.max_pixels >= less.max_pixels
    assert more.network >= less.network


@settings(deadline=None)
@given(SHAPES, st.integers(0, 64 * GB), st.floats(1, 200))
def test_a_block_fits_and_has_at_most_the_maximum_side(shape, memory, each):
    budget = plan_blocks(shape, memory, each)
    if budget is None:
        return
    assert len(budget.block) == len(shape)
    largest = 4096 if len(shape) == 2 else 256
    for side, size in zip(budget.block, shape, strict=True):
        assert 0 < side <= largest
        assert side < size + 32  # not much beyond the image
    assert prod(budget.block) <= budget.max_pixels
    assert budget.max_pixels * each + 0 <= memory


def test_blocks_are_cubes_if_a_cube_fits():
    """Halving one axis after the other gave 128 × 128 × 256, with more overlap."""
    budget = plan_blocks((2000, 2000, 2000), 2 * GB, 38)
    assert budget is not None
    assert max(budget.block) < 1.5 * min(budget.block)


@pytest.mark.parametrize("shape", [(10_000, 10_000), (1000, 1000, 1000)])
def test_too_little_memory_for_any_block(shape):
    assert plan_blocks(shape, 10**7, 40) is None
    assert plan_blocks(shape, 8 * GB, 40) is not None


def test_a_shape_set_by_the_user_is_used():
    budget = plan_blocks((1000, 1000), 4 * GB, 40, block=(100, 70))
    assert budget is not None
    assert budget.block == (100, 70)


@settings(deadline=None)
@given(SHAPES, st.floats(1, 200))
def test_the_minimum_memory_is_enough_and_slightly_less_is_not(shape, each):
    memory = min_memory(shape, each)
    assert plan_blocks(shape, memory, each) is not None
    assert plan_blocks(shape, int(0.99 * memory), each) is None or memory < 1.02 * 700_000_000


@given(SHAPES, st.floats(1, 200))
def test_a_block_set_by_the_user_needs_the_resting_memory(shape, each):
    memory = min_memory(shape, each, block=[64] * len(shape))
    assert plan_blocks(shape, memory, each, block=[64] * len(shape)) is not None
    assert plan_blocks(shape, memory - 1, each, block=[64] * len(shape)) is None
