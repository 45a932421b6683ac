"""Blocks from the memory of a worker."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.scaleout.memory import plan_blocks

SHAPES = st.lists(st.integers(1, 100_000), min_size=2, max_size=3)
GB = 10**9


@settings(deadline=None)
@given(SHAPES, st.integers(0, 64), st.integers(0, 64), st.floats(1, 200))
def test_more_memory_never_gives_a_smaller_block(shape, one, two, each):
    less, more = (plan_blocks(shape, gb * GB, each) for gb in sorted((one, two)))
    if less is None:
        return
    assert more is not None
    assert prod(more.block) >= prod(less.block)
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


@pytest.mark.parametrize("shape", [(10_000, 10_000), (1000, 1000, 1000)])
def test_too_little_memory_for_any_block(shape):
    assert plan_blocks(shape, 10**7, 40) is None
    assert plan_blocks(shape, 8 * GB, 40) is not None


def test_a_shape_that_was_asked_for_is_taken():
    budget = plan_blocks((1000, 1000), 4 * GB, 40, block=(100, 70))
    assert budget is not None
    assert budget.block == (100, 70)
