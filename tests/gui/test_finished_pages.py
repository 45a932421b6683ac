"""Results and Tune pages show the image that was chosen last; reports of runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_run import ExampleRun, cells, without
from selection import fast_first

from singula import encode
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.io.run_folder import ResultsTree
from singula.io.write import write_tiff

pytest.importorskip("nicegui", reason="no test of pages: `pip install 'singula[gui]'` is missing")

from nicegui import ElementFilter, ui
from simulated import simulated_user

from singula.gui.pages import results, tune
from singula.gui.pages.finished import ImageView
from singula.gui.pages.frame import Slider
from singula.gui.pages.object_table import ObjectGrid
from singula.gui.pages.viewer import Canvas
from singula.gui.pictures import Scene
from singula.gui.server import build
from singula.gui.state import AppContext

NAMES = {"first": 16, "slow": 13, "last": 11}  # objects of each image
PAGES = {"results": results, "tune": tune}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of three images, with predictions."""
    lattice = cells(2)
    pred = {"first": lattice, "slow": without(lattice, 3, 4, 5)}
    pred["last"] = without(lattice, 3, 4, 5, 6, 7)
    keys = {"TEST.ENABLE": True, "TRAIN.ENABLE": False}
    run = ExampleRun(tmp_path / "made", pred, keys=keys).write()
    for name, labels in pred.items():
        maps = encode(labels, "BC")
        file = ResultsTree.of_run(run).predictions("per_image") / f"{name}.tif"
        write_tiff(file, np.stack([maps["B"], maps["C"]], -1).astype(np.float32), "YXC")
    return run


class Held:
    """Reader that blocks on the slow image until it is released, and then may fail."""

    def __init__(self, read: Callable[..., Any], error: UserError | None) -> None:
        self.read, self.error = read, error
        self.entered, self.go = threading.Event(), threading.Event()

    def __call__(self, view: Any, name: str, stage: Any) -> Any:
        if name == "slow":
            self.entered.set()
            assert self.go.wait(60)
            if self.error is not None:
                raise self.error
        return self.read(view, name, stage)


class Page:
    """Page in this process, with access to its elements."""

    def __init__(self, context: AppContext, client: Any) -> None:
        self.context, self.client = context, client

    def all(self, kind: type[Any]) -> list[Any]:
        with self.client:
            return list(ElementFilter(kind=kind))

    def choose(self, name: str) -> None:
        box = next(s for s in self.all(ui.select) if s.props["label"].startswith("Image"))
        with self.client:
            box.set_value(name)

    @property
    def scene(self) -> Any:
        source = self.all(Canvas)[0].props.get("source", "")
        return self.context.scenes.get(source.rpartition("/")[2])

    def check(self, page: str, name: str) -> None:
        """Check that picture, numbers, link and state belong to an image."""
        count = NAMES[name]
        assert self.all(Canvas)[0].props["label"].startswith(f"{name} ")
        assert len(np.unique(self.scene.labels["instances"])) - 1 == count
        other = "tune" if page == "results" else "results"
        links = [str(link.props.get("href", "")) for link in self.all(ui.link)]
        assert next(link for link in links if link.startswith(f"/{other}?")).endswith(f"={name}")
        if page == "results":
            assert len(self.all(ObjectGrid)[0].props["rows"]) == count
        else:
            assert any(f"<td>{count}</td><td>{count}</td>" in html.content
                       for html in self.all(ui.html))  # fmt: skip
        texts = [label.text for label in self.all(ui.label)]
        assert "broken" not in texts


async def until(done: Callable[[], object]) -> None:
    for _ in range(1200):
        if done():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never happened")


async def story(page: str, run: Path, then: Callable[[Page], Awaitable[None]]) -> None:
    async with simulated_user() as user:
        context = AppContext(Guard.of([run.parents[3]]))
        PAGES[page].add(context)
        await then(Page(context, await user.open(f"/{page}?run={run}&image=first")))


@pytest.mark.parametrize("page", list(PAGES))
@pytest.mark.parametrize("fails", fast_first([False, True]))
def test_an_outdated_load_shows_nothing(
    page: str, fails: bool, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = PAGES[page]._View
    held = Held(view.read, UserError("broken", None, "test.broken") if fails else None)
    monkeypatch.setattr(view, "read", lambda *asked: held(*asked))
    load, ended = ImageView.load, []

    async def counted(self: Any) -> None:
        name = self.name
        await load(self)
        ended.append(name)

    monkeypatch.setattr(ImageView, "load", counted)

    async def then(shown: Page) -> None:
        await until(lambda: ended == ["first"])
        shown.check(page, "first")
        shown.choose("slow")
        await until(held.entered.is_set)
        shown.choose("last")
        await until(lambda: ended == ["first", "last"])
        shown.check(page, "last")
        held.go.set()
        await until(lambda: len(ended) == 3)
        shown.check(page, "last")
        if page == "tune":
            await _moved(shown)

    try:
        asyncio.run(story(page, run, then))
    finally:
        held.go.set()


def test_instances_of_the_previous_image_are_not_drawn_in_the_next(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = tune.Retune.decode
    entered, go = threading.Event(), threading.Event()

    def held(self: Any, values: dict[str, float]) -> Any:
        outcome = decode(self, values)
        if values and not entered.is_set():
            entered.set()
            assert go.wait(60)
        return outcome

    drawn, draw = [], Scene.replace_instances

    def noted(self: Scene, labels: np.ndarray) -> None:
        drawn.append((self, len(np.unique(labels)) - 1))
        draw(self, labels)

    monkeypatch.setattr(tune.Retune, "decode", held)
    monkeypatch.setattr(Scene, "replace_instances", noted)

    async def then(shown: Page) -> None:
        await until(lambda: shown.scene is not None)
        slider = _smallest(shown)
        with shown.client:
            slider.set_value(slider.value + 1)  # removes none of them
        await until(entered.is_set)
        shown.choose("last")
        await until(lambda: shown.all(Canvas)[0].props["label"].startswith("last "))
        go.set()
        # Decoded again for the new image, with the slider as it was moved.
        await until(lambda: drawn)
        assert drawn == [(shown.scene, NAMES["last"])]
        shown.check("tune", "last")

    try:
        asyncio.run(story("tune", run, then))
    finally:
        go.set()


def _smallest(shown: Page) -> Any:
    return next(s for s in shown.all(Slider) if "Minimum size" in str(s.props.get("aria-label")))


async def _moved(shown: Page) -> None:
    """Move a slider to its maximum, which removes all objects, and back."""
    slider = _smallest(shown)
    run_value = slider.value
    with shown.client:
        slider.set_value(slider.props["max"])
    await until(lambda: not shown.scene.labels["instances"].any())
    with shown.client:
        slider.set_value(run_value)
    await until(lambda: shown.scene.labels["instances"].any())
    shown.check("tune", "last")


def test_a_missing_report_is_written_for_a_finished_run_only(tmp_path: Path) -> None:
    run = ExampleRun(tmp_path / "made", {"one": cells(2)}).write()
    unfinished = run.with_name("job_2")
    unfinished.mkdir()

    async def ask() -> list[Any]:
        async with simulated_user() as user:
            build(AppContext(Guard.of([tmp_path / "made"])))
            return [
                await user.http_client.get(f"/report?run={folder}")
                for folder in (run, unfinished, tmp_path)
            ]

    found, missing, outside = asyncio.run(ask())
    assert found.status_code == 200
    assert "Singula report" in found.text
    assert "sandbox" in found.headers["content-security-policy"]
    assert missing.status_code == 404
    assert "is not the folder of a finished run" in missing.text
    assert outside.status_code == 403
    assert [path.name for path in run.parent.rglob("report.html")] == ["report.html"]
    assert list(unfinished.iterdir()) == []
