"""Files that `singula predict` writes next to the label images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from singula.errors import UserError
from singula.inference import files, gather_images, load, overlay, plan_predictions
from singula.inference.overlay import write_outlines, write_outlines_of_files
from singula.io.lazy import open_image, open_labels
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff
from singula.representations.channels import find_contour


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def colored(path: Path) -> np.ndarray:
    """Return the pixels of a picture of a gray image that are drawn."""
    drawn = picture(path).astype(int)
    return (np.ptp(drawn, axis=-1) > 0).astype(bool)


@pytest.fixture
def model(run_once, write_config, data_2d, tmp_path) -> Path:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 12})
    return run_once("plain_12", config, tmp_path / "trained") / "job" / "results" / "job_1"


def test_table_and_overlay_are_written_by_default(
    command, model, data_2d, tmp_path, monkeypatch
) -> None:
    source, all_files, labels_only = data_2d / "test" / "x", tmp_path / "all", tmp_path / "labels"
    assert command("predict", source, "--model", model, "-o", all_files) == 0, command.err
    line = ("predict", source, "--model", model, "-o", labels_only, "--no-tables", "--no-overlay")
    assert command(*line) == 0, command.err
    names = ("image_000", "image_001")
    assert {path.name for path in labels_only.glob("*")} == {f"{name}.tif" for name in names}
    for name in names:
        labels = read_labels(all_files / f"{name}.tif", 2).array[..., 0]
        np.testing.assert_array_equal(
            labels, read_labels(labels_only / f"{name}.tif", 2).array[..., 0]
        )
        assert len(pd.read_csv(all_files / f"{name}_stats.csv")) == len(np.unique(labels)) - 1
        np.testing.assert_array_equal(
            colored(all_files / f"{name}_overlay.png"), find_contour(labels, "inner")
        )
    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    blocks = tmp_path / "blocks"
    assert command("predict", source, "--model", model, "-o", blocks) == 0, command.err
    for name in names:
        np.testing.assert_array_equal(
            picture(blocks / f"{name}_overlay.png"), picture(all_files / f"{name}_overlay.png")
        )


def test_an_overlay_does_not_replace_an_input(model, data_2d, tmp_path) -> None:
    image = read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array[..., 0]
    for name in ("a", "a_overlay"):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    sources = gather_images([tmp_path])
    assert len(plan_predictions(load(model), sources, tmp_path)) == 2
    with pytest.raises(UserError) as refused:
        plan_predictions(load(model), sources, tmp_path, overlays=True)
    assert refused.value.code == "predict.overwrites_input"


@pytest.mark.parametrize("shape", [(53, 117), (5, 47, 61), (1, 1), (1, 90)])
@pytest.mark.parametrize("side", [16, 2048])
def test_the_picture_of_files_in_bands_equals_that_of_arrays(
    tmp_path, monkeypatch, shape, side
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 3000, (*shape, 1)).astype(np.uint16)
    labels = np.kron(rng.integers(0, 4, [-(-s // 6) for s in shape]), np.ones([6] * len(shape)))
    labels = labels[tuple(map(slice, shape))].astype(np.uint8)
    if len(shape) == 3:
        labels[[0, 1, 3, 4]] = 0  # the slice with the most labels is the middle one
    axes = "ZYX"[-len(shape) :]
    write_tiff(tmp_path / "x.tif", image[..., 0], axes, None, None)
    write_tiff(tmp_path / "y.tif", labels, axes, None, None)
    monkeypatch.setattr(overlay, "DISPLAY_SIDE", side)
    write_outlines(tmp_path / "whole.png", image, labels)
    monkeypatch.setattr(overlay, "_BAND", 300)
    lazy = (
        open_image(tmp_path / "x.tif", len(shape), 1),
        open_labels(tmp_path / "y.tif", len(shape)),
    )
    write_outlines_of_files(tmp_path / "bands.png", *lazy)
    whole = picture(tmp_path / "whole.png")
    assert max(whole.shape[:2]) <= max(side, 1) or min(shape[-2:]) < 6
    np.testing.assert_array_equal(picture(tmp_path / "bands.png"), whole)
