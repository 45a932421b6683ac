"""Configurations that start from a model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

import singula
from singula.commands.start_model import _box_with_objects, model_keys
from singula.config import Config, load_config
from singula.config.thresholds import KEYS
from singula.inference.publish import publish
from singula.io.run_folder import ResultsTree
from singula.io.write import write_tiff
from singula.pipeline.checkpoints import find_start
from singula.zoo.models import built_in_models

BEST = "checkpoints/job_1-checkpoint-best.pth"


@pytest.fixture
def model(run_once, write_config, data_2d, tmp_path) -> Path:
    manual = {"PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual", "TRAIN.EPOCHS": 25}
    return run_once("manual_25", write_config(data_2d, **manual), tmp_path / "out") / "job" / BEST


def test_network_and_weights_are_those_of_the_model(model, command, data_2d, tmp_path) -> None:
    path = tmp_path / "tuned.yaml"
    assert command("init", data_2d, "--from", model, "-o", path) == 0, command.err
    assert "finds objects with F1" in command.out
    config, trained = load_config(path), load_config(tmp_path / "job.yaml")
    assert config.MODEL.LOAD_CHECKPOINT
    assert Path(config.PATHS.CHECKPOINT_FILE).samefile(model)
    for key in model_keys(trained):
        assert config.dotted()[key] == trained.dotted()[key], key
    line = ("run", "--config", path, "--result_dir", tmp_path / "again", "--set", "TRAIN.EPOCHS=1")
    assert command(*line, "--set", "TEST.ENABLE=False") == 0, command.err
    assert "starting from the weights of" in command.out
    assert "not loaded" not in command.out


def test_a_built_in_model_is_written_as_its_name(command, data_2d, tmp_path) -> None:
    path = tmp_path / "tuned.yaml"
    assert command("init", data_2d, "--from", "nuclei", "-o", path) == 0, command.err
    config = load_config(path)
    assert config.PATHS.CHECKPOINT_FILE == "nuclei"
    start = find_start(config, ResultsTree(tmp_path, "job", 1))
    assert start == built_in_models()["nuclei"].checkpoint


def test_small_objects_remain_if_the_data_have_large_ones_only(command, data_2d, tmp_path) -> None:
    data = tmp_path / "large_only"
    for path in sorted(data_2d.glob("train/y/*.tif")):
        labels = tifffile.imread(path)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        small = np.isin(labels, np.flatnonzero(sizes < np.percentile(sizes[sizes > 0], 70)))
        for part, array in (("y", np.where(small, 0, labels)), ("x", None)):
            target = data / "train" / part / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            source = path.parents[1] / part / path.name
            tifffile.imwrite(target, tifffile.imread(source) if array is None else array)
    sizes = {}
    for name, options in {"alone": (), "tuned": ("--from", "nuclei")}.items():
        path = tmp_path / f"{name}.yaml"
        assert command("init", data, *options, "-o", path) == 0, command.err
        config = load_config(path)
        sizes[name] = config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE
    assert config.MODEL.LOAD_CHECKPOINT
    of_model = singula.load("nuclei").config.PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE
    assert sizes["tuned"] == of_model < sizes["alone"]


@pytest.mark.parametrize("channels", ["BC", "BCD"])
def test_published_model_of_any_channels(
    channels, command, run_once, write_config, data_2d, tmp_path
) -> None:
    """The voxel size of the data does not change the unit of the distances of the model."""
    keys = {"DATA_MW_TH_TYPE": "manual", "DATA_CHANNELS": channels}
    if channels == "BCD":
        keys |= {"DATA_CHANNEL_WEIGHTS": "(1, 1, 0.05)", "DISTANCE_CHANNEL_MASK": False}
    changes = {f"PROBLEM.INSTANCE_SEG.{key}": value for key, value in keys.items()}
    name = "manual_25" if channels == "BC" else "manual_25_BCD"
    config = write_config(data_2d, **changes, **{"TRAIN.EPOCHS": 25})
    published = publish(run_once(name, config, tmp_path / "out") / "job" / BEST, tmp_path / "m.pth")
    data = _with_voxel_size(data_2d, tmp_path / "data")
    path = tmp_path / "tuned.yaml"
    line = ("init", data, "--from", published, "-o", path, "--minutes", 0.1)
    assert command(*line) == 0, command.err
    config, trained = load_config(path), load_config(config)
    assert config.MODEL.LOAD_CHECKPOINT
    for key in model_keys(trained):
        assert config.dotted()[key] == trained.dotted()[key], key
    section = config.PROBLEM.INSTANCE_SEG
    assert len(section.DATA_CHANNEL_WEIGHTS) == len(channels)
    assert config.is_set(KEYS["TH_DISTANCE"]) == ("D" in channels)
    assert config.DATA.TRAIN.spacing == (None if "D" in channels else (0.1, 0.1))
    if "D" in channels:
        assert section.DATA_MW_TH_DISTANCE >= 1
    line = ("run", "--config", path, "--result_dir", tmp_path / "again", "--set", "TRAIN.EPOCHS=1")
    assert command(*line) == 0, command.err
    assert "starting from the weights of" in command.out
    assert "not loaded" not in command.out


def _with_voxel_size(data: Path, folder: Path) -> Path:
    """Copy the images of a data set with a voxel size of 0.1 µm."""
    shutil.copytree(data, folder)
    for path in sorted(folder.glob("*/x/*.tif")):
        write_tiff(path, tifffile.imread(path), "YX", (0.1, 0.1), "µm")
    return folder


@pytest.mark.parametrize("size", [None, 0.1])
def test_much_larger_objects_are_resampled(model, size, command, data_2d, tmp_path) -> None:
    data = tmp_path / "large"
    for path in sorted(data_2d.glob("train/?/*.tif")):
        target = data / path.relative_to(data_2d)
        target.parent.mkdir(parents=True, exist_ok=True)
        enlarged = np.kron(tifffile.imread(path), np.ones((8, 8), np.uint8))
        write_tiff(target, enlarged, "YX", *(() if size is None else ((size, size), "µm")))
    path = tmp_path / "tuned.yaml"
    assert command("init", data, "--from", model, "-o", path) == 0, command.err
    config = load_config(path)
    assert config.MODEL.LOAD_CHECKPOINT
    factor = (size or config.DATA.TRAIN.RESOLUTION[0]) / config.DATA.PREPROCESS.SPACING[0]
    assert factor == pytest.approx(1 / 8, rel=0.1)
    assert "--scale 0.1" in command.out
    line = ("run", "--config", path, "--result_dir", tmp_path / "again", "--set", "TRAIN.EPOCHS=1")
    assert command(*line) == 0, command.err
    (results,) = tmp_path.glob("again/tuned/results/tuned_1/per_image_instances")
    for labels in results.glob("*.tif"):
        assert tifffile.imread(labels).shape == enlarged.shape


def _write_pairs(folder: Path, count: int, shape: tuple[int, ...] = (96, 96)) -> Path:
    """Write images with one object in a corner."""
    for number in range(count):
        image = np.zeros(shape, np.uint8)
        image[4:14, 4:14] = 200
        labels = (image if image.ndim == 2 else image[..., 0]) // 200
        for part, array in (("x", image), ("y", labels)):
            target = folder / "train" / part / f"{number}.tif"
            target.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(target, array, photometric="rgb" if array.ndim > 2 else "minisblack")
    return folder


def test_color_images_for_a_gray_model_are_refused(model, command, tmp_path) -> None:
    data = _write_pairs(tmp_path / "data", 2, (96, 96, 3))
    image = tifffile.imread(data / "train" / "x" / "0.tif")[..., 0]
    tifffile.imwrite(data / "train" / "x" / "0.tif", image)
    assert command("init", data, "--from", model, "-o", tmp_path / "mixed.yaml") == 2
    assert "convert the color images to gray" in command.err
    assert "nuclei_he" in command.err


def test_mixed_images_start_from_a_color_model(command, tmp_path, monkeypatch) -> None:
    data = _write_pairs(tmp_path / "data", 3, (96, 96, 3))
    image = tifffile.imread(data / "train" / "x" / "1.tif")[..., 0]
    tifffile.imwrite(data / "train" / "x" / "1.tif", image)
    monkeypatch.setattr("singula.commands.start_model.MIN_F1", 0.0)
    path = tmp_path / "mixed.yaml"
    assert command("init", data, "--from", "nuclei_he", "-o", path) == 0, command.err
    config = load_config(path)
    assert config.DATA.FORCE_RGB
    assert config.MODEL.LOAD_CHECKPOINT
    assert config.in_channels == 3
    assert "3 training images" in command.out


def test_model_in_units_of_the_voxel_size_needs_it(
    command, run_once, write_config, data_3d, tmp_path
) -> None:
    resolution = {f"DATA.{part}.RESOLUTION": "(2, 1, 1)" for part in ("TRAIN", "VAL", "TEST")}
    changes = {"PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "BCD", "TRAIN.EPOCHS": 1, **resolution}
    changes["PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS"] = "(1, 1, 0.1)"
    config = write_config(data_3d, ndim=3, **changes)
    model = run_once("units_3d", config, tmp_path / "out") / "job" / BEST
    data = Path(shutil.copytree(data_3d, tmp_path / "data"))
    path = next((data / "train" / "x").glob("*.tif"))
    tifffile.imwrite(path, tifffile.imread(path))
    assert command("init", data, "--from", model, "-o", tmp_path / "a.yaml") == 2
    assert "voxel size" in command.err
    assert command("init", data_3d, "--from", model, "-o", tmp_path / "b.yaml") == 0, command.err


def test_score_uses_a_box_with_objects() -> None:
    labels = np.zeros((3000, 1500), np.uint8)
    labels[2900:2920, 10:30] = 1
    box = _box_with_objects(labels, 1024)
    assert labels[box].shape == (1024, 1024)
    assert (labels[box] == 1).sum() == 400
    labels[1500, 750] = 2
    assert _box_with_objects(labels, 1024) == (slice(988, 2012), slice(238, 1262))


def test_a_model_that_finds_nothing_is_not_used(model, command, tmp_path) -> None:
    """The labels are independent of the images."""
    random = np.random.default_rng(0)
    data = tmp_path / "noise" / "train"
    for number in range(3):
        labels = np.zeros((96, 96), np.uint8)
        for label, (y, x) in enumerate(random.integers(0, 84, (8, 2)), start=1):
            labels[y : y + 12, x : x + 12] = label
        noise = random.integers(0, 255, (96, 96)).astype(np.uint8)
        for part, array in (("x", noise), ("y", labels)):
            (data / part).mkdir(parents=True, exist_ok=True)
            write_tiff(data / part / f"{number}.tif", array, "YX")
    path = tmp_path / "scratch.yaml"
    assert command("init", data.parent, "--from", model, "-o", path) == 0, command.err
    config = load_config(path)
    assert not config.MODEL.LOAD_CHECKPOINT
    assert not config.PATHS.CHECKPOINT_FILE
    assert "starts from random weights" in command.out


def test_preprocessing_and_network_are_those_of_the_model() -> None:
    changed = {
        "DATA.PREPROCESS.SPACING": [0.5, 0.5],
        "DATA.FORCE_RGB": True,
        "MODEL.VIT_NUM_LAYERS": 6,
        "MODEL.LOAD_CHECKPOINT": True,
        "TRAIN.EPOCHS": 7,
    }
    keys = model_keys(Config().replaced(changed))
    assert {"DATA.PREPROCESS.SPACING", "DATA.FORCE_RGB", "MODEL.VIT_NUM_LAYERS"} <= set(keys)
    assert not {"MODEL.LOAD_CHECKPOINT", "TRAIN.EPOCHS"} & set(keys)


def test_images_without_annotation_are_not_scored(model, command, data_2d, tmp_path) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "sparse"))
    first, *others = sorted((data / "train" / "y").glob("*.tif"))
    for path in (first, *others):
        labels = tifffile.imread(path).astype(np.int16)
        tifffile.imwrite(path, np.full_like(labels, -1) if path == first else labels)
    line = ("init", data, "--from", model, "-o", tmp_path / "sparse.yaml")
    assert command(*line) == 0, command.err
    assert "finds objects with F1" in command.out


def test_labels_without_objects_are_refused(model, command, data_2d, tmp_path) -> None:
    data = Path(shutil.copytree(data_2d / "train", tmp_path / "data" / "train")).parent
    for path in sorted(data.glob("train/y/*.tif")):
        tifffile.imwrite(path, np.zeros((96, 96), np.uint8))
    assert command("init", data, "--from", model, "-o", tmp_path / "empty.yaml") == 2
    assert "have no objects" in command.err


def test_other_dimensions_are_refused(model, command, data_3d, tmp_path) -> None:
    path = tmp_path / "volumes.yaml"
    assert command("init", data_3d, "--from", model, "-o", path) == 2
    assert "3D images" in command.err
    assert not path.exists()


@pytest.mark.parametrize("channels", ["BC", "F+C+Db", "F+Gh+Gv"])
def test_the_user_chooses_the_channels(command, data_2d, tmp_path, channels: str) -> None:
    path = tmp_path / "chosen.yaml"
    assert command("init", data_2d, "--data-channels", channels, "-o", path) == 0, command.err
    config = load_config(path)
    assert channels == config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    used = config.decoder.threshold_names(into_contour=True)
    assert [name for name in used if not config.is_set(KEYS[name])] == []


def test_channels_need_the_dimensions_of_the_images(command, data_3d, tmp_path) -> None:
    for channels in ("A", "E"):  # their offsets have the dimensions of the images
        line = ("init", data_3d, "--data-channels", channels, "-o", tmp_path / f"{channels}.yaml")
        assert command(*line) == 0, command.err
    path = tmp_path / "chosen.yaml"
    assert command("init", data_3d, "--data-channels", "F+Gh+Gv", "-o", path) == 2
    assert "add Gz" in command.err
    assert not path.exists()
    assert command("init", data_3d, "--data-channels", "F+Gh+Gv+Gz", "-o", path) == 0, command.err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--data-channels", "F+Gh"], "add Gv"),
        (["--data-channels", "BX"], "got 'BX', expected one of BC,"),
        (["--data-channels", "BC", "--from", "nuclei"], "expected only one:"),
    ],
)
def test_channels_that_cannot_be_used_are_refused(
    command, data_2d, tmp_path, options: list[str], expected: str
) -> None:
    path = tmp_path / "chosen.yaml"
    assert command("init", data_2d, *options, "-o", path) == 2
    assert expected in command.err
    assert not path.exists()
