"""Workflow from an empty folder: segment, correct, fine-tune, apply, compare and export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gui_browser import Interface, Watcher, enter
from gui_drivers import Keyboard, Mouse, Touch
from gui_workflow import Workflow

from singula.io.write import write_tiff
from singula.synthetic.fluorescence import make_image

pytest.importorskip("nicegui", reason="no browser test: `pip install 'singula[gui]'` is missing")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gui browser")]


@pytest.fixture
def interface(tmp_path: Path) -> Iterator[Interface]:
    """Serve a folder with three drawn images."""
    rng = np.random.default_rng(3)
    for name in ("a", "b", "c"):
        image = make_image((160, 160), rng).image
        write_tiff(tmp_path / "mine" / "images" / f"{name}.tif", image, "YX")
    interface = Interface(tmp_path / "mine")
    yield interface
    interface.stop()


@pytest.mark.parametrize("way", [Mouse, Keyboard, Touch])
def test_the_workflow_is_complete(browser: Any, interface: Interface, way: type[Mouse]) -> None:
    context = browser.new_context(**way.options)
    watcher = Watcher(context)
    tab = enter(interface, watcher)
    flow = Workflow(way(tab), interface.folder)
    first = flow.segment("images", "nuclei", "*Segment*, model nuclei: picture of the first image")
    flow.correct(first)
    run = flow.fine_tune()
    assert (run / "run.json").is_file()
    flow.user.press("Segment other images", "link")
    tab.wait_for_url("**/segment?model=**")
    second = flow.segment("images", "", "*Segment*, fine-tuned model: picture of the first image")
    flow.compare(first, second)
    flow.export(second)
    if way is Mouse:  # the table of docs/gui.md
        print("", *(f"| {step} | {s:.1f} |" for step, s in flow.seconds.items()), sep="\n")
    watcher.check()
    context.close()
