"""Labels that do not show the objects are found without false alarms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from singula.autoconfig import propose
from singula.dataset.facts import Machine, survey_dataset
from singula.dataset.facts.plausible import find_surround, restarts_in_slices, suspicion
from singula.errors import UserError
from singula.io.read import read_labels
from singula.io.write import write_tiff
from singula.synthetic.fluorescence import make_dataset

SHARED = Path(__file__).parents[4] / "shared" / "data"
SHAPES = {2: (64, 72), 3: (12, 40, 44)}


def cells(seed: int, ndim: int, count: int, gap: int) -> np.ndarray:
    """Return Voronoi cells that cover the image except for gaps."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[ndim]
    seeds = np.zeros(shape, np.uint16)
    places = tuple(rng.integers(0, size, count) for size in shape)
    seeds[places] = 1 + np.arange(count)
    _, near = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    ids = seeds[tuple(near)]
    if gap:
        size = (2 * gap + 1,) * ndim
        edge = ndimage.maximum_filter(ids, size) != ndimage.minimum_filter(ids, size)
        ids = np.where(edge, 0, ids)
    return ids


def shuffled(ids: np.ndarray, seed: int, *, unique: bool = False) -> np.ndarray:
    """Permute the ids of each slice, or number each slice separately."""
    made = np.zeros(ids.shape, np.uint32)
    for z, plane in enumerate(ids):
        names = np.unique(plane[plane > 0])
        new = np.random.default_rng(seed + z).permutation(len(names)) + 1 + unique * 1000 * z
        made[z][plane > 0] = new[np.searchsorted(names, plane[plane > 0])]
    return made


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.integers(6, 40), st.sampled_from([0, 1]))
def test_crowded_images_raise_no_alarm(seed: int, ndim: int, count: int, gap: int) -> None:
    """Objects cover the whole image, or all of it except thin gaps."""
    ids = cells(seed, ndim, count, gap)
    assert suspicion(ids) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.integers(3, 30))
def test_the_background_with_an_id_is_found(seed: int, ndim: int, count: int) -> None:
    ids = cells(seed, ndim, count, 1)
    ids = np.where(ndimage.grey_erosion(ids, size=(5,) * ndim) == ids, ids, 0)
    ids = np.pad(ids, 2)
    for shift in (1, 7):
        found = find_surround(ids + np.uint16(shift))
        assert (found is not None) == bool(ids.any() or found)
        if ids.any():
            assert found is not None
            assert (found.id, found.others) == (shift, len(np.unique(ids[ids > 0])))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(6, 30), st.booleans())
def test_ids_that_restart_in_each_slice_are_found(seed: int, count: int, unique: bool) -> None:
    ids = cells(seed, 3, count, 1)
    assert not restarts_in_slices(ids)
    names = [len(np.unique(plane[plane > 0])) for plane in ids]
    if min(names) >= 6:  # of few ids some are the same by chance
        assert restarts_in_slices(shuffled(ids, seed, unique=unique))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("shape", "count", "radius"), [((20, 64, 64), 10, 8), ((12, 96, 96), 30, 6)]
)
def test_slices_labeled_in_raster_order_are_found(
    shape: tuple[int, ...], count: int, radius: int, seed: int
) -> None:
    """Slices of balls labeled separately: ids restart at 1, and many agree by chance."""
    rng, grid = np.random.default_rng(seed), np.indices(shape)
    balls, number = np.zeros(shape, np.uint16), 0
    for _ in range(8 * count):
        center = [rng.integers(radius // 2, size - radius // 2) for size in shape]
        ball = sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)) <= radius**2
        if number < count and not balls[ball].any():
            number += 1
            balls[ball] = number
    assert not restarts_in_slices(balls)
    assert restarts_in_slices(np.stack([ndimage.label(plane)[0] for plane in balls]))


def test_volumes_of_objects_that_are_truly_thin_raise_no_alarm() -> None:
    ids = np.zeros((10, 60, 60), np.uint16)
    rng, number = np.random.default_rng(0), 0
    for z in range(10):
        for _ in range(6):
            number += 1
            y, x = rng.integers(0, 52, 2)
            ids[z, y : y + 8, x : x + 8] = number
    assert suspicion(ids) is None


def test_masks_and_single_objects_raise_no_alarm() -> None:
    ring = np.zeros((60, 60), np.uint8)
    ring[5:55, 5:55] = 1
    ring[15:45, 15:45] = 0
    cell = np.zeros((60, 60), np.uint8)
    cell[:, 2:] = 1  # touches three sides
    for ids in (ring, cell, np.zeros((60, 60), np.uint8), np.ones((1, 60), np.uint8)):
        assert suspicion(ids) is None


def test_ids_and_classes_that_exclude_each_other_are_one_hot_masks() -> None:
    ids = np.zeros((60, 60), np.uint8)
    ids[5:20, 5:20] = ids[30:50, 30:50] = 1
    assert suspicion(ids, ids) is None
    assert suspicion(ids, ids * 0) is None
    assert suspicion(ids, 1 - ids) is not None
    assert suspicion(1 - ids, ids) is not None


@pytest.mark.parametrize("ndim", [2, 3])
def test_drawn_data_raise_no_alarm(tmp_path: Path, ndim: int) -> None:
    shape = (96, 96) if ndim == 2 else (16, 64, 64)
    rng = np.random.default_rng(1)
    make_dataset(tmp_path, ndim, rng, n_train=4, n_val=1, n_test=1, shape=shape)
    for path in tmp_path.rglob("y/*.tif"):
        assert suspicion(read_labels(path, ndim).array[..., 0]) is None


def test_real_images_raise_no_alarm_and_their_damage_does() -> None:
    folder = SHARED / "dsb2018"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    paths = sorted(folder.rglob("label/*.tif"))
    assert len(paths) > 300
    for path in paths:
        ids = read_labels(path, 2).array[..., 0].astype(np.uint32)
        assert find_surround(ids) is None, path
        assert find_surround((ids > 0).astype(np.uint8)) is None, path
        found = find_surround(ids + 1)
        assert found is not None, path
        assert found.id == 1
        assert find_surround((ids == 0).astype(np.uint8)) is not None, path


def test_real_volumes_raise_no_alarm_and_their_damage_does() -> None:
    path = SHARED / "nuclei3d" / "mask3d.tif"
    if not path.is_file():
        pytest.skip(f"no real data: {path} is missing")
    ids = read_labels(path, 3).array[..., 0]
    assert suspicion(ids) is None
    assert restarts_in_slices(shuffled(ids, 0))
    assert find_surround(ids + 1) is not None


@pytest.mark.parametrize("change", [
    lambda ids: np.where(ids == 0, 255, 0).astype(np.uint8),
    lambda ids: ids + np.uint16(1),
])  # fmt: skip
def test_no_configuration_is_made_for_labels_that_do_not_show_the_objects(
    tmp_path: Path, change
) -> None:
    make_dataset(
        tmp_path, 2, np.random.default_rng(3), n_train=3, n_val=1, n_test=1, shape=(96, 96)
    )
    machine = Machine(cores=2, memory=8 << 30)
    assert propose(survey_dataset(tmp_path, machine=machine)).yaml
    paths = sorted((tmp_path / "train" / "y").iterdir())
    for number, path in enumerate(paths):
        write_tiff(path, change(read_labels(path, 2).array[..., 0].astype(np.uint16)), "YX")
        survey = survey_dataset(tmp_path, machine=machine)
        if 2 * (number + 1) <= len(paths):
            assert propose(survey).yaml
            continue
        with pytest.raises(UserError) as caught:
            propose(survey)
        assert caught.value.code == "init.implausible_labels"
        assert "check" in str(caught.value.hint)
