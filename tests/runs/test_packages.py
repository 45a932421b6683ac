"""Packages of a run for the BioImage Model Zoo, through the command line."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

import singula
from singula.io.read import read_labels
from singula.training.checkpoint import save_tuned


@pytest.fixture
def run(run_once, write_config, data_2d, tmp_path) -> Path:
    manual = {"PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual", "TRAIN.EPOCHS": 25}
    out = run_once("manual_25", write_config(data_2d, **manual), tmp_path / "out")
    return out / "job" / "results" / "job_1"


def test_a_package_predicts_label_for_label_as_the_run_does(
    run, command, data_2d, tmp_path
) -> None:
    save_tuned(
        run.parents[1] / "checkpoints" / "job_1-checkpoint-best.pth",
        {"thresholds": {"TH_BINARY_MASK": 0.45, "REMOVE_SMALL_OBJ": 9}, "metric": "pq"},
    )
    package = tmp_path / "cells.zip"
    line = ("package", run, "-o", package, "--author", "A. Author, Institute", "--tag", "cells")
    assert command(*line) == 0, command.err
    assert str(package) in command.out
    assert "--license" in command.out  # no one may use a package without a license
    for model, target in ((run, "run"), (package, "package")):
        line = ("predict", data_2d / "test" / "x", "--model", model, "-o", tmp_path / target)
        assert command(*line) == 0, command.err
    for name in ("image_000.tif", "image_001.tif"):
        expected, found = (
            read_labels(tmp_path / target / name, 2).array for target in ("run", "package")
        )
        assert expected.any()
        np.testing.assert_array_equal(found, expected)
    with zipfile.ZipFile(package) as archive:
        readme = archive.read("README.md").decode()
        assert "F1" in readme
        assert str(tmp_path) not in readme
    assert command(*line[:-4], "--model", package, "-o", tmp_path / "x", "--dask", "abc") == 2


@pytest.mark.slow
def test_a_package_is_the_same_model_as_its_run(run, command, data_2d, tmp_path) -> None:
    package = tmp_path / "cells.zip"
    line = ("package", run, "-o", package, "--license", "MIT")
    assert command(*line) == 0, command.err
    assert command(*line) == 2  # it exists
    assert command(*line, "--overwrite") == 0, command.err
    images = data_2d / "test" / "x"
    line = ("predict", images, "-o", tmp_path / "new", "--model", run, package)
    assert command(*line) == 0, command.err
    assert (tmp_path / "new" / "image_000.tif").exists()
    # A model that an ensemble has twice counts once.
    assert singula.load([run, package]).others == ()


@pytest.mark.slow
def test_a_training_starts_from_a_package(run, command, write_config, data_2d, tmp_path) -> None:
    package = tmp_path / "cells.zip"
    assert command("package", run, "-o", package) == 0, command.err
    start = {"MODEL.LOAD_CHECKPOINT": True, "PATHS.CHECKPOINT_FILE": str(package)}
    config = write_config(data_2d, **start, **{"TRAIN.EPOCHS": 1})
    line = ("run", "--config", config, "--result_dir", tmp_path / "tuned")
    assert command(*line) == 0, command.err
    assert (tmp_path / "tuned/job/results/job_1/run.json").exists()
