"""Finished small runs, and the path of the module `example_run`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))


@pytest.fixture(scope="session")
def demo_folder(make_once: Callable[..., Path]) -> Path:
    """Run `singula demo --quick` in 2D and 3D and return the folder."""
    from singula.commands.demo import run_demo

    def fill(folder: Path) -> None:
        for ndim in (2, 3):
            run_demo(folder, ndim, quick=True, live=False)

    return make_once("gui_demo", fill)


@pytest.fixture
def demo(demo_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the demonstrations that a test may change."""
    return Path(shutil.copytree(demo_folder, tmp_path / "demo"))
