"""Images: every format with its bit depths and colors, and the voxel size."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from imagecodecs import png_encode

from singula.io.read import file_notes, image_layout, read_header, read_image

GREY = np.random.default_rng(0).integers(0, 200, (12, 17), dtype=np.uint8)
VOLUME = np.random.default_rng(1).integers(0, 60000, (5, 12, 17), dtype=np.uint16)
COLOUR = np.random.default_rng(2).integers(0, 200, (12, 17, 3), dtype=np.uint8)


def save_tiff(path: Path, array: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    "dtype",
    ["bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", ">f4", ">i4"],
)
def test_npy_keeps_values_in_native_byte_order(tmp_path: Path, dtype: str) -> None:
    array = (GREY % 100).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    found = read_image(tmp_path / "a.npy", 2)
    assert found.array.dtype.isnative
    assert found.array.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found.array[..., 0], array)
    assert (found.name, found.ndim, found.spatial_shape) == ("a", 2, (12, 17))


def test_fortran_order_becomes_contiguous(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(VOLUME))
    found = read_image(tmp_path / "a.npy", 3)
    assert found.array.flags.c_contiguous
    np.testing.assert_array_equal(found.array[..., 0], VOLUME)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"metadata": None, "bigtiff": True},
        {"byteorder": ">"},
        {"tile": (16, 16)},
        {"compression": "zlib"},
        {"compression": "lzw", "predictor": True},
        {"compression": "zstd", "tile": (16, 16)},
        {"imagej": True},
        {"ome": True},
    ],
    ids=str,
)
def test_tiff_dialects(tmp_path: Path, options: dict[str, object]) -> None:
    gray = GREY.astype(np.uint16)
    found = read_image(save_tiff(tmp_path / "a.tif", gray, **options), 2, 1)
    assert found.array.dtype.isnative
    np.testing.assert_array_equal(found.array[..., 0], gray)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 3])
def test_png_depths(tmp_path: Path, dtype: type, bands: int) -> None:
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (9, 7, bands)).astype(dtype)
    (tmp_path / "a.png").write_bytes(png_encode(array if bands > 1 else array[..., 0]))
    header = read_header(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", 2, bands)
    assert found.array.dtype == dtype == header.dtype
    np.testing.assert_array_equal(found.array, array)


def test_png_alpha_is_dropped_with_a_notice(tmp_path: Path) -> None:
    rgba = np.concatenate([COLOUR, np.full((12, 17, 1), 128, np.uint8)], -1)
    PIL.Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 2, 3).array, COLOUR)
    header = read_header(tmp_path / "a.png")
    (note,) = file_notes(header, image_layout(tmp_path / "a.png", header, 2, 3))
    assert "alpha" in note
    save_tiff(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 2, 3).array, COLOUR)
    # Four configured channels are four channels.
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 2, 4).array, rgba)


def test_png_palette_becomes_color_or_gray(tmp_path: Path) -> None:
    indices = GREY % 4
    for name, palette in (
        ("color", [[9, 0, 0], [0, 8, 0], [0, 0, 7], [6, 6, 6]]),
        ("gray", [[0] * 3, [50] * 3, [20] * 3, [255] * 3]),
    ):
        image = PIL.Image.new("P", indices.shape[::-1])
        image.putdata(list(indices.ravel()))
        image.putpalette(np.ravel(palette).tolist())
        image.save(tmp_path / f"{name}.png")
        found = read_image(tmp_path / f"{name}.png", 2).array
        expected = np.array(palette, np.uint8)[indices]
        np.testing.assert_array_equal(found, expected if name == "color" else expected[..., :1])


def test_png_with_a_transparent_gray_value_stays_one_channel(tmp_path: Path) -> None:
    whole = png_encode(GREY)
    (tmp_path / "a.png").write_bytes(whole[:33] + chunk(b"tRNS", b"\0\1") + whole[33:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 2, 1).array[..., 0], GREY)


@pytest.mark.parametrize("bands", [1, 3])
def test_jpeg(tmp_path: Path, bands: int) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(40)).astype(np.uint8)
    array = smooth if bands == 1 else np.stack([smooth] * 3, -1)
    PIL.Image.fromarray(array).save(tmp_path / "a.JPEG", quality=100)
    found = read_image(tmp_path / "a.JPEG", 2, bands)
    assert np.abs(found.array.reshape(array.shape).astype(int) - array).max() <= 3
    assert read_header(tmp_path / "a.JPEG").shape == array.shape


def test_name_without_ome_suffix(tmp_path: Path) -> None:
    save_tiff(tmp_path / "cell.1.ome.tif", GREY)
    assert read_image(tmp_path / "cell.1.ome.tif", 2).name == "cell.1"


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".npy"])
def test_the_header_matches_the_read_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        save_tiff(path, COLOUR, photometric="rgb")
    elif suffix == ".npy":
        np.save(path, COLOUR)
    else:
        PIL.Image.fromarray(COLOUR).save(path)
    header = read_header(path)
    assert header.shape == COLOUR.shape
    assert header.dtype == read_image(path, 2, 3).array.dtype == np.uint8
    assert header.axes == (None if suffix == ".npy" else "YXS")


def test_spacing_from_imagej(tmp_path: Path) -> None:
    path = save_tiff(
        tmp_path / "a.tif",
        VOLUME,
        imagej=True,
        resolution=(1 / 0.3, 1 / 0.2),
        metadata={"axes": "ZYX", "spacing": 1.5, "unit": "micron"},
    )
    found = read_image(path, 3)
    assert found.spacing == (1.5, 0.2, 0.3)
    assert found.unit == "µm"
    assert read_header(path).spacing == (1.5, 0.2, 0.3)


def test_spacing_from_ome_in_one_unit(tmp_path: Path) -> None:
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 300.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.2,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 1.5,
    }
    found = read_image(save_tiff(tmp_path / "a.tif", VOLUME, ome=True, metadata=metadata), 3)
    assert found.spacing == (1500.0, 200.0, 300.0)
    assert found.unit == "nm"


def test_spacing_unknown(tmp_path: Path) -> None:
    """A file without a calibration, or with dots per inch, has no voxel size."""
    cases = [
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "metadata": {"axes": "ZYX"}, "resolution": (72, 72), "resolutionunit": 2},
        {"resolution": (300, 300), "metadata": {"axes": "ZYX"}},
    ]
    for options in cases:
        found = read_image(save_tiff(tmp_path / "a.tif", VOLUME, **options), 3)
        assert (found.spacing, found.unit) == (None, None), options


def test_spacing_of_a_flat_image_has_two_numbers(tmp_path: Path) -> None:
    metadata = {"axes": "YX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 9.0}
    found = read_image(save_tiff(tmp_path / "a.tif", GREY, ome=True, metadata=metadata), 2)
    assert found.spacing == (0.2, 0.3)
