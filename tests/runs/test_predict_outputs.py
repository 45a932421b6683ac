"""Files that `singula predict` writes next to the label images."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from singula.errors import UserError
from singula.inference import files, gather_images, load, outputs, overlay, plan_predictions
from singula.inference.overlay import write_outlines, write_outlines_of_files
from singula.io.lazy import open_image, open_labels
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff
from singula.pipeline.blocks.image import BlockImage
from singula.report.overlay import enlarge
from singula.representations.channels import find_contour
from singula.util.messages import captured_messages


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
    assert command.out.endswith(f"2 of 2 images: {labels_only} (image_000.tif, …)\n")
    assert {path.name for path in labels_only.glob("*")} == {f"{name}.tif" for name in names}
    for name in names:
        labels = read_labels(all_files / f"{name}.tif", 2).array[..., 0]
        np.testing.assert_array_equal(
            labels, read_labels(labels_only / f"{name}.tif", 2).array[..., 0]
        )
        assert len(pd.read_csv(all_files / f"{name}_stats.csv")) == len(np.unique(labels)) - 1
        np.testing.assert_array_equal(
            colored(all_files / f"{name}_overlay.png"), find_contour(enlarge(labels), "inner")
        )
    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    pyramids, build = [], BlockImage.build_pyramid

    def count(self: BlockImage, path: str, phase: str, *rest: object) -> None:
        pyramids.append(phase)
        build(self, path, phase, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(BlockImage, "build_pyramid", count)
    blocks = tmp_path / "blocks"
    assert command("predict", source, "--model", model, "-o", blocks) == 0, command.err
    for name in names:
        np.testing.assert_array_equal(
            picture(blocks / f"{name}_overlay.png"), picture(all_files / f"{name}_overlay.png")
        )
    assert pyramids == ["instances"] * len(names)  # the maps are deleted


def test_messages_number_the_images_of_all_models(model, data_2d, tmp_path) -> None:
    loaded = load(model)
    tasks = plan_predictions(loaded, gather_images([data_2d / "test" / "x"]), tmp_path / "out")
    with captured_messages() as messages:
        files.predict_files(
            loaded, tasks, tmp_path / "out", augment=None, tables=False, resume=False,
            first=3, total=5,
        )  # fmt: skip
    numbered = [line for line in messages if line.startswith("[")]
    assert [line.partition(" ")[0] for line in numbered] == ["[3/5]", "[4/5]"]
    assert outputs.describe_results(tmp_path / "out", ["image_001"]) == " (image_001.tif)"
    assert outputs.describe_results(tmp_path / "out", ["other"]) == ""


@pytest.mark.parametrize("memory", [None, 0])
def test_resume_adds_files_that_an_interruption_prevented(
    command, model, data_2d, tmp_path, monkeypatch, memory
) -> None:
    source, out = data_2d / "test" / "x", tmp_path / "out"
    if memory is not None:  # all images are predicted in blocks
        monkeypatch.setattr(files, "available_memory", lambda config: memory)
    line = ("predict", source, "--model", model, "-o", out)
    assert command(*line) == 0, command.err
    complete = {path.name: path for path in out.iterdir() if path.is_file()}
    expected = {name: path.read_bytes() for name, path in complete.items()}
    table = pd.read_csv(out / "image_000_stats.csv")
    for name in ("image_000_stats.csv", "image_000_overlay.png", "image_001_overlay.png"):
        (out / name).unlink()
    assert command(*line, "--resume") == 0, command.err
    assert command.out.count("done already") == 2
    # The confidence needs the maps of the whole image.
    expected_table = table.drop(columns="confidence", errors="ignore")
    found = pd.read_csv(out / "image_000_stats.csv")
    pd.testing.assert_frame_equal(found, expected_table, rtol=1e-9)
    for name in expected.keys() - {"image_000_stats.csv"}:
        assert (out / name).read_bytes() == expected[name], name
    (out / "image_001_stats.csv").unlink()
    (out / "image_001_overlay.png").unlink()
    assert command(*line, "--resume", "--no-tables", "--no-overlay") == 0, command.err
    assert not list(out.glob("image_001_*"))
    if memory is not None:
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    (out / "image_001.tif").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write_outlines", stop)
        assert command(*line, "--resume") == 130
    assert not (out / "image_001_overlay.png").exists()
    assert command(*line, "--resume") == 0, command.err
    for name, content in expected.items():
        if name != "image_000_stats.csv":
            assert (out / name).read_bytes() == content, name


@pytest.mark.parametrize("memory", [None, 0])
def test_no_file_of_an_earlier_label_image_remains(
    command, model, data_2d, tmp_path, monkeypatch, memory
) -> None:
    source, out = tmp_path / "a.tif", tmp_path
    shutil.copy(data_2d / "test" / "x" / "image_000.tif", source)
    if memory is not None:
        monkeypatch.setattr(files, "available_memory", lambda config: memory)
    line = ("predict", source, "--model", model, "-o", out / "out")
    assert command(*line) == 0, command.err
    assert len(list((out / "out").iterdir())) == 3
    assert command(*line, "--overwrite", "--no-overlay") == 0, command.err
    assert not (out / "out" / "a_overlay.png").exists()
    assert (out / "out" / "a_stats.csv").is_file()
    assert command(*line, "--overwrite", "--no-tables") == 0, command.err
    assert not (out / "out" / "a_stats.csv").exists()
    # An input with the name of an overlay is never removed.
    other = out / "out" / "a_overlay.png"
    Image.fromarray(read_image(source, 2, 1).array[..., 0]).save(other)
    content = other.read_bytes()
    both = ("predict", source, other, "--model", model, "-o", out / "out")
    assert command(*both, "--overwrite", "--no-tables", "--no-overlay") == 0, command.err
    assert other.read_bytes() == content


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
