"""Run ids are repetitions, unless the file sets the seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from singula.config import config_from_dict
from singula.pipeline.seed import run_seed, training_seed
from singula.pipeline.split import split_pairs

ONE_EPOCH = {"TRAIN.EPOCHS": 1, "TEST.ENABLE": False}


def weights(tmp_path: Path, run_id: int) -> torch.Tensor:
    path = tmp_path / "out" / "job" / "checkpoints" / f"job_{run_id}-checkpoint-last.pth"
    state = torch.load(path, weights_only=True)["state_dict"]
    return torch.cat([value.ravel().float() for value in state.values()])


@pytest.fixture
def train(command, tmp_path):
    def run(config: Path, run_id: int, *options: str) -> str:
        line = ("run", "--config", config, "--result_dir", tmp_path / "out", "--run_id", run_id)
        assert command(*line, *options) == 0, command.err
        return command.out

    return run


def seed_of(tmp_path: Path, run_id: int) -> int:
    run = tmp_path / "out" / "job" / "results" / f"job_{run_id}"
    return json.loads((run / "run.json").read_text())["seed"]


@pytest.mark.slow
def test_without_a_seed_every_run_id_gives_another_result(
    train, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d, **ONE_EPOCH)
    states, seeds = [], set()
    for run_id in range(1, 6):
        assert f"from run id {run_id}, because SYSTEM.SEED is not set" in train(config, run_id)
        states.append(weights(tmp_path, run_id))
        seeds.add(seed_of(tmp_path, run_id))
    assert len(seeds) == 5
    for first in range(5):
        for second in range(first):
            assert not torch.equal(states[first], states[second])
    train(config, 3)
    assert torch.equal(weights(tmp_path, 3), states[2])


@pytest.mark.slow
@pytest.mark.parametrize("where", ["file", "override"])
def test_with_a_seed_run_ids_give_the_same_result(
    where, train, write_config, data_2d, tmp_path
) -> None:
    keys = {"SYSTEM.SEED": 0} if where == "file" else {}
    options = () if where == "file" else ("--set", "SYSTEM.SEED=0")
    config = write_config(data_2d, **ONE_EPOCH, **keys)
    for run_id in (1, 2):
        assert "every run id gives the same result" in train(config, run_id, *options)
        assert seed_of(tmp_path, run_id) == 0
    assert torch.equal(weights(tmp_path, 1), weights(tmp_path, 2))


@pytest.mark.slow
def test_a_resumed_training_keeps_its_seed(train, write_config, data_2d, tmp_path) -> None:
    config = write_config(data_2d, **ONE_EPOCH)
    two_epochs = ("--set", "TRAIN.EPOCHS=2")
    train(config, 2, *two_epochs)
    uninterrupted = weights(tmp_path, 2)
    train(config, 2)
    train(config, 2, *two_epochs, "--resume")
    assert torch.equal(weights(tmp_path, 2), uninterrupted)
    # The seed of the first run is also kept if a seed is configured later.
    train(config, 2)
    out = train(config, 2, *two_epochs, "--resume", "--set", "SYSTEM.SEED=77")
    assert "with which this training began" in out
    assert torch.equal(weights(tmp_path, 2), uninterrupted)
    assert seed_of(tmp_path, 2) == 1


class CheckpointStub:
    """A checkpoint with a description only."""

    def __init__(self, **description: object) -> None:
        self.description = description


def test_seeds_and_validation_images(messages: list[str]) -> None:
    def config(**system: int):
        return config_from_dict(
            {
                "PROBLEM": {"NDIM": "2D"},
                "SYSTEM": system,
                "DATA": {
                    "PATCH_SIZE": "(64, 64, 1)",
                    "VAL": {"CROSS_VAL": True, "CROSS_VAL_NFOLD": 3},
                },
                "TRAIN": {"ENABLE": True},
            }
        )

    assert [run_seed(config(), run_id) for run_id in (1, 2, 3)] == [0, 1, 2]
    assert run_seed(config(), 0) >= 0
    assert {run_seed(config(SEED=5), run_id) for run_id in range(9)} == {5}
    # A checkpoint of an earlier version began with the seed of its configuration.
    assert training_seed(config(), 4, CheckpointStub()) == 0
    assert training_seed(config(), 4, CheckpointStub(seed=3)) == 3
    assert len(messages) == 2
    images = [object() for _ in range(9)]
    assert split_pairs(config(), images) == split_pairs(config(SEED=0), images)
