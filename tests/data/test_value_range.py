"""A factor and an offset of all values do not change results."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from singula.data.normalize import Normalizer, warn_if_far_from_unit_range
from singula.data.patches import read_patch
from singula.data.preprocess import PreprocessSettings, Reference, preprocess
from singula.data.statistics import Statistics
from singula.dataset.checks.images import _best_channel
from singula.gui.pictures import Scene
from singula.io.lazy import LazyImage, open_image
from singula.io.lazy_array import LazyArray, constant_image_notices, is_constant
from singula.report.overlay import downsample_image, to_gray
from singula.report.pictures import _resize_image

KINDS = st.sampled_from(["scale_range", "custom"])
CLIPS = st.sampled_from([None, (1.0, 99.0), (0.1, 99.9)])


def drawn(seed: int, shape=(24, 31, 2)) -> np.ndarray:
    """Return integers of up to 12 bits, whose products with powers of two are exact."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4096, shape)
    values[0, 0], values[0, 1] = 0, 4095
    return values


def normalized(normalizer: Normalizer, image: np.ndarray) -> np.ndarray:
    return normalizer.scaling(image).apply(image)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**16), st.floats(-12, 12), st.floats(-1e9, 1e9), KINDS, CLIPS, st.booleans())
def test_normalization_ignores_factor_and_offset(
    seed: int, power: float, offset: float, kind: str, clip, per_image: bool
) -> None:
    values = drawn(seed).astype(np.float64)
    factor = 10.0**power
    # As far as double precision holds the values next to the offset
    offset = offset if abs(offset) < factor * 1e9 else 0.0
    changed = values * factor + offset
    normalizer = Normalizer(kind, per_image, clip)
    one, two = normalizer, normalizer
    if normalizer.needs_fit:
        one, two = normalizer.fit([values]), normalizer.fit([changed])
    expected = normalized(one, values)
    assert np.ptp(expected) > 0.9
    np.testing.assert_allclose(normalized(two, changed), expected, atol=2e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.integers(-40, 40), st.booleans(), KINDS, CLIPS)
def test_single_precision_is_kept_if_it_is_exact(
    seed: int, power: int, shifted: bool, kind: str, clip
) -> None:
    """Steps of 128 on top of 2³⁰ are exact in single precision."""
    values = drawn(seed).astype(np.float32)
    changed = values * np.float32(2.0**power)
    if shifted:
        changed = (values * 128 + np.float64(2**30)).astype(np.float32)
    normalizer = Normalizer(kind, True, clip)
    expected = normalized(normalizer, values)
    np.testing.assert_allclose(normalized(normalizer, changed), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.float64])
def test_wide_types_keep_a_small_range_on_a_large_offset(dtype: type) -> None:
    values = drawn(3)
    image = (values + 10**9).astype(dtype)
    for kind in ("scale_range", "custom"):
        normalizer = Normalizer(kind, True, (1.0, 99.0))
        expected = normalized(normalizer, values.astype(np.float64))
        np.testing.assert_allclose(normalized(normalizer, image), expected, atol=1e-6)


def test_portions_and_parts_count_as_the_whole(monkeypatch) -> None:
    from singula.data import scaling

    image = drawn(5).astype(np.float64) * 1e-12 + 1.0
    normalizer = Normalizer("custom", True, (1.0, 99.0))
    expected = normalized(normalizer, image)
    monkeypatch.setattr(scaling, "_MAX_VALUES", 100)
    np.testing.assert_array_equal(normalized(normalizer, image), expected)
    apart = Statistics(normalizer.clip)
    for part, start in ((image[:10], 0), (image[10:], 10)):
        one = Statistics(None)
        one.add_part(part, (start, 0), image.shape[:2])
        apart.add_arrays(one.to_arrays())
    scaling = normalizer.scaling_from(image.dtype, 2, apart, lambda: 0.0)
    np.testing.assert_array_equal(scaling.apply(image), expected)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30, 1e9 + 0.1])
@pytest.mark.parametrize("kind", ["scale_range", "custom"])
def test_a_constant_image_becomes_zero_and_is_named(value: float, kind: str) -> None:
    for dtype in (np.float32, np.float64):
        image = np.full((20, 30, 1), value, dtype)
        assert not normalized(Normalizer(kind), image).any()
        assert is_constant(image)
        (line,) = constant_image_notices(Path("folder/flat.tif"), image)
        assert "folder/flat.tif" in line


def test_one_different_pixel_is_contrast() -> None:
    image = np.full((300, 400, 2), 7, np.uint8)
    assert is_constant(image)
    image[..., 1] = 9
    assert is_constant(image)
    image[299, 399, 1] = 8
    assert not is_constant(image)
    assert constant_image_notices("a", image) == []


def test_a_large_image_with_an_empty_margin_is_not_read_completely(tmp_path: Path) -> None:
    image = np.zeros((40, 512, 512), np.uint8)
    image[15:, 150:400, 150:400] = 9
    np.save(tmp_path / "a.npy", image)
    opened = open_image(tmp_path / "a.npy", 3, 1)
    read = []

    def count(self: LazyImage, box: Sequence[slice]) -> np.ndarray:
        part = whole(self, box)
        read.append(part.size)
        return part

    whole = LazyImage.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LazyImage, "read", count)
        assert not is_constant(LazyArray.of(opened))
    assert sum(read) < image.size / 20
    image[:] = 0
    image[39, 511, 511] = 1
    np.save(tmp_path / "b.npy", image)
    assert not is_constant(LazyArray.of(open_image(tmp_path / "b.npy", 3, 1)))


def test_values_far_from_one_are_named_for_div() -> None:
    assert warn_if_far_from_unit_range(0.0, 1.0) == warn_if_far_from_unit_range(-0.5, 1.8) == []
    assert "scale_range" in warn_if_far_from_unit_range(0.0, 1e-9)[0]
    assert "scale_range" in warn_if_far_from_unit_range(15258.8, 15258.9)[0]


@pytest.mark.parametrize(("factor", "offset"), [(1e-12, 0.0), (1.0, 1e9), (1e12, -1e15)])
def test_thumbnails_are_equal(factor: float, offset: float) -> None:
    values = drawn(8, (60, 50, 1)).astype(np.float64)
    changed = values * factor + offset
    for make in (to_gray, lambda image: to_gray(downsample_image(image, 20))):
        difference = make(values).astype(int) - make(changed)
        assert np.abs(difference).max() <= 1
        assert np.ptp(make(changed)) > 200


def test_thumbnails_of_the_report_are_equal(monkeypatch) -> None:
    from singula.report import pictures

    monkeypatch.setattr(pictures, "MAX_SIDE", 20)
    values = drawn(9, (60, 50, 1)).astype(np.float64)
    one, two = to_gray(_resize_image(values)), to_gray(_resize_image(values * 1e-3 + 1e9))
    assert np.abs(one.astype(int) - two).max() <= 1
    assert np.ptp(two) > 100


@pytest.mark.parametrize(("factor", "offset"), [(2.0**-40, 0.0), (1.0, 2.0**30)])
def test_unlabeled_objects_are_found_in_any_unit(factor: float, offset: float) -> None:
    values = drawn(11, (64, 64, 1)).astype(np.float64) / 8
    ids = np.zeros((64, 64), np.uint8)
    ids[20:40, 20:40] = 1
    values[ids > 0] += 3000
    first, second = (_best_channel(v, ids) for v in (values, values * factor + offset))
    assert first is not None
    assert second is not None
    (expected, dark), (found, also_dark) = first, second
    assert dark == also_dark
    np.testing.assert_allclose(found / factor, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("step", ["clahe", "canny", "match", "sigma", "fill"])
@pytest.mark.parametrize("factor", [2.0**-40, 2.0**40])
def test_preprocessing_follows_the_unit(step: str, factor: float) -> None:
    values = drawn(13, (48, 40, 1)).astype(np.float64)
    changed = values * factor
    if step == "fill":
        start, shape, fill = (-4, -4), (20, 20), np.array([5.0])
        expected = read_patch(values, start, shape, fill)
        np.testing.assert_array_equal(
            read_patch(changed, start, shape, fill * factor), expected * factor
        )
        return
    reference = Reference(((0.0, 1.0, 9.0),), ((0.1, 0.5, 1.0),))
    chosen = {
        "clahe": PreprocessSettings(clahe=(None, 0.01)),
        "canny": PreprocessSettings(canny=(None, None)),
        "match": PreprocessSettings(reference=reference),
        "sigma": PreprocessSettings(sigma=1.0),
    }[step]
    expected, found = preprocess(values, chosen), preprocess(changed, chosen)
    assert np.ptp(expected) > 0
    scale = factor if step in ("clahe", "sigma") else 1.0
    np.testing.assert_allclose(found, expected * scale, rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize(("factor", "offset"), [(1e-12, 0.0), (1.0, 1e9)])
def test_the_viewer_shows_equal_images(factor: float, offset: float) -> None:
    values = drawn(17, (40, 30, 1)).astype(np.float64)
    one, two = (
        np.asarray(Image.open(BytesIO(Scene(array, {}).tile("image", 0, 0, 0, 0)))).astype(int)
        for array in (values, values * factor + offset)
    )
    assert np.abs(one - two).max() <= 1
    assert np.ptp(two) > 200
