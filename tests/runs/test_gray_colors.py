"""Prediction of gray images that were saved in color, in blocks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import singula
from singula.inference import files as loaded_files
from singula.inference import plan_predictions, predict_files
from singula.inference.image_scales import ImageScales
from singula.inference.voxel_sizes import VoxelSizes
from singula.io.read import read_labels
from singula.synthetic.fluorescence import make_image


@pytest.fixture
def images(tmp_path) -> list[Path]:
    """Write a gray image, the same image in color, and a picture of several colors."""
    gray = make_image((128, 128), np.random.default_rng(5)).image
    empty, full = np.zeros_like(gray), np.full_like(gray, 255)
    pictures = {
        "gray": gray,
        "rgb": np.stack([gray] * 3, -1),
        "blue": np.stack([empty, empty, gray], -1),
        "stained": np.stack([gray, gray // 2, full], -1),
    }
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    return [tmp_path / f"{name}.png" for name in pictures]


def test_a_gray_image_in_color_is_predicted_in_blocks(images, tmp_path, monkeypatch) -> None:
    model, out = singula.load("nuclei"), tmp_path / "out"
    pairs = plan_predictions(model, images, out)
    scales = ImageScales(model, None, VoxelSizes(None, None))
    needed = {scales.needed_memory(pair, 0) for pair in pairs}
    assert len(needed) == 1
    assert needed != {0}
    monkeypatch.setattr(loaded_files, "available_memory", lambda config: 1)
    failed = predict_files(
        model, pairs, out, augment=None, tables=True, overlays=True, resume=False
    )
    assert list(failed) == [str(images[-1])]
    assert "nuclei_he" in str(failed[str(images[-1])])
    first, *others = (read_labels(out / f"{n}.zarr", 2).array for n in ("gray", "rgb", "blue"))
    assert len(np.unique(first)) > 5
    for other in others:
        np.testing.assert_array_equal(other, first)
    assert (out / "blue_overlay.png").is_file()
