from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from cut_images import blocks, cuts, label_images, merged
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from singula.errors import UserError
from singula.labels import (
    contacts,
    enclosed,
    extents,
    fill_holes,
    find_background,
    plan_repair,
    recode,
    repair,
    repair_large,
)
from singula.labels.holes import Gaps
from singula.labels.index import Extents
from singula.labels.repair import Contacts


def disk(radius=10.0, size=31, center=(15, 15)) -> np.ndarray:
    y, x = np.ogrid[:size, :size]
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2


def faces(image):
    for at in np.ndindex(image.shape):
        for axis in range(image.ndim):
            beyond = tuple(i + (axis == a) for a, i in enumerate(at))
            if beyond[axis] < image.shape[axis]:
                yield at, beyond


def by_definition(labels, size) -> np.ndarray:
    """Compute the definition in the docstring, pixel by pixel."""
    pixels = Counter(labels[labels > 0].tolist())
    contact, outline = Counter(), Counter()
    for a, b in faces(labels):
        i, j = int(labels[a]), int(labels[b])
        if i != j:
            contact[i, j] += 1
            contact[j, i] += 1
            outline[i] += 1
            outline[j] += 1
    group = {i: {i} for i in pixels}
    large = [i for i in pixels if pixels[i] > size]
    for i in large:
        beside = [j for j in pixels if contact[i, j]]
        whole = sum(contact[i, j] for j in beside)
        main = min(beside, key=lambda j: (-contact[i, j], j), default=None)
        for j in beside:
            c = contact[i, j]
            if j == main or 3 * c >= whole or 2 * c > outline[j]:
                union = group[i] | group[j]
                for k in union:
                    group[k] = union
    name = {i: min(group[i], key=lambda j: (-pixels[j], j)) for i in pixels}
    result = labels.copy()
    for i in pixels:
        result[labels == i] = name[i]
    repaired = {name[i] for i in large}
    gaps, count = label(labels == 0)
    beside_gap = {g: set() for g in range(1, count + 1)}
    for a, b in faces(labels):
        for p, q in ((a, b), (b, a)):
            if gaps[p] and not gaps[q]:
                beside_gap[gaps[p]].add(int(result[q]))
    for gap, around in beside_gap.items():
        at = np.argwhere(gaps == gap)
        inside = (at > 0).all() and (at < np.array(labels.shape) - 1).all()
        if inside and len(around) == 1 and around <= repaired:
            result[gaps == gap] = around.pop()
    return result


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(9, 10), (4, 5, 5), (1, 7)]),
    size=st.integers(0, 20),
    far=st.booleans(),
)
def test_equals_the_definition_by_brute_force(seed, shape, size, far):
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0, 1, (8, len(shape))) * shape
    grid = np.indices(shape).reshape(len(shape), 1, -1)
    labels = (((grid - centers.T[:, :, None]) ** 2).sum(0).argmin(0) + 1).reshape(shape)
    labels[rng.random(shape) < 0.15] = 0
    labels = labels.astype(np.uint32) * np.uint32(500_000_000 if far else 1)
    before = labels.copy()
    result = repair_large(labels, size)
    np.testing.assert_array_equal(result, by_definition(labels, size))
    np.testing.assert_array_equal(labels, before)
    assert result.dtype == labels.dtype


def test_two_halves_of_a_disk_become_one_and_the_hole_is_filled():
    labels = disk() * np.where(np.arange(31) < 14, 3, 8)
    labels[disk(3)] = 0
    expected = np.where(disk(), 8, 0)
    np.testing.assert_array_equal(repair_large(labels, 150), expected)
    # one large half is enough, none is not
    sizes = sorted((np.count_nonzero(labels == 3), np.count_nonzero(labels == 8)))
    np.testing.assert_array_equal(repair_large(labels, sizes[1] - 1), expected)
    np.testing.assert_array_equal(repair_large(labels, sizes[1]), labels)


def test_a_ball_in_eight_parts_with_a_cavity():
    z, y, x = np.indices((15, 15, 15)) - 7
    radius = np.sqrt(z**2 + y**2 + x**2)
    parts = 1 + (z > 0) + 2 * (y > 1) + 4 * (x > -1)
    labels = np.where((radius < 7) & (radius > 1.5), parts, 0).astype(np.uint16)
    result = repair_large(labels, 40)
    assert len(np.unique(result)) == 2
    np.testing.assert_array_equal(result > 0, radius < 7)


@pytest.mark.parametrize(("split_y", "split_x"), list(itertools.product([13, 15, 17], [14, 16])))
def test_four_quarters_that_meet_in_the_middle(split_y, split_x):
    y, x = np.indices((31, 31))
    labels = disk() * (1 + (y > split_y) + 2 * (x > split_x))
    assert len(np.unique(repair_large(labels, 40))) == 2


def test_a_neighbor_with_little_contact_is_kept():
    labels = disk(6, 31, (9, 9)) * np.where(np.arange(31) < 9, 1, 2)
    other = disk(6, 31, (9, 21)) & (labels == 0)
    labels[other] = 3
    assert ((labels[:, 15] == 2) & (labels[:, 16] == 3)).any()  # they do touch
    # as large as the halves, it looks for a partner of its own
    assert len(np.unique(repair_large(labels, 45))) == 2
    labels[other & ~disk(3, 31, (9, 18))] = 0
    result = repair_large(labels, 45)
    np.testing.assert_array_equal(result == 3, labels == 3)
    assert len(np.unique(result)) == 3


def test_a_fragment_joins_the_large_instance_around_it():
    labels = disk() * np.where(np.arange(31) < 15, 1, 2)
    labels[6:9, 16:18] = 4  # at the rim
    labels[14:17, 20:23] = 5  # inside
    np.testing.assert_array_equal(repair_large(labels, 100) > 0, disk())
    assert set(np.unique(repair_large(labels, 100))) == {0, 2}


def test_half_of_the_boundary_is_not_enough_for_a_fragment():
    labels = disk() * np.where(np.arange(31) < 15, 1, 2)
    labels[5, 15] = 0
    labels[6:9, 15] = 4  # 4 of 8 faces to the large one
    assert set(np.unique(repair_large(labels, 100))) == {0, 2, 4}


def test_only_holes_of_the_instance_are_filled():
    labels = np.ones((12, 24), np.uint16)
    labels[2:4, 2:4] = 0
    labels[6:10, 2:6] = 0
    labels[7:9, 3:5] = 2  # an island
    labels[5:6, 0:2] = 0  # a bay that the image border closes
    labels[2:10, 12:20] = 0
    labels[3:9, 13:19] = 3  # a ring in a hole, with a hole of its own
    labels[5:7, 15:17] = 0
    expected = labels.copy()
    expected[2:4, 2:4] = 1
    np.testing.assert_array_equal(repair_large(labels, 100), expected)
    expected[5:7, 15:17] = 3
    np.testing.assert_array_equal(repair_large(labels, 20), expected)
    np.testing.assert_array_equal(repair_large(labels, 400), labels)


def test_chunks_do_not_change_the_result(monkeypatch):
    labels = disk() * np.where(np.arange(31)[:, None] < 14, 3, 8)
    labels[disk(3)] = 0
    monkeypatch.setattr(repair, "_CHUNK", 40)
    np.testing.assert_array_equal(repair_large(labels, 100), by_definition(labels, 100))


def test_nothing_to_repair():
    labels = np.zeros((3, 3), np.uint8)
    result = repair_large(labels, 0)
    assert not result.any()
    assert not np.shares_memory(result, labels)
    with pytest.raises(UserError, match=r"size .*got -5"):
        repair_large(labels, -5)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_repair_in_blocks_equals_the_whole_image(data):
    labels = data.draw(label_images())
    size = data.draw(st.integers(0, 1 + labels.size // 3))
    expected = repair_large(labels, size)
    grid = data.draw(cuts(labels, halo=1))
    found = Extents.merge([extents(labels[read], block) for block, read in grid])
    large = found.ids[found.npixels > size]
    touching = [contacts(labels[read], large, block) for block, read in grid]
    together = data.draw(merged(Contacts.merge, touching))
    whole = contacts(labels, large)
    for column in ("first", "second", "faces"):
        np.testing.assert_array_equal(getattr(together, column), getattr(whole, column))
    plan = plan_repair(found, together, size)
    one = [recode(labels[read], plan.ids, plan.targets, keep=True) for _, read in grid]
    gaps = [find_background(part, b).gaps() for part, (b, _) in zip(one, grid, strict=True)]
    holes = enclosed(data.draw(merged(Gaps.merge, gaps)), plan.repaired)
    for part, (block, _) in zip(one, grid, strict=True):
        own = tuple(map(slice, block.start, block.stop))
        result = find_background(part, block).filled(holes)
        assert result.dtype == labels.dtype
        np.testing.assert_array_equal(result, expected[own])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_holes_that_wind_through_blocks_are_filled(data):
    labels = data.draw(label_images())
    expected = labels.copy()
    gaps, count = label(labels == 0)
    for gap in range(1, count + 1):
        at = np.argwhere(gaps == gap)
        beside = set()
        for axis in range(labels.ndim):
            for step in (-1, 1):
                near = at + step * (np.arange(labels.ndim) == axis)
                inside = ((near >= 0) & (near < labels.shape)).all(1)
                beside |= set(labels[tuple(near[inside].T)].tolist()) - {0}
                beside |= set() if inside.all() else {-1, -2}
        if len(beside) == 1:
            expected[gaps == gap] = beside.pop()
    np.testing.assert_array_equal(fill_holes(labels), expected)
    grid = data.draw(cuts(labels, halo=1))
    parts = [find_background(labels[read], block) for block, read in grid]
    holes = enclosed(Gaps.merge([part.gaps() for part in parts]))
    for part in parts:
        own = tuple(map(slice, part.block.start, part.block.stop))
        np.testing.assert_array_equal(part.filled(holes), expected[own])


@pytest.mark.parametrize("is_open", [False, True])
def test_a_spiral_hole_is_one_hole(is_open):
    y, x = np.indices((61, 61)) - 30
    angle, radius = np.arctan2(y, x) / (2 * np.pi), np.hypot(y, x)
    shell = ((radius / 9 - angle) % 1 < 0.4) | (abs(radius - 27.5) < 2)
    labels = np.where(shell & (radius < 29), 7, 0).astype(np.uint16)
    corridor = (radius < 29) & ~shell
    if is_open:
        labels[30, 55:] = 0
    filled = fill_holes(labels)
    if is_open:  # but for a few pixels that are pinched off
        assert np.count_nonzero(filled) - np.count_nonzero(labels) < 10
    else:
        assert (filled[corridor] == 7).all()
    for cell in (3, 5, 8):
        parts = [
            find_background(labels[read], block)
            for block, read in blocks(labels.shape, (cell, cell), (1, 1))
        ]
        holes = enclosed(Gaps.merge([part.gaps() for part in parts]))
        for part in parts:
            own = tuple(map(slice, part.block.start, part.block.stop))
            np.testing.assert_array_equal(part.filled(holes), filled[own])


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8, ">u2", bool])
def test_holes_are_filled_in_any_integer_type(dtype):
    labels = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype)
    filled = fill_holes(labels)
    assert filled.dtype == labels.dtype
    assert filled.all()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (2, 0, 3), (0, 1, 1)])
def test_an_image_without_pixels_has_no_holes(shape):
    empty = np.zeros(shape, np.uint8)
    assert fill_holes(empty).shape == shape
    assert not len(contacts(empty, np.array([1])).faces)
