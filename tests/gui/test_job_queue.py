"""Queue of runs, predictions and searches: order, cancellation, and errors of single jobs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from example_run import ExampleRun, cells

from singula.errors import StorageError, UserError
from singula.gui.guard import Guard
from singula.io.record_files import write_record
from singula.io.records.results import QueuedRun
from singula.io.run_folder import RETEST_FILE, ResultsTree
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_tiff

pytest.importorskip(
    "psutil", reason="no test of processes: `pip install 'singula[gui]'` is missing"
)

from singula.gui import processes as module
from singula.gui.all_images import apply_to_all
from singula.gui.control import Control
from singula.gui.job_queue import JobKind, Queue
from singula.gui.results import open_results
from singula.gui.run_search import search_runs
from singula.gui.runs import read_record, view_run
from singula.gui.search import SEARCH, start_search, view_search, watch_search
from singula.gui.segment_process import (
    PREDICTION,
    read_prediction,
    resume_segmentation,
    start_segmentation,
    view_segmentation,
    watch_segmentation,
)
from singula.gui.trash import delete_run, restore_run
from singula.pipeline.run import Job

BEGIN = "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
CONFIG = """
DATA: {TRAIN: {PATH: x, GT_PATH: y}, VAL: {FROM_TRAIN: True}}
TRAIN: {ENABLE: True}
"""


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    """Return the control of a folder with a configuration, images and a finished run."""
    root = tmp_path / "root"
    write_tiff(root / "in" / "a.tif", np.arange(48, dtype=np.uint8).reshape(6, 8), "YX")
    ExampleRun(root / "made", {"a": cells(2)}, keys={"TEST.ENABLE": True}).write()
    (root / "cells.yaml").write_text(CONFIG)
    monkeypatch.setattr(module, "_PROGRAM", BEGIN + "time.sleep(600)")
    return Control(Guard.of([root]), (PREDICTION, SEARCH))


def run(control: Control, number: int = 1) -> Path:
    return control.start(Job(Path("cells.yaml"), Path("out"), "cells", number))


def predict(control: Control, output: str = "segmented") -> Path:
    values = {"images": "in", "output": output, "model": ""}
    return start_segmentation(control.guard, control.queue, **values)


def search(control: Control) -> ResultsTree:
    (folder,) = control.guard.home.glob("made/job/results/job_1")
    results = open_results(folder, control.guard)
    start_search(results, control.guard, control.queue, metric="pq", iou=0.5)
    return results.run.tree


def end_jobs(control: Control) -> None:
    for child in control.processes._children:
        child.kill()
        child.wait()
    control.processes.reap()


def in_thread(action: Callable[[], None]) -> None:
    """Call a function without the locks of this thread."""
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


def states(control: Control) -> list[tuple[str, bool]]:
    return [(item.title, item.is_running) for item in control.queue.items()]


def test_jobs_of_all_kinds_wait_in_the_order_of_their_start(control: Control) -> None:
    folder = run(control)
    output, tree, second = predict(control), search(control), run(control, 2)
    titles = [
        "cells_1 (run)",
        "segmented (segmentation)",
        "job_1 (search for best settings)",
        "cells_2 (run)",
    ]
    assert states(control) == [(title, title == titles[0]) for title in titles]
    record = read_prediction(control.guard, output)
    assert view_run(folder).state == "running"
    assert view_segmentation(output, record).state == "waiting"
    assert view_search(tree).state == "waiting"
    assert view_run(second).state == "waiting"
    control.queue.start_next()
    assert len(control.processes._children) == 1
    assert control.queue.describe(PREDICTION, output) == "Waiting for cells_1 (run)"
    text = control.queue.describe(control.runs, second)
    assert text == "Waiting for cells_1 (run) and 2 other jobs"
    for number in range(1, 4):
        end_jobs(control)
        # After a restart, the interface knows only the files.
        control = Control(control.guard, (PREDICTION, SEARCH))
        control.queue.start_next()
        control.queue.start_next()
        assert states(control) == [(title, title == titles[number]) for title in titles[number:]]
    end_jobs(control)
    assert states(control) == []


def test_a_waiting_job_is_not_added_twice(control: Control) -> None:
    run(control)
    tree = search(control)
    with pytest.raises(UserError) as error:
        search(control)
    assert error.value.code == "gui.run_waits"
    output = predict(control)
    for action in (lambda: predict(control), lambda: resume(control, output)):
        with pytest.raises(UserError) as error:
            action()
        assert error.value.code in ("gui.output_not_empty", "gui.run_waits")
    control.queue.start_now(SEARCH, tree.tuning)
    assert view_search(tree).state == "running"
    assert states(control)[-1] == ("segmented (segmentation)", False)
    end_jobs(control)


def resume(control: Control, folder: Path) -> Path:
    return resume_segmentation(control.guard, control.queue, folder)


def test_canceled_jobs_leave_nothing_behind(control: Control) -> None:
    run(control)
    output, tree = predict(control), search(control)
    control.queue.remove(PREDICTION, output)
    control.queue.remove(SEARCH, tree.tuning)
    assert not output.exists()
    assert not tree.tuning.exists()
    assert view_search(tree).state == "none"
    end_jobs(control)
    control.queue.start_next()
    assert states(control) == []


def test_a_canceled_continuation_keeps_the_earlier_results(control: Control) -> None:
    output = predict(control)
    end_jobs(control)
    run(control)
    (output / "a.tif").write_bytes(b"labels")
    resume(control, output)
    assert view_segmentation(output, read_prediction(control.guard, output)).state == "waiting"
    control.queue.remove(PREDICTION, output)
    assert (output / "a.tif").is_file()
    assert view_segmentation(output, read_prediction(control.guard, output)).state == "failed"
    end_jobs(control)


def test_a_job_that_cannot_start_shows_the_error_and_the_next_one_starts(control: Control) -> None:
    run(control)
    output, tree = predict(control), search(control)
    (control.guard.home / "in").rename(control.guard.home / "moved")
    end_jobs(control)
    control.queue.start_next()
    view = view_segmentation(output, read_prediction(control.guard, output))
    assert view.state == "failed"
    assert "in" in str(view.error)
    control.queue.start_next()
    assert view_search(tree).state == "running"
    end_jobs(control)


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_an_unexpected_error_of_a_job_does_not_stop_the_queue(
    control: Control, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    run(control)
    output, tree, second = predict(control), search(control), run(control, 2)
    kinds: list[JobKind] = [PREDICTION, SEARCH, control.runs]

    def fail(*_: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(type(kinds[broken]), "start", fail)
    errors: list[Callable[[], str | None]] = [
        lambda: view_segmentation(output, read_prediction(control.guard, output)).error,
        lambda: view_search(tree).error,
        lambda: view_run(second).error,
    ]
    started = 0
    for _ in range(4):
        end_jobs(control)
        control.queue.start_next()
        started += len(control.processes._children)
    assert started == 2
    assert states(control) == []
    shown = errors[broken]()
    assert shown is not None
    assert shown.startswith("ZeroDivisionError: inside\n")
    assert "internal error" in shown
    folders = [output, tree.tuning, second]
    assert "inside" in str(control.queue.error(kinds[broken], folders[broken]))


def test_an_error_that_cannot_be_written_does_not_stop_the_queue(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(control)
    output, tree = predict(control), search(control)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(type(PREDICTION), "start", fail)
    monkeypatch.setattr(type(PREDICTION), "record_failure", fail)
    end_jobs(control)
    control.queue.start_next()
    assert "disk full" in str(control.queue.error(PREDICTION, output))
    assert watch_segmentation(control.queue, output).state == "failed"
    control.queue.start_next()
    assert view_search(tree).state == "running"
    end_jobs(control)


def test_the_folder_of_a_search_may_not_lead_outside(control: Control, tmp_path: Path) -> None:
    run(control)
    tree = search(control)
    outside = tmp_path / "outside"
    tree.tuning.rename(outside)
    tree.tuning.symlink_to(outside)
    end_jobs(control)
    later = Control(control.guard, (PREDICTION, SEARCH))
    later.queue.start_next()
    assert states(later) == []
    assert [path.name for path in outside.iterdir()] == ["gui_search_queue.json"]


def test_the_task_of_the_server_continues_after_an_error(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = pytest.importorskip("singula.gui.server", reason="`singula[gui]` is missing")
    from singula.gui.state import AppContext

    context = AppContext(control.guard)
    calls: list[float] = []

    def start_next(_: Queue) -> None:
        calls.append(time.time())
        if len(calls) < 3:
            raise ValueError("unexpected")

    monkeypatch.setattr(Queue, "start_next", start_next)
    monkeypatch.setattr(server, "_QUEUE_SECONDS", 0.01)

    async def watch() -> None:
        task = asyncio.create_task(server._start_waiting_jobs(context))
        while len(calls) < 5 and not task.done():
            await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()

    asyncio.run(watch())


@pytest.mark.parametrize(
    "output", ["out/cells/results/cells_1/predictions/day1", "a/b/c/d/e/f/g/h/out", ".hidden/out"]
)
def test_a_job_in_any_folder_waits_and_starts(control: Control, output: str) -> None:
    run(control)
    folder = predict(control, output)
    title = f"{folder.name} (segmentation)"
    control.queue.start_next()
    assert states(control)[-1] == (title, False)
    end_jobs(control)
    # After a restart, its page adds it to the queue.
    later = Control(control.guard, (PREDICTION, SEARCH))
    assert watch_segmentation(later.queue, folder).phase == "Starts in a moment"
    for queue in (control.queue, later.queue):
        queue.start_next()
    assert view_segmentation(folder, read_prediction(control.guard, folder)).state == "running"
    assert run(control, 2) in control.queue.waiting()
    assert states(control)[0] == (title, True)
    end_jobs(control)


def test_predictions_inside_of_a_run_are_listed(control: Control) -> None:
    run(control)
    folder = predict(control, "out/cells/results/cells_1/predictions/day1")
    assert search_runs(control.guard).predictions == [folder]
    end_jobs(control)


def test_pages_show_waiting_until_the_process_has_started(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(control)
    output, tree, second = predict(control), search(control), run(control, 2)
    during: list[str] = []
    start = module.Processes.start

    def watch(*args: Any, **kwargs: Any) -> Any:
        if output in (args[2].parent, *args[2].parents):
            during.append(watch_segmentation(control.queue, output).state)
        elif args[2].parent == tree.tuning:
            during.append(watch_search(control.queue, tree).state)
        else:
            during.append(view_run(second).state)
        return start(*args, **kwargs)

    monkeypatch.setattr(module.Processes, "start", watch)
    for _ in range(3):
        end_jobs(control)
        control.queue.start_next()
    assert during == ["waiting"] * 3
    assert view_run(second).state == "running"
    end_jobs(control)


def test_two_interfaces_start_one_job(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    run(control)
    output, tree = predict(control), search(control)
    other = Control(control.guard, (PREDICTION, SEARCH))
    other.queue.items()
    end_jobs(control)
    start = type(PREDICTION).start

    def start_in_both(*args: Any) -> None:
        monkeypatch.setattr(type(PREDICTION), "start", start)
        in_thread(other.queue.start_next)
        start(*args)

    monkeypatch.setattr(type(PREDICTION), "start", start_in_both)
    control.queue.start_next()
    assert (len(control.processes._children), other.processes._children) == (1, [])
    assert watch_segmentation(other.queue, output).state == "running"
    assert view_search(tree).state == "waiting"
    end_jobs(control)


def test_a_job_whose_folder_is_locked_waits_and_the_next_one_starts(control: Control) -> None:
    run(control)
    output, tree = predict(control), search(control)
    end_jobs(control)
    with hold([lock_file(output)], "export"):
        in_thread(control.queue.start_next)
        assert watch_segmentation(control.queue, output).state == "waiting"
        assert view_search(tree).state == "running"
    end_jobs(control)
    control.queue.start_next()
    assert watch_segmentation(control.queue, output).state == "running"
    end_jobs(control)


def test_a_stopped_prediction_that_cannot_continue_shows_the_error(control: Control) -> None:
    output = predict(control)
    end_jobs(control)
    record = read_prediction(control.guard, output)
    write_record(output / "gui_predict.json", record.model_copy(update={"stopped": True}))
    run(control)
    resume(control, output)
    (control.guard.home / "in").rename(control.guard.home / "moved")
    end_jobs(control)
    control.queue.start_next()
    view = watch_segmentation(control.queue, output)
    assert (view.state, "in" in str(view.error)) == ("failed", True)


def test_pages_show_an_error_that_cannot_be_written(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(control)
    tree = search(control)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(type(SEARCH), "start", fail)
    monkeypatch.setattr(type(SEARCH), "record_failure", fail)
    end_jobs(control)
    control.queue.start_next()
    view = watch_search(control.queue, tree)
    assert (view.state, "disk full" in str(view.error)) == ("failed", True)


def test_the_error_of_a_start_ends_with_the_next_start(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(control)
    second = run(control, 2)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(type(control.runs), "start", fail)
        end_jobs(control)
        control.queue.start_next()
    assert control.queue.error(control.runs, second)
    Control(control.guard).resume(second)  # in another interface
    assert control.queue.error(control.runs, second) is None
    os.kill(read_record(second).pid, signal.SIGKILL)


def test_pages_read_the_queue_while_jobs_start(control: Control) -> None:
    first = run(control)

    class Slow(type(control.runs)):  # type: ignore[misc]
        def is_running(self, folder: Path) -> bool:
            if folder != first:
                control.queue.start_now(PREDICTION, output)
            return True

    output = predict(control)
    slow = Slow(control)
    control.queue._running = frozenset({(slow, first), (slow, first.parent)})
    assert len(control.queue.items()) == 2
    assert (PREDICTION, output) in control.queue._running
    end_jobs(control)


def test_a_waiting_test_keeps_its_thresholds(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(control)
    (folder,) = control.guard.home.glob("made/job/results/job_1")
    results = open_results(folder, control.guard)
    file = results.run.tree.tuning / RETEST_FILE
    file.parent.mkdir()
    file.write_text("the first thresholds")
    queued = QueuedRun(
        queued=1, config=str(file), result_dir=str(folder.parents[2]), name="job", run_id=1
    )
    write_record(folder / "gui_queue.json", queued)
    run_again = SimpleNamespace(config=results.run.config, tree=results.run.tree)
    monkeypatch.setattr("singula.tuning.find_run", lambda _: run_again)
    monkeypatch.setattr("singula.tuning.run.retest_config", lambda *_: results.run.config)
    with pytest.raises(UserError) as error:
        apply_to_all(results, {}, control.guard, control)
    assert error.value.code == "gui.run_waits"
    assert file.read_text() == "the first thresholds"
    end_jobs(control)


def test_a_record_that_cannot_be_deleted_is_reported(control: Control) -> None:
    run(control)
    output = predict(control)
    (output / "gui_predict.json").unlink()
    (output / "gui_predict.json").mkdir()
    with pytest.raises(StorageError):
        control.queue.remove(PREDICTION, output)
    end_jobs(control)


def test_a_job_that_cannot_start_now_still_waits(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(control)
    second = run(control, 2)

    def fail(*_: object, **__: object) -> None:
        raise UserError("no memory", "close a program", "io.write")

    with monkeypatch.context() as patch:
        patch.setattr(module.Processes, "start", fail)
        with pytest.raises(UserError):
            control.queue.start_now(control.runs, second)
    assert states(control)[-1] == ("cells_2 (run)", False)
    end_jobs(control)


def test_a_deleted_run_leaves_the_queue(control: Control) -> None:
    waits = [run(control), run(control, 2)]
    tree = search(control)
    waits += [tree.tuning, predict(control, str(waits[1] / "predictions" / "day1"))]
    end_jobs(control)
    for folder in (waits[1], tree.run):
        entry = delete_run(control.guard, folder)
        restore_run(control.guard, entry.folder)
    assert control.queue.waiting() == []
    assert Control(control.guard, (PREDICTION, SEARCH)).queue.waiting() == []
