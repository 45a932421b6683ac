"""A training that srun started as two processes: ranks, signals, requeue and continuation."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from singula.errors import ExitCode
from singula.training.checkpoint import KEY, read_checkpoint

pytestmark = [
    pytest.mark.xdist_group("processes"),
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]
EPOCHS = 4


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


class Step:
    """Two processes with the variables that srun sets on two nodes."""

    def __init__(self, config: Path, folder: Path, name: str, **variables: str) -> None:
        common = {
            "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
            "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_LOCALID": "0", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": free_port(), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **variables,
        }  # fmt: skip
        line = [sys.executable, "-m", "singula", "run", "--config", str(config),
                "--result_dir", str(folder), "--name", name]  # fmt: skip
        self.processes = [
            subprocess.Popen(
                line,
                env={**os.environ, **common, "SLURM_PROCID": rank, "SLURM_NODEID": rank},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for rank in ("0", "1")
        ]  # fmt: skip

    def wait(self) -> tuple[list[str], list[int]]:
        """Return the outputs and the exit codes."""
        try:
            outputs = [process.communicate(timeout=900)[0] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return outputs, [process.returncode for process in self.processes]


def losses(folder: Path, name: str) -> list[dict[str, str]]:
    table = folder / name / "results" / f"{name}_1" / "train_logs" / f"{name}_1.csv"
    with table.open() as file:
        return list(csv.DictReader(file))


def test_a_signal_to_one_process_ends_both_and_the_job_continues(
    write_config, data_2d, tmp_path: Path
) -> None:
    config = write_config(
        data_2d, **{"TRAIN.EPOCHS": EPOCHS, "TEST.ENABLE": False, "TRAIN.BATCH_SIZE": 1}
    )
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    scontrol.chmod(0o755)
    outputs, codes = Step(config, tmp_path, "whole").wait()
    assert codes == [0, 0], outputs
    assert "effective batch: 2 processes" in outputs[0]

    step = Step(config, tmp_path, "parts")
    stdout = step.processes[0].stdout
    assert stdout is not None
    for line in stdout:
        if line.startswith("epoch 1/"):
            break
    time.sleep(0.1)
    step.processes[1].send_signal(signal.SIGUSR1)
    outputs, codes = step.wait()
    # The first process decides about the exit code of the step.
    assert codes == [ExitCode.TERMINATED, 0], outputs
    assert (tmp_path / "calls").read_text() == "requeue 7\n"
    assert outputs[1].strip() == ""

    path = tmp_path / "parts/checkpoints/parts_1-checkpoint-last.pth"
    state = read_checkpoint(path)[KEY]["training"]
    assert len(state["history"]) < EPOCHS
    if state.get("partial"):
        assert len(state["partial"]["sums"]) == 2
    outputs, codes = Step(config, tmp_path, "parts", SLURM_RESTART_COUNT="1").wait()
    assert codes == [0, 0], outputs
    assert "resuming after epoch" in outputs[0]
    assert losses(tmp_path, "parts") == losses(tmp_path, "whole")
    weights = [
        read_checkpoint(tmp_path / f"{name}/checkpoints/{name}_1-checkpoint-last.pth")["state_dict"]
        for name in ("parts", "whole")
    ]
    assert all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[1])
    run = json.loads((tmp_path / "parts/results/parts_1/run.json").read_text())
    assert run


def test_a_process_that_stops_answering_ends_the_others(
    write_config, data_2d, tmp_path: Path
) -> None:
    config = write_config(
        data_2d, **{"TRAIN.EPOCHS": 50, "TEST.ENABLE": False, "TRAIN.BATCH_SIZE": 1}
    )
    step = Step(config, tmp_path, "stuck", SINGULA_TIMEOUT="30")
    stdout = step.processes[0].stdout
    assert stdout is not None
    for line in stdout:
        if line.startswith("epoch 1/"):
            break
    step.processes[1].send_signal(signal.SIGSTOP)
    output = step.processes[0].communicate(timeout=900)[0]
    step.processes[1].kill()
    step.processes[1].communicate()
    assert step.processes[0].returncode == ExitCode.USER_ERROR, output
    (error,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "rank 0 of 2, epoch" in error
    assert "SINGULA_TIMEOUT" in output
