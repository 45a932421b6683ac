"""Data sets that are written from layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from singula.errors import UserError
from singula.napari_plugin.training import TrainingData


def test_images_without_labels_are_omitted(tmp_path: Path) -> None:
    image = np.arange(3 * 8 * 9, dtype=np.uint16).reshape(3, 8, 9)
    labels = np.zeros(image.shape, np.int32)
    labels[0, 2:4, 2:4], labels[2, 1:6, 1:6] = 1, 70_000
    assert TrainingData(image, labels, 2).write(tmp_path) == 2
    for name, number in (("image_000.tif", 0), ("image_001.tif", 2)):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "x" / name), image[number])
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "y" / name), labels[number])


def test_a_volume_keeps_its_axes_and_colors_their_order(tmp_path: Path) -> None:
    volume = np.zeros((4, 8, 9), np.uint8)
    assert TrainingData(volume, volume + 1, 3, voxel_size=(2, 1, 1)).write(tmp_path / "3d") == 1
    colors = np.arange(8 * 9 * 4, dtype=np.uint8).reshape(8, 9, 4)
    labels = np.ones((8, 9), np.int32)
    assert TrainingData(colors, labels, 2, rgb=True).write(tmp_path / "rgb") == 1
    stored = tifffile.imread(tmp_path / "rgb" / "x" / "image_000.tif")
    np.testing.assert_array_equal(stored, colors[..., :3])


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (np.zeros((8, 9), np.int32), "napari.no_labels"),
        (np.ones((9, 8), np.int32), "napari.other_shape"),
    ],
)
def test_labels_that_cannot_be_used(labels: np.ndarray, code: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        TrainingData(np.zeros((8, 9)), labels, 2).write(tmp_path)
    assert raised.value.code == code
