"""Runs with lists of channels, from training to scores, also in blocks and with augmentation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import singula
from singula.io.read import read_image, read_labels

SEG = "PROBLEM.INSTANCE_SEG"
RUNS = {
    "F+C+Db": {},
    "F+H+V": {},
    "F+V+H": {f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": ["H.norm=False", "V.norm=False"]},
    "F+Gh+Gv": {"TEST.AUGMENTATION": True, f"{SEG}.DATA_MW_TH_FLOW_ERROR": 0},
    "E": {f"{SEG}.DATA_MW_TH_SEEDINESS": 0.3, f"{SEG}.DATA_MW_TH_CLUSTER": 0.3},
    "F+T": {},
    "Db+R": {f"{SEG}.DATA_MW_TH_PROBABILITY": 0.3},
    "F+B+D": {f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"D": {"alpha": 5, "beta": 5}}]},
    "Db": {f"{SEG}.DATA_CHANNELS_LOSSES": ["huber"]},
}


@pytest.mark.parametrize(
    "channels",
    ["F+C+Db", *(pytest.param(name, marks=pytest.mark.slow) for name in RUNS if name != "F+C+Db")],
)
def test_a_list_of_channels_is_trained_and_decoded(
    channels, command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(
        data_2d,
        **{
            f"{SEG}.DATA_CHANNELS": channels.split("+"),
            f"{SEG}.DATA_MW_TH_TYPE": "manual",
            "TRAIN.EPOCHS": 25,
            "TEST.AUGMENTATION": channels == "F+H+V",
            **RUNS[channels],
        },
    )
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"
    scores = pd.read_csv(run / "metrics.csv")
    assert scores["f1"].max() > 0.15, scores
    model = singula.load(tmp_path / "out" / "job")
    name = sorted((run / "per_image_instances").glob("*.tif"))[0].name
    image = read_image(data_2d / "test" / "x" / name, 2).array
    maps = model.predict_maps(image)
    n_maps = {"Db+R": 33, "E": 5}.get(channels, len(channels.split("+")))
    assert len(maps) == n_maps
    stored = read_labels(run / "per_image_instances" / name, 2).array[..., 0]
    np.testing.assert_array_equal(model.predict(image), stored)


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["F+C+Db", "F+H+V", "F+V+H", "F+Gh+Gv", "Db+R", "E"])
def test_blocks_equal_the_whole_image(channels, command, write_config, data_2d, tmp_path) -> None:
    keys = {f"{SEG}.DATA_CHANNELS": channels.split("+"), f"{SEG}.DATA_MW_TH_TYPE": "manual"}
    config = write_config(data_2d, **keys, **{"TRAIN.EPOCHS": 25}, **RUNS[channels])
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"
    folder = run / "per_image_instances"
    whole = {path.name: read_labels(path, 2).array for path in sorted(folder.glob("*.tif"))}
    blocks = ("TRAIN.ENABLE=False", "TEST.BY_CHUNKS.ENABLE=True",
              "TEST.BY_CHUNKS.BLOCK_SHAPE=(40, 48)")  # fmt: skip
    words = [word for change in blocks for word in ("--set", change)]
    assert command("run", "--config", config, *out, *words) == 0, command.err
    assert whole
    for name, labels in whole.items():
        stem = name.removesuffix(".tif")
        (path,) = (p for p in folder.iterdir() if p.name.startswith(stem) and p.suffix != ".csv")
        np.testing.assert_array_equal(read_labels(path, 2).array, labels)


@pytest.mark.slow
def test_polyhedra_of_volumes_are_trained_decoded_and_measured_in_blocks(
    command, write_config, data_3d, tmp_path
) -> None:
    keys = {
        f"{SEG}.DATA_CHANNELS": ["Db", "R"],
        f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"R": {"nrays": 24}}],
        f"{SEG}.DATA_MW_TH_PROBABILITY": 0.4,
        "DATA.TEST.RESOLUTION": "(2, 1, 1)",
        "DATA.TRAIN.RESOLUTION": "(2, 1, 1)",
        "DATA.VAL.RESOLUTION": "(2, 1, 1)",
        "TEST.AUGMENTATION": True,
        "TRAIN.EPOCHS": 40,
    }
    config = write_config(data_3d, 3, **keys)
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0, command.err
    assert "TEST.AUGMENTATION: has no effect with R" in command.out
    run = tmp_path / "out" / "job" / "results" / "job_1"
    assert pd.read_csv(run / "metrics.csv")["f1"].max() > 0.1
    folder = run / "per_image_instances"
    whole = {path.name: read_labels(path, 3).array for path in sorted(folder.glob("*.tif"))}
    blocks = ("TRAIN.ENABLE=False", "TEST.BY_CHUNKS.ENABLE=True",
              "TEST.BY_CHUNKS.BLOCK_SHAPE=(8, 24, 32)")  # fmt: skip
    words = [word for change in blocks for word in ("--set", change)]
    assert command("run", "--config", config, *out, *words) == 0, command.err
    for name, labels in whole.items():
        stem = name.removesuffix(".tif")
        (path,) = (p for p in folder.iterdir() if p.name.startswith(stem) and p.suffix != ".csv")
        np.testing.assert_array_equal(read_labels(path, 3).array, labels)
