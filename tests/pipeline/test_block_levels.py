"""The boxes of coarser levels are computed from their numbers."""

import numpy as np
import pytest

from singula.io.block_array import BlockArray
from singula.pipeline.blocks.tasks import level_grid


@pytest.mark.parametrize(
    ("shape", "shards"), [((700, 530), (256, 128)), ((130, 300, 70), (64, 128, 64)), ((9, 9), None)]
)
def test_boxes_have_the_order_of_all_boxes(tmp_path, shape, shards):
    ndim = len(shape)
    path = tmp_path / "a.zarr"
    target = BlockArray.create(path, shape, np.uint8, ndim=ndim, chunks=(8,) * ndim, shards=shards)
    for level in range(len(target.levels)):
        grid = level_grid(target, level)
        assert [grid.box(n) for n in range(len(grid))] == list(target.blocks(level))


def test_boxes_of_a_petabyte_are_not_listed(tmp_path):
    shape, block = (100_000,) * 3, (256,) * 3
    target = BlockArray.create(tmp_path / "a.zarr", shape, np.uint8, ndim=3, shards=block)
    grid = level_grid(target, 1)
    assert len(grid) == 196**3
    assert grid.box(len(grid) - 1) == (slice(195 * 256, 50_000),) * 3
