"""Records that name processes which are not the run of their folder."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from singula.gui.guard import Guard

pytest.importorskip("psutil", reason="`pip install 'singula[gui]'` is missing")

import psutil

from singula.gui import processes
from singula.gui.control import Control
from singula.gui.processes import alive
from singula.gui.runs import OUTPUT, RECORD, read_record, state_of, tail
from singula.pipeline.run import Job

CONFIG = """
DATA: {TRAIN: {PATH: x, GT_PATH: y}, VAL: {FROM_TRAIN: True}}
TRAIN: {ENABLE: True}
"""
SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    (tmp_path / "cells.yaml").write_text(CONFIG)
    monkeypatch.setattr(processes, "_PROGRAM", SLEEP)
    return Control(Guard.of([tmp_path]))


@pytest.fixture
def runs(control: Control) -> Iterator[list[Path]]:
    """Start two runs."""
    jobs = [Job(Path("cells.yaml"), Path("out"), "cells", i) for i in (1, 2)]
    folders = [control.start(job, now=True) for job in jobs]
    until(lambda: all("up" in tail(folder / OUTPUT) for folder in folders))
    yield folders
    for child in control.processes._children:
        child.kill()
        child.wait()


def until(done: Callable[[], object]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


def record_of(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Write a record that names a process, otherwise as the interface writes it."""
    created = psutil.Process(process.pid).create_time()
    record = {"pid": process.pid, "created": created, "began": created, "command": ["singula"],
              "config": "c.yaml", "result_dir": "out", "name": "cells", "run_id": 1}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).write_text(json.dumps(record))


@pytest.mark.parametrize(
    "command",
    [[sys.executable, "-c", SLEEP],
     [sys.executable, "-c", SLEEP, "run", "--name", "singula"],
     [sys.executable, "-c", f"# singula\n{SLEEP}"],
     [sys.executable, "-c", f"# singula\n{SLEEP}", "run", "--config", "c", "--result_dir", "/x",
      "--name", "cells", "--run_id", "1"]],
    ids=["python", "arguments only", "no folder", "another folder"],
)  # fmt: skip
@pytest.mark.parametrize("kill", [False, True])
def test_other_processes_are_never_stopped(
    control: Control, tmp_path: Path, command: list[str], kill: bool
) -> None:
    folder = tmp_path / "out" / "cells" / "results" / "cells_1"
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            record_of(process, folder)
            assert read_record(folder) is not None
            assert alive(read_record(folder), folder / OUTPUT) is None
            control.stop(folder, kill=kill)
            time.sleep(0.2)
            assert process.poll() is None
            assert state_of(folder) != "running"
        finally:
            process.kill()


def test_a_copied_record_does_not_stop_the_run_of_another_folder(
    control: Control, runs: list[Path]
) -> None:
    first, second = runs
    own = (second / RECORD).read_text()
    (second / RECORD).write_text((first / RECORD).read_text())
    control.stop(second, kill=True)
    time.sleep(0.2)
    assert state_of(first) == "running"
    (second / RECORD).write_text(own)
    control.stop(second, kill=True)
    until(lambda: alive(read_record(second), second / OUTPUT) is None)
    assert state_of(first) == "running"


def test_a_moved_run_is_still_the_run(control: Control, runs: list[Path], tmp_path: Path) -> None:
    moved = runs[0].rename(tmp_path / "moved_1")
    assert state_of(moved) == "running"
    control.stop(moved, kill=True)
    until(lambda: state_of(moved) == "stopped" or control.processes.reap())


@pytest.mark.parametrize(
    "change",
    [{"pid": -1}, {"pid": 0}, {"pid": 1}, {"pid": 10**30}, {"pid": "1"}, {"pid": True},
     {"created": float("nan")}, {"created": "now"}, {"name": 5}, {"run_id": None}],
    ids=str,
)  # fmt: skip
def test_damaged_records_stop_nothing(
    control: Control, runs: list[Path], change: dict[str, object]
) -> None:
    path = runs[0] / RECORD
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    control.stop(runs[0], kill=True)
    assert state_of(runs[0]) in ("failed", "damaged")
    assert all(child.poll() is None for child in control.processes._children)
