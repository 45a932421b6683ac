"""A small copy of a trained model."""

from pathlib import Path

import numpy as np
import pytest
import torch

import singula
from singula.errors import UserError
from singula.inference.publish import publish
from singula.io.read import read_image
from singula.training.checkpoint import (
    KEY,
    load_checkpoint,
    read_checkpoint,
    save_tuned,
    write_checkpoint,
)


@pytest.fixture
def checkpoint(run_once, write_config, data_2d, tmp_path) -> Path:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 12, "SYSTEM.NUM_CPUS": 1})
    out = run_once("publish_12", config, tmp_path / "out")
    return out / "job" / "checkpoints" / "job_1-checkpoint-last.pth"


def test_a_published_model_predicts_as_the_run_does(checkpoint, data_2d, tmp_path) -> None:
    save_tuned(checkpoint, {"thresholds": {"TH_BINARY_MASK": 0.4}, "metric": "pq"})
    file = publish(checkpoint, tmp_path / "new" / "model.pth")
    assert file.stat().st_size < checkpoint.stat().st_size / 3
    model, original = singula.load(file), singula.load(checkpoint)
    image = read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array
    maps, expected = model.predict_maps(image), original.predict_maps(image)
    for name, plane in maps.items():
        np.testing.assert_allclose(plane, expected[name], atol=0.01)
    labels, expected_labels = model.predict(image), original.predict(image)
    assert expected_labels.any()
    assert np.mean(labels != expected_labels) < 0.01
    assert model.config.PROBLEM.INSTANCE_SEG.DATA_MW_TH_BINARY_MASK == 0.4


def test_a_published_model_contains_nothing_of_the_machine(checkpoint, data_2d, tmp_path) -> None:
    contents = read_checkpoint(publish(checkpoint, tmp_path / "model.pth"))
    assert set(contents) == {"epoch", "global_step", "state_dict", KEY}
    assert str(tmp_path) not in repr(contents[KEY])
    assert str(data_2d) not in repr(contents[KEY])
    assert contents[KEY].get("training") is None
    config = singula.load(tmp_path / "model.pth").config
    assert config.SYSTEM == type(config)().SYSTEM
    assert config.TRAIN.EPOCHS == 12


def test_a_weight_beyond_half_precision_is_refused(checkpoint, tmp_path) -> None:
    contents = read_checkpoint(checkpoint)
    name = next(n for n, v in contents["state_dict"].items() if v.is_floating_point())
    contents["state_dict"][name][...] = 1e6
    write_checkpoint(contents, checkpoint)
    with pytest.raises(UserError) as refused:
        publish(checkpoint, tmp_path / "model.pth")
    assert refused.value.code == "checkpoint.not_half"
    assert not (tmp_path / "model.pth").exists()


def test_weights_are_float32_in_memory(checkpoint, tmp_path) -> None:
    weights = load_checkpoint(publish(checkpoint, tmp_path / "model.pth")).weights
    assert torch.float16 not in {value.dtype for value in weights.values()}
    assert set(weights) == set(load_checkpoint(checkpoint).weights)
