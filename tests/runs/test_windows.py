"""A whole run and a prediction under the simulated rules of Windows for open files."""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_run import TINY_RUN

from singula.synthetic.fluorescence import make_dataset

if sys.platform != "linux":
    pytest.skip("the simulation reads /proc", allow_module_level=True)

import numpy as np
from windows_files import simulate


def configuration(folder: Path) -> tuple[Path, Path]:
    """Write images and a configuration; return its file and the folder of the images."""
    make_dataset(folder, 2, np.random.default_rng(3), n_train=3, n_val=0, n_test=0, shape=(64, 64))
    data = folder / "train"
    x, y = sorted(path.name for path in data.iterdir() if path.is_dir())
    text = TINY_RUN.format(data=data).replace(f"{data}/x", f"{data}/{x}")
    (folder / "a.yaml").write_text(text.replace(f"{data}/y", f"{data}/{y}"))
    return folder / "a.yaml", data / x


@pytest.fixture
def spawn() -> Iterator[None]:
    previous = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(previous, force=True)


@pytest.mark.slow
def test_workers_that_are_spawned_prepare_the_same_patches(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spawn: None
) -> None:
    config, _ = configuration(tmp_path)
    monkeypatch.setattr("singula.training.loader.available_cores", lambda: 16)
    losses = []
    for workers in (0, 2):
        run = ["run", "--config", config, "--result_dir", tmp_path, "--name", f"workers_{workers}"]
        assert command(*run, "--set", f"SYSTEM.NUM_WORKERS={workers}") == 0, command.err
        table = next((tmp_path / f"workers_{workers}").rglob("train_logs/*.csv"))
        rows = [line.split(",") for line in table.read_text().splitlines()]
        losses.append([rows[1][rows[0].index(name)] for name in ("train_loss", "val_loss")])
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_run_is_repeated_resumed_and_used(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, images = configuration(tmp_path)
    simulate(monkeypatch)
    run = ["run", "--config", config, "--result_dir", tmp_path / "out", "--name", "a"]
    assert command(*run) == 0, command.err
    assert command(*run, "--resume", "--set", "TRAIN.EPOCHS=2") == 0, command.err
    assert command(*run) == 0, command.err
    result = next((tmp_path / "out" / "a" / "results").iterdir())
    predict = ["predict", "--model", result, images, "-o", tmp_path / "instances"]
    assert command(*predict) == 0, command.err
    assert command(*predict, "--overwrite") == 0, command.err
    assert len(list((tmp_path / "instances").rglob("*.tif"))) == 3
