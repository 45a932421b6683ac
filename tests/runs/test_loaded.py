"""A finished run as a model, on the command line and in Python."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from skimage.measure import regionprops
from skimage.segmentation import clear_border

import singula
from singula.config.keys import key_table
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.gui.retune import Retune
from singula.inference import files, find_model, gather_images, plan_predictions, predict_files
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff
from singula.measure import additional_columns, measure_instances
from singula.training.checkpoint import load_checkpoint


def test_labels_in_the_image_folder_are_not_predicted(tmp_path: Path) -> None:
    for name in ("a.tif", "a_cp_masks.tif", "b.tif", "lonely_mask.tif"):
        (tmp_path / name).touch()
    found = gather_images([tmp_path])
    assert [path.name for path in found] == ["a.tif", "b.tif", "lonely_mask.tif"]
    named = gather_images([tmp_path / "a_cp_masks.tif"])
    assert [path.name for path in named] == ["a_cp_masks.tif"]


@pytest.fixture
def run(run_once, write_config, data_2d, tmp_path) -> Path:
    manual = {"PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual", "TRAIN.EPOCHS": 25}
    config = write_config(data_2d, **manual)
    out = run_once("manual_25", config, tmp_path / "out")
    config.unlink()
    return out / "job" / "results" / "job_1"


COLUMNS = {
    "axis-0": "centroid_y_px",
    "axis-1": "centroid_x_px",
    "diameter": "bounding_box_diameter_px",
    "perimeter": "perimeter_px",
}


def test_predict_gives_the_instances_of_the_run_without_its_yaml(
    run, command, data_2d, tmp_path
) -> None:
    target = tmp_path / "new"
    line = ("predict", data_2d / "test" / "x", "--model", run, "-o", target, "--tables")
    assert command(*line) == 0, command.err
    for name in ("image_000", "image_001"):
        expected = read_labels(run / "per_image_instances" / f"{name}.tif", 2).array
        found = read_labels(target / f"{name}.tif", 2).array
        assert found.any()
        np.testing.assert_array_equal(found, expected)
        table = pd.read_csv(target / f"{name}_stats.csv")
        image = read_image(data_2d / "test" / "x" / f"{name}.tif", 2, 1).array
        expected = measure_instances(found[..., 0]).rename(columns=COLUMNS)
        expected = expected.assign(**additional_columns(found[..., 0], image))
        assert table.pop("confidence").between(0, 1).all()
        assert {"label", "centroid_y_px", "intensity_mean"} <= set(table) <= set(expected)
        pd.testing.assert_frame_equal(table, expected[list(table)], check_dtype=False)


def test_python_and_checkpoint_give_the_same(run, data_2d) -> None:
    image = read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array
    model = singula.load(run)
    checkpoint = run.parents[1] / "checkpoints" / "job_1-checkpoint-best.pth"
    labels = model.predict(image)
    expected = read_labels(run / "per_image_instances" / "image_000.tif", 2).array[..., 0]
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(singula.load(checkpoint).predict(image[..., 0]), expected)
    maps = model.predict_maps(image)
    assert set(maps) == {"B", "C"}
    stored = read_image(run / "per_image" / "image_000.tif", 2, 2).array
    np.testing.assert_array_equal(maps["B"], stored[..., 0])
    assert model.predict(image, thresholds={"REMOVE_SMALL_OBJ": 10**6}).max() == 0
    with pytest.raises(UserError, match=r"shape \(4, 5, 2\)"):
        model.predict(np.zeros((4, 5, 2)))
    with pytest.raises(UserError, match=r"\(0, 0\), expected sides"):
        model.predict(np.zeros((0, 0), np.uint8))
    with pytest.raises(TypeError, match="spacing: got 'wide'"):
        model.predict(image[..., 0], spacing="wide")
    with pytest.raises(UserError, match=r"TH_CONTOUR.*got 3"):
        model.predict(image[..., 0], thresholds={"TH_CONTOUR": 3})
    np.testing.assert_array_equal(
        model.predict(image, spacing=2), model.predict(image, spacing=(2, 2))
    )


def test_one_forward_pass_per_tile_unless_views_are_averaged(run, data_2d) -> None:
    image = read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array
    model = singula.load(run)
    passes = []
    model.predictor.network.register_forward_hook(lambda *_: passes.append(1))
    default = model.predict_maps(image)["B"]
    once = len(passes)
    np.testing.assert_array_equal(model.predict_maps(image, augment=False)["B"], default)
    assert len(passes) == 2 * once
    assert (model.predict_maps(image, augment=True)["B"] != default).any()
    assert len(passes) == (2 + 8) * once


def test_the_checkpoint_has_the_size_of_the_training_objects(run, data_2d) -> None:
    """Only 8 objects are complete, so the larger half of the cut objects counts too."""
    complete: list[float] = []
    cut: list[float] = []
    for path in sorted((data_2d / "train" / "y").iterdir()):
        labels = read_labels(path, 2).array[..., 0]
        inner = np.unique(clear_border(labels))
        for region in regionprops(labels):
            group = complete if region.label in inner else cut
            group.append(region.equivalent_diameter_area)
    assert len(complete) == 8
    used = complete + [size for size in cut if size >= np.median(cut)]
    found = load_checkpoint(find_model(run)).description
    assert found["object_size"] == pytest.approx([np.median(used)] * 2)
    low, high = found["object_range"]
    assert low <= found["object_size"][0] <= high
    assert "voxel_size" not in found


def test_each_threshold_of_a_model_is_automatic_unless_given(run, data_2d) -> None:
    image = read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array
    manual = singula.load(run)
    keys = manual.config.PROBLEM.INSTANCE_SEG
    auto = replace(
        manual,
        config=manual.config.replaced({"PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "auto"}),
    )
    for given in (
        {},
        {"REMOVE_SMALL_OBJ": keys.DATA_REMOVE_SMALL_OBJ_BEFORE},
        {"DATA_MW_TH_DISTANCE": keys.DATA_MW_TH_DISTANCE},
    ):
        np.testing.assert_array_equal(
            auto.predict(image, thresholds=given), manual.predict(image, thresholds="auto")
        )
    assert not np.array_equal(auto.predict(image), manual.predict(image))
    contour = {"DATA_MW_TH_CONTOUR": keys.DATA_MW_TH_CONTOUR}
    _, decoded = auto.instances(auto.predict_maps(image))
    others = {name: decoded.thresholds[name] for name in ("TH_BINARY_MASK", "TH_FOREGROUND")}
    np.testing.assert_array_equal(
        auto.predict(image, thresholds=contour), manual.predict(image, thresholds=others)
    )
    every = {
        f"TH_{name}": getattr(keys, f"DATA_MW_TH_{name}") for name in ("BINARY_MASK", "FOREGROUND")
    }
    np.testing.assert_array_equal(
        auto.predict(image, thresholds={**contour, **every}), manual.predict(image)
    )
    with pytest.warns(UserWarning, match="TH_CONTOUR has no effect"):
        found = manual.predict(image, thresholds={"TH_TYPE": "auto", **contour})
    np.testing.assert_array_equal(found, auto.predict(image))


def test_the_pixel_size_of_the_file_is_used_as_in_a_run(
    command, write_config, data_2d, tmp_path
) -> None:
    images = tmp_path / "sized"
    for path in (data_2d / "test" / "x").iterdir():
        write_tiff(images / path.name, read_image(path, 2, 1).array[..., 0], "YX", (0.5, 0.5), "µm")
    removal = "TEST.POST_PROCESSING.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"
    keys = {
        "DATA.TEST.PATH": str(images),
        "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual",
        "TRAIN.EPOCHS": 25,
        f"{removal}.ENABLE": True,
        f"{removal}.PROPS": [["area"]],
        f"{removal}.VALUES": [[60]],
        f"{removal}.SIGN": [["lt"]],
    }
    config = write_config(data_2d, **keys)
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"
    line = ("predict", images, "--model", run, "-o", tmp_path / "new")
    assert command(*line) == 0, command.err
    results = open_results(run, Guard.of([tmp_path, data_2d]))
    removed = 0
    for name in ("image_000", "image_001"):
        before, after = (
            read_labels(run / folder / f"{name}.tif", 2).array[..., 0]
            for folder in ("per_image_instances", "per_image_post_processing")
        )
        removed += len(np.unique(before)) - len(np.unique(after))
        assert after.any()
        found = read_labels(tmp_path / "new" / f"{name}.tif", 2).array[..., 0]
        np.testing.assert_array_equal(found, after)
        np.testing.assert_array_equal(
            Retune(results, name, results.run.stages[-1]).decode({}).labels, after
        )
    assert removed > 0


def test_a_bad_file_among_good_ones(run, command, data_2d, tmp_path) -> None:
    images = Path(shutil.copytree(data_2d / "test" / "x", tmp_path / "images"))
    (images / "image_000.tif").write_bytes(b"no picture")
    (images / "image_002.tif").symlink_to("gone.tif")
    os.mkfifo(images / "image_003.tif")
    line = ("predict", images, "--model", run, "-o", tmp_path / "new")
    assert command(*line) == 2
    for number in (0, 2, 3):
        assert f"image_00{number}.tif: FAILED" in command.out
        assert str(images / f"image_00{number}.tif") in command.err
    assert (tmp_path / "new" / "image_001.tif").is_file()
    assert command(*line, "--resume") == 2
    assert "image_001.tif: done already" in command.out


def test_an_image_that_does_not_fit_is_reported_without_configuration_keys(
    run, command, tmp_path
) -> None:
    images = tmp_path / "images"
    for name, shape, axes in (("volume", (5, 96, 96), "ZYX"), ("two", (96, 96, 2), "YXC")):
        write_tiff(images / f"{name}.tif", np.ones(shape, np.uint8), axes)
    np.save(images / "many.npy", np.ones((3, 5, 96, 96), np.uint8))
    assert command("predict", images, "--model", run, "-o", tmp_path / "new") == 2
    assert command.out.count("expected an image (y, x) with 1 chan") == 3
    assert not [key for key in key_table() if key in command.out]


def test_no_file_is_overwritten_and_wrong_models_are_named(run, command, data_2d, tmp_path) -> None:
    images = Path(shutil.copytree(data_2d / "test" / "x", tmp_path / "images"))
    assert command("predict", images, "--model", run, "-o", images) == 2
    assert "a result would replace it" in command.err
    for name in ("image_001.tif", "image_000_stats.csv"):
        target = tmp_path / f"with_{name}"
        target.mkdir()
        (target / name).write_text("mine")
        line = ("predict", images, "--model", run, "-o", target, "--tables")
        assert command(*line) == 2
        assert f"{name}: already exists" in command.err
        assert (target / name).read_text() == "mine"
        assert command(*line, "--overwrite") == 0, command.err
        assert (target / name).stat().st_size > 100
    assert command("predict", images, "--model", tmp_path / "none", "-o", tmp_path / "new") == 2
    assert str(tmp_path / "none") in command.err
    assert command("predict", tmp_path / "no", "--model", run, "-o", tmp_path / "new") == 2
    assert "does not exist" in command.err


def test_instances_do_not_depend_on_the_unit_of_the_values(
    run, command, data_2d, tmp_path, monkeypatch
) -> None:
    """Powers of two and integers are exact, so that all pixels must be equal."""

    image = read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array.astype(np.float64)
    images = tmp_path / "units"
    images.mkdir()
    units = {"same": image, "small": image * 2.0**-40, "offset": image + 10**9}
    units["single"] = (image * 2.0**-40).astype(np.float32)
    units["large"] = (image * 128 + 2**30).astype(np.float32)
    for name, array in units.items():
        np.save(images / f"{name}.npy", array)
    assert command("predict", images, "--model", run, "-o", tmp_path / "whole") == 0, command.err
    labels = {n: read_labels(tmp_path / "whole" / f"{n}.tif", 2).array[..., 0] for n in units}
    assert labels["same"].max() > 2
    for name, found in labels.items():
        np.testing.assert_array_equal(found, labels["same"], err_msg=name)
    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    assert command("predict", images, "--model", run, "-o", tmp_path / "blocks") == 0, command.err
    for name in units:
        found = read_labels(tmp_path / "blocks" / f"{name}.zarr", 2).array[..., 0]
        np.testing.assert_array_equal(found > 0, labels["same"] > 0, err_msg=name)


def test_a_constant_image_is_named_by_predict(run, command, tmp_path, monkeypatch) -> None:

    flat = tmp_path / "flat.npy"
    np.save(flat, np.full((96, 96), 1e-9, np.float32))
    assert command("predict", flat, "--model", run, "-o", tmp_path / "out") == 0, command.err
    assert command.out.count(f"{flat}: every pixel is") == 1
    monkeypatch.setattr(files, "available_memory", lambda config: 0)
    assert command("predict", flat, "--model", run, "-o", tmp_path / "blocks") == 0, command.err
    assert command.out.count(f"{flat}: every pixel is") == 1


def test_overlapping_stages_write_the_files_and_messages_of_one_after_the_other(
    run, data_2d, tmp_path, monkeypatch, messages
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    image = read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array[..., 0]
    for number in range(6):
        tifffile.imwrite(source / f"i{number}.tif", np.roll(image, 20 * number, axis=0))
    (source / "i2.tif").write_bytes(b"not an image")
    model = singula.load(run)

    def predict(workers: int) -> tuple[dict[str, bytes], dict[str, str], list[str]]:
        monkeypatch.setattr(files, "finishing_threads", lambda *_: workers)
        out = tmp_path / str(workers)
        messages.clear()
        tasks = plan_predictions(model, gather_images([source]), out, tables=True)
        errors = predict_files(model, tasks, out, augment=None, tables=True, resume=False)
        failed = {name: str(error) for name, error in errors.items()}
        contents = {path.name: path.read_bytes() for path in sorted(out.glob("i*"))}
        return contents, failed, list(messages)

    one_by_one, overlapping = predict(0), predict(2)
    assert overlapping == one_by_one
    contents, failed, lines = one_by_one
    assert len(contents) == 5 * 2
    assert len(failed) == 1
    assert [line.split("]")[0] for line in lines if line.startswith("[")] == [
        f"[{number}/6" for number in range(1, 7)
    ]
