"""Runs with lists of channels, from training to scores, also in blocks and with augmentation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import singula
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.gui.retune import SMALL, Retune
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


VOLUMES = {
    "Db+R": {
        f"{SEG}.DATA_CHANNELS_EXTRA_OPTS": [{"R": {"nrays": 24}}],
        f"{SEG}.DATA_MW_TH_PROBABILITY": 0.4,
        "TEST.AUGMENTATION": True,
    },
    "F+Gh+Gv+Gz": {f"{SEG}.DATA_MW_TH_FLOW_ERROR": 0.8},
}


@pytest.mark.slow
@pytest.mark.parametrize("channels", VOLUMES)
def test_volumes_are_trained_decoded_and_measured_in_blocks(
    channels, command, write_config, data_3d, tmp_path
) -> None:
    listed = channels.split("+")
    keys = {
        f"{SEG}.DATA_CHANNELS": listed,
        f"{SEG}.DATA_CHANNEL_WEIGHTS": [1] * len(listed),
        "DATA.TEST.RESOLUTION": "(2, 1, 1)",
        "DATA.TRAIN.RESOLUTION": "(2, 1, 1)",
        "DATA.VAL.RESOLUTION": "(2, 1, 1)",
        "TRAIN.EPOCHS": 40,
        **VOLUMES[channels],
    }
    config = write_config(data_3d, 3, **keys)
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0, command.err
    assert ("TEST.AUGMENTATION: has no effect with R" in command.out) == (channels == "Db+R")
    run = tmp_path / "out" / "job" / "results" / "job_1"
    assert pd.read_csv(run / "metrics.csv")["f1"].max() > 0.1
    folder = run / "per_image_instances"
    whole = {path.name: read_labels(path, 3).array for path in sorted(folder.glob("*.tif"))}
    assert any(labels.any() for labels in whole.values())
    model, name = singula.load(tmp_path / "out" / "job"), sorted(whole)[0]
    image = read_image(data_3d / "test" / "x" / name, 3)
    predicted = model.predict(image.array, spacing=(2.0, 1.0, 1.0))
    np.testing.assert_array_equal(predicted, whole[name][..., 0])
    blocks = ("TRAIN.ENABLE=False", "TEST.BY_CHUNKS.ENABLE=True",
              "TEST.BY_CHUNKS.BLOCK_SHAPE=(8, 24, 32)")  # fmt: skip
    words = [word for change in blocks for word in ("--set", change)]
    assert command("run", "--config", config, *out, *words) == 0, command.err
    for name, labels in whole.items():
        stem = name.removesuffix(".tif")
        (path,) = (p for p in folder.iterdir() if p.name.startswith(stem) and p.suffix != ".csv")
        np.testing.assert_array_equal(read_labels(path, 3).array, labels)


@pytest.mark.slow
def test_flows_are_tuned_by_the_command_and_with_sliders(
    command, write_config, data_2d, tmp_path
) -> None:
    config = write_config(
        data_2d,
        **{f"{SEG}.DATA_CHANNELS": ["F", "Gh", "Gv"], "TRAIN.EPOCHS": 25,
           f"{SEG}.DATA_CHANNEL_WEIGHTS": [1, 1, 1]},
    )  # fmt: skip
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"
    results = open_results(run, Guard.of([tmp_path]))
    stage = results.run.stages[-1]
    name, file = next(iter(results.run.instance_files(stage).items()))
    retune = Retune(results, name, stage)
    sliders = {slider.key: slider.value for slider in retune.sliders}
    expected = {"DATA_MW_TH_FLOW_ERROR", "DATA_MW_TH_FLOW_STEPS", "DATA_MW_TH_FOREGROUND"}
    assert expected | {SMALL} == set(sliders)
    stored = read_labels(file, 2).array[..., 0]
    assert stored.any()
    np.testing.assert_array_equal(retune.decode(sliders).labels, stored)
    # Only objects at the border of the image remain.
    few = retune.decode({**sliders, "DATA_MW_TH_FLOW_ERROR": 1e-6}).labels
    rim = np.ones(few.shape, bool)
    rim[1:-1, 1:-1] = False
    assert {*np.unique(few)} <= {0, *few[rim]}
    assert few.max() < stored.max()
    assert command("tune", run) == 0, command.err
    trials = pd.read_csv(run / "tuning" / "trials.csv")
    assert len({*trials["TH_FLOW_ERROR"]}) > 3
