from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from cut_images import blocks, cuts, label_images, merged, steps
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.measure import label, marching_cubes, mesh_surface_area, perimeter, regionprops

import singula
from singula.errors import UserError
from singula.measure import HALO, Shapes, measure_instances, measurements, shapes

SURFACE = "perimeter (surface area)"
IN_IMAGES = [
    *["label", "axis-0", "axis-1", "npixels", "area"],
    *["circularity", "diameter", "perimeter", "elongation"],
]
IN_VOLUMES = [
    *["label", "axis-0", "axis-1", "axis-2", "npixels", "volume"],
    *["sphericity", "diameter", SURFACE],
]


def one_by_one(labels, spacing=None) -> pd.DataFrame:
    """Measure each object alone by scikit-image."""
    spacing = (1.0,) * labels.ndim if spacing is None else spacing
    rows = []
    for i in np.unique(labels[labels > 0]):
        alone = np.pad(labels == i, 1)
        (region,) = regionprops(alone.astype(np.uint8))
        box = np.reshape(region.bbox, (2, -1))
        row = {"label": i, "npixels": region.num_pixels, "diameter": np.ptp(box, axis=0).max()}
        row |= {f"axis-{a}": c - 1 for a, c in enumerate(region.centroid)}
        extent = region.num_pixels * np.prod(spacing)
        if labels.ndim == 2:
            length = perimeter(alone, neighborhood=4)
            roundness = 4 * np.pi * region.num_pixels / length**2 if length else np.nan
            row |= {"area": extent, "perimeter": length, "circularity": roundness}
            row["elongation"] = length**2 / (4 * np.pi * region.num_pixels)
        else:
            vertices, faces, _, _ = marching_cubes(alone.astype(np.uint8), 0.5, spacing=spacing)
            area = mesh_surface_area(vertices, faces)
            row |= {"volume": extent, SURFACE: area}
            row["sphericity"] = 36 * np.pi * extent**2 / area**3
        rows.append(row)
    return pd.DataFrame(rows)[IN_IMAGES if labels.ndim == 2 else IN_VOLUMES]


def agrees(labels, spacing=None) -> None:
    before = labels.copy()
    pd.testing.assert_frame_equal(
        measure_instances(labels, spacing=spacing),
        one_by_one(labels, spacing),
        check_dtype=False,
        rtol=1e-6,
        atol=1e-9,
    )
    np.testing.assert_array_equal(labels, before)


def cells(shape, seed, sigma=1.5, kinds=4) -> np.ndarray:
    """Return objects that touch each other, the background and the border."""
    fields = np.random.default_rng(seed).standard_normal((kinds, *shape))
    kind = gaussian_filter(fields, (0, *[sigma] * len(shape))).argmax(0)
    return label(kind, connectivity=1).astype(np.uint16)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    kinds=st.integers(1, 5),
    share=st.floats(0.05, 1),
    steps=st.lists(st.floats(0.1, 9), min_size=3, max_size=3),
)
def test_noise_is_measured_as_single_objects(seed, shape, kinds, share, steps):
    # Noise meets every configuration, holes, diagonals, scattered pieces and the border.
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, kinds + 1, shape) * (rng.random(shape) < share)
    labels.flat[0] = 1
    agrees(labels.astype(np.uint16), steps[: len(shape)])


@pytest.mark.parametrize("shape", [(70, 50), (14, 20, 17)])
def test_smooth_objects_are_measured_as_single_objects(shape):
    agrees(cells(shape, 3), (3.0, 0.5, 0.7)[: len(shape)])


def test_every_configuration_of_a_cell_of_the_surface():
    # Alone, and with the other voxels another object.
    for cell in range(1, 255):
        voxels = np.array([cell >> bit & 1 for bit in range(8)]).reshape(2, 2, 2)
        expected = one_by_one(voxels)[SURFACE].to_numpy()
        alone = measure_instances(voxels.astype(np.uint16))
        np.testing.assert_allclose(alone[SURFACE], expected, rtol=1e-6)
        both = measure_instances((2 - voxels).astype(np.uint16))
        np.testing.assert_allclose(both[SURFACE][0], expected[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32, ">u2", np.uint64])
@pytest.mark.parametrize("shape", [(12, 13), (5, 6, 7)])
def test_any_integer_type(dtype, shape):
    labels = cells(shape, 1)
    pd.testing.assert_frame_equal(
        measure_instances(labels.astype(dtype)), measure_instances(labels)
    )


@pytest.mark.parametrize("shape", [(12, 13), (5, 6, 7)])
def test_ids_up_to_the_end_of_32_bits(shape):
    labels = cells(shape, 2)
    ids = np.zeros(labels.max() + 1, np.uint32)
    ids[1:] = 2**32 - 1 - np.arange(labels.max()) * 77_777_777 % 2**31
    wide, narrow = measure_instances(ids[labels]), measure_instances(labels)
    assert wide["label"].is_monotonic_increasing
    assert wide["label"].iloc[-1] == 2**32 - 1
    order = np.argsort(ids[narrow["label"]])
    pd.testing.assert_frame_equal(
        wide.drop(columns="label"), narrow.drop(columns="label").iloc[order].reset_index(drop=True)
    )


def test_views_are_measured_as_their_copies():
    labels = cells((20, 30), 5)
    pd.testing.assert_frame_equal(
        measure_instances(labels[::2, ::-1]), measure_instances(labels[::2, ::-1].copy())
    )
    pd.testing.assert_frame_equal(measure_instances(labels.T), measure_instances(labels.T.copy()))


@pytest.mark.parametrize(("shape", "columns"), [((4, 5), IN_IMAGES), ((3, 4, 5), IN_VOLUMES)])
def test_an_empty_image_has_the_columns(shape, columns):
    table = measure_instances(np.zeros(shape, np.uint16))
    assert list(table.columns) == columns
    assert len(table) == 0
    assert len(measure_instances(np.zeros((*shape[:-1], 0), np.uint16))) == 0


def test_one_pixel():
    table = measure_instances(np.eye(1, 5, 3, dtype=np.uint16), spacing=(2, 0.5))
    row = table.iloc[0]
    assert row[["label", "axis-0", "axis-1", "npixels", "area"]].tolist() == [1, 0, 3, 1, 1]
    assert row[["diameter", "perimeter", "elongation"]].tolist() == [1, 0, 0]
    assert np.isnan(row["circularity"])


def test_a_ball_has_sphericity_one_in_physical_units():
    z, y, x = np.ogrid[-10:11, -20:21, -20:21]
    ball = ((2 * z) ** 2 + y**2 + x**2 <= 18**2).astype(np.uint16)
    row = measure_instances(ball, spacing=(0.2, 0.1, 0.1)).iloc[0]
    assert row["volume"] == pytest.approx(4 / 3 * np.pi * 1.8**3, rel=0.02)
    # Voxels are steps, and steps have more surface than the ball they follow.
    assert row[SURFACE] == pytest.approx(4 * np.pi * 1.8**2, rel=0.12)
    assert 0.7 < row["sphericity"] < 1
    assert row["diameter"] == 37


def test_mistakes_are_named():
    with pytest.raises(UserError, match="float32"):
        measure_instances(np.zeros((3, 3), np.float32))
    with pytest.raises(UserError, match="-2"):
        measure_instances(np.full((3, 3), -2))
    with pytest.raises(UserError, match=r"\(3,\)"):
        measure_instances(np.zeros(3, int))
    for spacing in [(1, 1, 1), (0, 1), (np.nan, 1)]:
        with pytest.raises(UserError, match="2 positive numbers"):
            measure_instances(np.zeros((3, 3), int), spacing=spacing)


@pytest.mark.slow
def test_the_public_function_is_that_of_the_package():
    for _ in range(2):  # importing the room puts it in the place of the function
        assert len(singula.measure(np.ones((3, 3), np.uint16), spacing=(1, 2))) == 1
    code = "import singula.measure; print(len(singula.measure([[0, 3], [4, 3]])))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_measurements_in_blocks_equal_the_whole_image(data):
    labels = data.draw(label_images())
    spacing = data.draw(steps)[: labels.ndim]
    grid = data.draw(cuts(labels, halo=HALO[labels.ndim]))
    parts = [shapes(labels[read], block, spacing=spacing) for block, read in grid]
    expected = measure_instances(labels, spacing=spacing)
    for found in (Shapes.merge(parts), data.draw(merged(Shapes.merge, parts))):
        table = measurements(found, spacing=spacing)
        pd.testing.assert_frame_equal(table, expected, rtol=1e-9, atol=0)
        exact = ["label", "npixels", "diameter", *(f"axis-{a}" for a in range(labels.ndim))]
        assert table[exact].equals(expected[exact])


@pytest.mark.parametrize("shape", [(70, 50), (14, 20, 17)])
def test_objects_across_many_blocks(shape):
    labels = cells(shape, 4, sigma=4.0, kinds=3)
    grid = blocks(shape, [5] * len(shape), [2] * len(shape))
    parts = [shapes(labels[read], block) for block, read in grid]
    assert max(np.count_nonzero([i in part.ids for part in parts]) for i in (1, 2, 3)) > 8
    table = measurements(Shapes.merge(parts))
    pd.testing.assert_frame_equal(table, measure_instances(labels), rtol=1e-9, atol=0)


def test_a_block_with_a_too_small_halo_is_refused():
    labels = cells((20, 20), 1)
    block, read = blocks(labels.shape, (10, 10), (1, 1))[0]
    with pytest.raises(ValueError, match="halo of 2"):
        shapes(labels[read], block)
