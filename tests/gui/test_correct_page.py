"""Correct page in this process: corrections are saved with the image to which they belong."""

from __future__ import annotations

import asyncio
import shutil
import threading
from pathlib import Path

import pytest
from prediction_folder import LABELS, write_prediction

from singula.gui.guard import Guard
from singula.io.read import read_labels

pytest.importorskip("nicegui", reason="no test of pages: `pip install 'singula[gui]'` is missing")

from simulated import simulated_user

from singula.gui.correct import Correction
from singula.gui.pages import correct
from singula.gui.state import AppContext


def test_a_correction_is_saved_with_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_prediction(tmp_path.resolve())
    for file in (folder / "a.tif", folder / "a_stats.csv", tmp_path / "in" / "a.tif"):
        shutil.copyfile(file, file.with_name(file.name.replace("a", "b", 1)))
    views: list[correct._View] = []
    build = correct._View.__init__
    monkeypatch.setattr(
        correct._View, "__init__", lambda self, *a: views.append(self) or build(self, *a)
    )
    entered, go = threading.Event(), threading.Event()

    def delete_later(work: Correction) -> bool:
        entered.set()
        assert go.wait(60)
        return work.delete()

    async def story() -> None:
        async with simulated_user() as user:
            correct.add(AppContext(Guard.of([tmp_path])))
            client = await user.open(f"/correct?run={folder}&image=a")
            (view,) = views
            while view.work is None:
                await asyncio.sleep(0.05)
            with client:
                task = asyncio.create_task(view._act(delete_later))
                while not entered.is_set():
                    await asyncio.sleep(0.05)
                view.name = "b"  # the user chooses another image during the correction
                await view.load()
                shown = view.work
                selected = view.viewer.picked
                go.set()
                await task
            assert view.work is shown
            assert view.viewer.picked == selected

    try:
        asyncio.run(story())
    finally:
        go.set()
    labels = folder / "corrected" / "labels"
    assert [file.name for file in labels.iterdir()] == ["a.tif"]
    removed = (LABELS > 0) & (read_labels(labels / "a.tif", 2).array[..., 0] == 0)
    assert (LABELS[removed] == 2).all()  # the least certain object
    assert removed.sum() == (LABELS == 2).sum()
