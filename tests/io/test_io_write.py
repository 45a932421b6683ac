"""Written images are read back with values, axes, voxel size and unit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singula.errors import UserError
from singula.io import write as write_module
from singula.io.read import read_header, read_image, read_labels
from singula.io.write import (
    write_csv,
    write_json,
    write_maps,
    write_npy,
    write_text,
    write_tiff,
)

DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"]


@given(
    dtype=st.sampled_from(DTYPES),
    axes=st.sampled_from(["YX", "YXC", "CYX", "ZYX", "ZYXC", "CZYX", "ZCYX"]),
    channels=st.integers(2, 4),
    spacing=st.none() | st.tuples(*[st.floats(0.01, 50).map(lambda x: float(f"{x:.4g}"))] * 3),
    unit=st.sampled_from(["µm", "nm", "mm"]),
    compress=st.booleans(),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_round_trip(
    tmp_path: Path,
    dtype: str,
    axes: str,
    channels: int,
    spacing: tuple[float, float, float] | None,
    unit: str,
    compress: bool,
) -> None:
    ndim = 3 if "Z" in axes else 2
    sizes = {"Z": 3, "Y": 8, "X": 9, "C": channels}
    shape = [sizes[name] for name in axes]
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    kept = array.copy()
    given_spacing = spacing[-ndim:] if spacing else None
    path = write_tiff(tmp_path / "a.tif", array, axes, given_spacing, unit, compress)
    np.testing.assert_array_equal(array, kept)

    found = read_image(path, ndim, channels if "C" in axes else 1)
    last = "ZYXC" if ndim == 3 else "YXC"
    moved = array.transpose([axes.index(name) for name in last if name in axes])
    np.testing.assert_array_equal(found.array, moved.reshape(found.array.shape))
    assert found.array.dtype == dtype
    assert found.spacing == given_spacing
    assert found.unit == (unit if spacing else None)
    assert read_header(path).axes == "".join(name for name in "ZCYX" if name in axes)


SIDES = st.sampled_from([1, 1, 2, 3, 4, 5, 17])


@given(
    dtype=st.sampled_from(DTYPES),
    axes=st.sampled_from(["YX", "YXC", "ZYX", "ZYXC", "CZYX"]),
    sides=st.fixed_dictionaries({name: SIDES for name in "ZCYX"}),
    sized=st.booleans(),
    compress=st.booleans(),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_round_trip_of_any_shape(
    tmp_path: Path, dtype: str, axes: str, sides: dict[str, int], sized: bool, compress: bool
) -> None:
    """Also sides of one pixel, which neither dialect stores."""
    ndim = 3 if "Z" in axes else 2
    shape = [sides[name] for name in axes]
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    spacing = (3.0, 0.5, 0.25)[-ndim:] if sized else None
    path = write_tiff(tmp_path / "a.tif", array, axes, spacing, "µm", compress)
    found = read_image(path, ndim, sides["C"] if "C" in axes else 1)
    last = "ZYXC" if ndim == 3 else "YXC"
    moved = array.transpose([axes.index(name) for name in last if name in axes])
    expected = moved if "C" in axes else moved[..., None]
    np.testing.assert_array_equal(found.array, expected, strict=True)
    assert (found.spacing, found.unit) == (spacing, "µm" if sized else None)
    if dtype == "uint16" and "C" not in axes:
        labels = read_labels(path, ndim).array
        assert labels.shape == expected.shape
        np.testing.assert_array_equal(labels, expected)


@given(shape=st.lists(SIDES, min_size=2, max_size=3).map(tuple), count=st.integers(1, 5))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_maps_of_any_shape(tmp_path: Path, shape: tuple[int, ...], count: int) -> None:
    maps = np.random.default_rng(0).random((count, *shape), np.float32)
    path = write_maps(tmp_path / "a.tif", maps, (2.0,) * len(shape))
    found = read_image(path, len(shape), count)
    np.testing.assert_array_equal(found.array, np.moveaxis(maps, 0, -1), strict=True)
    assert found.spacing == (2.0,) * len(shape)


@pytest.mark.parametrize("shape", [(8, 1, 3), (1, 1, 3), (1, 8, 3)])
def test_color_image_with_one_row(tmp_path: Path, shape: tuple[int, ...]) -> None:
    colors = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    path = write_tiff(tmp_path / "a.tif", colors, "YXS")
    np.testing.assert_array_equal(read_image(path, 2, 3).array, colors, strict=True)


def test_spacing_without_unit(tmp_path: Path) -> None:
    for dtype in ("uint16", "uint32"):
        path = write_tiff(tmp_path / "a.tif", np.ones((3, 8, 9), dtype), "ZYX", (2.0, 1.0, 1.0))
        found = read_image(path, 3)
        assert (found.spacing, found.unit) == ((2.0, 1.0, 1.0), None)


def test_color_image(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    path = write_tiff(tmp_path / "a.tif", colors, "YXS")
    with tifffile.TiffFile(path) as tif:
        assert tif.pages[0].photometric.name == "RGB"
    np.testing.assert_array_equal(read_image(path, 2, 3).array, colors)
    stack = np.stack([colors, colors[::-1]])
    path = write_tiff(tmp_path / "b.tif", stack, "ZYXS")
    np.testing.assert_array_equal(read_image(path, 3, 3).array, stack)


def test_bool_and_half_are_widened(tmp_path: Path) -> None:
    mask = np.eye(8, dtype=bool)
    path = write_tiff(tmp_path / "a.tif", mask, "YX")
    assert read_header(path).dtype == np.uint8
    np.testing.assert_array_equal(read_image(path, 2).array[..., 0], mask)
    half = np.linspace(0, 1, 64, dtype=np.float16).reshape(8, 8)
    path = write_tiff(tmp_path / "a.tif", half, "YX")
    assert read_header(path).dtype == np.float32
    np.testing.assert_array_equal(read_image(path, 2).array[..., 0], half)


def test_dialects(tmp_path: Path) -> None:
    """The dialect of ImageJ if it supports the type, otherwise OME."""
    for dtype, dialect in (("uint8", "imagej"), ("float32", "imagej"), ("uint32", "ome")):
        write_tiff(tmp_path / "a.tif", np.ones((2, 8, 9), dtype), "ZYX")
        with tifffile.TiffFile(tmp_path / "a.tif") as tif:
            assert tif.series[0].kind == dialect
            assert not tif.is_bigtiff


def test_large_files_are_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_module, "_CLASSIC_LIMIT", 100)
    array = np.random.default_rng(0).integers(0, 99, (3, 8, 9), dtype=np.uint16)
    path = write_tiff(tmp_path / "a.tif", array, "ZYX", (2.0, 1.0, 1.0), "µm")
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff
    found = read_image(path, 3)
    np.testing.assert_array_equal(found.array[..., 0], array)
    assert (found.spacing, found.unit) == ((2.0, 1.0, 1.0), "µm")


@pytest.mark.parametrize("limit", [2**32, 100], ids=["ImageJ", "BigTIFF"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("shape", [(300, 9), (4, 8, 9), (1, 8, 9)])
def test_maps_are_written_as_a_stack(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    count: int,
    limit: int,
) -> None:
    monkeypatch.setattr(write_module, "_CLASSIC_LIMIT", limit)
    rng = np.random.default_rng(0)
    maps = [rng.random(shape).astype(np.float16) for _ in range(count)]
    spacing = (2.0, 0.5, 0.25)[-len(shape) :]
    stacked = np.stack([one.astype(np.float32) for one in maps], axis=-1)
    axes = "ZYXC" if len(shape) == 3 else "YXC"
    write_tiff(tmp_path / "stacked.tif", stacked, axes, spacing, "µm")
    write_maps(tmp_path / "maps.tif", maps, spacing, "µm")
    found, known = (
        read_image(tmp_path / name, len(shape), count) for name in ("maps.tif", "stacked.tif")
    )
    np.testing.assert_array_equal(found.array, stacked)
    assert (found.spacing, found.unit) == (known.spacing, known.unit) == (spacing, "µm")
    with tifffile.TiffFile(tmp_path / "maps.tif") as tif:
        assert tif.is_bigtiff == (limit == 100)


def test_labels_are_compressed_and_floats_are_not(tmp_path: Path) -> None:
    labels = np.zeros((256, 256), np.uint16)
    labels[50:90, 30:200] = 7
    assert write_tiff(tmp_path / "a.tif", labels, "YX").stat().st_size < labels.nbytes / 20
    for array, compress in ((labels, False), (labels.astype(np.float32), True)):
        path = write_tiff(tmp_path / "a.tif", array, "YX", compress=compress)
        assert path.stat().st_size >= array.nbytes


@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "spacing", "error"),
    [
        ((8, 9), "ZYX", "uint8", None, ValueError),
        ((8, 9), "YY", "uint8", None, ValueError),
        ((8, 9), "YZ", "uint8", None, ValueError),
        ((2, 8, 9), "TYX", "uint8", None, ValueError),
        ((8, 9, 4), "YXS", "uint8", None, ValueError),
        ((8, 9, 3), "YXS", "uint16", None, ValueError),
        ((8, 9), "YX", "uint8", (1.0, 1.0, 1.0), ValueError),
        ((8, 9), "YX", "uint8", (0.0, 1.0), ValueError),
        ((8, 9), "YX", "int64", None, TypeError),
        ((8, 9), "YX", "complex64", None, TypeError),
    ],
)
def test_arrays_that_cannot_be_written(
    tmp_path: Path,
    shape: tuple[int, ...],
    axes: str,
    dtype: str,
    spacing: tuple[float, ...] | None,
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        write_tiff(tmp_path / "a.tif", np.zeros(shape, dtype), axes, spacing)
    assert not list(tmp_path.iterdir())


def test_csv(tmp_path: Path) -> None:
    rows = [{"label": 1, "area": 2.5}, {"label": 2, "area": math.nan, "comment": "é, ok"}]
    found = pd.read_csv(write_csv(tmp_path / "a.csv", rows))
    pd.testing.assert_frame_equal(found, pd.DataFrame(rows))
    path = write_csv(tmp_path / "b.csv", pd.DataFrame(rows), columns=["area", "label"])
    assert path.read_text().splitlines() == ["area,label", "2.5,1", ",2"]
    assert write_csv(tmp_path / "c.csv", [], ["x", "y"]).read_text() == "x,y\n"


def test_json(tmp_path: Path) -> None:
    value = {
        "n": np.int64(3),
        "f": np.float32(0.5),
        "a": np.arange(3),
        "nan": [np.nan, math.inf, np.array([np.nan])],
        "path": Path("a/b"),
        "yes": np.bool_(True),
        7: ("µ", None),
    }
    path = write_json(tmp_path / "a.json", value)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "n": 3,
        "f": 0.5,
        "a": [0, 1, 2],
        "nan": [None, None, [None]],
        "path": "a/b",
        "yes": True,
        "7": ["µ", None],
    }
    with pytest.raises(TypeError):
        write_json(tmp_path / "b.json", {"x": object()})
    assert not (tmp_path / "b.json").exists()


def test_npy_and_text(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3, 4))
    np.testing.assert_array_equal(np.load(write_npy(tmp_path / "a.npy", array)), array)
    assert write_text(tmp_path / "a.txt", "µ\n").read_bytes() == "µ\n".encode()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.uint32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_volume_of_one_slice_stays_a_volume(tmp_path: Path, dtype: type, channels: int) -> None:
    array = np.arange(1 * 6 * 7 * channels, dtype=dtype).reshape(1, 6, 7, channels)
    path = write_tiff(tmp_path / "a.tif", array, "ZYXC", (2.0, 0.5, 0.5), "µm")
    found = read_image(path, 3, channels)
    np.testing.assert_array_equal(found.array, array)
    assert found.array.dtype == dtype
    assert found.spacing == pytest.approx((2.0, 0.5, 0.5))
    # The one slice can be taken as an image too.
    np.testing.assert_array_equal(read_image(path, 2, channels).array, array[0])


def test_labels_of_one_slice_stay_a_volume(tmp_path: Path) -> None:
    labels = np.arange(42, dtype=np.uint16).reshape(1, 6, 7)
    path = write_tiff(tmp_path / "a.tif", labels, "ZYX")
    np.testing.assert_array_equal(read_labels(path, 3).array[..., 0], labels)
    plane = write_tiff(tmp_path / "b.tif", labels[0], "YX")
    with pytest.raises(UserError, match="has no z axis"):
        read_labels(plane, 3)
