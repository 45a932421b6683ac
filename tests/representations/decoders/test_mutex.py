"""Mutex watershed: a slow implementation, drawn tissue, and properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.measure import label

import singula
from singula.blocks.grid import Grid
from singula.representations.base import DecodePlan
from singula.representations.channels.affinity import affinity
from singula.representations.decoders import DecodeSettings
from singula.representations.decoders.mutex import mutex_watershed
from singula.representations.families import format_offsets
from singula.representations.table import find_decoder
from singula.representations.thresholds import THRESHOLDS

PLANAR = tuple(o for n in (1, 3, 9, 27) for o in ((-n, 0), (0, -n)))
SOLID = (
    (-1, 0, 0), (0, -1, 0), (0, 0, -1), (-2, 0, 0), (0, -3, 0), (0, 0, -3),
    (-3, 0, 0), (0, -9, 0), (0, 0, -9),
)  # fmt: skip


def tissue(shape: tuple[int, ...], n_cells: int, seed: int) -> np.ndarray:
    """Return irregular cells that fill the image."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.indices(shape), axis=-1).astype(float)
    for axis in range(len(shape)):
        wave = gaussian_filter(rng.normal(size=shape), 5)
        grid[..., axis] += 2.5 * wave / wave.std()
    centers = rng.random((n_cells, len(shape))) * shape
    nearest = cKDTree(centers).query(grid.reshape(-1, len(shape)))[1].reshape(shape)
    cells = label(nearest + 1, connectivity=1)
    sizes = np.bincount(cells.ravel())
    small = np.isin(cells, np.flatnonzero(sizes < 30))
    cells[small] = 0  # specks of the drawing
    return cells


def softened(values: np.ndarray, seed: int) -> np.ndarray:
    """Return blurred values with correlated noise, as probabilities of a trained network."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=values.shape), 1)
    known = (values >= 0).astype(float)
    mean = gaussian_filter(values * known, 0.5) / gaussian_filter(known, 0.5).clip(1e-9)
    logits = 6 * mean - 3 + 1.0 * noise / noise.std()
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def slow_watershed(affinities, offsets, threshold, mask) -> np.ndarray:
    """Count the votes pixel by pixel, with sets of the parts that are kept apart."""
    shape, votes = affinities[0].shape, []
    for values, offset in zip(affinities, offsets, strict=True):
        for pixel in itertools.product(*map(range, shape)):
            other = tuple(p + o for p, o in zip(pixel, offset, strict=True))
            if any(not 0 <= p < n for p, n in zip(other, shape, strict=True)):
                continue
            if not (mask[pixel] and mask[other]):
                continue
            certainty = float(values[pixel]) - threshold
            if certainty < 0 or sum(map(abs, offset)) == 1:
                votes.append((abs(certainty), certainty > 0, pixel, other))
    part = {pixel: pixel for pixel in itertools.product(*map(range, shape))}
    apart: dict = {pixel: set() for pixel in part}
    for _, joins, pixel, other in sorted(votes, reverse=True):
        one, two = part[pixel], part[other]
        if one == two:
            continue
        if not joins:
            apart[one].add(two)
            apart[two].add(one)
        elif two not in apart[one]:
            for each in part:
                part[each] = one if part[each] == two else part[each]
            for each in apart.pop(two):
                apart[each].discard(two)
                apart[each].add(one)
                apart[one].add(each)
    result, numbers = np.zeros(shape, int), {}
    members = list(part.values())
    for pixel, root in part.items():
        if members.count(root) > 1:
            result[pixel] = numbers.setdefault(root, len(numbers) + 1)
    return result


@pytest.mark.parametrize(("shape", "offsets"), [((9, 11), PLANAR), ((4, 5, 6), SOLID)])
@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_equals_a_slow_implementation(shape, offsets, threshold) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        affinities = rng.random((len(offsets), *shape), np.float32)
        mask = rng.random(shape) > 0.15
        labels = mutex_watershed(affinities, offsets, threshold, mask)
        np.testing.assert_array_equal(labels, slow_watershed(affinities, offsets, threshold, mask))
        assert labels.max() > 3


CASES = [((128, 144), PLANAR, 40), ((20, 56, 60), SOLID, 40)]


@pytest.mark.parametrize(("shape", "offsets", "n_cells"), CASES)
def test_tissue_without_background_is_divided_into_its_cells(shape, offsets, n_cells) -> None:
    cells = tissue(shape, n_cells, seed=3)
    exact = [affinity(cells, offset) for offset in offsets]
    assert singula.match(cells, mutex_watershed(exact, offsets), 0.9).f1 == 1
    soft = [softened(values, n) for n, values in enumerate(exact)]
    labels = mutex_watershed(soft, offsets)
    labels[np.bincount(labels.ravel())[labels] < 10] = 0  # the default of REMOVE_SMALL_OBJ
    assert singula.match(cells, labels, 0.5).f1 >= 0.95


def test_background_needs_no_mask() -> None:
    cells = tissue((96, 96), 20, seed=5)
    cells[np.isin(cells, np.arange(1, cells.max(), 3))] = 0
    exact = [affinity(cells, offset) for offset in PLANAR]
    labels = mutex_watershed(exact, PLANAR)
    np.testing.assert_array_equal(labels > 0, cells > 0)


@pytest.mark.parametrize("code", ["F", "M", "B", "Db"])
def test_every_channel_that_covers_the_instances_is_a_mask(code: str) -> None:
    cells = tissue((96, 96), 20, seed=5)
    cells[np.isin(cells, np.arange(1, cells.max(), 3))] = 0
    channels = f"{code}+A{format_offsets(PLANAR)}"
    maps = singula.encode(cells, channels)
    for number, (dy, dx) in enumerate(PLANAR):  # the background seems to be an instance, too
        pairs = (cells == 0) & (np.roll(cells, (-dy, -dx), (0, 1)) == 0)
        name = f"{channels.partition('+')[2]}.{number}"
        maps[name] = np.where(pairs, 1, maps[name]).astype(np.float32)
    labels = singula.decode(maps, channels, thresholds={"REMOVE_SMALL_OBJ": 0})
    assert not labels[cells == 0].any()
    assert singula.match(cells, labels, 0.7).f1 > 0.9


@pytest.mark.parametrize("offsets", [PLANAR, PLANAR[:2]])
def test_the_threshold_joins_all_or_nothing_at_its_ends(offsets) -> None:
    rng = np.random.default_rng(1)
    affinities = rng.uniform(0.01, 0.99, (len(offsets), 12, 12)).astype(np.float32)
    assert (mutex_watershed(affinities, offsets, 0.0) == 1).all()
    assert not mutex_watershed(affinities, offsets, 1.0).any()


def test_opposite_offsets_are_one_pair() -> None:
    cells = tissue((40, 40), 8, seed=2)
    offsets = [(-1, 0), (1, 0), (0, 1), (0, -9)]
    labels = mutex_watershed([affinity(cells, o) for o in offsets], offsets)
    assert singula.match(cells, labels, 0.9).f1 == 1


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 0, 2)])
def test_images_smaller_than_the_offsets(shape) -> None:
    offsets = PLANAR if len(shape) == 2 else SOLID
    affinities = np.ones((len(offsets), *shape), np.float32)
    assert not mutex_watershed(affinities, offsets).any()


def in_blocks(maps, channels: str, block: tuple[int, ...], order: int = 1) -> np.ndarray:
    """Decode blocks of an image, and return the instances of all."""
    decoder = find_decoder(channels)
    shape = next(iter(maps.values())).shape
    thresholds = {name: row.default for name, row in THRESHOLDS.items()}
    plan = DecodePlan(decoder, thresholds, DecodeSettings())

    def read_maps(box):
        return {name: values[box] for name, values in maps.items()}

    grid = Grid(shape, block)
    boxes = [grid.box(number) for number in range(len(grid))]
    parts = [decoder.collect(plan, box, shape, read_maps) for box in boxes]
    objects = decoder.merge(plan, parts[::order], shape)
    labels = np.zeros(shape, np.int32)
    for box in boxes:
        labels[box] = decoder.paint(plan, objects, box, shape, read_maps)
    count = len(objects["points"])
    np.testing.assert_array_equal(np.unique(labels[labels > 0]), np.arange(1, count + 1))
    first = [np.flatnonzero(labels == n)[0] for n in range(1, count + 1)]
    np.testing.assert_array_equal(np.ravel_multi_index(objects["points"].T, shape), first)
    return labels


BLOCKS = [((128, 144), PLANAR, 40, (50, 64)), ((20, 56, 60), SOLID, 40, (10, 30, 60))]


@pytest.mark.parametrize(("shape", "offsets", "n_cells", "block"), BLOCKS)
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_give_nearly_the_same_instances(shape, offsets, n_cells, block, masked) -> None:
    cells, name = tissue(shape, n_cells, seed=3), f"A{format_offsets(offsets)}"
    if masked:
        cells[np.isin(cells, np.arange(1, cells.max(), 4))] = 0
        name = f"F+{name}"
    exact = singula.encode(cells, name)
    assert singula.match(cells, in_blocks(exact, name, block), 0.99).f1 == 1
    soft = {code: softened(values, n) for n, (code, values) in enumerate(exact.items())}
    whole = singula.decode(soft, name, thresholds={"TH_TYPE": "manual", "REMOVE_SMALL_OBJ": 0})
    labels = in_blocks(soft, name, block)
    assert singula.match(whole, labels, 0.5).f1 >= 0.9
    np.testing.assert_array_equal(labels, in_blocks(soft, name, block, order=-1))


def test_one_block_is_the_whole_image() -> None:
    name = f"A{format_offsets(PLANAR)}"
    exact = singula.encode(tissue((60, 60), 12, seed=1), name)
    soft = {code: softened(values, n) for n, (code, values) in enumerate(exact.items())}
    whole = singula.decode(soft, name, thresholds={"TH_TYPE": "manual", "REMOVE_SMALL_OBJ": 0})
    np.testing.assert_array_equal(in_blocks(soft, name, (60, 60)), whole)


def test_blocks_without_instances() -> None:
    name = f"F+A{format_offsets(PLANAR)}"
    maps = singula.encode(np.zeros((30, 40), np.uint8), name)
    assert not in_blocks(maps, name, (16, 16)).any()
