"""Boxes and indices that represent a larger whole."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from singula.util.boxes import center_box, evenly_spaced

sizes = st.integers(1, 500)


@given(st.lists(st.tuples(sizes, sizes), min_size=2, max_size=3))
def test_the_center_box_is_inside_and_in_the_center(axes) -> None:
    shape, sides = zip(*axes, strict=True)
    for part, size, side in zip(center_box(shape, sides), shape, sides, strict=True):
        before, after = part.start, size - part.stop
        assert min(before, after) >= 0
        assert part.stop - part.start == min(size, side)
        assert abs(before - after) <= 1


@given(sizes, st.integers(2, 300))
def test_evenly_spaced_indices_include_both_ends(count, max_count) -> None:
    indices = evenly_spaced(count, max_count)
    steps = {b - a for a, b in pairwise(indices)}
    assert indices[0] == 0
    assert indices[-1] == count - 1
    assert len(indices) == min(count, max_count)
    assert not steps or (min(steps) >= 1 and max(steps) - min(steps) <= 1)
