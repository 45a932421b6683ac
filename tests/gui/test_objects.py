"""Measurements of objects: names, filters, plots, and their values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import regionprops

from singula.gui.objects import ObjectData, column_label, histogram, initial_columns, scatter
from singula.gui.results import measurements
from singula.runs.instances import Instances


def measured(ndim: int, channels: int) -> tuple[ObjectData, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(ndim)
    shape = (40, 50) if ndim == 2 else (6, 40, 50)
    labels = np.zeros(shape, np.uint16)
    for number in range(1, 7):
        y, x = 12 * ((number - 1) // 3) + 2, 14 * ((number - 1) % 3) + 2
        labels[..., y : y + 4 + number, x : x + 5] = 3 * number
    image = rng.integers(0, 4000, (*shape, channels)).astype(np.uint16)
    spacing = (2.0, 0.5, 0.5)[-ndim:]
    item = Instances("a", labels, spacing=spacing, unit="µm", image=image)
    return ObjectData(*measurements(item), ndim), labels, image


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_intensities_are_those_of_scikit_image(ndim: int, channels: int) -> None:
    data, labels, image = measured(ndim, channels)
    assert [row["label"] for row in data.rows] == [3, 6, 9, 12, 15, 18]
    for row, region in zip(data.rows, regionprops(labels, image), strict=True):
        values = image[labels == region.label]
        expected = {"mean": region.intensity_mean, "max": region.intensity_max,
                    "min": region.intensity_min, "sum": values.sum(axis=0),
                    "std": values.std(axis=0)}  # fmt: skip
        for name, numbers in expected.items():
            for channel, number in enumerate(np.atleast_1d(numbers)):
                end = f"_ch{channel + 1}" if channels > 1 else ""
                assert row[f"intensity_{name}{end}"] == pytest.approx(float(number), rel=1e-3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_column_has_a_name_of_its_own(ndim: int) -> None:
    data, _, _ = measured(ndim, 2)
    labels = data.labels
    assert len(set(labels.values())) == len(labels)
    assert not any("_" in text for text in labels.values())
    assert "mean intensity, channel 2" in labels.values()
    shown = initial_columns(list(labels))
    assert shown[0] == "label"
    assert set(shown) <= set(labels)


def test_sizes_are_in_pixels_without_a_unit() -> None:
    assert column_label("npixels", 2) == "area (px)"
    assert column_label("area_µm²", 2) == "area (µm²)"
    assert column_label("centroid_y_px", 2) == "y (px)"


numbers = st.one_of(st.none(), st.floats(-100, 100), st.integers(-5, 5).map(float))
tables = st.lists(st.tuples(numbers, numbers), max_size=40).map(
    lambda rows: ObjectData(
        ["label", "a", "b"], [{"label": i + 1, "a": a, "b": b} for i, (a, b) in enumerate(rows)], 2
    )
)


@given(tables, st.floats(-50, 0), st.floats(0, 50))
def test_filters_keep_the_objects_within_the_limits(data, low, high) -> None:
    assert data.passing({}) is None
    limits = {"a": (low, high), "b": (-1.0, 1.0)}
    expected = [
        row["label"]
        for row in data.rows
        if row["a"] is not None and low <= row["a"] <= high
        and row["b"] is not None and -1 <= row["b"] <= 1
    ]  # fmt: skip
    assert data.passing(limits) == expected


@given(tables)
def test_a_histogram_counts_every_object_once(data) -> None:
    passing = data.passing({"b": (-1.0, 1.0)})
    bars = histogram(data, "a", passing)
    values = data.values("a")
    values = values[np.isfinite(values)]
    np.testing.assert_array_equal(bars["all"], np.histogram(values, bars["edges"])[0])
    allowed = [row["a"] for row in data.rows if row["label"] in passing and row["a"] is not None]
    np.testing.assert_array_equal(bars["passing"], np.histogram(allowed, bars["edges"])[0])
    assert len(bars["bin_of"]) == len(values)


@given(tables)
def test_points_are_the_objects_with_both_values(data) -> None:
    cloud = scatter(data, "a", "b", [1, 3])
    both = [r for r in data.rows if r["a"] is not None and r["b"] is not None]
    assert [p[:3] for p in cloud["points"]] == [[r["label"], r["a"], r["b"]] for r in both]
    assert [p[3] for p in cloud["points"]] == [r["label"] in (1, 3) for r in both]


def test_many_points_are_thinned_out() -> None:
    rows = [{"label": i, "a": float(i), "b": 1.0} for i in range(1, 12_001)]
    points = scatter(ObjectData(["label", "a", "b"], rows, 2), "a", "b", None)["points"]
    assert 2_500 < len(points) <= 5_000
    assert math.isclose(points[-1][1], 12_000, rel_tol=0.01)
