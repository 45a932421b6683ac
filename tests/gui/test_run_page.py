"""Form that starts a run, in this process."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from singula.gui.guard import Guard

pytest.importorskip("nicegui", reason="no test of pages: `pip install 'singula[gui]'` is missing")

from nicegui import ElementFilter, ui
from simulated import simulated_user

from singula.gui import processes
from singula.gui.pages import run as page
from singula.gui.processes import alive
from singula.gui.runs import OUTPUT, RECORD, read_record
from singula.gui.state import AppContext
from singula.io.record_files import write_record
from singula.io.records.results import StartedRun

_MOST = 600  # tenths of a second, on a busy machine
CONFIG = """
DATA: {TRAIN: {PATH: x, GT_PATH: y}, VAL: {FROM_TRAIN: True}}
TRAIN: {ENABLE: True}
"""


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A training that was stopped, number 1 of `cells`, and another configuration."""
    for name in ("cells", "other"):
        (tmp_path / f"{name}.yaml").write_text(CONFIG)
    folder = tmp_path / "results" / "cells" / "results" / "cells_1"
    (folder / "train_logs").mkdir(parents=True)
    (folder / "train_logs" / "cells_1.csv").write_text("epoch,val_loss\n1,0.5\n")
    return folder


def test_start_does_not_restart_a_stopped_training(stopped: Path) -> None:
    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([stopped.parents[3]])))
            await user.open("/run?config=cells.yaml")
            number = _field(user, "Run number")
            assert number.value == "2"
            with user:
                number.set_value("1")
            user.find("Start").click()
            await user.should_see(
                "cells_1: already exists, and this run would replace its training", retries=_MOST
            )
            await user.should_see("for example 2", retries=_MOST)
            await user.should_see("Resume cells_1", retries=_MOST)
            link = _link(user, "Resume cells_1")
            assert link.props["href"] == f"/run?run={quote(str(stopped))}"
            await user.open(link.props["href"])
            await user.should_see(kind=ui.button, content="Resume", retries=_MOST)

    asyncio.run(story())
    assert not (stopped / RECORD).exists()
    assert [path.name for path in stopped.iterdir()] == ["train_logs"]


def test_the_run_number_follows_the_selection(stopped: Path) -> None:
    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([stopped.parents[3]])))
            await user.open("/run")
            number = _field(user, "Run number")
            for label, text, free in (
                ("Configuration (YAML file)", "other.yaml", 1),
                ("Configuration (YAML file)", "cells.yaml", 2),
                ("Name", "mine", 1),
                ("Name", "cells", 2),
                ("Folder for the results", "elsewhere", 1),
            ):
                with user:
                    _field(user, label).set_value(text)
                user.find(label).trigger("change")
                assert number.value == str(free), (label, text)

    asyncio.run(story())


def test_a_change_that_arrives_before_the_new_value_has_its_text(stopped: Path) -> None:
    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([stopped.parents[3]])))
            await user.open("/run?config=cells.yaml")
            number = _field(user, "Run number")
            for label, text, free in (
                ("Name", "mine", 1),
                ("Name", "cells", 2),
                ("Folder for the results", "elsewhere", 1),
            ):
                # Before the page is connected, the two events arrive in any order.
                user.find(label).trigger("change", text)
                assert _field(user, label).value == text
                assert number.value == str(free), (label, text)

    asyncio.run(story())


def test_a_typed_number_is_not_replaced(stopped: Path) -> None:
    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([stopped.parents[3]])))
            await user.open("/run?config=cells.yaml")
            number = _field(user, "Run number")
            with user:
                number.set_value("7")
                _field(user, "Name").set_value("mine")
            user.find("Name").trigger("change")
            assert number.value == "7"
            with user:
                number.set_value("-2")
            user.find("Start").click()
            await user.should_see("expected a whole number of at least 1", retries=_MOST)

    asyncio.run(story())
    assert not (stopped.with_name("cells_0")).exists()


def test_a_run_that_never_began_is_edited_before_it_is_started_again(stopped: Path) -> None:
    root = stopped.parents[3]
    folder = stopped.with_name("cells_2")
    folder.mkdir()
    record = StartedRun(
        pid=2**30, created=1.0, began=1.0, command=["singula", "run"],
        config=str(root / "cells.yaml"), result_dir=str(root / "results"), name="cells", run_id=2,
    )  # fmt: skip
    write_record(folder / RECORD, record)
    (folder / OUTPUT).write_text("error: DATA.TRAIN.PATH: got x, expected a folder\n")

    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([root])))
            await user.open(f"/run?run={quote(str(folder))}")
            await user.should_see(kind=ui.button, content="Start again", retries=_MOST)
            with user:
                (again,) = (b for b in ElementFilter(kind=ui.button) if b.text == "Start again")
            assert "secondary" in again.classes
            link = _link(user, "Edit the configuration")
            assert "secondary" not in link.classes
            assert link.props["href"] == "/new?config=cells.yaml"

    asyncio.run(story())


def test_the_name_of_a_folder_adds_no_attributes(tmp_path: Path) -> None:
    name = 'a" onfocus="alert(1)'
    folder = tmp_path / name / "results" / f"{name}_1"
    (folder / "train_logs").mkdir(parents=True)

    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([tmp_path])))
            await user.open("/run")
            await user.should_see(folder.name, retries=_MOST)
            with user:
                buttons = list(ElementFilter(kind=ui.button))
            labels = [control.props.get("aria-label") for control in buttons]
            assert f"Actions for {folder.name}" in labels
            assert not any("onfocus" in control.props for control in buttons)

    asyncio.run(story())


def test_a_prediction_announces_no_curves(tmp_path: Path) -> None:
    (tmp_path / "cells.yaml").write_text("TRAIN: {ENABLE: False}\nTEST: {ENABLE: True}\n")
    folder = tmp_path / "results" / "cells" / "results" / "cells_1"
    folder.mkdir(parents=True)
    record = StartedRun(
        pid=2**30, created=1.0, began=1.0, command=["singula", "run"],
        config=str(tmp_path / "cells.yaml"), result_dir=str(tmp_path), name="cells", run_id=1,
    )  # fmt: skip
    write_record(folder / RECORD, record)

    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([tmp_path])))
            await user.open(f"/run?run={quote(str(folder))}")
            with user:
                texts = "".join(html.content for html in ElementFilter(kind=ui.html))
            assert "does not train" in texts
            assert "Curves appear" not in texts

    asyncio.run(story())


def test_without_a_gpu_option_the_configuration_decides(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_PROGRAM", "pass")
    folder = stopped.with_name("cells_2")

    async def story(gpu: str) -> None:
        async with simulated_user() as user:
            context = AppContext(Guard.of([stopped.parents[3]]))
            page.add(context)
            await user.open("/run?config=cells.yaml")
            with user:
                field = _field(user, "GPU")
                assert field.props["hint"] == "empty: as in the configuration"
                field.set_value(gpu)
            user.find("Start").click()
            for _ in range(6000):
                context.control.processes.reap()
                if (folder / RECORD).exists() and alive(
                    read_record(folder), folder / OUTPUT
                ) is None:
                    break
                await asyncio.sleep(0.05)

    for gpu, expected in (("", None), ("cpu", "cpu")):
        shutil.rmtree(folder, ignore_errors=True)
        asyncio.run(story(gpu))
        record = read_record(folder)
        assert record is not None
        assert record.gpu == expected
        assert ("--gpu" in record.command) == (expected is not None)


@pytest.mark.parametrize("query", ["run", "config", "results"])
def test_an_address_too_long_for_the_system_is_an_error_of_the_page(
    query: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([tmp_path])))
            given = {"config": "a.yaml", query: "x" * 5000}
            await user.open(f"/run?{urlencode(given)}")
            if query != "run":
                user.find("Start").click()
            await user.should_see("is not a valid path", retries=_MOST)

    asyncio.run(story())


def _field(user: Any, label: str) -> Any:
    with user:
        fields = [*ElementFilter(kind=ui.input), *ElementFilter(kind=ui.number)]
    return next(field for field in fields if field.props.get("label") == label)


def _link(user: Any, words: str) -> Any:
    with user:
        return next(link for link in ElementFilter(kind=ui.link) if link.text == words)
