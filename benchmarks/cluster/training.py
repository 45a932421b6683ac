"""Interrupt trainings in jobs of SLURM, and compare them with an uninterrupted training.

    python benchmarks/cluster/training.py
    python benchmarks/cluster/training.py --scenarios cancelled --epochs 12

Starts SLURM with two nodes on this machine (`slurm.py`). Each scenario trains a small network with
``sbatch`` and ``srun`` as two processes on two nodes, and interrupts it. Its weights, losses and
scores must be bit-identical to those of a job that was not interrupted. Prints a Markdown table;
exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from slurm import NotStartedError, call, cluster, missing_programs

sys.path.insert(0, str(Path(__file__).parents[1]))
from crashes import CONFIG

from singula.synthetic.fluorescence import make_dataset

_LIMIT = 600  # seconds of a scenario
_PAUSE = 20  # seconds after which a requeued job may start; SLURM waits two minutes
_ENDED = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
# The script of docs/cluster.md
_SCRIPT = """\
#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --mem=1900 --requeue --open-mode=append
srun --kill-on-bad-exit=1 {python} -m singula run --config job.yaml --result_dir . \\
    --name {name} --resume
"""


@dataclass
class Scenario:
    """Interruption of a training.

    Parameters
    ----------
    text : str
        Description for the table.
    options : tuple of str
        Options of ``sbatch``.
    event : callable, optional
        Called with the job when its first epochs are finished.
    """

    text: str
    options: tuple[str, ...] = ()
    event: Callable[[Training], None] | None = None


class Training:
    """Job with a training.

    Parameters
    ----------
    environment : mapping
        Variables of the commands of SLURM.
    folder : Path
        Folder with the configuration and the results.
    name : str
        Name of the run and of its log.
    options : tuple of str
        Options of ``sbatch``.
    """

    def __init__(
        self, environment: Mapping[str, str], folder: Path, name: str, options: tuple[str, ...]
    ) -> None:
        self.environment, self.folder, self.name, self.options = environment, folder, name, options
        self.log = folder / f"{name}.log"
        self.script = folder / f"{name}.sh"
        self.script.write_text(_SCRIPT.format(python=sys.executable, name=name))
        self.job = self.submit()

    def submit(self) -> str:
        """Submit the job, and return its number."""
        line = ("sbatch", "--parsable", f"--chdir={self.folder}", f"--output={self.log}")
        return call(self.environment, *line, *self.options, str(self.script)).strip()

    def field(self, name: str) -> str:
        """Return a field of the job, such as JobState."""
        text = call(self.environment, "scontrol", "show", "job", "-o", self.job)
        fields = dict(word.split("=", 1) for word in text.split() if "=" in word)
        return fields.get(name, "")

    def output(self) -> str:
        """Return the output of the job."""
        return self.log.read_text() if self.log.exists() else ""

    def wait_until(self, is_reached: Callable[[], bool]) -> None:
        """Wait until a state is reached; start a requeued job after `_PAUSE`."""
        until, start = time.monotonic() + _LIMIT, float("inf")
        while not is_reached():
            if time.monotonic() > until:
                raise RuntimeError(
                    f"{self.name}: no end after {_LIMIT} s:\n{self.output()[-3000:]}"
                )
            if self.field("JobState") != "PENDING" or self.field("Restarts") == "0":
                start = float("inf")
            elif start == float("inf"):
                start = time.monotonic() + _PAUSE
            elif time.monotonic() > start:
                call(self.environment, "scontrol", "update", f"JobId={self.job}", "StartTime=now")
            time.sleep(0.5)

    def wait(self) -> None:
        """Wait until the job has ended."""
        self.wait_until(lambda: self.field("JobState") in _ENDED)


def warn(training: Training) -> None:
    """Send SIGUSR1 to the processes, as ``--signal`` does before the time limit."""
    call(training.environment, "scancel", "--signal=USR1", training.job)


def cancel(training: Training) -> None:
    """Cancel the job; SLURM does not start it again. Then submit it again."""
    call(training.environment, "scancel", training.job)
    training.wait()
    if training.field("JobState") != "CANCELLED" or training.field("Restarts") != "0":
        raise RuntimeError("a cancelled job was put back into the queue")
    training.job = training.submit()


def preempt(training: Training) -> None:
    """Submit a job with a higher priority, which takes both nodes for 10 s."""
    line = ("sbatch", "-p", "urgent", "-N2", "--mem=3500", "-o", "/dev/null", "--wrap", "sleep 10")
    call(training.environment, *line)


SCENARIOS = {
    "signal": Scenario("SIGUSR1 (`scancel --signal=USR1`)", event=warn),
    "warned": Scenario("SIGUSR1 (`--signal=USR1@60 --time=3`)", ("--signal=USR1@60", "--time=3")),
    "limit": Scenario("SIGTERM at the limit (`--time=1`)", ("--time=1",)),
    "cancelled": Scenario("`scancel`, then submitted again", event=cancel),
    "preempted": Scenario("preempted by a job with priority", event=preempt),
}


def prepare(folder: Path, epochs: int) -> None:
    """Draw images, and write the configuration."""
    rng = np.random.default_rng(0)
    make_dataset(folder / "data", 2, rng, n_train=8, n_val=2, n_test=3, shape=(192, 192))
    text = CONFIG.format(data=folder / "data", channels=folder / "channels", epochs=epochs)
    (folder / "job.yaml").write_text(text)


def results(folder: Path, name: str) -> tuple[dict[str, torch.Tensor], str, str]:
    """Return the weights, the losses and the scores of a run."""
    run = folder / name / "results" / f"{name}_1"
    path = folder / name / "checkpoints" / f"{name}_1-checkpoint-last.pth"
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return (
        weights,
        (run / "train_logs" / f"{name}_1.csv").read_text(),
        (run / "metrics.csv").read_text(),
    )


def is_equal(folder: Path, name: str, expected: str) -> bool:
    """Compare two runs bit by bit."""
    (weights, *tables), (others, *other_tables) = results(folder, name), results(folder, expected)
    same = weights.keys() == others.keys() and tables == other_tables
    return same and all(torch.equal(weights[key], others[key]) for key in weights)


def run(
    environment: Mapping[str, str], folder: Path, name: str, scenario: Scenario
) -> tuple[str, float]:
    """Run a scenario; return the number of starts of its job, and the seconds."""
    started = time.monotonic()
    training = Training(environment, folder, name, scenario.options)
    try:
        if scenario.event is not None:
            training.wait_until(lambda: "epoch 4/" in training.output())
            scenario.event(training)
        training.wait()
    finally:
        call(environment, "scancel", training.job)
    output = training.output()
    if training.field("JobState") != "COMPLETED":
        raise RuntimeError(f"{name}: {training.field('JobState')}\n{output[-3000:]}")
    lines = [line for line in output.splitlines() if "resuming after" in line]
    print(*(f"  {name}: {line.split(': ')[0]}" for line in lines), sep="\n", file=sys.stderr)
    return str(len(lines) + 1), time.monotonic() - started


def main() -> int:
    """Run the scenarios, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument(
        "--epochs", type=int, default=60, help="time limits need trainings of 100 s"
    )
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


def compare(scenarios: list[str], epochs: int) -> int:
    """Run scenarios, and print the table; return 1 if a result differs, else 0."""
    with tempfile.TemporaryDirectory() as name, cluster(2, cores=1) as environment:
        folder = Path(name)
        prepare(folder, epochs)
        _, seconds = run(environment, folder, "whole", Scenario("nothing"))
        print("| interruption | starts | bit-identical | seconds |")
        print("|---|---|---|---|")
        print(f"| (none) | 1 | | {seconds:.0f} |", flush=True)
        equal = True
        for key in scenarios:
            starts, seconds = run(environment, folder, key, SCENARIOS[key])
            same = is_equal(folder, key, "whole")
            equal &= same and starts != "1"
            word = "yes" if same else "NO"
            print(f"| {SCENARIOS[key].text} | {starts} | {word} | {seconds:.0f} |", flush=True)
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main())
