"""Search of thresholds in a separate process, and its state read from files."""

import csv
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from singula.errors import UserError
from singula.gui.guard import Guard

pytest.importorskip(
    "psutil", reason="no test of processes: `pip install 'singula[gui]'` is missing"
)

from singula.gui import processes as module
from singula.gui.control import Control
from singula.gui.results import Results, open_results
from singula.gui.search import RECORD, SEARCH, _progress, start_search, stop_search, view_search
from singula.tuning import find_run, tune
from singula.util.format import counted, grouped

BEGIN = "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@pytest.fixture
def guard(demo: Path, demo_folder: Path) -> Guard:
    """The copy, and where the configuration says that the images are."""
    return Guard.of([demo, demo_folder])


@pytest.fixture
def results(demo: Path, guard: Guard) -> Results:
    return open_results(demo / "2d" / "demo" / "results" / "demo_1", guard)


def until(results: Results, *states: str) -> None:
    for _ in range(1200):
        if view_search(results.run.tree).state in states:
            return
        time.sleep(0.1)
    raise AssertionError(view_search(results.run.tree))


def begin(results: Results, guard: Guard, **changes: object) -> None:
    goal = {"metric": "f1", "iou": 0.4, **changes}
    start_search(results, guard, Control(guard, [SEARCH]).queue, **goal)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_search_equals_the_command_and_saves_nothing(results: Results, guard: Guard) -> None:
    run = results.run.tree.run
    saved = find_run(run).checkpoint.description.get("tuned")
    assert view_search(results.run.tree).state == "none"
    begin(results, guard)
    with pytest.raises(UserError) as error:
        begin(results, guard)
    assert error.value.code == "run.locked"
    until(results, "finished", "failed")
    result = view_search(results.run.tree).result
    assert result is not None
    assert find_run(run).checkpoint.description.get("tuned") == saved
    expected = tune(run, metric="f1", iou=0.4, save=False)
    assert result.before["f1"] == pytest.approx(expected.before.score.f1)
    assert result.after["pq"] == pytest.approx(expected.after.score.panoptic_quality)
    assert result.provenance["after"] == pytest.approx(expected.after.score.f1)
    own = {k: v for k, v in expected.after.thresholds.items() if k != "TH_TYPE"}
    small = own.pop("REMOVE_SMALL_OBJ", None)
    wanted = {f"DATA_MW_{key}": value for key, value in own.items()}
    if small is not None:
        wanted["DATA_REMOVE_SMALL_OBJ_BEFORE"] = small
    assert result.values == pytest.approx(wanted)


def test_a_cancelled_search_shows_its_progress(
    results: Results, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [
        "[2/4] cell",
        "searching for the best",
        "  150 of about 500 settings tried, best 0.7812",
    ]
    for number, words in enumerate(["images: 2 of 4", "Trying the first", "150 of about"], 1):
        lines = "".join(f"print({line!r}, flush=True)\n" for line in said[:number])
        monkeypatch.setattr(module, "_PROGRAM", f"{BEGIN}{lines}time.sleep(60)")
        begin(results, guard)
        _wait(lambda words=words: words in view_search(results.run.tree).phase)
        assert view_search(results.run.tree).share == {1: 0.5, 2: None, 3: 0.3}[number]
        stop_search(results.run.tree)
        until(results, "stopped")


def test_an_error_is_shown_as_on_the_command_line(
    results: Results, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = results.run.tree.tuning / "trials.csv"
    old.parent.mkdir(exist_ok=True)
    old.write_text("TH_TYPE,pq,f1,precision,recall\nauto,1,1,1,1\n")
    os.utime(old, (1, 1))  # of an earlier search
    monkeypatch.setattr(module, "_PROGRAM", BEGIN + "sys.exit('error: no images in x')")
    begin(results, guard)
    until(results, "failed")
    assert view_search(results.run.tree).error == "no images in x"


def test_sliders_stay_if_nothing_better_is_found(
    results: Results, guard: Guard, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_PROGRAM", BEGIN)
    begin(results, guard)
    rows = [
        {"TH_TYPE": "auto", "TH_CONTOUR": "", "pq": 0.9, "f1": 0.8, "precision": 1, "recall": 1},
        {"TH_TYPE": "manual", "TH_CONTOUR": 0.3, "pq": 1, "f1": 0.8, "precision": 1, "recall": 1},
    ]
    with (results.run.tree.tuning / "trials.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    until(results, "finished")
    result = view_search(results.run.tree).result
    assert result is not None
    assert result.values == {}  # the goal is F1
    assert result.after == result.before
    rows = [{**row, "chosen": int(row["TH_TYPE"] == "manual")} for row in rows]
    with (results.run.tree.tuning / "trials.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    result = view_search(results.run.tree).result
    assert result is not None
    assert result.values == {"DATA_MW_TH_CONTOUR": 0.3}


def test_files_outside_the_roots_are_not_read(
    results: Results, demo: Path, guard: Guard, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:  # the images are outside
        begin(results, Guard.of([demo]))
    assert error.value.code == "gui.outside"
    with pytest.raises(UserError, match="--iou"):
        begin(results, guard, iou=0.0)
    results.run.summary.configuration["DATA.TRAIN.IGNORE_PATH"] = str(tmp_path)
    with pytest.raises(UserError) as error:
        begin(results, guard)
    assert error.value.code == "gui.outside"
    assert not (results.run.tree.tuning / RECORD).exists()


def _wait(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


def test_thousands_of_settings_are_shown() -> None:
    """The number has a thin space."""
    line = f"  {counted(12345, 'setting')} tried, best 0.7812"
    assert _progress(f"searching for the best\n{line}\n") == (line.strip(), None)
    line = f"  {grouped(6000)} of about {counted(12000, 'setting')} tried, best 0.7812"
    assert _progress(f"searching for the best\n{line}\n") == (line.strip(), 0.5)
