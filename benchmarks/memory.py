"""Resident memory of predicting and decoding large images, and of training, epoch by epoch.

    python benchmarks/memory.py --sides 4096 8192 16384 [--model CHECKPOINT]

The commands run as a user would run them, in processes of their own. The network is that of
`singula demo`, a U-Net 16–128, trained as there; the large image is one of the demonstration's,
repeated. ``anonymous`` is memory that only the process can give back; ``resident`` counts pages of
files that are mapped as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from singula.demo import make_dataset
from singula.demonstration import DEMOS, demo_yaml

STAGES = ("prediction", "decoding", "post-processing", "scoring")


def used(pid: int) -> tuple[int, int]:
    """(anonymous, resident) memory of a process in MiB; zeros when it is gone."""
    found = {"RssAnon": 0, "VmRSS": 0}
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(":")
            if key in found:
                found[key] = int(value.split()[0]) // 1024
    except OSError:
        pass
    return found["RssAnon"], found["VmRSS"]


def watch(command: Sequence[object], trace: Path | None = None) -> tuple[int, int]:
    """Largest (anonymous, resident) memory of a command, looked at twenty times a second."""
    with tempfile.TemporaryFile("w+") as said:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT)
        peak, began, seen = (0, 0), time.perf_counter(), []
        while process.poll() is None:
            now = used(process.pid)
            peak = max(peak[0], now[0]), max(peak[1], now[1])
            seen.append(f"{time.perf_counter() - began:.2f} {now[0]} {now[1]}")
            time.sleep(0.05)
        if process.returncode:
            said.seek(0)
            sys.exit(said.read())
    if trace is not None:
        trace.write_text("\n".join(seen), encoding="ascii")
    return peak


def run(config: Path, folder: Path, *changes: str) -> list[object]:
    """The command of a run."""
    command = [sys.executable, "-m", "singula.cli", "run", "--config", config, "--gpu", "cpu"]
    for change in changes:
        command += ["--set", change]
    return [*command, "--result_dir", folder, "--name", "m", "--run_id", "1"]


def train(config: Path, folder: Path, epochs: int) -> tuple[Path, list[int]]:
    """A checkpoint, and anonymous memory in MiB at the end of each epoch."""
    command = run(config, folder, f"TRAIN.EPOCHS={epochs}", "TEST.ENABLE=False")
    words = [str(word) for word in command]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log, after = folder / "m/results/m_1/train_logs", []
    while process.poll() is None:
        lines = sum(len(f.read_text().splitlines()) - 1 for f in log.glob("*.csv"))
        if lines > len(after):
            after.append(used(process.pid)[0])
        time.sleep(0.05)
    if process.returncode:
        sys.exit(process.stderr.read() if process.stderr else "training failed")
    return folder / "m/checkpoints/m_1-checkpoint-best.pth", after


def large_image(source: Path, target: Path, side: int) -> None:
    """One image repeated to a square of this side, uint8."""
    small = tifffile.imread(source)
    small = np.clip(small / max(1, small.max()) * 255, 0, 255).astype(np.uint8)
    repeats = -(-side // min(small.shape))
    target.parent.mkdir(parents=True)
    tifffile.imwrite(target, np.tile(small, (repeats, repeats))[:side, :side])


def size_of(folder: Path) -> int:
    """MiB that the files of a folder take."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) // 2**20


def predict(config: Path, folder: Path, image: Path, checkpoint: Path, *changes: str) -> str:
    """One row of the table."""
    peak = watch(
        run(
            config, folder, "TRAIN.ENABLE=False", "DATA.TEST.LOAD_GT=False",
            f"DATA.TEST.PATH={image.parent}", f"PATHS.CHECKPOINT_FILE={checkpoint}", *changes,
        ),
        folder.with_suffix(".trace"),
    )  # fmt: skip
    results = folder / "m/results/m_1"
    summary = json.loads((results / "run.json").read_text(encoding="utf-8"))
    seconds = [f"{summary['seconds'].get(stage, 0):.1f}" for stage in STAGES]
    found = sum(summary["test"]["instances"].values())
    return " | ".join([str(peak[0]), str(peak[1]), str(size_of(results)), str(found), *seconds])


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--model", type=Path, help="a checkpoint of an earlier call")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    parser.add_argument("--set", nargs="*", default=[], help="KEY=VALUE for the predictions")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)

        config = folder / "demo.yaml"
        config.write_text(demo_yaml(folder / "data", 2, DEMOS[2]), encoding="utf-8")
        rng = np.random.default_rng(7)
        make_dataset(folder / "data", 2, rng, n_train=32, n_val=4, n_test=1, shape=(256, 256))
        checkpoint = given.model
        if checkpoint is None:
            checkpoint, after = train(config, folder / "training", given.epochs)
            print("MiB after each epoch of training:", *after, flush=True)
        source = next((folder / "data/test/x").iterdir())
        words = ("side", "anonymous MiB", "resident MiB", "output MiB", "instances")
        print("|", " | ".join((*words, *(f"{s} s" for s in STAGES))), "|")
        print("|---" * (len(words) + len(STAGES)) + "|", flush=True)
        for side in given.sides:
            image = folder / f"image_{side}_{os.getpid()}/large.tif"
            large_image(source, image, side)
            results = folder / f"results_{side}_{os.getpid()}"
            row = predict(config, results, image, checkpoint, *given.set)
            print(f"| {side}² | {row} |", flush=True)


if __name__ == "__main__":
    main()
