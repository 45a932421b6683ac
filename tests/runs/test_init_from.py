"""Configurations that start from a model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from singula.commands.start_model import model_keys
from singula.config import Config, load_config
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
    for key in ("MODEL.FEATURE_MAPS", "DATA.NORMALIZATION.TYPE", "DATA.PATCH_SIZE"):
        assert config.dotted()[key] == trained.dotted()[key]
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


def test_other_dimensions_are_refused(model, command, data_3d, tmp_path) -> None:
    path = tmp_path / "volumes.yaml"
    assert command("init", data_3d, "--from", model, "-o", path) == 2
    assert "3D images" in command.err
    assert not path.exists()
