"""A viewer of napari for the tests of widgets, which `make test-napari` runs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def finished_run(make_once: Callable[..., Path]) -> Path:
    """Train with few images and return the folder of the run."""
    from singula.commands.demo import run_demo
    from singula.runs.run import SUMMARY

    def fill(folder: Path) -> None:
        run_demo(folder, 2, quick=True, live=False)

    folder = make_once("napari_demo", fill)
    return next(folder.rglob(SUMMARY)).parent


@pytest.fixture
def viewer(request: pytest.FixtureRequest) -> Any:
    """Viewer that contains the plugin."""
    if importlib.util.find_spec("napari") is None:
        pytest.skip("no test of the plugin: `pip install 'singula[napari]'` is missing")
    if not request.config.pluginmanager.has_plugin("napari"):
        pytest.skip("`make test-napari` runs this test with the plugins of pytest for napari")
    if "DISPLAY" not in os.environ and os.name == "posix":
        pytest.skip("no test of the plugin: no display; `apt-get install xvfb` is missing")
    import npe2

    import singula.napari_plugin

    manager = request.getfixturevalue("npe2pm")
    manifest = Path(singula.napari_plugin.__file__).with_name("napari.yaml")
    manager.register(npe2.PluginManifest.from_file(manifest))
    return request.getfixturevalue("make_napari_viewer")()
