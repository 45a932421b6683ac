"""`singula.measure`: units, axis ratio and intensities."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from cut_images import cuts, label_images, merged
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import regionprops_table

import singula
from singula.errors import UserError
from singula.labels import Block
from singula.measure import (
    Intensities,
    Moments,
    axis_ratio,
    intensities,
    intensity_columns,
    measure_instances,
    second_moments,
)

SHAPES = [(40, 50), (12, 20, 18)]


def cells(shape, seed=0) -> np.ndarray:
    """Touching objects with gaps in their ids."""
    fields = np.random.default_rng(seed).standard_normal((4, *shape))
    kind = ndimage.gaussian_filter(fields, (0, *[2] * len(shape))).argmax(0)
    return 3 * ndimage.label(kind)[0]


def measured(table: pd.DataFrame, name: str) -> np.ndarray:
    return table[name].to_numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_lengths_are_in_pixels_without_and_physical_with_a_spacing(shape) -> None:
    labels, spacing = cells(shape), (0.5,) * len(shape)
    pixels, physical = singula.measure(labels), singula.measure(labels, spacing=spacing)
    named = singula.measure(labels, spacing=spacing, units="micron")
    assert [name.replace("_unit", "_um") for name in physical] == list(named)
    assert [name.replace("_unit", "_px") for name in physical] == list(pixels)
    pd.testing.assert_frame_equal(singula.measure(labels, spacing=spacing, units="px"), pixels)
    for name in pixels:
        power = 0 if "_px" not in name else int(name.partition("_px")[2] or 1)
        found = measured(named, name.replace("_px", "_um"))
        np.testing.assert_allclose(found, measured(pixels, name) * 0.5**power, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_and_positions_are_those_of_scikit_image(shape) -> None:
    labels, spacing = cells(shape), (2.0, 0.5, 0.7)[: len(shape)]
    names = ["label", "centroid", "area", "equivalent_diameter_area", "num_pixels", "bbox"]
    expected = regionprops_table(labels, spacing=spacing, properties=names)
    found = singula.measure(labels, spacing=spacing)
    for axis, letter in enumerate("zyx"[-len(shape) :]):
        np.testing.assert_allclose(found[f"centroid_{letter}_unit"], expected[f"centroid-{axis}"])
    size = "area_unit2" if len(shape) == 2 else "volume_unit3"
    pairs = {"label": "label", "npixels": "num_pixels", size: "area"}
    pairs["equivalent_diameter_unit"] = "equivalent_diameter_area"
    for name, other in pairs.items():
        np.testing.assert_allclose(found[name], expected[other])
    box = np.reshape([expected[f"bbox-{n}"] for n in range(2 * len(shape))], (2, len(shape), -1))
    sides = (box[1] - box[0]) * np.array(spacing)[:, None]
    np.testing.assert_allclose(found["bounding_box_diameter_unit"], sides.max(axis=0))


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_those_of_the_results_folder(shape) -> None:
    labels, spacing = cells(shape), (0.5,) * len(shape)
    expected = measure_instances(labels, spacing=spacing)
    found = singula.measure(labels, spacing=spacing)
    if len(shape) == 2:
        np.testing.assert_allclose(found["perimeter_unit"], expected["perimeter"] * 0.5)
    else:
        np.testing.assert_array_equal(found["surface_unit2"], expected["perimeter (surface area)"])
    for name in {"circularity", "elongation", "sphericity"} & set(expected):
        np.testing.assert_array_equal(found[name], expected[name])
    oblong = singula.measure(labels, spacing=(2.0, 1.0, 1.0)[: len(shape)])
    assert not any("perimeter" in name for name in oblong)


def test_wrong_units_are_named() -> None:
    labels = np.ones((3, 3), int)
    for units, spacing, code in [
        ("physical", None, "measure.units"),
        ("nm", None, "measure.units"),
        ("furlong", 1.0, "units.unknown"),
        ("pixel", 1.0, "units.unknown"),
    ]:
        with pytest.raises(UserError) as error:
            singula.measure(labels, spacing=spacing, units=units)
        assert error.value.code == code


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (6, 3), (4, 4)])
def test_the_axis_ratio_of_a_rectangle_is_that_of_its_sides(height, width) -> None:
    labels = np.zeros((9, 12), int)
    labels[2 : 2 + height, 3 : 3 + width] = 5
    sides = sorted((height, width))
    assert singula.measure(labels)["axis_ratio"][0] == pytest.approx(sides[1] / sides[0])
    sides = sorted((2 * height, 0.5 * width))
    table = singula.measure(labels, spacing=(2, 0.5))
    assert table["axis_ratio"][0] == pytest.approx(sides[1] / sides[0])


def test_the_axis_ratio_is_that_of_an_ellipse_in_any_direction() -> None:
    y, x = np.mgrid[:200, :200] - 100.0
    for angle in (0, 0.4, 1.1):
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle)
        ellipse = ((along / 80) ** 2 + (across / 32) ** 2 <= 1).astype(np.uint8)
        assert singula.measure(ellipse)["axis_ratio"][0] == pytest.approx(2.5, rel=1e-2)
    disk = (x**2 + y**2 <= 60**2).astype(np.uint8)
    assert singula.measure(disk)["axis_ratio"][0] == pytest.approx(1, abs=1e-9)


def direct_ratios(labels, spacing) -> list[float]:
    """Return the axis ratios from the coordinates of the pixels."""
    ratios = []
    for label in np.unique(labels[labels > 0]):
        points = np.argwhere(labels == label) * spacing
        covariance = np.cov(points.T, bias=True) + np.diag(np.square(spacing)) / 12
        variances = np.linalg.eigvalsh(covariance)
        ratios.append(math.sqrt(variances[-1] / variances[0]))
    return ratios


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_axis_ratios_of_blocks_are_those_of_the_image(data) -> None:
    labels = data.draw(label_images())
    spacing = (2.0, 1.0, 0.3)[: labels.ndim]
    grid = data.draw(cuts(labels))
    parts = [second_moments(labels[read], block) for block, read in grid]
    for table in (second_moments(labels), data.draw(merged(Moments.merge, parts))):
        found = axis_ratio(table, spacing=spacing)
        np.testing.assert_allclose(found, direct_ratios(labels, spacing), rtol=1e-7)


def test_the_position_in_a_large_image_does_not_change_the_axis_ratio() -> None:
    labels = np.zeros((8, 9), np.uint8)
    labels[1:3, 2:8] = 1
    near = second_moments(labels)
    corner, shape, halves = (10**9, 10**9), (10**10, 10**10), []
    for part in (slice(0, 4), slice(4, 9)):
        core = (slice(0, 8), slice(0, part.stop - part.start))
        block = Block(core, (corner[0], corner[1] + part.start), shape)
        halves.append(second_moments(labels[:, part], block))
    far = Moments.merge(halves)
    np.testing.assert_allclose(far.moments, near.moments, rtol=1e-12, atol=1e-12)
    assert axis_ratio(far)[0] == pytest.approx(3)


def numpy_intensities(labels, image) -> pd.DataFrame:
    """Return the intensities of each instance, computed by NumPy for one after the other."""
    rows = []
    for label in np.unique(labels[labels > 0]):
        row = {}
        for channel in range(image.shape[-1]):
            values = image[labels == label, channel].astype(np.float64)
            values = values[~np.isnan(values)]
            for name in ("mean", "sum", "min", "max", "std"):
                value = getattr(np, name)(values) if values.size else np.nan
                row[f"intensity_{name}{f'_ch{channel + 1}' if image.shape[-1] > 1 else ''}"] = value
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">u2", "f2", "f4", "f8", "?"])
@pytest.mark.parametrize("shape", SHAPES)
def test_intensities_are_those_of_scipy_and_scikit_image(shape, dtype) -> None:
    labels = cells(shape)
    image = (np.random.default_rng(1).random(shape) * 200).astype(dtype)
    found = singula.measure(labels, image)
    ids = found["label"].to_numpy()
    plain = image.astype(np.float64)
    for name, function in {
        "mean": ndimage.mean, "sum": ndimage.sum, "min": ndimage.minimum,
        "max": ndimage.maximum, "std": ndimage.standard_deviation,
    }.items():  # fmt: skip
        np.testing.assert_allclose(found[f"intensity_{name}"], function(plain, labels, ids))
    names = ["intensity_mean", "intensity_min", "intensity_max", "intensity_std"]
    expected = regionprops_table(labels, plain, properties=names)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9)


def test_channels_have_numbers_and_nan_is_left_out() -> None:
    labels = cells((30, 30))
    image = np.random.default_rng(2).random((30, 30, 3))
    image[np.random.default_rng(3).random(image.shape) < 0.3] = np.nan
    image[labels == labels.max()] = np.nan
    table = singula.measure(labels, image)
    expected = numpy_intensities(labels, image)
    found = table[[name for name in table if name.startswith("intensity")]]
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)
    assert found.iloc[-1].isna().all()
    one = singula.measure(labels, image[..., :1])
    assert list(one) == list(singula.measure(labels, image[..., 0]))


def test_small_differences_of_large_values_keep_their_digits() -> None:
    labels = np.ones((20, 20), int)
    noise = np.random.default_rng(0).integers(0, 8, (20, 20))
    table = singula.measure(labels, noise + 2.0**40)
    assert table["intensity_std"][0] == pytest.approx(noise.std(), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_intensities_of_blocks_are_those_of_the_image(data) -> None:
    labels = data.draw(label_images())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = 1e6 + rng.integers(0, 5, (*labels.shape, 2)).astype(np.float32)
    image[rng.random(image.shape) < 0.3] = np.nan
    grid = data.draw(cuts(labels))
    parts = [intensities(labels[read][b.core], image[read][b.core]) for b, read in grid]
    expected = numpy_intensities(labels, image)
    for table in (intensities(labels, image), data.draw(merged(Intensities.merge, parts))):
        found = pd.DataFrame(intensity_columns(table))
        assert len(found) == len(expected)
        if len(found):
            pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-9)


def test_an_image_of_another_shape_is_refused() -> None:
    for shape in [(4, 5), (5, 4, 2, 2), (5,), (5, 5, 1)]:
        with pytest.raises(UserError) as error:
            singula.measure(np.ones((5, 4), int), np.ones(shape))
        assert error.value.code == "arguments.shape"


def test_no_instances_have_no_rows_and_all_columns() -> None:
    empty = singula.measure(np.zeros((5, 4), int), np.ones((5, 4, 2)))
    full = singula.measure(np.ones((5, 4), int), np.ones((5, 4, 2)))
    assert len(empty) == 0
    assert list(empty) == list(full)
