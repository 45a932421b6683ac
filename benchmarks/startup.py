"""Measure ``singula --help``, and the time to the end of the first training step.

    OMP_NUM_THREADS=1 python benchmarks/startup.py

Synthetic images and the small network of ``singula demo --quick``; CPU and wall-clock time of
new processes, the minimum of some.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from singula.commands.demo import QUICK, demo_yaml
from singula.synthetic.fluorescence import make_dataset

# Stops the process where training has made one step; what a run imports is imported by the run.
ONE_STEP = """
import os, sys
from singula.util.process import importing, prepare_process
prepare_process()
from singula import cli
from singula.pipeline import run
train = run._train
def to_first_step(*args, **kwargs):
    with importing():
        import singula.pipeline.train
    from singula.training.trainer import Trainer
    step = Trainer.training_step
    def first_step(self, *args, **kwargs):
        step(self, *args, **kwargs)
        sys.stdout.flush()
        os._exit(0)
    Trainer.training_step = first_step
    return train(*args, **kwargs)
run._train = to_first_step
cli.run_main()
raise SystemExit("no step was made")
"""


def seconds(command: list[str], rounds: int) -> tuple[float, float]:
    """Return the minimum CPU and wall-clock time of a command."""
    spent = []
    for _ in range(rounds):
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall, after = time.perf_counter() - began, os.times()
        if done.returncode:
            sys.exit(done.stderr)
        user = after.children_user - before.children_user
        spent.append((user + after.children_system - before.children_system, wall))
    return min(cpu for cpu, _ in spent), min(wall for _, wall in spent)


def main() -> None:
    """Write data, start processes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(7)
        config = folder / "demo.yaml"
        config.write_text(demo_yaml(folder / "data", 2, QUICK[2]), encoding="utf-8")
        make_dataset(folder / "data", 2, rng, n_train=3, n_val=1, n_test=1, shape=QUICK[2].shape)
        one_step = [sys.executable, "-c", ONE_STEP, "--config", config, "--result_dir", folder]
        commands = {
            "`singula --help`": [sys.executable, "-m", "singula.cli", "--help"],
            "`singula run` to its first training step": [str(word) for word in one_step],
        }
        print("| command | processor seconds | wall-clock seconds |\n|---|---|---|", flush=True)
        for what, command in commands.items():
            cpu, wall = seconds(command, rounds)
            print(f"| {what} | {cpu:.2f} | {wall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
