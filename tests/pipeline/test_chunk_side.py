"""Blocks of any shape are stored in chunks of a suitable size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singula.pipeline.blocks.image import chunk_side


@given(st.integers(1, 4096), st.sampled_from([64, 512]))
def test_chunks_fill_blocks_and_are_not_many(side: int, wanted: int) -> None:
    part = chunk_side(side, wanted)
    assert side % part == 0
    assert side // part <= max(1, side / wanted) ** 2


@pytest.mark.parametrize(("side", "part"), [(4096, 512), (1024, 512), (384, 384), (521, 521)])
def test_chunks_of_known_blocks(side: int, part: int) -> None:
    assert chunk_side(side, 512) == part
