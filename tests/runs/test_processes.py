"""A run in several processes has the same scores and writes each file once."""

import csv
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

# One after the other: they look for free ports.
pytestmark = pytest.mark.xdist_group("processes")
CHECKPOINT = "many/checkpoints/many_1-checkpoint-best.pth"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def script() -> str:
    found = shutil.which("biapy", path=str(Path(sys.executable).parent))
    assert found is not None
    return found


def torchrun(*options: object) -> list[str]:
    line = (sys.executable, "-u", "-m", "torch.distributed.run", *options)
    return [str(word) for word in line]


def scores(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name / "results" / f"{name}_1" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the CPU, because two processes need two GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def config(write_config, data_2d) -> Path:
    # Three test images for two processes: one of them gets less to do.
    return write_config(data_2d, **{"TRAIN.EPOCHS": 2, "DATA.TEST.PATH": str(data_2d / "train/x"),
                                    "DATA.TEST.GT_PATH": str(data_2d / "train/y")})  # fmt: skip


@pytest.mark.slow
def test_the_launcher_line_gives_the_scores_of_one_process(config, command, tmp_path) -> None:
    line = torchrun(
        "--nproc_per_node=2", f"--master_port={free_port()}", script(), "--config", config,
        "--result_dir", tmp_path, "--name", "many", "--run_id", "1", "--gpu", "cuda:0, 1",
    )  # fmt: skip
    result = subprocess.run(line, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "effective batch: 2 processes × 4 patches" in result.stdout
    assert result.stdout.count("F1 mean") == 1
    assert result.stdout.count("image_000: ") == 1

    same = ["--config", config, "--result_dir", tmp_path, "--set", "TRAIN.ENABLE=False",
            "--set", f"PATHS.CHECKPOINT_FILE={tmp_path / CHECKPOINT}"]  # fmt: skip
    assert command("run", *same, "--name", "one") == 0, command.err
    assert scores(tmp_path, "one") == scores(tmp_path, "many")

    both = [
        sys.executable,
        "-m",
        "singula.cli",
        "run",
        "--config",
        config,
        "--result_dir",
        tmp_path,
    ]
    result = subprocess.run(
        [str(w) for w in (*both, "--name", "both", "--gpus", "2")],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "[3/3]" in result.stdout
    assert "Traceback" not in result.stderr
    assert scores(tmp_path, "both") == scores(tmp_path, "many")

    again = [sys.executable, "-m", "singula.cli", "run", *same, "--name", "two", "--gpus", "2"]
    result = subprocess.run([str(w) for w in again], capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr[-3000:]
    assert scores(tmp_path, "two") == scores(tmp_path, "many")


@pytest.mark.slow
def test_a_mistake_is_reported_once_by_several_processes(config, tmp_path) -> None:
    line = [sys.executable, "-m", "singula.cli", "run", "--config", str(config), "--gpus", "2"]
    line += ["--result_dir", str(tmp_path), "--set", f"DATA.TRAIN.PATH={tmp_path / 'nowhere'}"]
    result = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    reasons = [t for t in result.stderr.splitlines() if "DATA.TRAIN.PATH" in t]
    assert len(reasons) == 1, result.stderr
