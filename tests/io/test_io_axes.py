"""Axes from metadata or from the shape; unsuitable axes are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from singula.errors import UserError
from singula.io.read import file_notes, image_layout, read_header, read_image

GREY = np.random.default_rng(0).integers(0, 200, (12, 17), dtype=np.uint8)
VOLUME = np.random.default_rng(1).integers(0, 60000, (5, 12, 17), dtype=np.uint16)
COLOUR = np.random.default_rng(2).integers(0, 200, (12, 17, 3), dtype=np.uint8)
TWO = np.random.default_rng(3).integers(0, 60000, (5, 2, 12, 17), dtype=np.uint16)


def save_tiff(path: Path, array: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize("dialect", ["imagej", "ome"])
def test_hyperstacks_by_metadata(tmp_path: Path, dialect: str) -> None:
    path = save_tiff(tmp_path / "a.tif", TWO, metadata={"axes": "ZCYX"}, **{dialect: True})
    found = read_image(path, 3, 2)
    np.testing.assert_array_equal(found.array, TWO.transpose(0, 2, 3, 1))
    assert found.axes_note.startswith("axes ZCYX from")
    assert {"imagej": "ImageJ", "ome": "OME"}[dialect] in found.axes_note


def test_ome_order_other_than_imagej(tmp_path: Path) -> None:
    path = save_tiff(tmp_path / "a.tif", TWO, metadata={"axes": "CZYX"}, ome=True)
    with tifffile.TiffFile(path) as tif:
        assert tif.series[0].axes == "CZYX"
    found = read_image(path, 3, 5)
    np.testing.assert_array_equal(found.array, TWO.transpose(1, 2, 3, 0))


def test_metadata_beats_shape(tmp_path: Path) -> None:
    """A stack of 3 slices is not an image with 3 channels if the metadata give slices."""
    stack = VOLUME[:3]
    path = save_tiff(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_image(path, 3, 1).array[..., 0], stack)
    with pytest.raises(UserError, match=r"3 z slices.*ZYX from ImageJ") as caught:
        read_image(path, 2, 3)
    assert "PROBLEM.NDIM" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("shape", "ndim", "channels", "move"),
    [
        ((12, 17), 2, 1, None),
        ((12, 17, 3), 2, 3, (0, 1, 2)),
        ((3, 12, 17), 2, 3, (1, 2, 0)),
        ((12, 17, 1), 2, 1, (0, 1, 2)),
        ((1, 12, 17), 2, 1, (1, 2, 0)),
        ((3, 12, 17), 2, None, (1, 2, 0)),
        ((12, 17, 3), 2, None, (0, 1, 2)),
        ((40, 12, 17), 2, 40, (1, 2, 0)),
        ((5, 12, 17), 3, 1, None),
        ((5, 12, 17, 2), 3, 2, (0, 1, 2, 3)),
        ((5, 2, 12, 17), 3, 2, (0, 2, 3, 1)),
        ((2, 5, 12, 17), 3, 2, (1, 2, 3, 0)),
        ((2, 12, 17, 2), 3, 2, (0, 1, 2, 3)),
        ((5, 12, 17, 1), 3, None, (0, 1, 2, 3)),
        ((1, 12, 17), 3, 1, None),
    ],
)
def test_axes_from_shape(
    tmp_path: Path,
    shape: tuple[int, ...],
    ndim: int,
    channels: int | None,
    move: tuple[int, ...] | None,
) -> None:
    array = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", array)
    expected = array[..., None] if move is None else array.transpose(move)
    found = read_image(tmp_path / "a.npy", ndim, channels)
    np.testing.assert_array_equal(found.array, expected)
    assert "from shape" in found.axes_note
    # A TIFF without metadata says no more than its shape.
    save_tiff(tmp_path / "a.tif", array, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", ndim, channels).array, expected)


@pytest.mark.parametrize("shape", [(1, 1, 5, 12, 17), (1, 5, 1, 12, 17), (5, 1, 12, 17, 1)])
def test_axes_of_size_one_are_dropped(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", VOLUME.reshape(shape))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy", 3, 1).array[..., 0], VOLUME)


def test_plain_pages_are_slices_in_3d(tmp_path: Path) -> None:
    path = save_tiff(tmp_path / "a.tif", VOLUME, metadata=None)
    np.testing.assert_array_equal(read_image(path, 3, 1).array[..., 0], VOLUME)
    with pytest.raises(UserError, match=r"got shape \(5, 12, 17\), expected \(y, x\)"):
        read_image(path, 2, 1)


def test_plain_color_pages(tmp_path: Path) -> None:
    stack = np.stack([COLOUR, COLOUR // 2])
    path = save_tiff(tmp_path / "a.tif", stack, metadata=None, photometric="rgb")
    found = read_image(path, 3, 3)
    np.testing.assert_array_equal(found.array, stack)
    assert "ZYXS" in found.axes_note
    with pytest.raises(UserError, match="2 pages of unknown meaning"):
        read_image(path, 2, 3)


def test_planar_color(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(COLOUR.transpose(2, 0, 1))
    path = save_tiff(
        tmp_path / "a.tif", planes, metadata=None, photometric="rgb", planarconfig="separate"
    )
    np.testing.assert_array_equal(read_image(path, 2, 3).array, COLOUR)


@given(
    order=st.permutations("TZCYX"),
    ndim=st.sampled_from([2, 3]),
    channels=st.integers(1, 3),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_declared_order(tmp_path: Path, order: list[str], ndim: int, channels: int) -> None:
    sizes = {"T": 1, "Z": 4 if ndim == 3 else 1, "C": channels, "Y": 6, "X": 7}
    canonical = np.arange(np.prod(list(sizes.values()))).reshape([sizes[a] for a in "TZYXC"])
    stored = canonical.transpose(["TZYXC".index(name) for name in order]).astype(np.uint16)
    path = save_tiff(
        tmp_path / "a.tif", stored, photometric="minisblack", metadata={"axes": "".join(order)}
    )
    expected = canonical[0] if ndim == 3 else canonical[0, 0]
    np.testing.assert_array_equal(read_image(path, ndim, channels).array, expected)


@pytest.mark.parametrize(
    ("axes", "shape", "ndim", "message", "code"),
    [
        ("TYX", (5, 12, 17), 3, "5 time points", "io.time_points"),
        ("TYX", (5, 12, 17), 2, "5 time points", "io.time_points"),
        ("TZYX", (2, 5, 12, 17), 3, "2 time points", "io.time_points"),
        ("ZYX", (5, 12, 17), 2, "5 z slices", "io.z_slices"),
        ("YX", (12, 17), 3, "no z axis", "io.no_z_axis"),
        ("CYX", (2, 12, 17), 3, "no z axis", "io.no_z_axis"),
        ("RYX", (2, 12, 17), 2, "2 entries along the axis R", "io.surplus_axis"),
        ("CYXS", (2, 12, 17, 3), 2, "both channels", "io.channel_axes"),
        ("CX", (12, 17), 2, "no y axis", "io.missing_axis"),
    ],
)
def test_axes_that_do_not_fit(
    tmp_path: Path, axes: str, shape: tuple[int, ...], ndim: int, message: str, code: str
) -> None:
    array = np.zeros(shape, np.uint8)
    photometric = "rgb" if "S" in axes else "minisblack"
    path = save_tiff(tmp_path / "bad.tif", array, photometric=photometric, metadata={"axes": axes})
    with pytest.raises(UserError, match=message) as caught:
        read_image(path, ndim)
    assert caught.value.code == code
    assert "bad.tif" in caught.value.message
    assert str(shape) in caught.value.message
    assert caught.value.hint


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    for shape, ndim, message in (
        ((12,), 2, "no y axis"),
        ((12, 17), 3, "no z axis"),
        ((2, 5, 12, 17), 2, "4 axes"),
        ((2, 2, 5, 12, 17), 3, "5 axes"),
        ((5, 12, 17), 2, r"expected \(y, x\), or .* 1 channel"),
        ((5, 4, 12, 17), 3, r"expected \(z, y, x\), or .* 1 channel"),
    ):
        np.save(tmp_path / "bad.npy", np.zeros(shape, np.uint8))
        with pytest.raises(UserError, match=message) as caught:
            read_image(tmp_path / "bad.npy", ndim, 1)
        assert "bad.npy" in caught.value.message


@pytest.mark.parametrize(("array", "wanted"), [(COLOUR, 1), (GREY, 3)])
def test_wrong_number_of_channels(tmp_path: Path, array: np.ndarray, wanted: int) -> None:
    PIL.Image.fromarray(array).save(tmp_path / "a.png")
    found = 4 - wanted
    with pytest.raises(
        UserError, match=rf"a\.png: has {found} channel.*ends in {wanted}"
    ) as caught:
        read_image(tmp_path / "a.png", 2, wanted)
    assert f"DATA.PATCH_SIZE to {found}" in (caught.value.hint or "")
    assert "convert" in (caught.value.hint or "")


def test_gray_saved_as_color_is_not_converted(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.stack([GREY] * 3, -1)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="3 channel") as caught:
        read_image(tmp_path / "a.png", 2, 1)
    assert caught.value.code == "io.channel_count"
    assert "gray image that was saved in color" in (caught.value.hint or "")


def test_several_images_in_one_file_are_reported(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(GREY)
        tif.write(GREY[:5, :5])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 2, 1).array[..., 0], GREY)
    header = read_header(tmp_path / "a.tif")
    (note,) = file_notes(header, image_layout(tmp_path / "a.tif", header, 2, 1))
    assert note.startswith("it holds 2 images")
    assert "1 (5, 5)" in note
