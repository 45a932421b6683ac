"""Changes of normalized patches, each compared with an oracle or an invariant."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from singula.data.augment import (
    AUGMENTATIONS,
    Augmentation,
    AugmentSettings,
    ImageAugmentation,
    Patch,
    apply_augmentations,
    in_order,
)
from singula.data.augment.blur import (
    CutBlur,
    GaussianBlur,
    MedianBlur,
    MotionBlur,
    line_kernel,
    lose_resolution,
    median_of_squares,
)
from singula.data.augment.intensity import (
    Background,
    Brightness,
    ChannelShuffle,
    Contrast,
    Gamma,
    Grayscale,
    Invert,
)
from singula.data.augment.noise import CutNoise, Dropout, GaussianNoise, PoissonNoise, SaltAndPepper
from singula.data.augment.regions import CutMix, Cutout, GridMask, MissingSections, straight_band

EXAMPLES: tuple[Augmentation, ...] = (
    CutMix((0.2, 0.4)),
    Grayscale(),
    ChannelShuffle(),
    Invert(),
    Background((0.0, 0.3)),
    Brightness((-0.1, 0.1)),
    Brightness((-0.1, 0.1), relative=False, per_slice=True),
    Contrast((-0.1, 0.1), per_slice=True),
    Contrast((-0.1, 0.1), about_mean=False),
    Gamma((0.6, 1.7)),
    GaussianBlur((1.0, 2.0)),
    MedianBlur((3, 7)),
    MotionBlur((1, 12)),
    CutBlur((0.2, 0.4), (2, 8), inside_only=False),
    PoissonNoise(),
    GaussianNoise(0.0, 0.05),
    CutNoise((0.05, 0.1), (1, 3), (0.2, 0.4)),
    SaltAndPepper(0.05),
    Dropout((0.0, 0.2)),
    MissingSections((10, 30)),
    GridMask(0.6, (0.4, 1.0), 1.0),
    Cutout((1, 3), (0.05, 0.3), 0.0, labels_too=True),
)
shapes = st.one_of(
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3)),
    st.tuples(st.integers(1, 6), st.integers(1, 14), st.integers(1, 14), st.integers(1, 3)),
)
values = st.floats(-4, 4, width=32)


def random_patch(shape: tuple[int, ...], seed: int = 0, low: float = 0.1) -> Patch:
    rng = np.random.default_rng(seed)
    image = (rng.random(shape) * 0.8 + low).astype(np.float32)
    return Patch(image, rng.integers(0, 5, (*shape[:-1], 1)).astype(np.uint16))


def changed(change: ImageAugmentation, image: np.ndarray, seed: int = 0) -> np.ndarray:
    before = image.copy()
    result = change.change(image, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, before)
    return result


def nobody() -> Patch:
    raise AssertionError("no other patch is needed")


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(EXAMPLES), st.integers(0, 10**6))
def test_any_change_of_any_patch(data: st.DataObject, change: Augmentation, seed: int) -> None:
    shape = data.draw(shapes)
    image = data.draw(hnp.arrays(np.float32, shape, elements=values))
    patch = Patch(image, np.random.default_rng(seed).integers(0, 4, (*shape[:-1], 2)))
    other = random_patch(shape, seed + 1)
    other = Patch(other.image, np.repeat(other.labels, 2, axis=-1))
    kept = image.copy(), patch.labels.copy()
    first, again = (
        change.apply(patch, np.random.default_rng(seed), lambda: other) for _ in range(2)
    )
    assert first.image.dtype == np.float32
    assert first.image.shape == shape
    assert first.labels.shape == patch.labels.shape
    assert np.isfinite(first.image).all()
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(patch.labels, kept[1])
    if not isinstance(change, CutMix):
        assert set(np.unique(first.labels)) <= {0, *np.unique(patch.labels)}


def test_every_change_has_an_example_and_a_position() -> None:
    assert {type(c) for c in EXAMPLES} == set(AUGMENTATIONS)
    assert in_order(EXAMPLES[::-1])[0] == EXAMPLES[0]
    assert [type(c) for c in in_order(EXAMPLES[::-1])] == [type(c) for c in EXAMPLES]


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_each_change_is_applied_with_its_probability(probability: float) -> None:
    add = AugmentSettings(probability, changes=(Brightness((1, 1), relative=False),) * 400)
    start = Patch(np.zeros((2, 2, 1), np.float32), np.zeros((2, 2, 1), np.uint8))
    made = apply_augmentations(start, add, np.random.default_rng(0), nobody).image
    assert made[0, 0, 0] == pytest.approx(400 * probability, abs=60 if probability == 0.5 else 0)


class TestIntensity:
    image = random_patch((24, 24, 2)).image
    volume = random_patch((5, 12, 12, 2)).image

    def test_brightness_adds_one_number(self) -> None:
        difference = changed(Brightness((0.1, 0.1)), self.image) - self.image
        np.testing.assert_allclose(difference, 0.1 * np.ptp(self.image), rtol=1e-4)
        absolute = changed(Brightness((0.1, 0.1), relative=False), self.image) - self.image
        np.testing.assert_allclose(absolute, 0.1, rtol=1e-4)

    def test_contrast_keeps_the_mean_or_zero(self) -> None:
        result = changed(Contrast((0.5, 0.5)), self.image)
        assert result.mean() == pytest.approx(self.image.mean(), rel=1e-5)
        assert result.std() == pytest.approx(1.5 * self.image.std(), rel=1e-4)
        scaled = changed(Contrast((0.5, 0.5), about_mean=False), self.image)
        np.testing.assert_allclose(scaled, 1.5 * self.image, rtol=1e-6)

    @pytest.mark.parametrize("kind", [Brightness, Contrast])
    def test_slices_have_separate_values_only_if_requested(self, kind: Any) -> None:
        for per_slice in (False, True):
            result = changed(kind((-0.5, 0.5), per_slice=per_slice), self.volume)
            ratio = np.diff(result, axis=1) / np.diff(self.volume, axis=1)
            shift = result.mean(axis=(1, 2, 3)) - self.volume.mean(axis=(1, 2, 3))
            numbers = shift if kind is Brightness else np.median(ratio, axis=(1, 2, 3))
            assert (np.ptp(numbers) > 0.05) == per_slice
            flat = kind((-0.5, 0.5), per_slice=per_slice)
            one = changed(flat, self.volume[:1])
            np.testing.assert_allclose(one[0], changed(flat, self.volume[0]), rtol=1e-5)

    def test_inversion_exchanges_black_and_white(self) -> None:
        image = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4, 1)
        np.testing.assert_allclose(changed(Invert(), image), image[::-1, ::-1], atol=1e-6)
        dim = 0.1 + 0.2 * image  # a patch without black and white, for example of the background
        np.testing.assert_allclose(changed(Invert(), dim), 1 - dim, atol=1e-6)

    @pytest.mark.parametrize("seed", range(5))
    def test_background_adds_smooth_light_of_the_given_strength(self, seed: int) -> None:
        added = changed(Background((0.3, 0.3)), self.volume, seed) - self.volume
        np.testing.assert_allclose(
            added, np.broadcast_to(added[:1, ..., :1], added.shape), atol=1e-6
        )
        assert added.min() == pytest.approx(0, abs=1e-6)
        assert added.max() == pytest.approx(0.3, abs=1e-5)
        # The third difference of a polynomial of degree 2 is zero.
        for axis in (1, 2):
            np.testing.assert_allclose(np.diff(added, 3, axis=axis), 0, atol=1e-5)

    def test_gamma_keeps_order_and_range(self) -> None:
        result = changed(Gamma((1.7, 1.7)), self.image - 0.5)
        assert result.min() == pytest.approx(self.image.min() - 0.5)
        assert result.max() == pytest.approx(self.image.max() - 0.5)
        order = np.argsort(self.image.ravel())
        assert (np.diff(result.ravel()[order]) >= 0).all()

    def test_gray_is_the_mean_in_every_channel(self) -> None:
        result = changed(Grayscale(), self.image)
        expected = np.broadcast_to(self.image.mean(-1, keepdims=True), self.image.shape)
        np.testing.assert_allclose(result, expected, rtol=1e-6)

    def test_shuffling_permutes_the_channels(self) -> None:
        image = np.broadcast_to(np.arange(4, dtype=np.float32), (3, 3, 4))
        found = {tuple(changed(ChannelShuffle(), image, seed)[0, 0]) for seed in range(200)}
        assert len(found) == 24
        assert all(sorted(order) == [0, 1, 2, 3] for order in found)


class TestBlur:
    image = random_patch((24, 26, 2)).image

    def test_gaussian_blur_smooths_the_plane_and_not_across_channels(self) -> None:
        result = changed(GaussianBlur((1.5, 1.5)), self.image)
        for channel in range(2):
            expected = ndimage.gaussian_filter(self.image[..., channel], 1.5, mode="nearest")
            np.testing.assert_allclose(result[..., channel], expected, rtol=1e-5)

    @settings(deadline=None, max_examples=25)
    @given(hnp.arrays(np.float32, shapes, elements=values), st.sampled_from([1, 3, 5, 7]))
    def test_median_equals_scipy(self, image: np.ndarray, side: int) -> None:
        size = (1,) * (image.ndim - 3) + (side, side, 1)
        expected = ndimage.median_filter(image, size, mode="nearest")
        np.testing.assert_array_equal(median_of_squares(image, side), expected)

    def test_the_kernel_of_a_median_is_odd(self) -> None:
        image = self.image
        found = [changed(MedianBlur((4, 6)), image, seed) for seed in range(20)]
        allowed = [median_of_squares(image, side) for side in (5, 7)]
        assert all(any(np.array_equal(f, a) for a in allowed) for f in found)

    def test_motion_blur_is_a_mean_along_a_line(self) -> None:
        flat = np.full((16, 16, 1), 0.3, np.float32)
        np.testing.assert_allclose(changed(MotionBlur((8, 12)), flat), 0.3, rtol=1e-5)
        point = np.zeros((31, 31, 1), np.float32)
        point[15, 15] = 1
        for seed in range(10):
            smeared = changed(MotionBlur((9, 9)), point, seed)[..., 0]
            assert smeared.sum() == pytest.approx(1, rel=1e-5)
            y, x = np.nonzero(smeared)
            assert np.hypot(y - 15, x - 15).max() <= 4 + np.sqrt(2)
            spread = np.linalg.eigvalsh(np.cov(y, x, aweights=smeared[y, x]))
            assert spread[0] < 0.6
            assert spread[1] == pytest.approx((9**2 - 1) / 12, rel=0.2)

    def test_a_line_of_one_point_blurs_nothing(self) -> None:
        np.testing.assert_allclose(changed(MotionBlur((1, 1)), self.image), self.image, rtol=1e-6)
        kernel = line_kernel(5, 0.0)
        np.testing.assert_allclose(kernel[kernel > 0], 0.2, rtol=1e-6)

    def test_resolution_is_reduced_by_means_of_blocks(self) -> None:
        image = random_patch((24, 24, 1)).image
        result = lose_resolution(image, 4)
        blocks = image.reshape(6, 4, 6, 4).mean(axis=(1, 3))
        centers = result.reshape(6, 4, 6, 4)[:, 1:3, :, 1:3].mean(axis=(1, 3))
        assert np.corrcoef(blocks.ravel(), centers.ravel())[0, 1] > 0.95
        assert result.std() < 0.4 * image.std()
        np.testing.assert_allclose(lose_resolution(image, 1), image, rtol=1e-6)

    def test_cutblur_changes_a_box_or_everything_outside(self) -> None:
        image = random_patch((40, 40, 1)).image
        shares = []
        for inside in (True, False):
            change = CutBlur((0.25, 0.25), (4, 4), inside)
            differs = [changed(change, image, seed) != image for seed in range(30)]
            shares.append({round(float(d.mean()), 1) for d in differs})
        assert shares[0] == {0.1}
        assert shares[1] == {0.1, 0.9}


class TestNoise:
    image = random_patch((80, 80, 2)).image

    def test_gaussian_noise_has_the_given_variance(self) -> None:
        noise = changed(GaussianNoise(0.2, 0.04), self.image) - self.image
        assert noise.mean() == pytest.approx(0.2, abs=0.01)
        assert noise.std() == pytest.approx(0.2, rel=0.05)
        own = changed(GaussianNoise(from_image=True), self.image) - self.image
        assert own.mean() == pytest.approx(self.image.mean(), rel=0.05)
        assert own.var() == pytest.approx(self.image.var(), rel=0.05)

    @pytest.mark.parametrize("dark", [0.0, -3.0])
    def test_poisson_noise_grows_with_the_intensity(self, dark: float) -> None:
        image = np.full((100, 100, 2), dark, np.float32)
        image[..., 1] += 1
        result = changed(PoissonNoise((50, 50)), image)
        assert (result[..., 0] == dark).all()
        assert result[..., 1].mean() == pytest.approx(dark + 1, abs=0.01)
        assert result[..., 1].var() == pytest.approx(1 / 50, rel=0.1)

    @pytest.mark.parametrize(("salt", "low"), [(0.0, 0.1), (0.5, 0.1), (1.0, 0.1), (0.3, -2.0)])
    def test_salt_and_pepper_have_their_fractions(self, salt: float, low: float) -> None:
        image = random_patch((80, 80, 2), low=low).image
        result = changed(SaltAndPepper(0.1, salt), image)
        white, black = result == max(1, image.max()), result == min(0, image.min())
        already = 1 / image.size
        assert white.mean() == pytest.approx(0.1 * salt, abs=0.01 + already)
        assert black.mean() == pytest.approx(0.1 * (1 - salt), abs=0.01 + already)
        untouched = ~white & ~black
        np.testing.assert_array_equal(result[untouched], image[untouched])

    def test_dropout_removes_whole_pixels(self) -> None:
        result = changed(Dropout((0.15, 0.15)), self.image)
        lost = result == 0
        assert lost.mean() == pytest.approx(0.15, abs=0.02)
        np.testing.assert_array_equal(lost[..., 0], lost[..., 1])
        np.testing.assert_array_equal(result[~lost], self.image[~lost])

    def test_cutnoise_stays_in_its_boxes(self) -> None:
        result = changed(CutNoise((0.1, 0.1), (1, 1), (0.5, 0.5)), self.image)
        y, x, _ = np.nonzero(result != self.image)
        assert (np.ptp(y), np.ptp(x)) == (39, 39)
        noise = (result - self.image)[y.min() : y.max() + 1, x.min() : x.max() + 1]
        assert noise.std() == pytest.approx(0.1 * np.ptp(self.image), rel=0.1)


class TestRegions:
    @pytest.mark.parametrize("labels_too", [False, True])
    @pytest.mark.parametrize("shape", [(40, 40, 1), (8, 40, 40, 1)])
    def test_cutout_fills_a_box(self, shape: tuple[int, ...], labels_too: bool) -> None:
        patch = random_patch(shape)
        patch.labels[...] = 3
        change = Cutout((1, 1), (0.25, 0.25), -7.0, labels_too)
        result = change.apply(patch, np.random.default_rng(0), nobody)
        hole = result.image == -7
        box = tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(hole)[:-1])
        assert hole[box].all()
        assert [s.stop - s.start for s in box] == [n // 4 for n in shape[:-1]]
        np.testing.assert_array_equal(result.labels == 0, hole & labels_too)

    def test_the_number_of_boxes_is_drawn(self) -> None:
        patch = random_patch((200, 200, 1))
        counts = set()
        for seed in range(30):
            rng = np.random.default_rng(seed)
            image = Cutout((1, 3), (0.02, 0.02), -7.0).apply(patch, rng, nobody).image
            counts.add(int(ndimage.label(image[..., 0] == -7)[1]))
        assert counts == {1, 2, 3}

    @pytest.mark.parametrize(
        "dtype", [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32, np.int64]
    )
    def test_cutmix_joins_two_patches_with_separate_ids(self, dtype: Any) -> None:
        top = int(np.iinfo(dtype).max) - 1
        labels = np.full((32, 32, 2), 2, dtype)
        labels[:16, :, 0] = top
        mine = Patch(np.zeros((32, 32, 1), np.float32), labels)
        others = np.full((32, 32, 2), 4, dtype)
        others[..., 0] = np.indices((32, 32))[1] // 4 % 3
        other = Patch(np.ones((32, 32, 1), np.float32), others)
        result = CutMix((0.5, 0.5)).apply(mine, np.random.default_rng(1), lambda: other)
        box = result.image[..., 0] == 1
        assert box.sum() == 256
        ids = result.labels[..., 0]
        np.testing.assert_array_equal(ids[~box], labels[~box][:, 0])
        np.testing.assert_array_equal(result.labels[..., 1], np.where(box, 4, 2))
        np.testing.assert_array_equal(ids[box] == 0, others[box][:, 0] == 0)
        for number in (1, 2):
            (new,) = np.unique(ids[box & (others[..., 0] == number)])
            assert int(new) > top
            np.testing.assert_array_equal(ids == new, box & (others[..., 0] == number))
        assert np.issubdtype(ids.dtype, np.integer)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32])
    @pytest.mark.parametrize("sparse", ["patch", "other", "both"])
    def test_cutmix_keeps_pixels_that_are_not_annotated(self, dtype: Any, sparse: str) -> None:
        top = int(np.iinfo(dtype).max)
        labels, others = np.full((2, 32, 32, 1), top).astype(np.int64)
        others[..., 0] = np.indices((32, 32))[1] // 4 % 3
        labels[:, ::5], others[:, ::3] = 0, 0
        stored = []
        for array, name in ((labels, "patch"), (others, "other")):
            if sparse in (name, "both"):
                array[::4] = -1
            signed = np.result_type(dtype, np.int8) if array.min() < 0 else dtype
            stored.append(array.astype(signed))
        mine, other = (
            Patch(np.full((32, 32, 1), value, np.float32), array)
            for value, array in enumerate(stored)
        )
        result = CutMix((0.5, 0.5)).apply(mine, np.random.default_rng(1), lambda: other)
        box = result.image[..., 0] == 1
        expected = np.where(others > 0, top + others, others)
        np.testing.assert_array_equal(
            result.labels.astype(np.int64), np.where(box[..., None], expected, labels)
        )

    def test_cutmix_keeps_the_type_where_the_ids_fit(self) -> None:
        mine, other = random_patch((16, 16, 1)), random_patch((16, 16, 1), 1)
        result = CutMix((0.3, 0.6)).apply(mine, np.random.default_rng(0), lambda: other)
        assert result.labels.dtype == np.uint16

    @pytest.mark.parametrize("invert", [False, True])
    @pytest.mark.parametrize("keep", [0.0, 0.36, 0.6, 1.0])
    def test_gridmask_keeps_its_fraction(self, keep: float, invert: bool) -> None:
        volume = random_patch((2, 120, 120, 1)).image
        change = GridMask(keep, (0.1, 0.2), 1.0, invert)
        results = [changed(change, volume, seed) for seed in range(25)]
        kept = np.mean([(r != 0).mean() for r in results])
        assert kept == pytest.approx(1 - keep if invert else keep, abs=0.03)
        for result in results:
            np.testing.assert_array_equal(result[0] == 0, result[1] == 0)
            np.testing.assert_array_equal(result[result != 0], volume[result != 0])

    def test_missing_sections_remove_a_band(self) -> None:
        volume = random_patch((12, 60, 60, 1)).image
        counts = set()
        for seed in range(20):
            lost = changed(MissingSections((3, 5)), volume, seed) == 0
            touched = lost.any(axis=(1, 2, 3))
            counts.add(int(touched.sum()))
            for band in lost[touched]:
                assert 1 <= band.sum() <= 11.5 * 60 * np.sqrt(2)
        assert counts == {1, 2, 3}

    def test_a_band_has_the_configured_width(self) -> None:
        band = straight_band((41, 41), np.array([20.0, 20.0]), 0.0, 4)
        np.testing.assert_array_equal(np.nonzero(band.all(axis=1))[0], np.arange(16, 25))
        assert band.sum() == 9 * 41
        slanted = straight_band((41, 41), np.array([20.0, 20.0]), 0.7, 4)
        far = ndimage.distance_transform_edt(slanted)
        assert far.max() == pytest.approx(5, abs=0.8)


@pytest.mark.parametrize(
    "make", [MedianBlur, MotionBlur, GaussianBlur], ids=["median", "motion", "gaussian"]
)
def test_blurs_of_a_plane_are_those_of_a_volume_of_one_slice(make: Callable[..., Any]) -> None:
    image = random_patch((20, 22, 2)).image
    change = make((5, 5))
    np.testing.assert_allclose(
        changed(change, image), changed(change, image[None])[0], rtol=1e-6, atol=1e-7
    )
