"""Whole runs on a GPU through the command line."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.xdist_group("gpu"),
]


def log_rows(folder: Path, name: str) -> list[dict[str, str]]:
    run = folder / name / "results" / f"{name}_1"
    with (run / "train_logs" / f"{name}_1.csv").open() as file:
        return list(csv.DictReader(file))


def instances(folder: Path, name: str) -> list[np.ndarray]:
    found = sorted((folder / name / "results" / f"{name}_1/per_image_instances").glob("*.tif"))
    assert found
    return [tifffile.imread(path) for path in found]


@pytest.mark.parametrize(
    ("ndim", "precision"), [(2, "32"), (2, "bf16"), (2, "16"), (3, "32"), (3, "auto")]
)
def test_a_run_trains_predicts_and_scores(
    ndim, precision, data_2d, data_3d, write_config, command, tmp_path
) -> None:
    config = write_config(
        data_2d if ndim == 2 else data_3d, ndim, **{"TRAIN.EPOCHS": 6, "TRAIN.PRECISION": precision}
    )
    assert command("run", "--config", config, "--result_dir", tmp_path, "--gpu", "0") == 0, (
        command.err
    )
    assert f"using {torch.cuda.get_device_name(0)}" in command.out
    rows = log_rows(tmp_path, "job")
    assert [row["epoch"] for row in rows] == [str(n) for n in range(1, 7)]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert "tested 2 images" in command.out
    assert '"device": "cuda"' in (tmp_path / "job/results/job_1/run.json").read_text()


def test_weights_predict_the_same_on_both_processors(
    data_2d, write_config, command, tmp_path
) -> None:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 12})
    line = ("run", "--config", config, "--result_dir", tmp_path)
    assert command(*line, "--gpu", "cuda:0") == 0, command.err
    weights = tmp_path / "job/checkpoints/job_1-checkpoint-best.pth"
    for name, gpu in (("cpu", "cpu"), ("gpu", "0")):
        again = ("--set", "TRAIN.ENABLE=False", "--set", f"PATHS.CHECKPOINT_FILE={weights}")
        assert command(*line, "--name", name, "--gpu", gpu, *again) == 0, command.err
    pairs = list(zip(instances(tmp_path, "cpu"), instances(tmp_path, "gpu"), strict=True))
    assert max(int(own.max()) for own, _ in pairs) > 0
    for own, other in pairs:
        # A pixel whose probability is the threshold to seven digits may fall on either side.
        assert (own != other).mean() < 1e-3

    run = tmp_path / "job/results/job_1"
    image = sorted((data_2d / "test/x").iterdir())[0]
    assert command("predict", image, "--model", run, "-o", tmp_path / "o", "--gpu", "0") == 0
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "o" / f"{image.stem}.tif"),
        tifffile.imread(tmp_path / f"gpu/results/gpu_1/per_image_instances/{image.stem}.tif"),
    )
    assert command("check", "--config", config, "--gpu", "0") == 0, command.err
    assert torch.cuda.get_device_name(0) in command.out
    assert command("tune", run, "--gpu", "0", "--no-save") == 0, command.err


def test_a_run_resumes_on_a_gpu(data_2d, write_config, command, tmp_path) -> None:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 2, "TRAIN.PRECISION": "16"})
    line = ("run", "--config", config, "--result_dir", tmp_path, "--gpu", "0")
    assert command(*line) == 0, command.err
    assert command(*line, "--resume", "--set", "TRAIN.EPOCHS=4") == 0, command.err
    assert "resuming after epoch 2 of 4" in command.out
    assert [row["epoch"] for row in log_rows(tmp_path, "job")] == ["1", "2", "3", "4"]


def test_missing_gpus_are_named_once(data_2d, write_config, tmp_path) -> None:
    count = torch.cuda.device_count()
    config = write_config(data_2d)
    line = [sys.executable, "-m", "singula.cli", "run", "--config", config]
    line += ["--result_dir", tmp_path]
    for words in (("--gpu", f"0, {count}"), ("--gpus", count + 1), ("--gpu", f"cuda:{count}")):
        result = subprocess.run(
            [str(w) for w in (*line, *words)], capture_output=True, text=True, timeout=200
        )
        assert result.returncode == 2, result.stderr[-2000:]
        said = result.stdout + result.stderr
        assert said.count(f"got CUDA device {count}, expected 0") == 1, said
        assert "Traceback" not in said


def test_one_process_of_the_launcher_equals_no_launcher(
    data_2d, write_config, command, tmp_path
) -> None:
    config = write_config(data_2d)
    launcher = (
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=1",
        f"--master_port={free_port()}", "-m", "singula.cli",
    )  # fmt: skip
    same = ("run", "--config", config, "--result_dir", tmp_path, "--gpu", "cuda:0")
    result = subprocess.run(
        [str(w) for w in (*launcher, *same, "--name", "launched")],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert command(*same, "--name", "plain") == 0, command.err
    plain, launched = (log_rows(tmp_path, name) for name in ("plain", "launched"))
    for own, other in zip(plain, launched, strict=True):
        assert float(own["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=0.02)


def test_two_machines_with_a_gpu_each(data_2d, write_config, tmp_path) -> None:
    """Both are this machine; NCCL treats them as two, and communicates over the loopback."""
    config, port = write_config(data_2d), free_port()
    launched = []
    for rank in (0, 1):
        environment = {
            **os.environ,
            "NCCL_HOSTID": f"machine{rank}",
            "NCCL_SOCKET_IFNAME": "lo",
            "NCCL_IB_DISABLE": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        }
        line = (
            sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node_rank={rank}",
            "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}",
            "-m", "singula.cli", "run", "--config", config, "--result_dir", tmp_path,
            "--name", "many", "--gpu", "cuda:0",
        )  # fmt: skip
        launched.append(
            subprocess.Popen(
                [str(w) for w in line], env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in launched]
    assert [process.returncode for process in launched] == [0, 0], said[0][-3000:] + said[1][-3000:]
    assert "effective batch: 2 processes × 4 patches" in said[0]
    assert sum(text.count("F1 mean") for text in said) == 1
    rows = log_rows(tmp_path, "many")
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
