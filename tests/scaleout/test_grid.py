"""Blocks cover an image once, and know their neighbours."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.scaleout import Grid


@st.composite
def grids(draw):
    ndim = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.integers(1, 20)) for _ in range(ndim))
    return Grid(shape, tuple(draw(st.integers(1, 24)) for _ in range(ndim)))


def numbered(grid: Grid) -> np.ndarray:
    """Number of the block that each pixel is in; -1 where there is none."""
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
def test_a_number_and_a_place_are_the_same_block(grid):
    places = [grid.place(number) for number in range(len(grid))]
    assert [grid.number(place) for place in places] == list(range(len(grid)))
    # Row-major, as NumPy numbers them
    assert places == [tuple(map(int, p)) for p in np.ndindex(*grid.counts)]


@settings(deadline=None)
@given(grids(), st.data())
def test_blocks_that_touch_a_box_are_those_of_its_pixels(grid, data):
    box = []
    for size in grid.shape:
        start = data.draw(st.integers(0, size - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, size))))
    found = list(grid.touching(tuple(box)))
    assert len(found) == len(set(found))
    assert set(found) == set(np.unique(numbered(grid)[tuple(box)]).tolist())


@settings(deadline=None)
@given(grids())
def test_following_blocks_are_those_across_a_face(grid):
    """Every pair of neighbouring pixels in two blocks is met by one (axis, block), and no other."""
    image = numbered(grid)
    expected = set()
    for axis in range(image.ndim):
        ahead = np.moveaxis(image, axis, 0)
        for one, two in zip(ahead[:-1].ravel(), ahead[1:].ravel(), strict=True):
            if one != two:
                expected.add((int(one), axis, int(two)))
    found = [(n, axis, m) for n in range(len(grid)) for axis, m in grid.following(n)]
    assert len(found) == len(set(found))
    assert set(found) == expected
