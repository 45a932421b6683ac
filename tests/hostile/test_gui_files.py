"""Run folders with files that block, are damaged, or are too large."""

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from singula.errors import UserError
from singula.gui.guard import Guard

pytest.importorskip("psutil", reason="`pip install 'singula[gui]'` is missing")

from singula.gui import runs
from singula.gui.control import Control
from singula.gui.form import Form
from singula.gui.results import open_results
from singula.gui.run_search import find_runs
from singula.gui.runs import OUTPUT, RECORD, state_of, view_run
from singula.gui.search import OUTPUT as SEARCH_OUTPUT
from singula.gui.search import RECORD as SEARCH_RECORD
from singula.gui.search import TRIALS, view_search
from singula.io.run_folder import ResultsTree
from singula.pipeline.run import Job

START = {"pid": 1, "created": 5.0, "began": 5.0}
RECORDED = {**START, "command": [], "config": "c.yaml", "result_dir": "out", "name": "cells",
            "run_id": 1}  # fmt: skip
# Files of a run that the interface reads, relative to the run's folder.
READ = [RECORD, OUTPUT, "cells_1.log", "run.json", "metrics.csv", "train_logs/cells_1.csv",
        f"tuning/{SEARCH_RECORD}", f"tuning/{SEARCH_OUTPUT}", f"tuning/{TRIALS}"]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with one file of each kind, and an intact run next to it."""
    results = tmp_path / "out" / "cells" / "results"
    for number in (1, 2):
        folder = results / f"cells_{number}"
        for name in ("train_logs", "tuning"):
            (folder / name).mkdir(parents=True)
        (folder / RECORD).write_text(json.dumps(RECORDED))
        (folder / "run.json").write_text("{}")
        (folder / "cells_1.log").write_text("2026-01-01T10:00:00+00:00 computing\n")
        (folder / "train_logs" / "cells_1.csv").write_text("epoch,val_loss\n1,0.5\n")
        (folder / "tuning" / SEARCH_RECORD).write_text(
            json.dumps({**START, "metric": "pq", "iou": 0.5})
        )
    return results / "cells_1"


def read_everything(folder: Path) -> None:
    """Read a run as every page does; errors of the user's files are allowed."""
    guard = Guard.of([folder.parents[3]])
    assert {path.name for path in find_runs(guard)} == {"cells_1", "cells_2"}
    assert state_of(folder.with_name("cells_2")) == "finished"
    assert state_of(folder) in runs.STATE_LABELS
    assert view_run(folder).state == state_of(folder)
    view_search(ResultsTree.of_run(folder))
    with suppress(UserError):
        open_results(folder, guard)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 34)  # takes no space


def _binary(path: Path) -> None:
    path.write_bytes(b"\xff\x00\n,\x00\xfe" * 100)


def _nested(path: Path) -> None:
    path.write_text("[" * 100_000)


DAMAGE = [_fifo, _endless, _loop, _huge, _binary, _nested, Path.mkdir, Path.touch]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", READ)
def test_no_file_of_a_run_blocks_or_breaks_the_lists(
    run: Path, name: str, damage: Callable[[Path], None]
) -> None:
    path = run / name
    path.unlink(missing_ok=True)
    damage(path)
    read_everything(run)


VALUES: list[object] = [None, [], "text", 5, 1e400, {"a": []}, [[]]]


@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize("field", ["", "test", "test.failed", "job", "job.id", "job.paths",
                                   "configuration", "test.instances", "test.files"])  # fmt: skip
def test_no_field_of_the_summary_breaks_the_lists(run: Path, field: str, value: object) -> None:
    content: object = value
    for name in reversed(field.split(".") if field else []):
        content = {name: content}
    (run / "run.json").write_text(json.dumps(content))
    read_everything(run)


@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize("field", RECORDED)
def test_no_field_of_a_record_breaks_the_lists(run: Path, field: str, value: object) -> None:
    (run / RECORD).write_text(json.dumps({**RECORDED, field: value}))
    read_everything(run)


def test_a_damaged_run_is_listed_as_damaged_and_can_be_resumed(run: Path) -> None:
    (run / "run.json").write_text("{")
    assert state_of(run) == "damaged"
    assert "run.json" in str(view_run(run).error)
    (run / "run.json").write_text("{}")
    (run / RECORD).write_text("{}")
    assert state_of(run) == "damaged"
    assert RECORD in str(view_run(run).error)
    assert "damaged" in runs.RESUMABLE


def test_a_folder_whose_name_no_page_can_hold_is_left_out(run: Path) -> None:
    strange = os.fsencode(run.parent) + b"/cells_\xff"
    try:
        os.mkdir(strange)
    except OSError:
        pytest.skip("the file system refuses the name")
    with open(strange + b"/run.json", "w") as file:
        file.write("{}")
    read_everything(run)


@pytest.mark.parametrize("damage", [_fifo, _endless, _loop, _huge, _binary, Path.mkdir])
def test_no_configuration_blocks(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(tmp_path / "cells.yaml")
    with pytest.raises(UserError):
        Form.of_file(tmp_path / "cells.yaml")
    with pytest.raises(UserError):
        Control(Guard.of([tmp_path])).start(Job(Path("cells.yaml"), Path("out")))


def test_the_page_lists_runs_next_to_a_damaged_one(run: Path) -> None:
    pytest.importorskip("nicegui", reason="`pip install 'singula[gui]'` is missing")
    from simulated import simulated_user

    from singula.gui.pages import run as page
    from singula.gui.state import AppContext

    (run / RECORD).unlink()
    os.mkfifo(run / RECORD)
    (run / "run.json").write_text('{"test": []}')

    async def visit() -> None:
        async with simulated_user() as user:
            page.add(AppContext(Guard.of([run.parents[3]])))
            await user.open("/run")
            await user.should_see("cells_2", retries=600)
            await user.should_see("damaged", retries=600)
            await user.open(f"/run?run={run}")
            await user.should_see("is damaged", retries=600)

    asyncio.run(visit())
