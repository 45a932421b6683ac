"""Training that starts from the weights of another one."""

import csv
from pathlib import Path

import pytest
import torch

from singula.config import load_config
from singula.pipeline.checkpoints import find_checkpoint
from singula.training.checkpoint import load_checkpoint
from singula.tuning.run import write_configuration
from singula.tuning.validation import find_run

SEG = "PROBLEM.INSTANCE_SEG"


def checkpoint(tmp_path: Path, name: str, which: str = "best") -> Path:
    return tmp_path / name / "checkpoints" / f"{name}_1-checkpoint-{which}.pth"


@pytest.fixture
def trained(command, run_once, write_config, data_2d, tmp_path):
    """Return a function that trains another job from the trained job `first`."""
    config = write_config(data_2d, name="first.yaml", **{"TEST.ENABLE": False})
    run_once("first", config, tmp_path)

    def train(name: str, *changes: str) -> int:
        words = [w for c in changes for w in ("--set", c)]
        line = ("run", "--config", config, "--result_dir", tmp_path, "--name", name)
        return command(*line, *words)

    return train


def test_fitting_layers_are_loaded_and_others_named(trained, command, tmp_path) -> None:
    source = checkpoint(tmp_path, "first")
    start = ("MODEL.LOAD_CHECKPOINT=True", f"PATHS.CHECKPOINT_FILE={source}")
    more = (f"{SEG}.DATA_CHANNELS=BCD", f"{SEG}.DATA_CHANNEL_WEIGHTS=[1, 1, 1]")
    # A rate of nearly nothing: what is stored after training is what was loaded.
    frozen = ("TRAIN.LR=1e-12", "TRAIN.W_DECAY=0", "TRAIN.EPOCHS=1")
    assert trained("second", *start, *more, *frozen) == 0, command.err
    assert f"starting from the weights of {source}: " in command.out
    left_out = [line for line in command.out.splitlines() if "not loaded" in line]
    assert len(left_out) == 2
    assert "head.weight: (2, 8, 1, 1) in the file, (3, 8, 1, 1) configured" in left_out[1]
    old, new = (load_checkpoint(checkpoint(tmp_path, n)).weights for n in ("first", "second"))
    name = "encoder.0.layers.0.weight"
    torch.testing.assert_close(old[name], new[name], rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [False, True])
def test_the_test_uses_the_trained_weights(blocks: bool, trained, command, tmp_path) -> None:
    """The initial checkpoint has other channels, and could not be tested."""
    source = checkpoint(tmp_path, "first")
    start = ("MODEL.LOAD_CHECKPOINT=True", f"PATHS.CHECKPOINT_FILE={source}")
    more = (f"{SEG}.DATA_CHANNELS=BCD", f"{SEG}.DATA_CHANNEL_WEIGHTS=[1, 1, 1]")
    test = ("TEST.ENABLE=True", f"TEST.BY_CHUNKS.ENABLE={blocks}", "TRAIN.EPOCHS=1")
    assert trained("second", *start, *more, *test) == 0, command.err
    own = checkpoint(tmp_path, "second")
    run = find_run(tmp_path / "second" / "results" / "second_1")
    assert run.checkpoint.path.samefile(own)
    # So it is when only the test is repeated, also by the configuration of the search.
    again = (*test, "TRAIN.ENABLE=False")
    assert trained("second", *start, *more, *again) == 0, command.err
    assert find_run(tmp_path / "second" / "results" / "second_1").checkpoint.path.samefile(own)
    tuned = load_config(write_configuration(run, {}))
    assert find_checkpoint(tuned, run.tree).samefile(own)
    # Without a training of its own the file that is named is tested.
    assert trained("third", *start, *more, *again) == 2
    assert f"{source}: was trained with another configuration" in command.err
    other = checkpoint(tmp_path, "first", "last")
    assert trained("second", start[0], f"PATHS.CHECKPOINT_FILE={other}", *more, *again) == 2
    assert f"{other}: was trained with another configuration" in command.err


@pytest.mark.slow
def test_the_initial_checkpoint_is_checked_before_the_images(trained, command, tmp_path) -> None:
    gone = f"PATHS.CHECKPOINT_FILE={tmp_path / 'gone.pth'}"
    for name, words, said in (
        ("none", ("MODEL.LOAD_CHECKPOINT=True",), "MODEL.LOAD_CHECKPOINT: got True, but"),
        ("gone", ("MODEL.LOAD_CHECKPOINT=True", gone), "PATHS.CHECKPOINT_FILE: got "),
    ):
        assert trained(name, *words, "DATA.TRAIN.PATH=nowhere") == 2
        assert said in command.err
    assert trained("idle", gone, "TRAIN.EPOCHS=1") == 0
    assert "PATHS.CHECKPOINT_FILE: has no effect on a training without" in command.out


def test_a_training_continues_under_another_name(trained, command, tmp_path) -> None:
    everything = ("MODEL.LOAD_CHECKPOINT=True", "MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS=False")
    last = checkpoint(tmp_path, "first", "last")
    code = trained("more", *everything, f"PATHS.CHECKPOINT_FILE={last}", "TRAIN.EPOCHS=3")
    assert code == 0, command.err
    assert "resuming after epoch 2 of 3" in command.out
    log = next((tmp_path / "more").rglob("train_logs/more_1.csv"))
    with log.open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)][-1] == "3"
    best = checkpoint(tmp_path, "first")
    assert trained("none", *everything, f"PATHS.CHECKPOINT_FILE={best}", "TRAIN.EPOCHS=3") == 2
    assert "contains only weights" in command.err


@pytest.mark.slow
def test_another_architecture_has_nothing_to_load(trained, command, tmp_path) -> None:
    start = ("MODEL.LOAD_CHECKPOINT=True", f"PATHS.CHECKPOINT_FILE={checkpoint(tmp_path, 'first')}")
    assert trained("wide", *start, "MODEL.FEATURE_MAPS=[10, 20]") == 2
    assert "no layer matches the configured network" in command.err


@pytest.mark.slow
def test_a_continued_training_without_improvement_has_a_best_checkpoint(
    trained, command, tmp_path
) -> None:
    last = checkpoint(tmp_path, "first", "last")
    start = ("MODEL.LOAD_CHECKPOINT=True", f"PATHS.CHECKPOINT_FILE={last}",
             "MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS=False")  # fmt: skip
    assert trained("done", *start) == 0, command.err
    assert "already complete" in command.out
    old, new = load_checkpoint(last), load_checkpoint(checkpoint(tmp_path, "done"))
    assert all(torch.equal(old.weights[name], new.weights[name]) for name in old.weights)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (f"{SEG}.DATA_CHANNELS=BP", f"{SEG}.DATA_CHANNELS: 'BC' before, 'BP' configured"),
        ("DATA.NORMALIZATION.TYPE=custom", "'scale_range' before, 'custom' configured"),
        ("TRAIN.OPTIMIZER=SGD", "TRAIN.OPTIMIZER: got 'SGD'"),
        ("TRAIN.LR_SCHEDULER.NAME=onecycle", "TRAIN.LR_SCHEDULER.NAME: got 'onecycle'"),
    ],
)
def test_a_continued_training_equals_an_uninterrupted_one(
    change, words, trained, command, tmp_path
) -> None:
    line = ("run", "--config", tmp_path / "first.yaml", "--result_dir", tmp_path, "--resume")
    assert command(*line, "--set", "TRAIN.EPOCHS=3", "--set", change) == 2
    assert words in command.err


@pytest.mark.slow
def test_a_changed_learning_rate_of_a_resumed_training_is_reported(
    trained, command, tmp_path
) -> None:
    line = ("run", "--config", tmp_path / "first.yaml", "--result_dir", tmp_path, "--resume")
    assert command(*line, "--set", "TRAIN.EPOCHS=3", "--set", "TRAIN.LR=1e-5") == 0, command.err
    assert "TRAIN.LR: 1e-05 has no effect; the training continues with" in command.out
