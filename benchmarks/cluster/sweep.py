"""Run a sweep as a job array of SLURM, interrupt its tasks, and compare it with one process.

    python benchmarks/cluster/sweep.py
    python benchmarks/cluster/sweep.py --scenarios signal --epochs 20

Starts SLURM with two nodes on this machine (`slurm.py`). `singula sweep` trains two networks with
different learning rates: first one after the other in one process, then in each scenario with the
script of ``--slurm``, as two tasks on two nodes. Weights, losses and scores must be bit-identical.
Prints a Markdown table; exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from slurm import NotStartedError, call, cluster, missing_programs

from training import prepare

_LIMIT = 600  # seconds of a scenario
_PAUSE = 20  # seconds after which a requeued task may start; SLURM waits two minutes
_TASKS = ("1", "2")


@dataclass
class Scenario:
    """Interruption of the tasks of a job array.

    Parameters
    ----------
    text : str
        Description for the table.
    options : tuple of str
        Options of ``sbatch``.
    is_signaled : bool
        Send SIGUSR1 to each task after some epochs.
    starts : int
        Smallest number of starts of each task.
    """

    text: str
    options: tuple[str, ...] = ()
    is_signaled: bool = False
    starts: int = 1


SCENARIOS = {
    "array": Scenario("(none)"),
    "signal": Scenario("SIGUSR1 (`scancel --signal=USR1`)", is_signaled=True, starts=2),
    "warned": Scenario(
        "SIGUSR1 (`--signal=USR1@60 --time=2`)", ("--signal=USR1@60", "--time=2"), starts=2
    ),
}


class Array:
    """Job array of a sweep.

    Parameters
    ----------
    environment : mapping
        Variables of the commands of SLURM.
    folder : Path
        Folder with the configuration.
    name : str
        Name of the sweep.
    options : tuple of str
        Options of ``sbatch``.
    """

    def __init__(
        self, environment: Mapping[str, str], folder: Path, name: str, options: tuple[str, ...]
    ) -> None:
        self.environment, self.folder, self.name = environment, folder, name
        script = folder / f"{name}.sh"
        subprocess.run(sweep_command(folder, name, "--slurm", script), check=True)
        line = ("sbatch", "--parsable", f"--chdir={folder}", f"--output={folder / name}_%a.log")
        requests = ("--cpus-per-task=1", "--mem=1900")
        self.job = call(environment, *line, *requests, *options, str(script)).strip()
        if not self.job:
            raise RuntimeError(f"{name}: sbatch refused {script.read_text()}")
        self._waiting: dict[str, float] = {}

    def fields(self, task: str) -> dict[str, str]:
        """Return the fields of a task, such as JobState."""
        text = call(self.environment, "scontrol", "show", "job", "-o", f"{self.job}_{task}")
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def output(self, task: str) -> str:
        """Return the output of a task."""
        log = self.folder / f"{self.name}_{task}.log"
        return log.read_text() if log.exists() else ""

    def wait_until(self, is_reached: Callable[[str], bool]) -> None:
        """Wait until all tasks reach a state; start requeued tasks after `_PAUSE`."""
        until = time.monotonic() + _LIMIT
        while not all(is_reached(task) for task in _TASKS):
            if time.monotonic() > until:
                outputs = "\n".join(self.output(task)[-2000:] for task in _TASKS)
                raise RuntimeError(f"{self.name}: no end after {_LIMIT} s:\n{outputs}")
            for task in _TASKS:
                self._start_requeued(task)
            time.sleep(0.5)

    def _start_requeued(self, task: str) -> None:
        fields = self.fields(task)
        if fields.get("JobState") != "PENDING" or fields.get("Restarts", "0") == "0":
            self._waiting.pop(task, None)
        elif time.monotonic() > self._waiting.setdefault(task, time.monotonic() + _PAUSE):
            number = f"JobId={fields['JobId']}"
            call(self.environment, "scontrol", "update", number, "StartTime=now")

    def has_ended(self, task: str) -> bool:
        """Return True if a task has ended; raise an error if it failed."""
        state = self.fields(task).get("JobState", "")
        if state in ("FAILED", "TIMEOUT", "NODE_FAIL", "CANCELLED", "OUT_OF_MEMORY"):
            raise RuntimeError(f"{self.name}, task {task}: {state}\n{self.output(task)[-3000:]}")
        return state == "COMPLETED"

    def starts(self, task: str) -> int:
        """Return how often a task was started."""
        return int(self.fields(task).get("Restarts", "0")) + 1


def sweep_command(folder: Path, name: str, *more: object) -> list[str]:
    """Return the command of a sweep over two learning rates."""
    line = (sys.executable, "-m", "singula", "sweep", folder / "job.yaml")
    options = ("--result_dir", folder, "--name", name, "--vary", "TRAIN.LR=0.01,0.003")
    return [str(word) for word in (*line, *options, *more)]


def results(
    folder: Path, name: str
) -> tuple[list[dict[str, torch.Tensor]], list[str], pd.DataFrame]:
    """Return the weights and the losses of both runs, and the table of the sweep."""
    root = folder / name
    checkpoints = sorted(root.glob("checkpoints/*-checkpoint-last.pth"))
    weights = [torch.load(path, weights_only=True)["state_dict"] for path in checkpoints]
    losses = [path.read_text() for path in sorted(root.glob("results/*/train_logs/*.csv"))]
    if (len(weights), len(losses)) != (2, 2):
        raise RuntimeError(f"{root}: got {len(weights)} checkpoints and {len(losses)} logs")
    table = pd.read_csv(next(root.rglob("sweep.csv")))
    return weights, losses, table.drop(columns=["seconds", "folder"], errors="ignore")


def is_equal(folder: Path, name: str, expected: str) -> bool:
    """Compare two sweeps bit by bit."""
    weights, losses, table = results(folder, name)
    others, other_losses, other_table = results(folder, expected)
    tables = table.to_csv().replace(name, "") == other_table.to_csv().replace(expected, "")
    return (
        tables
        and losses == other_losses
        and all(
            one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
            for one, two in zip(weights, others, strict=True)
        )
    )


def run(environment: Mapping[str, str], folder: Path, name: str, scenario: Scenario) -> int:
    """Run a scenario; return the smallest number of starts of its tasks."""
    array = Array(environment, folder, name, scenario.options)
    try:
        if scenario.is_signaled:
            array.wait_until(lambda task: "epoch 4/" in array.output(task))
            call(environment, "scancel", "--signal=USR1", array.job)
        array.wait_until(array.has_ended)
        return min(array.starts(task) for task in _TASKS)
    finally:
        call(environment, "scancel", array.job)


def compare(scenarios: list[str], epochs: int) -> int:
    """Run scenarios, and print the table; return 1 if a result differs, else 0."""
    with tempfile.TemporaryDirectory() as name, cluster(2, cores=1) as environment:
        folder = Path(name)
        prepare(folder, epochs)
        started = time.monotonic()
        subprocess.run(sweep_command(folder, "whole"), check=True, stdout=subprocess.DEVNULL)
        print("| interruption | starts of each task | bit-identical | seconds |")
        print("|---|---|---|---|")
        print(f"| one process without SLURM | | | {time.monotonic() - started:.0f} |", flush=True)
        equal = True
        for key in scenarios:
            started, scenario = time.monotonic(), SCENARIOS[key]
            starts = run(environment, folder, key, scenario)
            same = is_equal(folder, key, "whole")
            equal &= same and starts >= scenario.starts
            word, seconds = "yes" if same else "NO", time.monotonic() - started
            print(f"| {scenario.text} | {starts} | {word} | {seconds:.0f} |", flush=True)
    return 0 if equal else 1


def main() -> int:
    """Run the scenarios, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--epochs", type=int, default=60, help="time limits need 100 s")
    options = parser.parse_args()
    absent = missing_programs()
    if absent:
        print(f"skipped: not installed: {', '.join(absent)}")
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        return compare(options.scenarios, options.epochs)
    except NotStartedError as error:
        print(f"skipped: {error}")
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
