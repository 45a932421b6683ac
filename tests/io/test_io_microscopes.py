"""Files of microscopes: axes, voxel size, channels, series and time points as written.

ND2 and OIF files are written by hand (`benchmarks/microscope_files.py`): files of NIS-Elements and
FluoView were not available. Some of the LIF files are real.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from microscope_files import write_czi, write_lif, write_nd2, write_oib, write_oif

from singula.errors import UserError
from singula.io.formats.table import FORMATS
from singula.io.image import ArrayPlace
from singula.io.lazy import open_image
from singula.io.list_images import list_images
from singula.io.read import (
    file_notes,
    image_layout,
    list_series,
    read_header,
    read_image,
    read_labels,
)

LIF = Path(__file__).parents[3] / "shared" / "data" / "formats"
NAMES = ("DAPI", "GFP", "mCherry")
# t, c, z, y, x
ARRAY = np.random.default_rng(0).integers(0, 999, (2, 3, 4, 20, 24), np.uint16)
PIXEL, STEP = 0.1, 0.5  # µm


def czi(folder: Path, array: np.ndarray = ARRAY, axes: str = "TCZYX") -> Path:
    pytest.importorskip("pylibCZIrw")
    meters = {"scale_x": PIXEL * 1e-6, "scale_y": PIXEL * 1e-6, "scale_z": STEP * 1e-6}
    return write_czi(folder / "a.czi", array, axes, NAMES, **meters)


def nd2(folder: Path, array: np.ndarray = ARRAY, axes: str = "TCZYX") -> Path:
    pytest.importorskip("nd2")
    # A frame holds all channels.
    array = np.moveaxis(array, axes.index("C"), -3)
    lead = axes.replace("C", "")[:-2]
    return write_nd2(folder / "a.nd2", array, f"{lead}CYX", NAMES, PIXEL, STEP)


def oif(folder: Path, array: np.ndarray = ARRAY, axes: str = "TCZYX") -> Path:
    pytest.importorskip("oiffile")
    return write_oif(folder / "a.oif", array, axes, NAMES, PIXEL, STEP)


def oib(folder: Path, array: np.ndarray = ARRAY, axes: str = "TCZYX") -> Path:
    pytest.importorskip("oiffile")
    return write_oib(folder / "a.oib", array, axes, NAMES, PIXEL, STEP)


every_format = pytest.mark.parametrize("write", [czi, nd2, oif, oib])
Write = Callable[..., Path]


def error_code(read: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        read()
    return caught.value.code


@every_format
def test_what_was_written_is_read(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path)
    header = read_header(path)
    assert dict(zip(header.axes or "", header.shape, strict=True)) == {
        "T": 2, "C": 3, "Z": 4, "Y": 20, "X": 24
    }  # fmt: skip
    assert header.spacing == pytest.approx((STEP, PIXEL, PIXEL))
    assert header.unit == "µm"
    assert header.channel_names == NAMES
    assert header.dtype == np.uint16
    assert error_code(lambda: read_image(path, 3)) == "io.time_points"
    for frame in range(2):
        image = read_image(path, 3, arrays=ArrayPlace(frame=frame))
        np.testing.assert_array_equal(image.array, np.moveaxis(ARRAY[frame], 0, -1))
    one = ArrayPlace(frame=1, channel="GFP")
    np.testing.assert_array_equal(read_image(path, 3, 1, arrays=one).array[..., 0], ARRAY[1, 1])
    lazy = open_image(path, 3, 3, arrays=ArrayPlace(frame=1))
    assert lazy.chunks[0] == 1
    box = (slice(1, 3), slice(3, 19), slice(5, 20))
    np.testing.assert_array_equal(lazy.read(box), np.moveaxis(ARRAY[1][(slice(None), *box)], 0, -1))


@every_format
def test_planes_and_the_list_of_a_folder(write: Write, tmp_path: Path) -> None:
    """A file with one time point and one slice is a 2D image with channels."""
    path = write(tmp_path, ARRAY[0, :, 0], "CYX")
    image = read_image(path, 2)
    np.testing.assert_array_equal(image.array, np.moveaxis(ARRAY[0, :, 0], 0, -1))
    assert image.spacing == pytest.approx((PIXEL, PIXEL))
    assert error_code(lambda: read_image(path, 3)) == "io.no_z_axis"
    assert error_code(lambda: read_image(path, 2, 1)) == "io.channel_count"
    assert list_images(tmp_path, "DATA.TRAIN.PATH") == [path]
    assert [series.name for series in list_series(path)] == [""]


@every_format
def test_cut_off_and_damaged_files(write: Write, tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    damaged = tmp_path / f"damaged{path.suffix}"
    if path.suffix == ".oif":  # the folder of the planes has the name of the file
        (tmp_path / "a.oif.files").rename(tmp_path / "damaged.oif.files")
    for part in (0, 0.01, 0.3, 0.9):
        damaged.write_bytes(data[: int(part * len(data))])
        assert error_code(lambda: read_header(damaged)) == "io.unreadable"
    damaged.write_bytes(b"no image" * 200)
    assert error_code(lambda: read_header(damaged)) == "io.unreadable"


@pytest.mark.parametrize("suffix", [".czi", ".lif", ".nd2", ".oif", ".oib"])
def test_without_the_library(suffix: str, tmp_path: Path, monkeypatch) -> None:
    for name in ("pylibCZIrw", "pylibCZIrw.czi", "liffile", "nd2", "oiffile"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"p\0\0\0 some data")
    with pytest.raises(UserError) as caught:
        read_header(path)
    assert caught.value.code == "io.library_missing"
    assert "formats" in (caught.value.hint or "")


def test_scenes_and_mosaics_of_czi(tmp_path: Path) -> None:
    """Each scene is an image; tiles have their places, and later ones cover earlier ones."""
    library = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path / "a.czi"
    planes = np.random.default_rng(1).integers(1, 999, (2, 2, 20, 24), np.uint16)  # scene, tile
    with library.create_czi(str(path)) as file:
        for scene in range(2):
            for tile in range(2):
                corner = (1000 * scene + 20 * tile, -30 + 5 * tile)
                file.write(planes[scene, tile][..., None], corner, {"C": 0}, scene=scene)
        file.write_metadata("mosaic", scale_x=2e-7, scale_y=2e-7)
    assert [series.name for series in list_series(path)] == ["0", "1"]
    for scene, series in enumerate(list_series(path)):
        expected = np.zeros((25, 44), np.uint16)
        expected[:20, :24] = planes[scene, 0]
        expected[5:, 20:] = planes[scene, 1]
        image = read_image(path, 2, arrays=series.place)
        np.testing.assert_array_equal(image.array[..., 0], expected)
        lazy = open_image(path, 2, arrays=series.place)
        part = lazy.read((slice(4, 22), slice(10, 40)))
        np.testing.assert_array_equal(part[..., 0], expected[4:22, 10:40])
    header = read_header(path)
    assert header.spacing == pytest.approx((0.2, 0.2))
    notes = " ".join(file_notes(header, image_layout(path, header, 2, None)))
    assert "mosaic of 2 tiles" in notes
    assert "1 (25, 44)" in notes
    assert error_code(lambda: read_header(path, ArrayPlace(series=2))) == "io.no_such_series"


def test_colors_of_czi(tmp_path: Path) -> None:
    pytest.importorskip("pylibCZIrw")
    array = np.random.default_rng(2).integers(0, 255, (20, 24, 3), np.uint8)
    path = write_czi(tmp_path / "a.czi", array, "YXS")
    np.testing.assert_array_equal(read_image(path, 2, 3).array, array)
    assert read_header(path).spacing is None
    green = read_image(path, 2, 1, arrays=ArrayPlace(channel="G")).array[..., 0]
    np.testing.assert_array_equal(green, array[..., 1])


def test_a_plane_that_was_not_acquired(tmp_path: Path) -> None:
    """Planes that exist are read; a plane that does not is an error, and not black."""
    library = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path / "a.czi"
    with library.create_czi(str(path)) as file:
        for t, z in ((0, 0), (0, 1), (1, 0)):
            file.write(ARRAY[t, 0, z][..., None], plane={"T": t, "Z": z, "C": 0})
        file.write_metadata("interrupted")
    first = read_image(path, 3, arrays=ArrayPlace(frame=0))
    np.testing.assert_array_equal(first.array[..., 0], ARRAY[0, 0, :2])
    assert error_code(lambda: read_image(path, 3, arrays=ArrayPlace(frame=1))) == "io.unreadable"
    assert any("1 of 4 planes" in note for note in read_header(path).notes)


def test_a_damaged_list_of_tiles_does_not_end_the_process(tmp_path: Path) -> None:
    """The library reads beyond its memory if an entry declares too many axes."""
    path = czi(tmp_path)
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<q", data, 84)[0] + 160
    for place, value in ((start + 28, 52), (start + 32, 0), (start, 0), (start - 128, 255)):
        damaged = bytearray(data)
        damaged[place] = value
        path.write_bytes(damaged)
        assert error_code(lambda: read_header(path)) == "io.unreadable"


def test_positions_of_nd2(tmp_path: Path) -> None:
    pytest.importorskip("nd2")
    array = np.moveaxis(ARRAY, 1, -3)  # positions instead of time points
    path = write_nd2(tmp_path / "a.nd2", array, "PZCYX", NAMES, PIXEL, STEP)
    assert [series.name for series in list_series(path)] == ["0", "1"]
    for number, series in enumerate(list_series(path)):
        image = read_image(path, 3, arrays=series.place)
        np.testing.assert_array_equal(image.array, np.moveaxis(ARRAY[number], 0, -1))
    assert len(read_header(path).left_out) == 1


def test_sections_along_z(tmp_path: Path) -> None:
    """A scan along x and z is a 2D image whose pixels are not square."""
    pytest.importorskip("oiffile")
    path = write_oif(tmp_path / "a.oif", ARRAY[0, :, 0], "CZX", NAMES, PIXEL, STEP, scan="XZ")
    image = read_image(path, 2)
    np.testing.assert_array_equal(image.array, np.moveaxis(ARRAY[0, :, 0], 0, -1))
    assert image.spacing == pytest.approx((STEP, PIXEL))


@pytest.mark.parametrize("chain", ["table", "directory"])
def test_endless_lists_of_sectors(chain: str, tmp_path: Path) -> None:
    """The library would follow a cycle in the allocation table forever."""
    path = oib(tmp_path)
    data = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", data, 48)
    (table,) = struct.unpack_from("<I", data, 76)
    entry = 512 * (table + 1) + 4 * (directory if chain == "directory" else 0)
    struct.pack_into("<I", data, entry, directory if chain == "directory" else 0)
    path.write_bytes(data)
    assert error_code(lambda: read_header(path)) == "io.unreadable"


def test_large_oib(tmp_path: Path) -> None:
    """The table of more than 7 MB of sectors does not fit into the header of the file."""
    pytest.importorskip("oiffile")
    array = np.random.default_rng(3).integers(0, 999, (2, 1400, 1400), np.uint16)
    path = write_oib(tmp_path / "a.oib", array, "CYX", NAMES[:2], PIXEL, STEP, small=True)
    assert path.stat().st_size > 109 * 128 * 512
    np.testing.assert_array_equal(read_image(path, 2).array, np.moveaxis(array, 0, -1))


@every_format
def test_only_the_planes_of_a_box_are_read(write: Write, tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path)
    module, name = {
        ".czi": ("pylibCZIrw.czi", "CziReader.read"),
        ".nd2": ("nd2", "ND2File.read_frame"),
        ".oif": ("oiffile", "OifFile.asarray"),
        ".oib": ("oiffile", "OifFile.asarray"),
    }[path.suffix]
    kind, method = name.split(".")
    owner = getattr(import_module(module), kind)
    original, calls = getattr(owner, method), []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append((arguments[1:], options))
        return original(*arguments, **options)

    lazy = open_image(path, 3, 1, arrays=ArrayPlace(frame=1, channel="1"))
    monkeypatch.setattr(owner, method, counted)
    part = lazy.read((slice(2, 4), slice(5, 9), slice(0, 7)))
    np.testing.assert_array_equal(part[..., 0], ARRAY[1, 1, 2:4, 5:9, :7])
    assert len(calls) == 2
    if path.suffix == ".czi":
        assert {options["roi"] for _, options in calls} == {(0, 5, 7, 4)}


def test_a_plane_missing_in_the_folder(tmp_path: Path) -> None:
    path = oif(tmp_path)
    (tmp_path / "a.oif.files" / "s_T002C003Z004.tif").unlink()
    read_image(path, 3, arrays=ArrayPlace(frame=0))
    assert error_code(lambda: read_image(path, 3, arrays=ArrayPlace(frame=1))) == "io.unreadable"
    for file in (tmp_path / "a.oif.files").iterdir():
        file.unlink()
    (tmp_path / "a.oif.files").rmdir()
    assert error_code(lambda: read_header(path)) == "io.unreadable"


def test_images_of_lif(tmp_path: Path) -> None:
    pytest.importorskip("liffile")
    array = np.ascontiguousarray(np.moveaxis(ARRAY, 1, 2))  # t, z, c, y, x
    plane = np.ascontiguousarray(ARRAY[0, 0, 0])
    images = {"movie": (array, "TZCYX"), "plane": (plane, "YX"), "tiles": (array, "MZCYX")}
    path = write_lif(tmp_path / "a.lif", images, 2e-7)
    assert [series.name for series in list_series(path)] == ["0", "1", "2"]
    header = read_header(path, ArrayPlace(series=0))
    assert header.spacing == pytest.approx((0.2, 0.2, 0.2))
    assert header.channel_names == ("C0", "C1", "C2")
    assert read_header(path).left_out == ("1 plane", "2 tiles")
    for frame in range(2):
        image = read_image(path, 3, arrays=ArrayPlace(series=0, frame=frame))
        np.testing.assert_array_equal(image.array, np.moveaxis(ARRAY[frame], 0, -1))
    one = read_image(path, 2, 1, arrays=ArrayPlace(series=1))
    np.testing.assert_array_equal(one.array[..., 0], plane)
    tiles = ArrayPlace(series=2)
    assert error_code(lambda: read_image(path, 3, arrays=tiles)) == "io.surplus_axis"


def lif(name: str) -> Path:
    pytest.importorskip("liffile")
    path = LIF / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


def test_real_lif_files_with_sections() -> None:
    path = lif("leica_xz.lif")
    sections, volume, section = (series.place for series in list_series(path))
    assert error_code(lambda: read_image(path, 2, arrays=sections)) == "io.time_points"
    movie = read_image(path, 2, arrays=ArrayPlace(series=0, frame=19))
    assert movie.array.shape == (128, 128, 2)
    assert movie.spacing == pytest.approx((0.14028, 0.14028), rel=1e-4)
    stack = read_image(path, 3, arrays=volume)
    assert stack.array.shape == (128, 23, 128, 2)
    assert stack.spacing == pytest.approx((0.14028, 0.22906, 0.14028), rel=1e-4)
    assert read_header(path, section).channel_names == ("Green", "Red")
    image = read_image(path, 2, 1, arrays=ArrayPlace(series=2, channel="green"))
    both = read_image(path, 2, 2, arrays=section)
    np.testing.assert_array_equal(image.array, both.array[..., :1])
    lazy = open_image(path, 3, arrays=volume)
    box = (slice(9, 90), slice(3, 20), slice(64, 100))
    np.testing.assert_array_equal(lazy.read(box), stack.array[box])
    # The pixels of the file, without the library: the last image ends the file.
    pixels = np.frombuffer(path.read_bytes(), np.uint8)
    liffile = pytest.importorskip("liffile")
    with liffile.LifFile(path) as file:
        block = file.images[2].memory_block
        stored = pixels[block.offset : block.offset + block.size].reshape(2, 512, 512)
    np.testing.assert_array_equal(both.array, np.moveaxis(stored, 0, -1))


def test_real_lif_files_with_wavelengths_are_refused() -> None:
    path = lif("leica_lasx_wavelength.lif")
    codes = [
        error_code(lambda s=series, n=ndim: read_image(path, n, arrays=s.place))
        for series, ndim in zip(list_series(path), (2, 2, 3), strict=True)
    ]
    assert codes == ["io.surplus_axis", "io.surplus_axis", "io.time_points"]
    with pytest.raises(UserError) as caught:
        read_image(path, 3, arrays=ArrayPlace(series=2, frame=0))
    assert caught.value.code == "io.surplus_axis"
    assert "OME-TIFF" in (caught.value.hint or "")


def test_cut_off_lif(tmp_path: Path) -> None:
    data = lif("leica_xz.lif").read_bytes()
    path = tmp_path / "a.lif"
    for size in (3, 1000, 300_000, len(data) - 10):
        path.write_bytes(data[:size])
        assert error_code(lambda: read_header(path, ArrayPlace(series=2))) == "io.unreadable"
    # Other files of Leica name further files, which must not be read.
    path.write_bytes(b'<?xml version="1.0"?><LMSDataContainerHeader/>')
    assert error_code(lambda: read_header(path)) == "io.unreadable"


def test_lossy_formats_hold_no_labels(tmp_path: Path) -> None:
    path = czi(tmp_path, ARRAY[0, :1, 0], "CYX")
    assert error_code(lambda: read_labels(path, 2)) == "labels.lossy_format"


def test_the_table_of_formats_has_every_suffix() -> None:
    text = (Path(__file__).parents[2] / "docs" / "preparing.md").read_text(encoding="utf-8")
    table = text[text.index("| format | suffixes |") : text.index("- 2D: (y, x)")]
    assert sorted(re.findall(r"`(\.[a-z0-9.]+)`", table)) == sorted(FORMATS)
