"""Training of the programs for equal CPU time on `dsb2018`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from peer_programs.process import WorkerError, run_measured, run_worker
from peer_programs.workloads import SHARED, dsb2018

# Keys of the configurations that differ from those of `singula init`
CONFIGURATIONS = {
    "init": (),
    "unet": (
        "MODEL.ARCHITECTURE=unet",
        "MODEL.FEATURE_MAPS=[16, 32, 64, 128, 256]",
        "MODEL.DROPOUT_VALUES=[0, 0, 0, 0.1, 0.2]",
    ),
}
# Share of the CPU time of a run of one epoch that is start-up
_START_SHARE = 0.05


def train_program(
    name: str, environments: Path, folder: Path, minutes: float, threads: int
) -> dict[str, Any]:
    """Train another program for the CPU minutes, if its result is not in the folder."""
    done = folder / f"{name}.json"
    if done.is_file():
        return stored(done)
    train, val = (
        [[str(path) for path in files] for files in zip(*dsb2018(part), strict=True)]
        for part in ("train", "val")
    )
    model = str(folder / name)
    answer = run_worker(
        environments,
        name,
        {"do": "train", "threads": threads, "ndim": 2, "model": model, "train": train, "val": val,
         "cpu_seconds": 60 * minutes},
    )  # fmt: skip
    return store(done, {**answer, "model": model, "minutes": minutes})


def train_singula(configuration: str, folder: Path, minutes: float, threads: int) -> dict[str, Any]:
    """Train Singula for the CPU minutes, if its result is not in the folder.

    The number of epochs must be known in advance, so a run of one epoch, which is not counted,
    measures their time.
    """
    name = f"singula_{configuration}"
    done = folder / f"{name}.json"
    if done.is_file():
        return stored(done)
    config = folder / "init.yaml"
    if not config.is_file():
        singula(["init", str(SHARED / "dsb2018"), "-o", str(config)], threads)
    command = [
        "run", "--config", str(config), "--result_dir", str(folder), "--gpu", "cpu",
        "--set", "TEST.ENABLE=False", "--set", f"SYSTEM.NUM_CPUS={threads}",
    ]  # fmt: skip
    for value in CONFIGURATIONS[configuration]:
        command += ["--set", value]
    trial = singula([*command, "--name", f"{name}_trial", "--set", "TRAIN.EPOCHS=1"], threads)
    epochs = max(1, round(60 * minutes / (trial["cpu"] * (1 - _START_SHARE))))
    run = singula([*command, "--name", name, "--set", f"TRAIN.EPOCHS={epochs}"], threads)
    model = folder / name / "results" / f"{name}_1"
    return store(done, {**run, "epochs": epochs, "model": str(model), "minutes": minutes})


def train_volume(folder: Path, volume: Path, threads: int) -> dict[str, Any]:
    """Train Singula for one epoch on the volume, so that there is a network to time.

    Parameters
    ----------
    folder : Path
        Folder for the run.
    volume : Path
        Folder with ``raw`` and ``label``.
    threads : int
        Number of threads.
    """
    name = "singula_3d"
    done = folder / f"{name}.json"
    if done.is_file():
        return stored(done)
    data, config = folder / f"{name}_data", folder / f"{name}.yaml"
    data.mkdir(exist_ok=True)
    if not (data / "train").exists():
        (data / "train").symlink_to(volume.absolute())
    if not config.is_file():
        singula(["init", str(data), "-o", str(config)], threads)
    run = singula(
        ["run", "--config", str(config), "--result_dir", str(folder), "--name", name,
         "--gpu", "cpu", "--set", "TEST.ENABLE=False", "--set", "TRAIN.EPOCHS=1",
         "--set", f"SYSTEM.NUM_CPUS={threads}"],
        threads,
    )  # fmt: skip
    return store(done, {**run, "model": str(folder / name / "results" / f"{name}_1")})


def singula(arguments: list[str], threads: int) -> dict[str, Any]:
    """Run a command of Singula, and return its measurements."""
    measured = run_measured([sys.executable, "-m", "singula", *arguments], threads)
    if measured["code"]:
        raise WorkerError(measured["output"][-2000:])
    return {key: measured[key] for key in ("wall", "cpu", "peak_mib")}


def store(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
    return values


def stored(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
