"""Each step compared with scikit-image or scipy, and invariants of all steps."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from skimage import exposure, feature
from skimage.transform import resize

from singula.data.preprocess import (
    PreprocessSettings,
    Reference,
    Resize,
    preprocess,
    resize_labels,
)
from singula.errors import UserError

RNG = np.random.default_rng(0)
STEPS = {
    "resize": PreprocessSettings(resize=Resize((20, 31))),
    "gaussian": PreprocessSettings(sigma=1.5),
    "median": PreprocessSettings(median=(3,)),
    "match": PreprocessSettings(reference=Reference.of([np.arange(200.0).reshape(10, 10, 2)])),
    "clahe": PreprocessSettings(clahe=(None, 0.02)),
    "canny": PreprocessSettings(canny=(None, None)),
}


def picture(dtype: type, shape: tuple[int, ...] = (24, 26), channels: int = 2) -> np.ndarray:
    noise = ndi.gaussian_filter(RNG.random((*shape, channels)), 1)
    return (noise * (200 if np.issubdtype(dtype, np.integer) else 1)).astype(dtype)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_type_and_input_are_kept_and_channels_stay_apart(name: str, dtype: type) -> None:
    image = picture(dtype)
    before = image.copy()
    found = preprocess(image, STEPS[name])
    assert found.dtype == dtype
    np.testing.assert_array_equal(image, before)
    changed = image.copy()
    changed[..., 1] = 0
    again = preprocess(changed, STEPS[name])
    np.testing.assert_array_equal(again[..., 0], found[..., 0])


def test_steps_equal_the_libraries() -> None:
    image = picture(np.float32, channels=1)
    plain = image[..., 0]
    low, high = plain.min(), plain.max()
    expected = {
        "resize": resize(plain, (20, 31), order=1, mode="reflect", anti_aliasing=False),
        "gaussian": ndi.gaussian_filter(plain, 1.5, mode="nearest"),
        "median": ndi.median_filter(plain, 3, mode="nearest"),
        "clahe": low
        + (high - low) * exposure.equalize_adapthist((plain - low) / (high - low), clip_limit=0.02),
        "canny": feature.canny(plain).astype(np.float32),
    }
    for name, values in expected.items():
        found = preprocess(image, STEPS[name])[..., 0]
        np.testing.assert_allclose(found, values, atol=1e-5, err_msg=name)


def test_histogram_of_one_reference_is_matched_as_scikit_image_does() -> None:
    image, other = picture(np.uint8, channels=1), picture(np.uint8, (30, 20), 1) // 2 + 40
    chosen = PreprocessSettings(reference=Reference.of([other]))
    found = preprocess(image, chosen)
    expected = exposure.match_histograms(image[..., 0].astype(float), other[..., 0].astype(float))
    np.testing.assert_allclose(found[..., 0], expected, atol=0.5 + 1e-6)
    stored = Reference.from_dict(chosen.reference.to_dict())  # type: ignore[union-attr]
    assert stored == chosen.reference
    with pytest.raises(UserError, match="1 channel"):
        preprocess(picture(np.uint8), chosen)


def test_references_are_pooled_and_long_distributions_shortened() -> None:
    values = RNG.random((100, 100, 1))
    pooled = Reference.of([values[:50], values[50:]])
    assert pooled == Reference.of([values])
    assert len(pooled.values[0]) == 4096
    found = preprocess(values, PreprocessSettings(reference=pooled))
    np.testing.assert_allclose(found, values, atol=1e-3)


@pytest.mark.parametrize("shape", [(7, 31), (48, 52), (24, 26), (1, 1)])
def test_labels_take_the_nearest_pixel(shape: tuple[int, int]) -> None:
    labels = RNG.integers(0, 2**32 - 1, (24, 26, 2), dtype=np.uint32)
    found = resize_labels(labels, shape)
    assert found.dtype == np.uint32
    assert found.shape == (*shape, 2)
    for y in range(shape[0]):
        center = (y + 0.5) * 24 / shape[0]
        np.testing.assert_array_equal(
            found[y], resize_labels(labels[[int(center)]], (1, shape[1]))[0]
        )


def test_volumes() -> None:
    image = picture(np.uint16, (6, 24, 26), 1)
    for name, steps in STEPS.items():
        if name in ("resize", "match"):
            continue
        assert preprocess(image, steps).shape == image.shape
    whole = preprocess(image, STEPS["gaussian"])[..., 0]
    expected = np.rint(ndi.gaussian_filter(image[..., 0].astype(float), 1.5, mode="nearest"))
    assert np.abs(whole - expected).max() <= 1
    edges = preprocess(image, STEPS["canny"])[..., 0]
    np.testing.assert_array_equal(edges[2] > 0, feature.canny(image[2, ..., 0]))
    assert set(np.unique(edges)) <= {0, 65535}
    bigger = preprocess(image, PreprocessSettings(resize=Resize((3, 12, 13))))
    assert bigger.shape == (3, 12, 13, 1)


def test_a_flat_image_stays_flat() -> None:
    image = np.full((16, 16, 1), 7, np.uint8)
    np.testing.assert_array_equal(preprocess(image, STEPS["clahe"]), image)
