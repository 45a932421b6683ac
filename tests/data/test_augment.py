"""Geometric changes of image and labels, compared with scipy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import ndimage

from singula.data.augment import (
    AugmentSettings,
    Geometry,
    Mirror,
    draw_geometry,
    draw_mirror,
    sample_pair,
)
from singula.data.augment.bend import draw_bend
from singula.data.augment.geometry import Movement, turn

SCIPY = {
    "reflect": "mirror",
    "symmetric": "reflect",
    "nearest": "nearest",
    "constant": "constant",
    "wrap": "grid-wrap",
}
ALL = AugmentSettings(
    probability=1.0,
    rotation=(-180, 180),
    zoom=(0.7, 1.4),
    shift=(0.1, 0.2),
    shear=(-20, 20),
    elastic_alpha=(60, 80),
    misalignment=5,
    rot90=True,
    vflip=True,
    hflip=True,
    zflip=True,
)


def nuclei(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return an image whose brightness is a function of the id, and its labels."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, np.int32)
    for number in range(1, 9):
        seeds[tuple(rng.integers(4, s - 4) if s > 8 else 0 for s in shape)] = number
    near = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    labels = np.where(near[0] < 7, seeds[tuple(near[1])], 0).astype(np.uint16)
    return labels[..., None].astype(np.float32) * 20, labels[..., None]


@hypothesis_settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(sorted(SCIPY)), st.sampled_from([2, 3]))
def test_image_and_labels_are_transformed_alike(seed: int, mode: str, ndim: int) -> None:
    shape = (64, 80) if ndim == 2 else (7, 48, 48)
    _, labels = nuclei(shape)
    labels[labels > 0] = 1
    patch, start = (*shape[:-2], 32, 32), (0,) * (ndim - 2) + (9, 5)
    rng = np.random.default_rng(seed)
    geometry = draw_geometry(ALL, patch, rng)
    pair = sample_pair(labels, labels, start, patch, geometry, mode=mode, elastic_mode=mode)
    mirror = draw_mirror(patch, ALL, rng)
    moved, ids = (mirror.apply(array) for array in pair)
    assert moved.shape == ids.shape == (*patch, 1)
    assert (moved.dtype, ids.dtype) == (np.float32, labels.dtype)
    assert set(np.unique(ids)) <= {0, 1}
    # A half is the contour of the interpolated image, and where the nearest pixel changes.
    assert (np.abs(moved - ids) <= 0.5 + 1e-4).mean() > 0.97


@pytest.mark.parametrize("mode", sorted(SCIPY))
@pytest.mark.parametrize("seed", range(4))
def test_resampling_equals_scipy(mode: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (37, 41, 2)).astype(np.uint8)
    labels = rng.integers(0, 2**32, (37, 41, 1), dtype=np.uint32)
    geometry = draw_geometry(ALL, (24, 28), rng)
    moved, ids = sample_pair(
        image, labels, (6, 5), (24, 28), geometry, mode=mode, elastic_mode=mode
    )
    grid = np.indices((24, 28)).astype(float)
    center = np.array([11.5, 13.5])[:, None, None]
    places = np.einsum("ab,byx->ayx", geometry.matrix, grid - center) + center
    places += (np.array([6, 5]) + geometry.shift)[:, None, None]
    if mode == "reflect":  # the displacement starts from where the mirror leads
        last = np.array([36.0, 40.0])[:, None, None]
        places = last - np.abs(places % (2 * last) - last) + geometry.displacement
    else:
        geometry = Geometry(geometry.matrix, geometry.shift)
        moved, ids = sample_pair(image, labels, (6, 5), (24, 28), geometry, mode=mode)
    expected = ndimage.map_coordinates(
        labels[..., 0].astype(float), places, order=0, mode=SCIPY[mode]
    )
    assert (ids[..., 0] == expected).mean() > 0.999
    for channel in range(2):
        expected = ndimage.map_coordinates(
            image[..., channel].astype(float), places, order=1, mode=SCIPY[mode]
        )
        assert (np.abs(moved[..., channel] - expected) < 1e-2).mean() > 0.999


def test_affine_and_elastic_have_separate_border_modes() -> None:
    ones = np.ones((16, 16, 1), np.uint8)
    out = np.full((2, 16, 16), 0.0, np.float32)
    out[1] = 4.0  # everything is taken four pixels to the right
    shifted = Geometry(np.eye(2), np.array([0.0, 4.0]))
    bent = Geometry(np.eye(2), np.zeros(2), out)
    for geometry, reached in ((shifted, "mode"), (bent, "elastic_mode")):
        for name in ("mode", "elastic_mode"):
            modes = {"mode": "reflect", "elastic_mode": "reflect", name: "constant"}
            pair = sample_pair(ones, ones, (0, 0), (16, 16), geometry, **modes)
            for array in pair:
                np.testing.assert_array_equal(array[:, :12], 1)
                np.testing.assert_array_equal(array[:, 12:], 0 if name == reached else 1)


def test_padding_of_a_small_image_counts_as_image() -> None:
    small = np.arange(1, 101, dtype=np.uint8).reshape(10, 10, 1)
    there = sample_pair(small, small, (-3, -3), (16, 16), Geometry(np.eye(2), np.zeros(2)))[0]
    turned = Geometry(turn(np.pi), np.zeros(2))
    again = sample_pair(small, small, (-3, -3), (16, 16), turned, mode="constant")[0]
    np.testing.assert_allclose(again, there[::-1, ::-1])
    assert there.min() > 0


def test_identity_geometry_is_a_crop() -> None:
    image, labels = nuclei((40, 40))
    geometry = Geometry(np.eye(2), np.zeros(2))
    cut, ids = sample_pair(image, labels, (3, 4), (16, 16), geometry)
    np.testing.assert_array_equal(cut, image[3:19, 4:20])
    np.testing.assert_array_equal(ids, labels[3:19, 4:20])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64, np.dtype(">u2")])
def test_a_quarter_turn_by_resampling_equals_rot90(dtype: Any) -> None:
    image = np.random.default_rng(0).random((21, 21, 1)).astype(np.float32)
    highest = np.iinfo(dtype).max
    labels = np.random.default_rng(1).integers(highest - 9, highest, (21, 21, 1), dtype=np.uint64)
    labels = labels.astype(dtype)
    quarter = Geometry(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.zeros(2))
    for mode in ("constant", "reflect"):
        turned, ids = sample_pair(image, labels, (0, 0), (21, 21), quarter, mode=mode)
        np.testing.assert_allclose(turned[..., 0], np.rot90(image[..., 0]), atol=1e-6)
        np.testing.assert_array_equal(ids[..., 0], np.rot90(labels[..., 0]))
        assert ids.dtype == dtype


def test_rotation_uses_real_neighbors_instead_of_mirrored_ones() -> None:
    image = np.zeros((60, 60, 1), np.float32)
    image[..., 0] = np.arange(60)  # brightness is the column
    geometry = Geometry(turn(np.deg2rad(45)), np.zeros(2))
    patch, _ = sample_pair(image, image.astype(int), (20, 20), (20, 20), geometry)
    # The corners of the turned window lie outside columns 20…39, where a cut patch ends.
    assert patch.min() < 18
    assert patch.max() > 41


def test_zoom_above_one_enlarges() -> None:
    labels = np.zeros((64, 64, 1), np.uint8)
    labels[24:40, 24:40] = 1
    zoom = AugmentSettings(probability=1.0, zoom=(2.0, 2.0))
    geometry = draw_geometry(zoom, (64, 64), np.random.default_rng(0))
    area = sample_pair(labels, labels, (0, 0), (64, 64), geometry)[1].sum()
    assert area == pytest.approx(4 * 16 * 16, rel=0.08)


def test_shifts_are_in_the_range_in_both_directions() -> None:
    shift = AugmentSettings(probability=1.0, shift=(0.1, 0.2))
    drawn = np.array(
        [draw_geometry(shift, (50, 100), np.random.default_rng(i)).shift for i in range(60)]
    )
    share = np.abs(drawn) / [50, 100]
    assert share.min() >= 0.1
    assert share.max() <= 0.2
    assert (drawn < 0).any(axis=0).all()
    assert (drawn > 0).any(axis=0).all()


@pytest.mark.parametrize("sigma", [0.3, 2.0, 6.0])
def test_the_elastic_displacement_is_as_strong_and_smooth_as_smoothed_noise(sigma: float) -> None:
    rng = np.random.default_rng(0)
    drawn = np.concatenate([draw_bend((150, 170), 10.0, sigma, rng) for _ in range(6)])
    noise = rng.uniform(-1, 1, drawn.shape)
    smooth = 10 * ndimage.gaussian_filter(noise, (0, sigma, sigma), mode="wrap")
    assert drawn.shape == (12, 150, 170)
    assert drawn.std() == pytest.approx(smooth.std(), rel=0.1)
    if sigma > 0.58:
        for lag in (max(1, round(sigma)), round(2 * sigma)):
            along = [(f[..., lag:] * f[..., :-lag]).mean() / f.var() for f in (drawn, smooth)]
            assert along[0] == pytest.approx(along[1], abs=0.08)


def test_probabilities_of_zero_and_one_half() -> None:
    never = AugmentSettings(
        0.0, rotation=(5, 90), zoom=(2, 3), elastic_alpha=(12, 16), misalignment=3
    )
    assert draw_geometry(never, (4, 16, 16), np.random.default_rng(0)).is_identity
    half = AugmentSettings(probability=0.5, rotation=(5, 90))
    same = [draw_geometry(half, (16, 16), np.random.default_rng(i)).is_identity for i in range(400)]
    assert 0.4 < np.mean(same) < 0.6


class TestMisalignment:
    def test_slices_after_the_first_are_shifted_by_whole_pixels(self) -> None:
        volume = np.random.default_rng(0).integers(0, 99, (6, 40, 40, 1)).astype(np.uint8)
        settings = AugmentSettings(1.0, misalignment=4, misalignment_turns=0.0)
        for seed in range(5):
            geometry = draw_geometry(settings, (6, 16, 16), np.random.default_rng(seed))
            moved, ids = sample_pair(volume, volume, (0, 10, 10), (6, 16, 16), geometry)
            first, (dy, dx) = geometry.misalignment.first, geometry.misalignment.shift.astype(int)
            assert 1 <= first <= 5
            assert max(abs(dy), abs(dx)) <= 4
            np.testing.assert_array_equal(moved, ids)
            np.testing.assert_array_equal(ids[:first], volume[:first, 10:26, 10:26])
            moved_on = volume[first:, 10 + dy : 26 + dy, 10 + dx : 26 + dx]
            np.testing.assert_array_equal(ids[first:], moved_on)

    def test_rotated_slices_move_at_most_as_far_as_shifted_ones(self) -> None:
        settings = AugmentSettings(1.0, misalignment=4, misalignment_turns=1.0)
        rng = np.random.default_rng(0)
        edge = np.array([0.0, 32.0])
        for _ in range(50):
            moved = draw_geometry(settings, (6, 64, 64), rng).misalignment
            assert np.linalg.norm(moved.matrix @ edge - edge) <= 4
            assert not moved.shift.any()

    def test_slice_changes_and_rotation_are_one_mapping(self) -> None:
        _, labels = nuclei((5, 60, 60))
        still = Geometry(turn(0.4), np.array([1.0, 2.0]))
        moved = Geometry(still.matrix, still.shift, None, Movement(2, turn(0.1), np.array([3, 1])))
        first, second = (
            sample_pair(labels, labels, (0, 9, 9), (5, 40, 40), g)[1] for g in (still, moved)
        )
        np.testing.assert_array_equal(first[:2], second[:2])
        both = Geometry(still.matrix @ turn(0.1), still.matrix @ [3, 1] + still.shift)
        expected = sample_pair(labels, labels, (0, 9, 9), (5, 40, 40), both)[1]
        np.testing.assert_array_equal(second[2:], expected[2:])

    def test_a_plane_and_a_single_slice_have_no_slice_changes(self) -> None:
        settings = AugmentSettings(1.0, misalignment=4)
        for shape in ((16, 16), (1, 16, 16)):
            assert draw_geometry(settings, shape, np.random.default_rng(0)).is_identity


def test_a_plane_is_a_volume_of_one_slice() -> None:
    image, labels = nuclei((60, 60))
    geometry = draw_geometry(ALL, (32, 32), np.random.default_rng(3))
    flat = sample_pair(image, labels, (9, 5), (32, 32), geometry)
    deep = sample_pair(image[None], labels[None], (0, 9, 5), (1, 32, 32), geometry)
    for plane, volume in zip(flat, deep, strict=True):
        np.testing.assert_array_equal(plane, volume[0])


def test_flips_act_on_their_own_axis() -> None:
    volume = np.random.default_rng(0).random((3, 4, 5, 1))
    for name, axis in (("zflip", 0), ("vflip", 1), ("hflip", 2)):
        settings = AugmentSettings(probability=1.0, **{name: True})
        mirror = draw_mirror(volume.shape[:3], settings, np.random.default_rng(0))
        np.testing.assert_array_equal(mirror.apply(volume), np.flip(volume, axis))
    # In two dimensions the first axis is y: z flips do not exist.
    plane = volume[0]
    mirror = draw_mirror((4, 5), AugmentSettings(1.0, zflip=True), np.random.default_rng(0))
    np.testing.assert_array_equal(mirror.apply(plane), plane)


def test_quarter_turns_keep_the_shape_of_patches_that_are_not_square() -> None:
    plane = np.random.default_rng(0).random((4, 6, 1))
    for seed in range(6):
        settings = AugmentSettings(1.0, rot90=True)
        turned = draw_mirror((4, 6), settings, np.random.default_rng(seed)).apply(plane)
        np.testing.assert_array_equal(turned, plane[::-1, ::-1])


@given(st.lists(st.integers(0, 2), unique=True), st.integers(0, 3))
def test_a_mirrored_window_holds_the_mirrored_patch(axes: list[int], turns: int) -> None:
    window = np.random.default_rng(0).random((5, 9, 10, 1))
    sides = [(0, 2), (1, 4), (5, 1)]
    patch = window[0:3, 1:5, 5:9]
    mirror = Mirror(3, tuple(axes), turns)
    place = tuple(
        slice(b, n - a)
        for n, (b, a) in zip(mirror.apply(window).shape, mirror.margins(sides), strict=False)
    )
    np.testing.assert_array_equal(mirror.apply(window)[place], mirror.apply(patch))
    np.testing.assert_array_equal(mirror.undo(mirror.apply(window)), window)
