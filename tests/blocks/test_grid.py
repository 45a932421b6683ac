"""Blocks cover an image exactly once, and have the correct neighbors."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.blocks import Grid


@st.composite
def grids(draw):
    ndim = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.integers(1, 20)) for _ in range(ndim))
    return Grid(shape, tuple(draw(st.integers(1, 24)) for _ in range(ndim)))


def numbered(grid: Grid) -> np.ndarray:
    """Return the number of the block of each pixel; -1 for none."""
    image = np.full(grid.shape, -1)
    for number in range(len(grid)):
        image[grid.box(number)] = number
    return image


@settings(deadline=None)
@given(grids())
def test_boxes_cover_every_pixel_once(grid):
    times = np.zeros(grid.shape, int)
    for number in range(len(grid)):
        assert times[grid.box(number)].size > 0
        times[grid.box(number)] += 1
    assert (times == 1).all()


@settings(deadline=None)
@given(grids())
def test_a_number_and_a_position_are_the_same_block(grid):
    positions = [grid.position(number) for number in range(len(grid))]
    assert [grid.number(position) for position in positions] == list(range(len(grid)))
    # Row-major, as NumPy numbers them
    assert positions == [tuple(map(int, p)) for p in np.ndindex(*grid.counts)]


@settings(deadline=None)
@given(grids(), st.data())
def test_blocks_that_overlap_a_box_contain_its_pixels(grid, data):
    box = []
    for size in grid.shape:
        start = data.draw(st.integers(0, size - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, size))))
    numbers = list(grid.overlapping(tuple(box)))
    assert len(numbers) == len(set(numbers))
    assert set(numbers) == set(np.unique(numbered(grid)[tuple(box)]).tolist())


@settings(deadline=None)
@given(grids())
def test_next_blocks_are_across_a_face(grid):
    """Each pair of neighboring pixels in two blocks belongs to exactly one (axis, block)."""
    image = numbered(grid)
    expected = set()
    for axis in range(image.ndim):
        ahead = np.moveaxis(image, axis, 0)
        for low, high in zip(ahead[:-1].ravel(), ahead[1:].ravel(), strict=True):
            if low != high:
                expected.add((int(low), axis, int(high)))
    neighbors = [(n, axis, m) for n in range(len(grid)) for axis, m in grid.next_blocks(n)]
    assert len(neighbors) == len(set(neighbors))
    assert set(neighbors) == expected
