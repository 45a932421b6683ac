"""Labels: ids of every file format, the class channel, and files that are not label images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from singula.errors import UserError
from singula.io.read import read_labels

IDS = np.random.default_rng(0).integers(0, 9, (10, 13))


@pytest.mark.parametrize(
    ("highest", "stored", "expected"),
    [
        (9, "i8", "u1"),
        (255, "u4", "u1"),
        (256, "u4", "u2"),
        (65535, "i4", "u2"),
        (65536, "i8", "u4"),
        (2**32 - 1, "u8", "u4"),
        (300, "f4", "u2"),
        (2**32 - 1, "f8", "u4"),
        (0, "u2", "u1"),
        (7, ">u2", "u1"),
    ],
)
def test_smallest_type_that_holds_the_ids(
    tmp_path: Path, highest: int, stored: str, expected: str
) -> None:
    labels = np.minimum(IDS, highest)
    labels[0, 0] = highest
    np.save(tmp_path / "a.npy", labels.astype(stored))
    found = read_labels(tmp_path / "a.npy", 2)
    assert found.array.dtype == np.dtype(expected)
    assert found.array.shape == (10, 13, 1)
    np.testing.assert_array_equal(found.array[..., 0], labels)


def test_masks_are_not_changed(tmp_path: Path) -> None:
    np.save(tmp_path / "bool.npy", IDS > 4)
    np.testing.assert_array_equal(read_labels(tmp_path / "bool.npy", 2).array[..., 0], IDS > 4)
    PIL.Image.fromarray((IDS > 4).astype(np.uint8) * 255).save(tmp_path / "a.png")
    assert set(np.unique(read_labels(tmp_path / "a.png", 2).array)) == {0, 255}


def test_ids_with_a_palette(tmp_path: Path) -> None:
    image = PIL.Image.new("P", IDS.shape[::-1])
    image.putdata(list(IDS.astype(np.uint8).ravel()))
    image.putpalette(np.random.default_rng(0).integers(0, 255, 3 * 256).tolist())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", 2).array[..., 0], IDS)


def test_gray_saved_as_color(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.stack([IDS.astype(np.uint8)] * 3, -1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png", 2).array[..., 0], IDS)


@pytest.mark.parametrize("bands", [3, 4])
def test_color_pictures_are_refused(tmp_path: Path, bands: int) -> None:
    colors = np.random.default_rng(0).integers(0, 255, (10, 13, bands), dtype=np.uint8)
    PIL.Image.fromarray(colors).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: got a color picture") as caught:
        read_labels(tmp_path / "a.png", 2)
    assert caught.value.code == "labels.color_picture"


def test_jpeg_is_refused(tmp_path: Path) -> None:
    PIL.Image.fromarray(IDS.astype(np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg: labels cannot be JPEG") as caught:
        read_labels(tmp_path / "a.jpg", 2)
    assert caught.value.code == "labels.lossy_format"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 0.5, 2.25], r"2 label values with a fraction, such as 0.5"),
        ([0.0, np.nan, 1.0], "1 NaN value"),
        ([0, -3, 1], "label ids down to -3"),
        ([0, 2**32], "label ids up to 4294967296, expected at most 4294967295"),
        ([0.0, 1e12], "label ids up to 1000000000000"),
    ],
)
def test_values_that_are_not_ids(tmp_path: Path, values: list[float], message: str) -> None:
    labels = np.zeros((4, 4), np.asarray(values).dtype)
    labels.flat[: len(values)] = values
    np.save(tmp_path / "bad.npy", labels)
    with pytest.raises(UserError, match=message) as caught:
        read_labels(tmp_path / "bad.npy", 2)
    assert "bad.npy" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("where", [0, -1])
def test_class_channel(tmp_path: Path, where: int) -> None:
    classes = (IDS > 0) * (IDS % 2 + 1)
    np.save(tmp_path / "a.npy", np.stack([IDS * 100, classes], where))
    found = read_labels(tmp_path / "a.npy", 2, classes=True, n_classes=3)
    np.testing.assert_array_equal(found.array, np.stack([IDS * 100, classes], -1))
    assert found.array.dtype == np.uint16
    with pytest.raises(UserError, match=r"got the class 2, expected .* MODEL\.N_CLASSES is 2"):
        read_labels(tmp_path / "a.npy", 2, classes=True, n_classes=2)


def test_class_channel_in_3d_from_imagej(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (4, 2, 6, 7), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", labels, imagej=True, metadata={"axes": "ZCYX"})
    found = read_labels(tmp_path / "a.tif", 3, classes=True)
    np.testing.assert_array_equal(found.array, labels.transpose(0, 2, 3, 1))


def test_class_channel_missing_or_not_wanted(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", IDS)
    with pytest.raises(UserError, match=r"one\.npy: got 1 channel.*MODEL.N_CLASSES") as caught:
        read_labels(tmp_path / "one.npy", 2, classes=True)
    assert caught.value.code == "labels.no_class_channel"
    np.save(tmp_path / "two.npy", np.stack([IDS, IDS + 1000], -1))
    found = read_labels(tmp_path / "two.npy", 2)
    np.testing.assert_array_equal(found.array[..., 0], IDS)
    assert found.array.shape[-1] == 1


def test_more_channels_than_labels_have(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((30, 10, 13), np.uint16))
    with pytest.raises(UserError, match="first or last axis") as caught:
        read_labels(tmp_path / "a.npy", 2)
    assert caught.value.code == "io.no_channel_axis"
    assert "PROBLEM.NDIM to '3D'" in (caught.value.hint or "")
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((5, 10, 13), np.uint16), imagej=True, metadata={"axes": "CYX"}
    )
    with pytest.raises(UserError, match="1 channel"):
        read_labels(tmp_path / "a.tif", 2)
