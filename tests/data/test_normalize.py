import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from singula.data import statistics
from singula.data.normalize import Normalizer
from singula.errors import UserError

IMAGES = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int32, np.float32]),
    (9, 11, 2),
    elements=st.integers(0, 200),
)


@settings(deadline=None, max_examples=25)
@given(IMAGES, st.sampled_from([None, (0.0, 100.0), (2.0, 97.5), (10.0, 60.0)]))
def test_scale_range_per_image_against_numpy(
    image: np.ndarray, clip: tuple[float, float] | None
) -> None:
    result = Normalizer("scale_range", True, clip).scaling(image).apply(image)
    for channel in range(2):
        values = image[..., channel].astype(np.float64)
        if clip:
            values = np.clip(values, *np.percentile(values, clip))
        span = max(values.max() - values.min(), 1e-6)
        np.testing.assert_allclose(
            result[..., channel], (values - values.min()) / span, rtol=1e-4, atol=1e-4
        )


@settings(deadline=None, max_examples=25)
@given(st.lists(IMAGES, min_size=2, max_size=3))
def test_custom_over_the_set_is_mean_and_deviation_of_all_pixels(images: list[np.ndarray]) -> None:
    fitted = Normalizer("custom", per_image=False).fit(images)
    every = np.concatenate([i.reshape(-1, 2) for i in images]).astype(np.float64)
    assert fitted.statistics is not None
    np.testing.assert_allclose(fitted.statistics["mean"], every.mean(0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fitted.statistics["std"], every.std(0), rtol=1e-6, atol=1e-9)
    assert not fitted.needs_fit
    # Each image with the numbers of the set, not with its own.
    scaled = fitted.scaling(images[0]).apply(images[0])
    expected = (images[0] - every.mean(0)) / np.maximum(every.std(0), 1e-6)
    np.testing.assert_allclose(scaled, expected, rtol=1e-3, atol=1e-3)


def test_percentiles_of_a_set_are_those_of_all_pixels_together() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 4000, (30, 40, 1)).astype(np.uint16) for _ in range(3)]
    fitted = Normalizer("scale_range", False, (1.0, 99.0)).fit(images)
    every = np.concatenate([i.ravel() for i in images])
    assert fitted.statistics is not None
    np.testing.assert_allclose(fitted.statistics["low"], np.percentile(every, 1.0))
    np.testing.assert_allclose(fitted.statistics["high"], np.percentile(every, 99.0))


@pytest.mark.parametrize(
    ("dtype", "largest", "divisor"),
    [
        (np.uint8, 255, 255),
        (np.uint16, 4000, 65535),
        (np.uint16, 200, 65535),
        (np.float32, 1.0, 1),
        (np.float32, 200.0, 255),
        (np.float32, 3000.0, 65535),
    ],
)
def test_div_depends_on_the_type(dtype: type, largest: float, divisor: float) -> None:
    image = np.full((3, 3, 1), largest, dtype)
    result = Normalizer("div").scaling(image).apply(image)
    np.testing.assert_allclose(result, largest / divisor, rtol=1e-6)


def test_numbers_of_the_user_precede() -> None:
    given_numbers = {"mean": (10.0,), "std": (2.0,)}
    for per_image in (True, False):
        normalizer = Normalizer("custom", per_image, None, given_numbers)
        assert not normalizer.needs_fit
        image = np.full((4, 4, 1), 14, np.uint8)
        np.testing.assert_allclose(normalizer.scaling(image).apply(image), 2.0)


def test_a_part_is_scaled_like_the_whole() -> None:
    image = np.random.default_rng(1).integers(0, 255, (20, 20, 1)).astype(np.uint8)
    scaling = Normalizer("scale_range", True, (1.0, 99.0)).scaling(image)
    np.testing.assert_array_equal(scaling.apply(image)[3:9, 4:8], scaling.apply(image[3:9, 4:8]))


def test_constant_image_stays_finite_and_inputs_stay_unchanged() -> None:
    for kind in ("div", "scale_range", "custom"):
        image = np.full((5, 5, 1), 7, np.float32)
        copy = image.copy()
        result = Normalizer(kind, True, (1.0, 99.0)).scaling(image).apply(image)
        assert np.isfinite(result).all()
        np.testing.assert_array_equal(image, copy)


def test_round_trip_through_plain_types() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    fitted = Normalizer("custom", False, (1.0, 99.0)).fit([image])
    assert Normalizer.from_dict(fitted.to_dict()) == fitted


def test_statistics_of_other_channels_are_refused() -> None:
    fitted = Normalizer("custom", False).fit([np.zeros((3, 3, 2), np.uint8)])
    with pytest.raises(UserError) as error:
        fitted.scaling(np.zeros((3, 3, 3), np.uint8))
    assert error.value.code == "normalization.channels"


class TestDivisorOfASet:
    """The divisor of floats is one number for training, validation and prediction."""

    def floats(self, *largest: float) -> list[np.ndarray]:
        return [np.full((3, 3, 1), value, np.float32) for value in largest]

    def divisors(self, normalizer: Normalizer, images: list[np.ndarray]) -> list[float]:
        return [float(normalizer.scaling(image).scale[0]) for image in images]

    @pytest.mark.parametrize("per_image", [True, False])
    @pytest.mark.parametrize(
        ("largest", "divisor"),
        [((1.0, 1.05), 1), ((0.4, 200.0), 255), ((1.0, 255.0, 256.0), 65535), ((-3.0,), 1)],
    )
    def test_the_divisor_is_decided_once(
        self, largest: tuple[float, ...], divisor: float, per_image: bool
    ) -> None:
        images = self.floats(*largest)
        normalizer = Normalizer("div", per_image)
        assert normalizer.needs_fit
        fitted = Normalizer.from_dict(normalizer.fit(iter(images)).to_dict())
        assert not fitted.needs_fit
        unseen = self.floats(0.5, 1.2, 3.0, 4000.0)
        assert self.divisors(fitted, images + unseen) == [divisor] * (len(images) + 4)

    def test_integers_are_divided_by_their_type(self) -> None:
        integers = [np.ones((3, 3, 1), t) for t in (np.uint8, np.uint16)]
        fitted = Normalizer("div").fit([*integers, *self.floats(40.0)])
        assert self.divisors(fitted, [*integers, *self.floats(0.5)]) == [255, 65535, 255]

    def test_the_divisor_is_undecided_without_floats(self) -> None:
        old = {"kind": "div", "per_image": True, "clip": None, "statistics": None}
        fitted = Normalizer("div").fit([np.ones((3, 3, 1), np.uint8)])
        assert not fitted.needs_fit
        for normalizer in (fitted, Normalizer.from_dict(old)):
            images = self.floats(1.0, 1.05, 3000.0)
            assert self.divisors(normalizer, images) == [1, 255, 65535]

    def test_the_divisor_is_decided_with_percentiles_of_the_set(self) -> None:
        images = self.floats(1.0, 3.0)
        fitted = Normalizer("div", False, (0.0, 100.0)).fit(images)
        assert self.divisors(fitted, images) == [255, 255]
        assert fitted.scaling(images[0]).high == 3


@given(
    st.tuples(*[st.integers(1, 23)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    st.integers(1, 7),
)
@settings(max_examples=40, deadline=None)
def test_statistics_of_boxes_are_those_of_the_image(shape, block, dtype, step):
    """Also if only a sample of the values of a float image is read."""
    rng = np.random.default_rng(sum(shape))
    image = (rng.random((*shape, 2)) * 200).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_SAMPLES", max(1, image[..., 0].size // step))
        whole, together = statistics.Statistics((1.0, 98.5)), statistics.Statistics((1.0, 98.5))
        whole.add(image)
        for start in np.ndindex(*(-(-s // b) for s, b in zip(shape, block, strict=True))):
            origin = tuple(i * b for i, b in zip(start, block, strict=True))
            box = tuple(slice(o, o + b) for o, b in zip(origin, block, strict=True))
            part = statistics.Statistics((1.0, 98.5))
            part.add_part(image[box], origin, shape)
            together.add_arrays(part.to_arrays())
    assert together.summary() == whole.summary()
