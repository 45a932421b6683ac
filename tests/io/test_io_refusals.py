"""Invalid values, types and truncated files are refused by every reader."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from singula.errors import UserError
from singula.io.files import guarded, list_series
from singula.io.formats.table import FORMATS
from singula.io.read import IMAGE_SUFFIXES, read_header, read_image

VOLUME = np.random.default_rng(1).integers(0, 60000, (5, 12, 17), dtype=np.uint16)
COLOUR = np.random.default_rng(2).integers(0, 200, (12, 17, 3), dtype=np.uint8)


def save_tiff(path: Path, array: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_numbers(tmp_path: Path, value: float) -> None:
    array = np.zeros((4, 5), np.float32)
    array[1, 1:3] = value
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=r"a\.npy: got [02] NaN values and [02] infinite values"):
        read_image(tmp_path / "a.npy", 2)


def test_messages_of_the_library_about_a_damaged_file_are_dropped(tmp_path, caplog) -> None:
    """The error of the file replaces the messages; those about files that can be read remain."""
    path = save_tiff(tmp_path / "a.tif", VOLUME[0])
    read_image(path, 2)
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    for number in range(2, int.from_bytes(content[first : first + 2], "little")):
        tag = first + 2 + 12 * number
        content[tag + 2 : tag + 4] = (99).to_bytes(2, "little")  # a type that does not exist
    path.write_bytes(content)
    with tifffile.TiffFile(path):
        assert caplog.records
    caplog.clear()
    list_series(path)
    with pytest.raises(UserError) as error:
        read_image(path, 2)
    assert (error.value.code, caplog.records) == ("io.unreadable", [])
    guarded(path, lambda _: logging.getLogger("tifffile").warning("unknown tag"))
    assert caplog.messages == ["unknown tag"]


@pytest.mark.parametrize("dtype", ["c8", "O", "U3", "f8,f8"])
def test_types_that_are_not_images(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5), dtype), allow_pickle=True)
    with pytest.raises(UserError, match=r"a\.npy"):
        read_image(tmp_path / "a.npy", 2)
    with pytest.raises(UserError, match=r"a\.npy: got values of type"):
        read_header(tmp_path / "a.npy")


LIBRARIES = {
    "whole slide": ("openslide", "slides"), "CZI": ("pylibCZIrw", "formats"),
    "LIF": ("liffile", "formats"), "ND2": ("nd2", "formats"), "OIF": ("oiffile", "formats"),
    "OIB": ("oiffile", "formats"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_unreadable_files(tmp_path: Path, suffix: str) -> None:
    module, extra = LIBRARIES.get(FORMATS[suffix].name, ("numpy", ""))
    pytest.importorskip(module, reason=f"the extra {extra} is not installed")
    path = tmp_path / f"a{suffix}"
    for content in (None, b"", b"this is no picture at all, but long enough to look at"):
        if content is not None:
            path.write_bytes(content)
        for read in (read_header, lambda path: read_image(path, 2)):
            with pytest.raises(UserError, match=rf"a\{suffix}: cannot be read as") as caught:
                read(path)
            assert caught.value.hint


def test_folder_and_unknown_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    (tmp_path / "a.bmp").write_bytes(b"x")
    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path / "a.tif", 2)
    with pytest.raises(UserError, match=r"got the suffix .*, expected one of \.tif"):
        read_image(tmp_path / "a.bmp", 2)


def test_no_pixels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((0, 5), np.uint8))
    with pytest.raises(UserError, match="no pixels"):
        read_image(tmp_path / "a.npy", 2)


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
        {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"metadata": {"axes": "ZYX"}},
        {"compression": "zlib"},
        {"metadata": None},
        {"metadata": None, "compression": "zlib", "tile": (16, 16)},
        {"metadata": None, "bigtiff": True},
    ],
    ids=str,
)
def test_cut_off_tiff_never_loses_slices_silently(
    tmp_path: Path, options: dict[str, object]
) -> None:
    whole = save_tiff(tmp_path / "whole.tif", VOLUME, **options).read_bytes()
    cut = tmp_path / "cut.tif"
    refused = 0
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        cut.write_bytes(whole[:end])
        try:
            found = read_image(cut, 3, 1)
        except UserError as error:
            refused += "cut.tif" in error.message
        else:
            np.testing.assert_array_equal(found.array[..., 0], VOLUME)
    assert refused > 30


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".npy"])
def test_cut_off_pictures(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    np.save(whole, COLOUR) if suffix == ".npy" else PIL.Image.fromarray(COLOUR).save(whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for end in range(0, len(content) - 4, max(1, len(content) // 40)):
        cut.write_bytes(content[:end])
        with pytest.raises(UserError) as caught:
            read_image(cut, 2, 3)
        assert caught.value.code in ("io.unreadable", "io.cut_off")
        if suffix != ".jpg":
            with pytest.raises(UserError) as caught:
                read_header(cut)
            assert caught.value.code in ("io.unreadable", "io.cut_off")


def test_missing_ome_plane_is_refused(tmp_path: Path) -> None:
    """The library fills the plane with zeros."""
    path = save_tiff(tmp_path / "a.tif", VOLUME, ome=True, metadata={"axes": "ZYX"})
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b'SizeZ="5"', b'SizeZ="6"').replace(b'PlaneCount="5"', b'PlaneCount="6"')
    )
    with pytest.raises(UserError, match="cut off or damaged"):
        read_image(path, 3, 1)
