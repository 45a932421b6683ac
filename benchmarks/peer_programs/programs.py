"""The compared programs, and the environment of each."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
# A build for CPUs, if pip is configured to find one
TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Program:
    """A program, and how to install and run it.

    Parameters
    ----------
    title : str
        Name and version in tables.
    packages : tuple of str
        Requirements for pip; empty: the environment that runs the benchmark.
    worker : str
        Script that runs in the environment.
    ndims : tuple of int
        Dimensions of the images that the program supports.
    """

    title: str
    packages: tuple[str, ...]
    worker: str
    ndims: tuple[int, ...]


PROGRAMS = {
    "singula": Program("Singula", (), "singula_worker.py", (2, 3)),
    "stardist": Program(
        "StarDist 0.9.2",
        ("stardist==0.9.2", "tensorflow-cpu==2.21.0"),
        "stardist_worker.py",
        (2, 3),
    ),
    "cellpose": Program(
        "Cellpose 3.1.1",
        (TORCH, "cellpose==3.1.1.1"),
        "cellpose_worker.py",
        (2, 3),
    ),
    "biapy": Program(
        "BiaPy 3.7.1",
        (TORCH, "torchvision==0.28.0", "biapy==3.7.1"),
        "biapy_worker.py",
        (2, 3),
    ),
    "instanseg": Program(
        "InstanSeg 0.1.2",
        (TORCH, "instanseg-torch==0.1.2", "edt", "monai==1.6.1", "pandas", "seaborn"),
        "instanseg_worker.py",
        (2,),
    ),
    "nnunet": Program(
        "nnU-Net 2.8.1",
        (TORCH, "torchvision==0.28.0", "nnunetv2==2.8.1"),
        "nnunet_worker.py",
        (2,),
    ),
}


def interpreter(environments: Path, name: str) -> str:
    """Return the interpreter of a program."""
    if not PROGRAMS[name].packages:
        return sys.executable
    return str((environments / name / "bin" / "python").absolute())


def install(environments: Path, names: list[str]) -> dict[str, str]:
    """Create the environments that do not exist, and return the errors of pip by program."""
    errors = {}
    for name in names:
        program = PROGRAMS[name]
        if not program.packages or Path(interpreter(environments, name)).is_file():
            continue
        subprocess.run([sys.executable, "-m", "venv", environments / name], check=True)
        python = interpreter(environments, name)
        done = subprocess.run(
            [python, "-m", "pip", "install", *program.packages],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            errors[name] = done.stderr.strip().splitlines()[-1]
    return errors
