"""Choice of a built-in model for an image, and the prediction with it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from singula.errors import ExitCode, UserError
from singula.inference import choose, list_models, load
from singula.inference import files as loaded_files
from singula.inference import gray as gray_images
from singula.inference.check_image import check_image
from singula.inference.choose import choose_models
from singula.inference.load_model import find_model, similar_model
from singula.inference.voxel_sizes import VoxelSizes
from singula.io.image import Header
from singula.io.pairing import Pair
from singula.io.read import read_labels
from singula.metrics.summary import MEAN
from singula.runs.run import open_run
from singula.runs.scores import reference_threshold
from singula.synthetic.fluorescence import make_image
from singula.training.checkpoint import save_tuned
from singula.zoo.models import built_in_models


@pytest.mark.parametrize(
    ("shape", "axes", "kind"),
    [
        ((60, 50), None, "plane"),
        ((60, 50), "YX", "plane"),
        ((1, 60, 50, 1), None, "plane"),
        ((4, 1, 60, 50), "TCYX", "plane"),
        ((60, 50, 3), "YXS", "colors"),
        ((60, 50, 3), None, "colors"),
        ((20, 60, 50), None, "volume"),
        ((20, 60, 50), "ZYX", "volume"),
        ((20, 60, 50), "QYX", "volume"),
        ((20, 1, 60, 50), "ZCYX", "volume"),
    ],
)
def test_the_kind_of_an_image_follows_from_its_axes(shape, axes, kind) -> None:
    header = Header(shape, np.dtype(np.uint8), axes, source="a test")
    assert choose.image_kind(Path("a.tif"), header) == kind


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 60, 50), "CYX"), ((2, 60, 50), None), ((20, 2, 60, 50), "ZCYX")]
)
def test_channels_without_colors_need_a_selection(shape, axes) -> None:
    header = Header(shape, np.dtype(np.uint16), axes, source="a test")
    with pytest.raises(UserError) as refused:
        choose.image_kind(Path("a.tif"), header)
    assert refused.value.code == "predict.several_channels"


@pytest.fixture
def images(tmp_path) -> dict[str, Path]:
    """Write a gray image in several files, a stained image and a volume."""
    gray = make_image((128, 128), np.random.default_rng(5)).image
    folder = tmp_path / "in"
    folder.mkdir()
    names = ("gray.png", "rgb.png", "rgba.png", "blue.png", "two.tif")
    files = {name: folder / name for name in names}
    Image.fromarray(gray).save(files["gray.png"])
    Image.fromarray(np.stack([gray] * 3, -1)).save(files["rgb.png"])
    empty, opaque = np.zeros_like(gray), np.full_like(gray, 255)
    Image.fromarray(np.stack([empty, empty, gray], -1)).save(files["blue.png"])
    Image.fromarray(np.stack([gray, gray, gray, opaque], -1)).save(files["rgba.png"])
    tifffile.imwrite(files["two.tif"], np.stack([opaque, gray]), metadata={"axes": "CYX"}, ome=True)
    for name in ("stained.png", "volume.tif", "damaged.tif"):
        files[name] = tmp_path / name
    Image.fromarray(np.stack([gray, gray // 2, opaque], -1)).save(files["stained.png"])
    tifffile.imwrite(files["volume.tif"], np.stack([gray] * 8), metadata={"axes": "ZYX"}, ome=True)
    files["damaged.tif"].write_bytes(b"II*\0")
    return files


def test_each_kind_has_its_model(images, monkeypatch) -> None:
    names = dict.fromkeys(("nuclei", "nuclei_he", "nuclei_3d"))
    monkeypatch.setattr(choose, "built_in_models", lambda: names)
    files = [path for name, path in images.items() if name != "two.tif"]
    choices, errors = choose_models(files)
    assert {c.model: {path.name for path in c.files} for c in choices} == {
        "nuclei": {"gray.png", "rgb.png", "rgba.png", "blue.png"},
        "nuclei_he": {"stained.png"},
        "nuclei_3d": {"volume.tif"},
    }
    assert {path.name: error.code for path, error in errors.items()} == {
        "damaged.tif": "io.unreadable"
    }
    (choice,), _ = choose_models([images["two.tif"]], channel="1")
    assert choice.model == "nuclei"
    monkeypatch.setattr(choose, "built_in_models", lambda: {"nuclei": None})
    (choice,), errors = choose_models([images["gray.png"], images["stained.png"]])
    assert choice.files == (images["gray.png"],)
    assert errors[images["stained.png"]].code == "zoo.no_model"


def test_files_that_cannot_be_predicted_do_not_stop_the_others(
    command, images, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(choose, "built_in_models", lambda: {"nuclei": None})
    notes, missing = tmp_path / "notes.txt", tmp_path / "missing.tif"
    notes.write_text("not an image")
    shutil.copy(images["two.tif"], tmp_path / "copy.tif")
    codes = {
        images["damaged.tif"]: "io.unreadable",
        notes: "io.suffix",
        missing: "paths.missing",
        images["two.tif"]: "predict.several_channels",
        images["volume.tif"]: "zoo.no_model",
    }
    out = tmp_path / "out"
    assert command("predict", *codes, images["gray.png"], "-o", out) == ExitCode.USER_ERROR
    assert read_labels(out / "gray.tif", 2).array.any()
    for path, code in codes.items():
        assert f"{path.name}: FAILED" in command.out
        assert f"{path} [{code}]" in command.err
    line = ("predict", *codes, images["gray.png"], "-o", out, "--model", "nuclei", "--resume")
    assert command(*line) == ExitCode.USER_ERROR
    assert "gray.png: done already" in command.out
    channels = images["two.tif"], tmp_path / "copy.tif"
    assert command("predict", *channels, "-o", tmp_path / "none") == ExitCode.USER_ERROR
    assert (command.out + command.err).count("--channel") == 1
    assert not (tmp_path / "none").exists()
    assert command("predict", *channels, "-o", out, "-m", "nuclei") == ExitCode.USER_ERROR
    assert command.out.count("--channel NAME") == 1
    assert command.out.count("FAILED") == 2


def test_a_gray_image_has_the_same_instances_in_any_file(command, images, tmp_path) -> None:
    names, out = ("gray.png", "rgb.png", "rgba.png", "blue.png"), tmp_path / "out"
    files = [images[name] for name in names]
    assert command("predict", *files, images["damaged.tif"], "-o", out) == 2, command.err
    assert built_in_models()["nuclei"].card.license in command.out
    first, *others = (read_labels(out / f"{Path(n).stem}.tif", 2).array for n in names)
    assert len(np.unique(first)) > 5
    for other in others:
        np.testing.assert_array_equal(other, first)
    line = ("export", out, "--to", "csv", "-o", tmp_path / "tables")
    assert command(*line) == 0, command.err  # pictures of outlines are no label images
    rows = pd.read_csv(tmp_path / "tables" / "instances.csv")
    assert set(rows["image"]) == {Path(name).stem for name in names}
    assert command("predict", images["two.tif"], "--channel", "1", "-o", out) == 0, command.err
    np.testing.assert_array_equal(read_labels(out / "two.tif", 2).array, first)
    assert command("predict", images["stained.png"], "--model", "nuclei", "-o", out) != 0
    assert "nuclei_he" in command.out


@pytest.mark.parametrize("blocks", [False, True])
def test_color_time_lapses_and_colors(command, images, tmp_path, monkeypatch, blocks) -> None:
    """A gray movie in color, and one color of a picture, have the instances of a gray image."""
    if blocks:
        monkeypatch.setattr(loaded_files, "available_memory", lambda config: 0)
    gray = np.asarray(Image.open(images["gray.png"]))
    movie, mixed, out = tmp_path / "movie.tif", tmp_path / "mixed.png", tmp_path / "out"
    frames = np.stack([np.stack([gray] * 3, -1)] * 2)
    tifffile.imwrite(movie, frames, imagej=True, metadata={"axes": "TYXS"})
    Image.fromarray(np.stack([gray // 3, gray, 255 - gray], -1)).save(mixed)
    assert command("predict", images["gray.png"], "-o", out) == 0, command.err
    assert command("predict", movie, "--frames", "all", "-o", out) == 0, command.err
    assert command("predict", mixed, "--channel", "G", "-o", out) == 0, command.err
    assert "model nuclei:" in command.out
    assert command.out.count("thresholds") == 1
    suffix = ".zarr" if blocks else ".tif"
    expected = read_labels(out / f"gray{suffix}", 2).array
    assert len(np.unique(expected)) > 5
    for name in ("movie_t000", "movie_t001", "mixed"):
        found = read_labels(out / f"{name}{suffix}", 2).array
        np.testing.assert_array_equal(found, expected)
    assert command("predict", mixed, "--model", "nuclei", "-o", out, "--overwrite") == 2
    assert "[predict.image_shape]" in command.out


def test_a_volume_for_a_model_of_planes_needs_a_model_for_volumes(images) -> None:
    model, other = load("nuclei"), images["volume.tif"].with_name("no_axes.tif")
    tifffile.imwrite(other, tifffile.imread(images["volume.tif"]), metadata=None)
    for path in (images["volume.tif"], other):
        with pytest.raises(UserError) as refused:
            check_image(model, Pair(path, None, path.name), VoxelSizes(None, None))
        assert refused.value.code == "predict.image_shape"
        assert choose.MODELS["volume"] in str(refused.value.hint)
    with pytest.raises(UserError) as refused:
        check_image(model, Pair(images["two.tif"], None, "two"), VoxelSizes(None, None))
    assert choose.MODELS["volume"] not in str(refused.value.hint)


def test_colors_are_compared_in_blocks(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gray_images, "_BOX", 16)
    gray = np.random.default_rng(0).integers(0, 255, (64, 48), np.uint8)
    zero = np.zeros_like(gray)
    mixed = np.stack([gray] * 3, -1)
    mixed[60, 40, 2] ^= 1  # the last block
    cases = {
        "gray": (np.stack([gray] * 3, -1), 0),
        "green": (np.stack([zero, gray, zero], -1), 1),
        "yellow": (np.stack([gray, gray, zero], -1), 0),
        "black": (np.stack([zero] * 3, -1), 0),
    }
    for name, (array, number) in cases.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, array, photometric="rgb", rowsperstrip=4)
        assert gray_images.shown_color(path, 2, None) == number, name
    others = {"mixed": mixed, "two": np.stack([np.where(gray > 99, gray, 0), zero, gray], -1)}
    for name, array in others.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, array, photometric="rgb", rowsperstrip=4)
        with pytest.raises(UserError) as refused:
            gray_images.shown_color(path, 2, None)
        assert refused.value.code == "predict.image_shape"


def test_a_similar_model_is_suggested(tmp_path) -> None:
    run = tmp_path / "results" / "cells" / "results" / "cells_1"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (tmp_path / "best.pth").write_bytes(b"")
    similar = {
        Path("nuclie"): "nuclei",
        tmp_path / "results" / "cels" / "results" / "cell_1": str(run),
        tmp_path / "results" / "cells" / "results" / "cells_2": str(run),
        tmp_path / "bset.pth": str(tmp_path / "best.pth"),
        tmp_path / "other" / "cells_1": None,
    }
    for path, expected in similar.items():
        assert similar_model(path) == expected
    with pytest.raises(UserError, match="did you mean nuclei") as refused:
        load("nuclie")
    assert refused.value.code == "runs.not_a_run"


def test_models_lists_the_package_and_the_runs_of_a_folder(
    command, run_once, write_config, data_2d, tmp_path
) -> None:
    assert command("models") == 0, command.err
    assert max(map(len, command.out.splitlines())) < 80
    text = " ".join(command.out.split())
    for model in built_in_models().values():
        card = model.card
        assert f"{model.name}: {card.title}" in text
        assert f"license {card.license}" in text
        for name, value in card.scores.items():
            assert f"{value:.3f} {name}" in text
    assert [item.name for item in list_models()] == list(built_in_models())
    assert repr(list_models()) in command.out
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 12})
    out = run_once("plain_12", config, tmp_path / "trained")
    assert command("models", out) == 0, command.err
    run = out / "job" / "results" / "job_1"
    assert str(run) in command.out
    assert str(data_2d / "train" / "x") in command.out
    assert "2 test images" in command.out
    listed = list_models(out)[-1]
    assert listed.name == str(run)
    assert listed.training_data == str(data_2d / "train" / "x")
    (f1,) = listed.scores.values()
    scores = open_run(run).scores
    assert (
        f1
        == scores.row("per_image", MEAN, reference_threshold(scores.thresholds("per_image")))["f1"]
    )
    assert listed.scored_on == "2 test images"
    save_tuned(find_model(run), {"thresholds": {"TH_BINARY_MASK": 0.45}})
    # The scores are those of other thresholds than a prediction uses now.
    assert "other thresholds" in list_models(out)[-1].scored_on
    (run / "run.json").write_text("{")
    assert command("models", out) == 0, command.err
    assert f"{run}: is skipped" in command.out
    (run / "run.json").unlink()
    assert command("models", out) == 0, command.err
    assert f"no finished run in {out}" in command.out


def test_results_of_files_with_different_models_do_not_replace_each_other(
    command, images, tmp_path, monkeypatch
) -> None:
    monkeypatch.setitem(choose.MODELS, "volume", "nuclei")
    gray = images["volume.tif"].with_name("volume.png")
    images["gray.png"].rename(gray)
    assert command("predict", images["volume.tif"], gray, "-o", tmp_path / "out") == 2
    assert "volume.tif" in command.err
    assert not list((tmp_path / "out").glob("*.tif"))
