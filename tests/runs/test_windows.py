"""A whole run and a prediction under the simulated rules of Windows for open files."""

import sys
from pathlib import Path

import pytest
from tiny_run import TINY_RUN

from singula.synthetic.fluorescence import make_dataset

if sys.platform != "linux":
    pytest.skip("the simulation reads /proc", allow_module_level=True)

import numpy as np
from windows_files import simulate


@pytest.mark.slow
def test_a_run_is_repeated_resumed_and_used(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(
        tmp_path / "data", 2, np.random.default_rng(3), n_train=3, n_val=0, n_test=0, shape=(64, 64)
    )
    data = next(tmp_path.rglob("train"))
    x, y = sorted(path.name for path in data.iterdir() if path.is_dir())
    text = TINY_RUN.format(data=data).replace(f"{data}/x", f"{data}/{x}")
    (tmp_path / "a.yaml").write_text(text.replace(f"{data}/y", f"{data}/{y}"))
    simulate(monkeypatch)
    run = ["run", "--config", tmp_path / "a.yaml", "--result_dir", tmp_path / "out", "--name", "a"]
    assert command(*run) == 0, command.err
    assert command(*run, "--resume", "--set", "TRAIN.EPOCHS=2") == 0, command.err
    assert command(*run) == 0, command.err
    result = next((tmp_path / "out" / "a" / "results").iterdir())
    predict = ["predict", "--model", result, data / x, "-o", tmp_path / "instances"]
    assert command(*predict) == 0, command.err
    assert command(*predict, "--overwrite") == 0, command.err
    assert len(list((tmp_path / "instances").rglob("*.tif"))) == 3
