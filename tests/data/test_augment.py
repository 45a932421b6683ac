import numpy as np
import pytest
from scipy import ndimage

from singula.data.augment import (
    AugmentSettings,
    Geometry,
    change_intensity,
    draw_geometry,
    mirror,
    sample_patch,
)


def nuclei(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image whose brightness is a function of the id, so the pair can be checked."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, np.int32)
    for number in range(1, 9):
        seeds[tuple(rng.integers(4, s - 4) if s > 8 else 0 for s in shape)] = number
    near = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    labels = np.where(near[0] < 7, seeds[tuple(near[1])], 0).astype(np.uint16)
    return labels[..., None].astype(np.float32) * 20, labels[..., None]


ALL = AugmentSettings(
    probability=1.0,
    rotation=(-180, 180),
    zoom=(0.7, 1.4),
    shift=(0.1, 0.2),
    shear=(-20, 20),
    elastic_alpha=(12, 16),
    rot90=True,
    vflip=True,
    hflip=True,
    zflip=True,
)


@pytest.mark.parametrize("shape", [(64, 80), (7, 48, 48)])
def test_image_and_labels_go_the_same_way(shape: tuple[int, ...]) -> None:
    image, labels = nuclei(shape)
    patch = (*shape[:-2], 32, 32)
    start = (0,) * (len(shape) - 2) + (9, 5)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        geometry = draw_geometry(ALL, (32, 32), rng)
        moved = sample_patch(image, start, patch, geometry, order=0)
        ids = sample_patch(labels, start, patch, geometry, order=0)
        moved, ids = mirror([moved, ids], len(patch), ALL, rng)
        assert moved.shape == ids.shape == (*patch, 1)
        np.testing.assert_array_equal(moved, ids * np.float32(20))
        assert set(np.unique(ids)) <= set(np.unique(labels))
        assert ids.dtype == labels.dtype


def test_identity_geometry_is_a_plain_cut() -> None:
    image, _ = nuclei((40, 40))
    geometry = Geometry(np.eye(2), np.zeros(2))
    np.testing.assert_array_equal(
        sample_patch(image, (3, 4), (16, 16), geometry, order=1), image[3:19, 4:20]
    )


def test_a_quarter_turn_by_resampling_equals_rot90() -> None:
    image = np.random.default_rng(0).random((21, 21, 1)).astype(np.float32)
    turn = Geometry(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.zeros(2))
    for order in (0, 1):
        turned = sample_patch(image, (0, 0), (21, 21), turn, order=order)
        np.testing.assert_allclose(turned[..., 0], np.rot90(image[..., 0]), atol=1e-6)


def test_rotation_shows_real_neighbours_not_mirrored_ones() -> None:
    image = np.zeros((60, 60, 1), np.float32)
    image[..., 0] = np.arange(60)  # brightness is the column
    angle = np.deg2rad(45)
    turn = Geometry(
        np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), np.zeros(2)
    )
    patch = sample_patch(image, (20, 20), (20, 20), turn, order=1)[..., 0]
    # The corners of the turned window lie outside columns 20…39, where a cut patch ends.
    assert patch.min() < 18
    assert patch.max() > 41


def test_zoom_above_one_enlarges() -> None:
    labels = np.zeros((64, 64, 1), np.uint8)
    labels[24:40, 24:40] = 1
    zoom = AugmentSettings(probability=1.0, zoom=(2.0, 2.0))
    geometry = draw_geometry(zoom, (64, 64), np.random.default_rng(0))
    area = sample_patch(labels, (0, 0), (64, 64), geometry, order=0).sum()
    assert area == pytest.approx(4 * 16 * 16, rel=0.08)


def test_shift_stays_in_its_range_and_goes_both_ways() -> None:
    shift = AugmentSettings(probability=1.0, shift=(0.1, 0.2))
    drawn = np.array(
        [draw_geometry(shift, (50, 100), np.random.default_rng(i)).shift for i in range(60)]
    )
    share = np.abs(drawn) / [50, 100]
    assert share.min() >= 0.1
    assert share.max() <= 0.2
    assert (drawn < 0).any(axis=0).all()
    assert (drawn > 0).any(axis=0).all()


def test_probability_zero_changes_nothing_and_half_changes_half() -> None:
    never = AugmentSettings(probability=0.0, rotation=(5, 90), zoom=(2, 3), elastic_alpha=(12, 16))
    assert draw_geometry(never, (16, 16), np.random.default_rng(0)).is_identity
    half = AugmentSettings(probability=0.5, rotation=(5, 90))
    same = [draw_geometry(half, (16, 16), np.random.default_rng(i)).is_identity for i in range(400)]
    assert 0.4 < np.mean(same) < 0.6


def test_flips_act_on_their_own_axis() -> None:
    volume = np.random.default_rng(0).random((3, 4, 5, 1))
    for name, axis in (("zflip", 0), ("vflip", 1), ("hflip", 2)):
        settings = AugmentSettings(probability=1.0, **{name: True})
        (flipped,) = mirror([volume], 3, settings, np.random.default_rng(0))
        np.testing.assert_array_equal(flipped, np.flip(volume, axis))
    # In two dimensions the first axis is y: z flips do not exist.
    plane = volume[0]
    (same,) = mirror([plane], 2, AugmentSettings(1.0, zflip=True), np.random.default_rng(0))
    np.testing.assert_array_equal(same, plane)


def test_quarter_turns_keep_the_shape_of_patches_that_are_not_square() -> None:
    plane = np.random.default_rng(0).random((4, 6, 1))
    for seed in range(6):
        settings = AugmentSettings(1.0, rot90=True)
        (turned,) = mirror([plane], 2, settings, np.random.default_rng(seed))
        np.testing.assert_array_equal(turned, plane[::-1, ::-1])


class TestIntensity:
    image = np.random.default_rng(0).random((24, 24, 2)).astype(np.float32) * 0.8 + 0.1

    def change(self, seed: int = 0, **changes: object) -> np.ndarray:
        settings = AugmentSettings(probability=1.0, **changes)  # type: ignore[arg-type]
        result = change_intensity(self.image.copy(), settings, np.random.default_rng(seed))
        assert result.dtype == np.float32
        return result

    def test_brightness_adds_one_number(self) -> None:
        difference = self.change(brightness=(0.1, 0.1)) - self.image
        np.testing.assert_allclose(difference, 0.1 * np.ptp(self.image), rtol=1e-4)

    def test_contrast_keeps_the_mean(self) -> None:
        result = self.change(contrast=(0.5, 0.5))
        assert result.mean() == pytest.approx(self.image.mean(), rel=1e-5)
        assert result.std() == pytest.approx(1.5 * self.image.std(), rel=1e-4)

    def test_gamma_keeps_order_and_range(self) -> None:
        result = self.change(gamma=(1.7, 1.7))
        assert result.min() == pytest.approx(self.image.min())
        assert result.max() == pytest.approx(self.image.max())
        order = np.argsort(self.image.ravel())
        assert (np.diff(result.ravel()[order]) >= 0).all()

    def test_blur_smooths_the_plane_and_not_across_channels(self) -> None:
        result = self.change(blur=(1.5, 1.5))
        for channel in range(2):
            expected = ndimage.gaussian_filter(self.image[..., channel], 1.5, mode="nearest")
            np.testing.assert_allclose(result[..., channel], expected, rtol=1e-5)

    def test_noise_has_the_asked_variance(self) -> None:
        noise = self.change(noise=True, noise_mean=0.2, noise_var=0.04) - self.image
        assert noise.mean() == pytest.approx(0.2, abs=0.03)
        assert noise.std() == pytest.approx(0.2, rel=0.1)
