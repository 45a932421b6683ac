"""Outlines are exact and valid, and have holes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Outline
from scipy import ndimage

from singula.errors import UserError
from singula.exports.outlines import signed_area, trace_outlines

# 0, ids that touch each other, and an id beyond 16 bits
IDS = st.sampled_from([0, 0, 1, 1, 2, 70000])
LABELS = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=IDS)


def filled(rings: tuple[np.ndarray, ...], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose center is in the outer ring and not in a hole, by matplotlib."""
    y, x = np.indices(shape)
    centers = np.stack([x.ravel() + 0.5, y.ravel() + 0.5], axis=-1)
    inside = [Outline(r[:, ::-1]).contains_points(centers).reshape(shape) for r in rings]
    return inside[0] & ~np.logical_or.reduce([*inside[1:], np.zeros(shape, bool)])


@given(LABELS)
@settings(max_examples=300, deadline=None)
def test_filling_the_outlines_reproduces_the_labels(labels: np.ndarray) -> None:
    result = np.zeros_like(labels)
    outlines = trace_outlines(labels)
    assert [o.label for o in outlines] == np.unique(labels[labels > 0]).tolist()
    for outline in outlines:
        _, count = ndimage.label(labels == outline.label)
        assert len(outline.polygons) == count
        for rings in outline.polygons:
            inside = filled(rings, labels.shape)
            assert not result[inside].any()
            result[inside] = outline.label
            assert inside.sum() == sum(signed_area(ring) for ring in rings)
    np.testing.assert_array_equal(result, labels)


@given(LABELS)
@settings(max_examples=300, deadline=None)
def test_rings_are_simple_and_contain_only_corners(labels: np.ndarray) -> None:
    for outline in trace_outlines(labels):
        for rings in outline.polygons:
            assert signed_area(rings[0]) > 0
            assert all(signed_area(hole) < 0 for hole in rings[1:])
            for ring in rings:
                steps = np.roll(ring, -1, axis=0) - ring
                # Sides alternate between the axes.
                assert (np.count_nonzero(steps, axis=1) == 1).all()
                along = steps[:, 0] != 0
                assert (along != np.roll(along, 1)).all()
                assert len({tuple(corner) for corner in ring}) == len(ring)


def test_the_length_is_the_number_of_pixel_edges() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (40, 50)).astype(np.uint8)
    length: Counter[int] = Counter()
    for outline in trace_outlines(labels):
        for rings in outline.polygons:
            for ring in rings:
                length[outline.label] += int(np.abs(np.roll(ring, -1, axis=0) - ring).sum())
    padded = np.pad(labels, 1)
    for label in (1, 2, 3):
        mask = padded == label
        edges = sum(np.count_nonzero(mask != np.roll(mask, 1, axis)) for axis in (0, 1))
        assert length[label] == edges


def test_hole_and_diagonal_neighbors() -> None:
    labels = np.array(
        [
            [1, 1, 1, 0, 2],
            [1, 0, 1, 2, 0],
            [1, 1, 0, 0, 0],
        ]
    )
    ring, two = trace_outlines(labels)
    # The hole touches the outside at a corner, but remains a separate ring.
    assert len(ring.polygons) == 1
    outer, hole = ring.polygons[0]
    assert {tuple(corner) for corner in hole} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert [2, 2] in outer.tolist()
    # Diagonal neighbors are separate components.
    assert [polygon[0][0].tolist() for polygon in two.polygons] == [[0, 5], [1, 4]]
    assert trace_outlines(np.zeros((3, 3), int)) == []
    with pytest.raises(UserError, match="of a plane"):
        trace_outlines(np.zeros((2, 3, 3), int))


def test_ids_of_64_bits_and_a_view() -> None:
    labels = np.zeros((4, 6), np.uint64)
    labels[1:3, 2:5] = 2**40
    (outline,) = trace_outlines(labels[:, ::-1])
    assert outline.label == 2**40
    assert sorted(map(tuple, outline.polygons[0][0].tolist())) == [(1, 1), (1, 4), (3, 1), (3, 4)]
