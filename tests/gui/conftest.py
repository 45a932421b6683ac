"""A finished small run, made once; and where `made_run` of the report's tests stands."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick demonstrations, 2D and 3D, as `singula demo --quick` leaves them."""
    from singula.demonstration import run_demo

    folder = tmp_path_factory.mktemp("gui_demo")
    for ndim in (2, 3):
        run_demo(folder, ndim, quick=True, live=False, notify=lambda line: None)
    return folder


@pytest.fixture
def demo(demo_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(demo_folder, tmp_path / "demo"))
