"""Whole runs with data on disk, preprocessed, split into folds, weighted and filtered."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from singula.data.preprocess import resize_labels
from singula.io.read import read_image, read_labels

EVERYTHING = {
    "DATA.VAL.FROM_TRAIN": True,
    "DATA.VAL.CROSS_VAL": True,
    "DATA.VAL.CROSS_VAL_NFOLD": 3,
    "DATA.VAL.CROSS_VAL_FOLD": 2,
    "DATA.TEST.USE_VAL_AS_TEST": True,
    "DATA.TEST.LOAD_GT": False,
    "DATA.TEST.PATH": "nowhere",
    "DATA.TEST.MEDIAN_PADDING": True,
    "DATA.TRAIN.IN_MEMORY": False,
    "DATA.VAL.IN_MEMORY": False,
    "DATA.EXTRACT_RANDOM_PATCH": True,
    "DATA.PROBABILITY_MAP": True,
    "DATA.TRAIN.REPLICATE": 3,
    "DATA.TRAIN.MINIMUM_FOREGROUND_PER": 0.01,
    "DATA.CHECK_GENERATORS": True,
    "DATA.PREPROCESS.TRAIN": True,
    "DATA.PREPROCESS.VAL": True,
    "DATA.PREPROCESS.TEST": True,
    "DATA.PREPROCESS.RESIZE.ENABLE": True,
    "DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE": [120, 80],
    "DATA.PREPROCESS.GAUSSIAN_BLUR.ENABLE": True,
    "DATA.PREPROCESS.MATCH_HISTOGRAM.ENABLE": True,
    "LOSS.TYPE": "W_CE_DICE",
    "TRAIN.CHECKPOINT_MONITOR": "val_iou",
    "TRAIN.EPOCHS": 4,
}


def test_many_keys_at_once(command, write_config, data_2d, tmp_path) -> None:
    reference = str(data_2d / "val" / "x")
    keys = {**EVERYTHING, "DATA.PREPROCESS.MATCH_HISTOGRAM.REFERENCE_PATH": reference}
    config = write_config(data_2d, **keys)
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    assert "validation on fold 2 of 3: 1 of 3" in command.out
    assert "read when they are needed" in command.out
    run = tmp_path / "out" / "job" / "results" / "job_1"
    (tested,) = (run / "per_image_instances").glob("*.tif")
    name = tested.stem
    maps = sorted(p.stem for p in (tmp_path / "out" / "job" / "prob_map").glob("prob_map_*"))
    images = {f"prob_map_{p.stem}" for p in (data_2d / "train" / "x").iterdir()}
    assert set(maps) == images - {f"prob_map_{name}"}  # every training image but the fold's
    assert np.load(tmp_path / "out/job/prob_map" / f"{maps[0]}.npy").shape == (120, 80)
    assert len(list((run / "gen_check").glob("train_*.tif"))) == 2 * 3
    target = read_image(run / "gen_mask_check" / "train_00000.tif", 2, 2).array
    assert set(np.unique(target)) <= {0, 1}
    assert read_labels(tested, 2).spatial_shape == (120, 80)
    assert {"per_image_iou_B", "f1"} <= set(pd.read_csv(run / "metrics.csv").columns)
    assert json.loads((run / "run.json").read_text())["training"]["patches_per_epoch"] == 6
    page = (run / "report.html").read_text()
    assert "What is missing here" not in page
    # The checkpoint preprocesses as the test did, without the reference images.
    moved = Path(reference).rename(data_2d / "val" / "moved")
    line = (
        "predict",
        data_2d / "train" / "x" / f"{name}.tif",
        "--model",
        run,
        "-o",
        tmp_path / "p",
    )
    try:
        assert command(*line) == 0, command.err
    finally:
        moved.rename(reference)
    found = read_labels(tmp_path / "p" / f"{name}.tif", 2).array
    np.testing.assert_array_equal(found, resize_labels(read_labels(tested, 2).array, (96, 96)))


@pytest.mark.slow
@pytest.mark.parametrize("augment", [True, False])
def test_data_on_disk_trains_the_same_network(
    augment, command, write_config, data_2d, tmp_path
) -> None:
    weights = []
    for number, held in enumerate((True, False), 1):
        keys = {f"DATA.{part}.IN_MEMORY": held for part in ("TRAIN", "VAL")}
        more = {"AUGMENTOR.ENABLE": augment, "TRAIN.EPOCHS": 1, "TEST.ENABLE": False}
        more["SYSTEM.SEED"] = 4
        config = write_config(data_2d, **keys, **more)
        line = ("run", "--config", config, "--result_dir", tmp_path / "out", "--run_id", number)
        assert command(*line) == 0, command.err
        path = tmp_path / "out" / "job" / "checkpoints" / f"job_{number}-checkpoint-last.pth"
        weights.append(torch.load(path, weights_only=True)["state_dict"])
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])


@pytest.mark.slow
def test_gray_images_as_color_images(command, write_config, data_2d, tmp_path) -> None:
    keys = {"DATA.FORCE_RGB": True, "DATA.PATCH_SIZE": "(64, 64, 3)", "TRAIN.EPOCHS": 1}
    config = write_config(data_2d, **keys)
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"
    image = data_2d / "test" / "x" / "image_000.tif"
    assert command("predict", image, "--model", run, "-o", tmp_path / "p") == 0, command.err
    expected = read_labels(run / "per_image_instances" / "image_000.tif", 2).array
    np.testing.assert_array_equal(read_labels(tmp_path / "p" / "image_000.tif", 2).array, expected)


def test_mistakes_are_reported_before_training(command, write_config, data_2d, tmp_path) -> None:
    folds = {"DATA.VAL.FROM_TRAIN": True, "DATA.VAL.CROSS_VAL": True}
    cases = [
        (folds, "5 folds, expected at most 3 training images"),
        ({"TRAIN.CHECKPOINT_MONITOR": "val_f1"}, "expected val_loss, val_iou"),
        ({"DATA.TRAIN.MINIMUM_FOREGROUND_PER": 0.99}, "no patch of 12 training patches"),
    ]
    for keys, words in cases:
        config = write_config(data_2d, **keys)
        assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 2
        assert words in command.err.replace("\n", " ")
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.slow
def test_channels_are_encoded_again_if_labels_are_resized(
    command, write_config, data_2d, tmp_path
) -> None:
    shapes = []
    for size in (None, [128, 96]):
        resize = "DATA.PREPROCESS.RESIZE"
        keys = {"DATA.PREPROCESS.TRAIN": size is not None, f"{resize}.ENABLE": size is not None}
        more = {f"{resize}.OUTPUT_SHAPE": size or [1, 1], "TRAIN.EPOCHS": 1, "TEST.ENABLE": False}
        config = write_config(data_2d, **keys, **more)
        assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, (
            command.err
        )
        stored = tmp_path / "channels" / "TRAIN" / "y"
        shapes.append(read_image(next(stored.glob("*.tif")), 2, 2).spatial_shape)
    assert shapes == [(96, 96), (128, 96)]
    log = tmp_path / "out" / "job" / "results" / "job_1" / "train_logs" / "job_1.csv"
    with log.open() as file:
        assert len(list(csv.DictReader(file))) == 1
