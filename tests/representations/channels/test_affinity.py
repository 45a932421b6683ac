"""Affinities: their definition pixel by pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from singula.representations.channels.affinity import affinity
from singula.representations.families import parse_offsets

CASES = [
    ((7, 9), [(-1, 0), (0, -1), (0, 1), (-3, 2), (2, -4), (-9, 0), (0, 20)]),
    ((4, 5, 6), [(-1, 0, 0), (0, 0, -1), (2, -1, 3), (0, 5, 0), (-4, 0, 0)]),
]


@pytest.mark.parametrize(("shape", "offsets"), CASES)
def test_affinities_compare_a_pixel_with_its_partner(shape, offsets) -> None:
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint16)
    for offset in offsets:
        expected = np.full(shape, -1)
        for pixel in itertools.product(*map(range, shape)):
            other = tuple(p + o for p, o in zip(pixel, offset, strict=True))
            if all(0 <= p < n for p, n in zip(other, shape, strict=True)):
                expected[pixel] = labels[pixel] == labels[other] != 0
        np.testing.assert_array_equal(affinity(labels, offset), expected)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("[-1,0;0,-1]", True),
        ("[-1,0;0,-1;-2,0]", True),
        ("[-1,0;-1,0]", False),
        ("[-1,0;0,-1;1,0]", False),
        ("[1,-2;0,1;-1,2]", False),
        ("[0,0]", False),
    ],
)
def test_offsets_compare_different_pixels(text: str, is_valid: bool) -> None:
    assert bool(parse_offsets(text)) is is_valid
