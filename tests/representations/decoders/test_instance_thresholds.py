from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from singula.errors import UserError
from singula.representations.decoders import (
    DECODERS,
    DecodeSettings,
    histogram,
    histogram_channels,
    otsu_from_histogram,
    resolve_thresholds,
)
from singula.representations.thresholds import AUTOMATIC, THRESHOLDS

CENTRES = (np.arange(1024) + 0.5) / 1024


def two_classes(seed: int, low: float, high: float, share: float, width: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    center = np.where(rng.random((60, 70)) < share, high, low)
    return (center + rng.normal(0, width, center.shape)).clip(0, 1).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    low=st.floats(0, 0.4),
    high=st.floats(0.5, 1),
    share=st.floats(0.02, 0.98),
    width=st.floats(0.01, 0.2),
)
def test_otsu_equals_skimage(seed, low, high, share, width):
    counts = histogram(two_classes(seed, low, high, share, width))
    expected = threshold_otsu(hist=(counts, CENTRES))
    assert otsu_from_histogram(counts) == pytest.approx(expected, abs=1 / 1024 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    shape=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_histogram_equals_numpy(dtype, shape, seed):
    values = np.random.default_rng(seed).uniform(-0.3, 1.3, shape).astype(dtype)
    clipped = values.astype(np.float64).clip(0, 1)
    expected, _ = np.histogram(clipped, 1024, (0, 1))
    np.testing.assert_array_equal(histogram(values), expected)


def test_histograms_of_blocks_add_up():
    values = np.random.default_rng(0).random((300, 1000), np.float32)
    whole = histogram(values)
    parts = sum(
        histogram(values[y : y + 70, x : x + 300])
        for y in range(0, 300, 70)
        for x in range(0, 1000, 300)
    )
    np.testing.assert_array_equal(whole, parts)
    assert whole.sum() == values.size


def test_histogram_counts_binary_targets():
    counts = histogram(np.array([[0, 1, 1]], np.uint8))
    assert counts[0] == 1
    assert counts[-1] == 2


def test_histogram_refuses_nan():
    with pytest.raises(UserError, match="NaN"):
        histogram(np.array([[0.5, np.nan]], np.float32))


@pytest.mark.parametrize("values", [np.full((5, 5), 0.7), np.zeros((0, 4)), np.ones((3, 3))])
def test_otsu_of_a_constant_map_is_none(values):
    assert otsu_from_histogram(histogram(values)) is None


def test_manual_thresholds_are_taken_from_the_keys():
    given_settings = DecodeSettings(
        th_type="manual", thresholds={"TH_BINARY_MASK": 0.6, "TH_DISTANCE": 3.0}
    )
    counts = histogram(two_classes(0, 0.1, 0.9, 0.5, 0.05))
    thresholds, notes = resolve_thresholds({"B": counts}, given_settings)
    defaults = {name: threshold.default for name, threshold in THRESHOLDS.items()}
    assert thresholds == defaults | {"TH_BINARY_MASK": 0.6, "TH_DISTANCE": 3.0}
    assert notes == ()


def test_automatic_thresholds():
    binary = histogram(two_classes(0, 0.05, 0.9, 0.4, 0.05))
    mask = histogram(two_classes(1, 0.2, 0.8, 0.6, 0.05))
    thresholds, notes = resolve_thresholds({"B": binary, "C": mask}, DecodeSettings())
    assert thresholds["TH_BINARY_MASK"] == otsu_from_histogram(binary)
    assert thresholds["TH_FOREGROUND"] == otsu_from_histogram(binary) / 2
    assert thresholds["TH_CONTOUR"] == otsu_from_histogram(mask)
    assert thresholds["TH_DISTANCE"] == 1.0
    assert notes == ()
    counts = {"B": binary, "C": mask, "M": mask}
    thresholds, _ = resolve_thresholds(counts, DecodeSettings())
    assert thresholds["TH_FOREGROUND"] == otsu_from_histogram(binary) / 2
    thresholds, _ = resolve_thresholds(counts, DecodeSettings(grow_into_contour=True))
    assert thresholds["TH_FOREGROUND"] == otsu_from_histogram(mask)


@pytest.mark.parametrize("key", AUTOMATIC)
def test_one_manual_threshold_leaves_the_others_automatic(key):
    counts = {
        c: histogram(two_classes(n, 0.05, 0.9 - n / 10, 0.4, 0.05)) for n, c in enumerate("BCP")
    }
    automatic, _ = resolve_thresholds(counts, DecodeSettings())
    thresholds, _ = resolve_thresholds(counts, DecodeSettings.from_keys({key: 0.77}))
    assert thresholds == {**automatic, key: 0.77}


def test_only_needed_histograms_are_counted():
    def counted(channels, **keys):
        return "".join(histogram_channels(DECODERS[channels], DecodeSettings.from_keys(keys)))

    assert counted("BCM") == "BC"
    assert counted("BCM", GROW_INTO_CONTOUR=True) == "BCM"
    assert counted("BC", TH_BINARY_MASK=0.5) == "BC"  # the foreground is half of Otsu's of B
    assert counted("BC", TH_BINARY_MASK=0.5, TH_FOREGROUND=0.3) == "C"
    assert counted("BP", TH_BINARY_MASK=0.5, TH_FOREGROUND=0.3) == "P"
    assert counted("BCD", TH_TYPE="manual") == ""
    assert counted("Dv2") == ""


def test_noise_of_an_empty_image_gives_no_threshold():
    noise = histogram(np.random.default_rng(0).uniform(0, 0.08, (50, 50)))
    thresholds, notes = resolve_thresholds({"B": noise}, DecodeSettings())
    assert thresholds["TH_BINARY_MASK"] == 0.5
    assert thresholds["TH_FOREGROUND"] == 0.3
    assert len(notes) == 1
    assert "B" in notes[0]
