"""Blocks from the memory of a worker."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.scaleout.memory import least_memory, plan_blocks

SHAPES = st.lists(st.integers(1, 100_000), min_size=2, max_size=3)
GB = 10**9


def done(shape, block) -> int:
    """Pixels of all blocks with 32 pixels around each, as far as the image goes."""
    sums = []
    for size, side in zip(shape, block, strict=True):
        starts = range(0, size, side)
        sums.append(sum(min(s + side + 32, size) - max(s - 32, 0) for s in starts))
    return prod(sums)


@settings(deadline=None)
@given(SHAPES, st.integers(0, 64), st.integers(0, 64), st.floats(1, 200))
def test_more_memory_never_means_more_to_do(shape, one, two, each):
    less, more = (plan_blocks(shape, gb * GB, each) for gb in sorted((one, two)))
    if less is None:
        return
    assert more is not None
    assert done(shape, more.block) <= done(shape, less.block)
    assert more.most >= less.most
    assert more.network >= less.network


@settings(deadline=None)
@given(SHAPES, st.integers(0, 64 * GB), st.floats(1, 200))
def test_a_block_fits_and_is_no_larger_than_is_of_use(shape, memory, each):
    budget = plan_blocks(shape, memory, each)
    if budget is None:
        return
    assert len(budget.block) == len(shape)
    largest = 4096 if len(shape) == 2 else 256
    for side, size in zip(budget.block, shape, strict=True):
        assert 0 < side <= largest
        assert side < size + 32  # not much beyond the image
    assert prod(budget.block) <= budget.most
    assert budget.most * each + 0 <= memory


def test_no_block_is_flat_where_a_cube_fits():
    """Halving one axis after the other gave 128 × 128 × 256, with more around it to do twice."""
    budget = plan_blocks((2000, 2000, 2000), 2 * GB, 38)
    assert budget is not None
    assert max(budget.block) < 1.5 * min(budget.block)


@pytest.mark.parametrize("shape", [(10_000, 10_000), (1000, 1000, 1000)])
def test_too_little_memory_for_any_block(shape):
    assert plan_blocks(shape, 10**7, 40) is None
    assert plan_blocks(shape, 8 * GB, 40) is not None


def test_a_shape_that_was_asked_for_is_taken():
    budget = plan_blocks((1000, 1000), 4 * GB, 40, block=(100, 70))
    assert budget is not None
    assert budget.block == (100, 70)


@settings(deadline=None)
@given(SHAPES, st.floats(1, 200))
def test_the_least_memory_is_enough_and_little_less_is_not(shape, each):
    least = least_memory(shape, each)
    assert plan_blocks(shape, least, each) is not None
    assert plan_blocks(shape, int(0.99 * least), each) is None or least < 1.02 * 700_000_000


@given(SHAPES, st.floats(1, 200))
def test_a_block_that_was_asked_for_needs_the_resting_memory(shape, each):
    least = least_memory(shape, each, block=[64] * len(shape))
    assert plan_blocks(shape, least, each, block=[64] * len(shape)) is not None
    assert plan_blocks(shape, least - 1, each, block=[64] * len(shape)) is None
