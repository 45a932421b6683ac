"""Process blocks in jobs of SLURM while jobs, nodes and the driver fail, and compare the results.

    python benchmarks/cluster/blocks.py
    python benchmarks/cluster/blocks.py --scenarios cancelled drained

Starts SLURM with two nodes on this machine (`slurm.py`), trains a small network, and tests a drawn
image in blocks: in one process, and with ``--dask slurm:FILE`` in each scenario. Prints a Markdown
table; exit code 1 if the instances of a scenario differ from those of one process.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from slurm import call, cluster, missing_programs

from singula.io.read import read_labels
from singula.io.write import write_tiff
from singula.synthetic.fluorescence import make_dataset, make_image

SIZE, BLOCK = 2048, 256
_LIMIT = 900  # seconds of a run
_QUEUE = {"jobs": 2, "cores": 1, "memory": "1800MB", "walltime": "00:20:00"}


@dataclass
class Scenario:
    """Events during a run in jobs.

    Parameters
    ----------
    text : str
        Description for the table.
    event : callable
        Called with the run when a quarter of the blocks is predicted.
    queue : dict
        Values of the cluster file that differ from the others.
    state : str
        State in which at least one job must end, such as TIMEOUT; empty for any.
    """

    text: str
    event: Callable[[Run], None]
    queue: dict[str, object] = field(default_factory=dict)
    state: str = ""


class Run:
    """A run in jobs.

    Parameters
    ----------
    environment : mapping
        Variables of the commands of SLURM.
    line : list of str
        Command of the run.
    log : Path
        File for its output.
    folder : Path
        Folder of the results.
    """

    def __init__(
        self, environment: Mapping[str, str], line: list[str], log: Path, folder: Path
    ) -> None:
        self.environment, self.line, self.log, self.folder = environment, line, log, folder
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command; it continues an interrupted run."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.line, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs of the workers in progress."""
        text = self.slurm("squeue", "--noheader", "--states=R", "-p", "normal", "-o", "%A")
        return sorted(text.split(), key=int)

    def slurm(self, *line: str) -> str:
        """Run a command of SLURM, and return its output."""
        return call(self.environment, *line)

    def n_predicted(self) -> int:
        """Return the number of predicted blocks."""
        files = self.folder.glob("per_image/*.zarr/0/**/*")
        return sum(1 for file in files if file.is_file() and file.name != "zarr.json")

    def wait_until(self, is_reached: Callable[[], bool]) -> None:
        """Wait until a state is reached while the run is in progress."""
        until = time.monotonic() + _LIMIT
        while not is_reached():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the run has ended early:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.3)


def nothing(run: Run) -> None:
    """Leave the run alone."""


def cancel_one(run: Run) -> None:
    """Cancel the job of one worker."""
    run.slurm("scancel", run.jobs()[0])


def cancel_all(run: Run) -> None:
    """Cancel the jobs of all workers."""
    run.slurm("scancel", *run.jobs())


def preempt(run: Run) -> None:
    """Submit a job with a higher priority, which takes the node of a worker for 20 s."""
    run.slurm("sbatch", "-p", "urgent", "-o", "/dev/null", "--mem=3500", "--wrap", "sleep 20")


def drain(run: Run) -> None:
    """Drain a node, and end the job on it, as before a repair."""
    run.slurm("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=repair")
    job = run.slurm("squeue", "--noheader", "-w", "n1", "-o", "%A").split()
    run.slurm("scancel", *job)
    time.sleep(30)
    run.slurm("scontrol", "update", "NodeName=n1", "State=RESUME")


def kill_driver(run: Run) -> None:
    """Kill the process that started the run, wait until its jobs have ended, and start it again."""
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    until = time.monotonic() + 180
    while run.jobs() and time.monotonic() < until:
        time.sleep(1)
    if run.jobs():
        raise RuntimeError("jobs remain after the driver was killed")
    run.process = run.start()


SCENARIOS = {
    "plain": Scenario("nothing", nothing),
    "cancelled": Scenario("`scancel` of one of two jobs", cancel_one, state="CANCELLED"),
    "all_cancelled": Scenario("`scancel` of all jobs", cancel_all, state="CANCELLED"),
    "preempted": Scenario("a job with priority requeues one of two jobs", preempt),
    "timed_out": Scenario(
        "the only job reaches its time limit of one minute",
        nothing,
        {"walltime": "00:01:00", "jobs": 1},
        "TIMEOUT",
    ),
    "drained": Scenario("a node is drained, and its job ends", drain),
    "driver": Scenario("the driver is killed, and started again", kill_driver),
}


def prepare(folder: Path, seed: int) -> list[str]:
    """Train a network, draw the image, and return the arguments of a test in blocks."""
    rng = np.random.default_rng(seed)
    make_dataset(folder / "data", 2, rng, n_train=6, n_val=2, n_test=1, shape=(256, 256))
    drawn = make_image((SIZE, SIZE), rng)
    write_tiff(folder / "large" / "x" / "large.tif", drawn.image, "YX")
    program = str(Path(sys.executable).with_name("singula"))
    subprocess.run([program, "init", folder / "data", "-o", folder / "job.yaml"], check=True)
    values = yaml.safe_load((folder / "job.yaml").read_text())
    values["TRAIN"] |= {"EPOCHS": 12, "ENABLE": True}
    values["TEST"] = {"ENABLE": False}
    (folder / "job.yaml").write_text(yaml.safe_dump(values))
    train = [program, "run", "--config", folder / "job.yaml", "--result_dir", folder / "out"]
    subprocess.run([*train, "--name", "job", "--run_id", "1"], check=True)
    keys = (
        "TRAIN.ENABLE=False",
        "TEST.ENABLE=True",
        f"PATHS.CHECKPOINT_FILE={folder}/out/job/checkpoints/job_1-checkpoint-best.pth",
        f"DATA.TEST.PATH={folder}/large/x",
        "DATA.TEST.LOAD_GT=False",
        "TEST.BY_CHUNKS.ENABLE=True",
        f"TEST.BY_CHUNKS.BLOCK_SHAPE=({BLOCK}, {BLOCK})",
    )
    return [*map(str, train), *(word for key in keys for word in ("--set", key))]


def main() -> int:
    """Run the scenarios, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    options = parser.parse_args()
    absent = missing_programs()
    if absent:
        print(f"skipped: not installed: {', '.join(absent)}")
        return 0
    with tempfile.TemporaryDirectory() as name, cluster(2, cores=1, megabytes=4000) as environment:
        folder = Path(name)
        environment = {**environment, "OMP_NUM_THREADS": "1"}
        line = prepare(folder, 0)
        expected, seconds = _test(folder, environment, [*line, "--name", "one"], None, "one")
        print("| during the run | instances | equal to one process | jobs | seconds |")
        print("|---|---|---|---|---|")
        print(f"| (one process) | {len(np.unique(expected)) - 1} | | | {seconds:.0f} |", flush=True)
        is_equal, n_jobs = True, 0
        for key in options.scenarios:
            labels, seconds = _test(
                folder, environment, [*line, "--name", key], SCENARIOS[key], key
            )
            same = bool((labels == expected).all())
            states = call(environment, "squeue", "--noheader", "--states=all", "-p", "normal",
                          "--sort=i", "-o", "%T").split()[n_jobs:]  # fmt: skip
            is_equal &= same and SCENARIOS[key].state in ("", *states)
            n_jobs += len(states)
            ended = ", ".join(f"{states.count(word)} {word}" for word in sorted(set(states)))
            count = len(np.unique(labels)) - 1
            print(f"| {SCENARIOS[key].text} | {count} | {'yes' if same else 'NO'} | {ended} "
                  f"| {seconds:.0f} |", flush=True)  # fmt: skip
    return 0 if is_equal else 1


def _test(
    folder: Path,
    environment: Mapping[str, str],
    line: list[str],
    scenario: Scenario | None,
    name: str,
) -> tuple[np.ndarray, float]:
    """Test the image with the events of a scenario; return the labels and the seconds."""
    results = folder / "out" / name / "results" / f"{name}_1"
    started = time.monotonic()
    if scenario is not None:
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**_QUEUE, **scenario.queue}))
        line = [*line, "--dask", f"slurm:{file}"]
    run = Run(environment, [*line, "--run_id", "1"], folder / f"{name}.log", results)
    try:
        if scenario is not None:
            run.wait_until(lambda: run.n_predicted() >= (SIZE // BLOCK) ** 2 // 4)
            scenario.event(run)
        code = run.process.wait(_LIMIT)
    finally:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
    if code:
        raise RuntimeError(f"{name}: exit code {code}\n{run.log.read_text()[-3000:]}")
    file = results / "per_image_instances" / "large.zarr"
    return read_labels(file, 2).array[..., 0], time.monotonic() - started


if __name__ == "__main__":
    raise SystemExit(main())
