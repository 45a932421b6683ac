"""A run with `--gpu mps`, in which the CPU stands for the GPU of a Mac."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY_RUN

from singula.synthetic.fluorescence import make_dataset
from singula.training.device import Device


@pytest.mark.slow
def test_a_run_and_a_prediction_give_the_results_of_the_cpu(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(
        tmp_path, 2, np.random.default_rng(3), n_train=3, n_val=0, n_test=0, shape=(64, 64)
    )
    data = tmp_path / "train"
    x, y = sorted(path.name for path in data.iterdir() if path.is_dir())
    text = TINY_RUN.format(data=data).replace(f"{data}/x", f"{data}/{x}")
    (tmp_path / "a.yaml").write_text(text.replace(f"{data}/y", f"{data}/{y}"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(Device, "torch", torch.device("cpu"))
    run = ["run", "--config", tmp_path / "a.yaml", "--result_dir", tmp_path]
    for device in ("cpu", "mps"):
        assert command(*run, "--name", device, "--gpu", device) == 0, command.err
        result = tmp_path / device / "results" / f"{device}_1"
        assert json.loads((result / "run.json").read_text())["machine"]["device"] == device
        predict = ["predict", "--model", result, data / x, "-o", tmp_path / "labels" / device]
        assert command(*predict, "--gpu", device) == 0, command.err
    labels = [sorted((tmp_path / "labels" / d).glob("*[0-9].tif")) for d in ("cpu", "mps")]
    assert len(labels[0]) == 3
    for cpu, mps in zip(*labels, strict=True):
        assert cpu.read_bytes() == mps.read_bytes()
