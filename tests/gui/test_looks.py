"""Display of channels, as text and as pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singula.gui.looks import ChannelLook, automatic_look, look_from_text, look_to_text, paint

byte = st.integers(0, 255)
value = st.floats(-1e9, 1e9, width=32)
looks = st.dictionaries(
    st.integers(0, 5),
    st.builds(ChannelLook, st.tuples(byte, byte, byte), value, value, st.floats(0.1, 9)),
)


@given(looks)
def test_a_display_survives_the_address(look) -> None:
    read = look_from_text(look_to_text(look), 6)
    assert read.keys() == look.keys()
    for index, each in look.items():
        assert read[index].color == each.color
        numbers = each.low, each.high, each.gamma
        assert (read[index].low, read[index].high, read[index].gamma) == pytest.approx(
            numbers, rel=1e-3
        )


@pytest.mark.parametrize(
    "text", ["", "0", "0:fff:0:1:1", "3:ffffff:0:1:1", "-1:ffffff:0:1:1", "0:gggggg:0:1:1", "a~b"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        look_from_text(text, 3)


def test_colors_are_added_and_limited() -> None:
    plane = np.array([[0.0, 5, 10, 20]])
    look = {
        0: ChannelLook((255, 0, 0), 0, 10),
        1: ChannelLook((255, 100, 0), 0, 10),
    }
    picture = paint({0: plane, 1: plane}, look)
    assert picture.tolist() == [[[0, 0, 0], [255, 50, 0], [255, 100, 0], [255, 100, 0]]]


def test_missing_values_are_black() -> None:
    plane = np.array([[np.nan, 1.0]], np.float32)
    assert paint({0: plane}, {0: ChannelLook((255, 255, 255), 0, 1)}).tolist() == [[0, 255]]


@pytest.mark.parametrize("count", range(1, 10))
def test_channels_have_colors(count: int) -> None:
    colors = [look.color for look in automatic_look([(0, 1)] * count).values()]
    assert len(set(colors)) == min(count, 8)
