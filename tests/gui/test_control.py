"""Runs in separate processes, and the state read from their files."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from singula.errors import UserError
from singula.gui.guard import Guard

pytest.importorskip(
    "psutil", reason="no test of processes: `pip install 'singula[gui]'` is missing"
)

import psutil
from locks import held_elsewhere

from singula.gui import processes as module
from singula.gui.control import Control, last_lines, next_run_id
from singula.gui.processes import alive
from singula.gui.run_search import find_runs
from singula.gui.runs import (
    OUTPUT,
    RECORD,
    read_record,
    tail,
    view_run,
)
from singula.io.run_lock import lock_file
from singula.io.run_log import RunLog
from singula.pipeline.run import Job
from singula.pipeline.run import run as run_job

CONFIG = """
DATA: {TRAIN: {PATH: x, GT_PATH: y}, VAL: {FROM_TRAIN: True}}
TRAIN: {ENABLE: True}
"""


@pytest.fixture
def control(tmp_path: Path) -> Control:
    (tmp_path / "cells.yaml").write_text(CONFIG)
    return Control(Guard.of([tmp_path]))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace `singula run` by a few lines of Python."""
    begin = "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    return lambda code: monkeypatch.setattr(module, "_PROGRAM", begin + code)


def until(done: Callable[[], object]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


def job(**changes: object) -> Job:
    return replace(Job(Path("cells.yaml"), Path("out"), "cells"), **changes)  # type: ignore[arg-type]


def ended(control: Control, folder: Path) -> bool:
    control.processes.reap()
    return alive(read_record(folder), folder / OUTPUT) is None


def test_an_impossible_gpu_is_reported_before_the_start(control: Control) -> None:
    with pytest.raises(UserError, match="'banana'"):
        control.start(job(gpu="banana"))
    assert not (control.guard.home / "out").exists()


def test_a_run_is_the_command_line(control: Control, program) -> None:
    program("print(sys.argv[1:])")
    folder = control.start(job(gpu="0", run_id=3))
    assert folder == control.guard.home / "out" / "cells" / "results" / "cells_3"
    until(lambda: ended(control, folder))
    home = control.guard.home
    expected = ["run", "--config", str(home / "cells.yaml"), "--result_dir", str(home / "out"),
                "--name", "cells", "--run_id", "3", "--gpu", "0"]  # fmt: skip
    assert (folder / OUTPUT).read_text().strip() == str(expected)
    assert read_record(folder).command == ["singula", *expected]


def test_a_run_is_recognized_when_its_command_line_appears_later(
    control: Control, program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("time.sleep(600)")
    calls = count()
    cmdline = psutil.Process.cmdline

    def empty_first(process: psutil.Process) -> list[str]:
        return [] if next(calls) < 3 else cmdline(process)

    monkeypatch.setattr(psutil.Process, "cmdline", empty_first)
    folder = control.start(job())
    assert view_run(folder).state == "running"
    control.stop(folder, kill=True)
    until(lambda: ended(control, folder))


def test_a_run_survives_the_interface_and_is_stopped_by_the_next(control: Control, program) -> None:
    program("print('epoch 1/9: loss 1 (1 s, 0:08 left)', flush=True)\ntime.sleep(600)")
    folder = control.start(job())
    until(lambda: "epoch" in tail(folder / OUTPUT))
    record = read_record(folder)
    assert os.getpgid(record.pid) == record.pid != os.getpgid(0)
    later = Control(control.guard)  # knows nothing but the files
    view = view_run(folder)
    assert view.state == "running"
    assert view.progress.phase == "Training: epoch 1 of 9"
    assert view.progress.remaining == "0:08"
    assert view.memory is not None
    assert view.memory > 1
    with pytest.raises(UserError, match="is already running"):
        later.start(job())
    later.stop(folder)
    until(lambda: ended(control, folder))
    assert view_run(folder).state == "stopped"
    assert view_run(folder).error is None


def test_a_run_that_ignores_signals_is_killed(control: Control, program) -> None:
    program("signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(99)")
    folder = control.start(job())
    until(lambda: "up" in tail(folder / OUTPUT))
    control.stop(folder)
    time.sleep(0.2)
    assert view_run(folder).state == "running"
    control.stop(folder, kill=True)
    until(lambda: ended(control, folder))
    assert view_run(folder).state == "stopped"


def test_resume_uses_the_same_command(control: Control, program) -> None:
    program("print(sys.argv[-1])")
    folder = control.start(job(run_id=2))
    until(lambda: ended(control, folder))
    assert control.resume(folder) == folder
    until(lambda: ended(control, folder))
    assert (folder / OUTPUT).read_text().split() == ["2", "--resume"]


def test_an_error_is_shown_as_on_the_command_line(control: Control, program) -> None:
    program("print('images: 3'); sys.exit('error: no images in x\\n  → give a folder')")
    folder = control.start(job())
    until(lambda: ended(control, folder))
    view = view_run(folder)
    assert view.state == "failed"
    assert view.error == "no images in x\n  → give a folder"
    program("raise RuntimeError('broken inside')")
    control.start(job())
    until(lambda: ended(control, folder))
    view = view_run(folder)
    assert view.error.startswith("RuntimeError: broken inside\n")
    assert "Traceback" not in view.error
    assert "Traceback" in view.log
    program("import os; os._exit(9)")
    control.start(job())
    until(lambda: ended(control, folder))
    assert "out of memory" in view_run(folder).error


def test_a_run_is_finished_if_its_summary_is_newer_than_its_start(
    control: Control, program
) -> None:
    program(
        "import pathlib; d = pathlib.Path('out/cells/results/cells_1'); "
        "(d / 'run.json').write_text('{}')"
    )
    folder = control.folder(job())
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    os.utime(folder / "run.json", (1, 1))
    assert view_run(folder).state == "finished"
    control.start(job(resume=True))
    until(lambda: ended(control, folder))
    assert view_run(folder).state == "finished"
    (folder / "run.json").write_text(json.dumps({"test": {"failed": {"a": "cannot be read"}}}))
    assert view_run(folder).state == "incomplete"
    assert view_run(folder).error == "a: cannot be read"
    os.utime(folder / "run.json", (1, 1))  # of an earlier run in the same folder
    assert view_run(folder).state == "failed"


def test_another_process_of_the_same_number_is_not_the_run(control: Control, program) -> None:
    program("pass")
    folder = control.start(job())
    until(lambda: ended(control, folder))
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**record, "pid": os.getpid(), "created": 5.0}))
    assert view_run(folder).state == "failed"
    control.stop(folder)  # must not end this test


def test_mistakes_are_reported_before_the_start(control: Control, tmp_path: Path) -> None:
    for wrong in (
        job(config=Path("../cells.yaml")),
        job(config=Path("nothing.yaml")),
        job(result_dir=Path("/elsewhere")),
        job(name="../x"),
        job(run_id=-1),
    ):
        with pytest.raises(UserError):
            control.start(wrong)
    (tmp_path / "bad.yaml").write_text(CONFIG.replace("PATH: x", "PATH: ../x"))
    with pytest.raises(UserError, match=r"DATA\.TRAIN\.PATH"):
        control.start(job(config=Path("bad.yaml")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("left", "what"),
    [
        ("results/cells_1/run.json", "results"),
        ("results/cells_1/train_logs/cells_1.csv", "training"),
        ("checkpoints/cells_1-checkpoint-last.pth", "training"),
        ("checkpoints/cells_1-checkpoint-best.pth", "training"),
    ],
)
def test_results_of_an_earlier_run_are_not_replaced(
    control: Control, program, left: str, what: str
) -> None:
    program("pass")
    path = control.guard.home / "out" / "cells" / left
    path.parent.mkdir(parents=True)
    path.write_text("kept")
    with pytest.raises(UserError, match=f"would replace its {what}") as error:
        control.start(job())
    assert error.value.code == "gui.run_exists"
    assert "for example 2" in error.value.hint
    assert ("resume the existing run" in error.value.hint) == (
        "train_logs" in left
    )  # only where its folder is
    assert path.read_text() == "kept"
    assert not (control.folder(job()) / RECORD).exists()
    for other in (job(run_id=2), job(resume=True)):
        folder = control.start(other)
        until(lambda folder=folder: ended(control, folder))


def test_a_test_uses_the_checkpoint_of_its_number(control: Control, program) -> None:
    program("pass")
    (control.guard.home / "cells.yaml").write_text(
        "DATA: {TEST: {PATH: x}}\nTRAIN: {ENABLE: False}\nTEST: {ENABLE: True}\n"
    )
    path = control.guard.home / "out" / "cells" / "checkpoints" / "cells_1-checkpoint-best.pth"
    path.parent.mkdir(parents=True)
    path.write_text("")
    folder = control.start(job())
    until(lambda: ended(control, folder))
    assert read_record(folder) is not None


def test_runs_are_found_and_numbered(control: Control, tmp_path: Path) -> None:
    for name, file in (("a_1", "run.json"), ("a_2", RECORD), ("a_4", "train_logs/a_4.csv")):
        path = tmp_path / "deep" / "a" / "results" / name / file
        path.parent.mkdir(parents=True)
        path.write_text("epoch,val_loss\n1,0.5\n2,0.4\n3,0.")
    (tmp_path / "empty" / "results" / "b_1").mkdir(parents=True)
    found = find_runs(control.guard)
    assert {path.name for path in found} == {"a_1", "a_2", "a_4"}
    assert next_run_id(control.guard, tmp_path / "deep", "a") == 3
    assert next_run_id(control.guard, tmp_path / "nowhere", "a") == 1
    assert next_run_id(control.guard, tmp_path / "deep", "a" * 5000) == 1
    weights = tmp_path / "deep" / "a" / "checkpoints" / "a_3-checkpoint-best.pth"
    weights.parent.mkdir()
    weights.write_text("")
    assert next_run_id(control.guard, tmp_path / "deep", "a") == 5
    _failed_elsewhere(tmp_path / "deep" / "a" / "results" / "a_5")
    found = find_runs(control.guard)
    assert {path.name for path in found} == {"a_1", "a_2", "a_4", "a_5"}
    last = next(path for path in found if path.name == "a_4")
    # The row that is just being written does not count.
    assert [row["epoch"] for row in view_run(last).history] == [1, 2]
    assert view_run(last).state == "unfinished"


def _failed_elsewhere(run: Path) -> None:
    run.mkdir()
    (run / "a_5.log").write_text("2026-01-01T10:00:00+00:00 computing\n")


def test_a_failed_run_of_the_command_line_shows_its_error(control: Control, tmp_path: Path) -> None:
    config = tmp_path / "cells.yaml"
    with pytest.raises(UserError) as error:
        run_job(Job(config, tmp_path / "out", gpu="cpu"))
    (folder,) = find_runs(control.guard)
    assert folder.name == "cells_1"
    view = view_run(folder)
    assert (view.state, view.error) == ("failed", str(error.value))
    assert view.log.count("error: ") == 1
    with (folder / "cells_1.log").open("a") as log:
        log.write("2026-01-01T10:00:00+00:00 epoch 1/2: loss 3\n")  # it went on
    assert view_run(folder).state == "unfinished"


def test_a_run_in_a_terminal_is_listed_and_not_stopped(control: Control) -> None:
    folder = control.folder(job())
    with held_elsewhere(lock_file(folder)):
        _watch(control, folder)
    assert view_run(folder).state == "unfinished"


def _watch(control: Control, folder: Path) -> None:
    log = RunLog()
    log.open(folder / "cells_1.log")
    log.write("training on 3 patches")
    log.write("epoch 1/4: loss 3 (2 s, 0:06 left)")
    view = view_run(folder)
    assert (view.state, view.elsewhere) == ("running", True)
    assert view.progress.phase == "Training: epoch 1 of 4"
    log.write("epoch 2/4, step 3/6: loss 0.1234, 0:05 left")
    progress = view_run(folder).progress
    assert progress.phase == "Training: epoch 2 of 4, step 3 of 6"
    assert (progress.share, progress.remaining) == (1.5 / 4, "0:05")
    log.write("epoch 2/4, validation step 1/2: loss 0.1234, 0:04 left")
    progress = view_run(folder).progress
    assert progress.phase == "Training: epoch 2 of 4, validation step 1 of 2"
    assert (progress.share, progress.remaining) == (2 / 4, "0:04")
    log.write("epoch 2/4: loss 2 (2 s, 0:03 left)")
    view = view_run(folder)
    assert (view.progress.phase, view.progress.remaining) == ("Training: epoch 2 of 4", "0:03")
    with pytest.raises(UserError) as error:
        control.start(job(resume=True))
    assert error.value.code == "run.locked"
    control.stop(folder)
    assert view_run(folder).state == "running"
    log.close()


def test_last_lines_and_long_logs(tmp_path: Path) -> None:
    assert last_lines("a\nb\nc\n", 2) == "b\nc"
    path = tmp_path / "long.log"
    path.write_text("".join(f"line {i}\n" for i in range(50_000)))
    text = tail(path)
    assert len(text) <= 200_000
    assert text.startswith("line ")
    assert text.endswith("line 49999\n")
    assert tail(tmp_path / "nothing") == ""


def test_a_second_run_waits_until_the_first_has_ended(control: Control, program) -> None:
    program("print('up', flush=True)\ntime.sleep(600)")
    first = control.start(job())
    until(lambda: "up" in tail(first / OUTPUT))
    second, third = control.start(job(run_id=2)), control.start(job(run_id=3))
    assert [view_run(folder).state for folder in (first, second, third)] == [
        "running",
        "waiting",
        "waiting",
    ]
    assert next_run_id(control.guard, control.guard.home / "out", "cells") == 4
    with pytest.raises(UserError) as error:
        control.start(job(run_id=2))
    assert error.value.code == "gui.run_waits"
    control.queue.start_next()
    assert view_run(second).state == "waiting"
    later = Control(control.guard)  # knows nothing but the files
    control.stop(first)
    until(lambda: ended(control, first))
    later.queue.start_next()
    later.queue.start_next()
    assert [view_run(folder).state for folder in (second, third)] == ["running", "waiting"]
    later.queue.start_now(later.runs, third)
    assert view_run(third).state == "running"
    for folder in (second, third):
        later.stop(folder, kill=True)
        until(lambda folder=folder: ended(later, folder))


def test_a_run_is_removed_from_the_queue(control: Control, program) -> None:
    program("print('up', flush=True)\ntime.sleep(600)")
    first = control.start(job())
    until(lambda: "up" in tail(first / OUTPUT))
    second, third = control.start(job(run_id=2)), control.start(job(run_id=3))
    (third / "mine.txt").write_text("")
    for folder in (second, third):
        control.queue.remove(control.runs, folder)
    assert not second.exists()
    assert [path.name for path in third.iterdir()] == ["mine.txt"]
    control.stop(first, kill=True)
    until(lambda: ended(control, first))
    control.queue.start_next()
    assert control.queue.waiting() == []


def test_a_waiting_run_that_cannot_start_shows_the_error(control: Control, program) -> None:
    program("print('up', flush=True)\ntime.sleep(600)")
    first = control.start(job())
    until(lambda: "up" in tail(first / OUTPUT))
    second = control.start(job(run_id=2))
    (control.guard.home / "cells.yaml").write_text("TRAIN: {ENABLE: 3}")
    control.stop(first, kill=True)
    until(lambda: ended(control, first))
    control.queue.start_next()
    view = view_run(second)
    assert view.state == "failed"
    assert "TRAIN.ENABLE" in str(view.error)
