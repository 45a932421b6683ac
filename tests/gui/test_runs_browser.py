"""List of runs, queue, help and the overview of segmented images in Chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_run import ExampleRun, cells, without
from gui_browser import Interface, Watcher, check_width, click, enter, open_page
from locks import held_elsewhere

from singula.gui.run_notes import read_notes
from singula.io.record_files import write_record
from singula.io.records.results import QueuedRun, StartedPrediction
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import lock_file
from singula.io.write import write_csv, write_tiff

pytest.importorskip("nicegui", reason="no browser test: `pip install 'singula[gui]'` is missing")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gui browser")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    """Interface with two runs and a prediction of two images."""
    folder = tmp_path_factory.mktemp("gui") / "mine"
    lattice = cells(2)
    for number, missing in ((1, 3), (2, 4)):
        pred = {"a": lattice, "b": without(lattice, missing)}
        run = ExampleRun(folder, pred, keys={"TEST.ENABLE": True}, job=f"job_{number}").write()
        tree = ResultsTree.of_run(run)
        tree.checkpoints.mkdir(exist_ok=True)
        tree.checkpoint_best.write_text("weights")
    out = folder / "x_instances"
    for name, labels in (("a", lattice), ("b", lattice * 0)):
        write_tiff(out / f"{name}.tif", labels, "YX")
        ids = np.unique(labels)[1:]
        rows = [{"label": int(i), "npixels": 64 + int(i)} for i in ids]
        if rows:
            write_csv(out / f"{name}_stats.csv", rows)
        else:
            (out / f"{name}_stats.csv").write_text("label,npixels\n")
    record = {"pid": 2**31 - 1, "created": 1, "began": 1, "images": str(folder / "data" / "x")}
    write_record(out / "gui_predict.json", StartedPrediction.model_validate(record))
    (out / "gui_predict.log").write_text("[2/2] b.tif: 0 instances\n2 of 2 images: out\n")
    interface = Interface(folder)
    yield interface
    interface.stop()


def act(tab: Any, run: str, action: str) -> None:
    click(tab, f"Actions for {run}")
    tab.locator(".q-menu").get_by_text(action, exact=True).click()


def test_runs_are_renamed_archived_deleted_and_restored(browser: Any, runs: Interface) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(runs, watcher)
    open_page(runs, tab, "/run")
    folder = runs.folder / "job" / "results" / "job_1"
    tab.get_by_text("Detection score (F1) 0.984").first.wait_for()
    act(tab, "job_1", "Rename or annotate …")
    tab.get_by_role("textbox", name="Title").fill("First <b>try</b>")
    tab.get_by_role("textbox", name="Note").fill("many merges")
    click(tab, "Save")
    tab.get_by_role("link", name="First <b>try</b>").wait_for()
    tab.get_by_text("many merges").wait_for()
    assert read_notes(folder).title == "First <b>try</b>"
    act(tab, "job_2", "Archive")
    tab.get_by_text("Archived runs (1)").click()
    act(tab, "job_2", "Move out of the archive")
    tab.get_by_text("Archived runs (1)").wait_for(state="detached")
    act(tab, "job_1", "Delete …")
    click(tab, "Cancel")
    assert folder.is_dir()
    act(tab, "job_1", "Delete …")
    click(tab, "Delete")
    tab.get_by_text("Deleted runs (1)").click()
    assert not folder.exists()
    click(tab, "Restore")
    tab.get_by_text("Deleted runs (1)").wait_for(state="detached")
    assert (folder / "run.json").is_file()
    act(tab, "job_1", "Delete …")
    click(tab, "Delete")
    tab.get_by_text("Deleted runs (1)").click()
    click(tab, "Remove job_1 permanently")
    remove = tab.get_by_role("button", name="Remove permanently", exact=True)
    assert remove.is_disabled()
    tab.get_by_role("textbox", name="Type job_1 to confirm").fill("job_1")
    remove.click()
    tab.get_by_text("Deleted runs (1)").wait_for(state="detached")
    assert not list(runs.folder.rglob(".singula_trash"))
    watcher.check()
    context.close()


def test_a_waiting_run_is_shown_and_removed(browser: Any, runs: Interface) -> None:
    results = runs.folder / "job" / "results"
    busy, waiting = results / "job_5", results / "job_6"
    (busy / "train_logs").mkdir(parents=True)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    watcher = Watcher(context)
    with held_elsewhere(lock_file(busy)):
        job = {"config": str(runs.folder / "a.yaml"), "result_dir": str(runs.folder)}
        queued = QueuedRun(**job, name="job", run_id=6, queued=time.time())
        waiting.mkdir()
        write_record(waiting / "gui_queue.json", queued)
        tab = enter(runs, watcher)
        open_page(runs, tab, "/run")
        tab.get_by_text("waiting for another job").wait_for()
        check_width(tab, 390)
        name = tab.get_by_role("link", name="job_2").bounding_box()
        assert name["height"] < 30  # in one line
        open_page(runs, tab, f"/run?run={waiting}")
        click(tab, "Remove from the queue")
        tab.wait_for_url("**/run")
        assert not waiting.exists()
    shutil.rmtree(busy)
    watcher.check()
    context.close()


def test_help_explains_the_page(browser: Any, runs: Interface) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    watcher = Watcher(context)
    tab = enter(runs, watcher)
    open_page(runs, tab, "/run")
    click(tab, "Help for this page")
    with context.expect_page() as opened:
        click(tab, "Documentation of this page", "link")
    manual = opened.value
    manual.get_by_role("heading", name="Run", exact=True).wait_for()
    check_width(manual, 390)
    watcher.check()
    context.close()


def test_all_segmented_images_are_listed(browser: Any, runs: Interface) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(runs, watcher)
    open_page(runs, tab, f"/segment?run={runs.folder / 'x_instances'}")
    tab.get_by_text("All images (2): 16 objects").wait_for()
    with tab.expect_download() as download:
        click(tab, "Download the table of all images")
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "image,label,npixels"
    assert len(lines) == 17
    assert {line.partition(",")[0] for line in lines[1:]} == {"a"}
    for direction in ("ascending", "descending"):  # with the keyboard
        tab.locator(".objects th button", has_text="Objects found").focus()
        tab.keyboard.press("Enter")
        tab.locator(f".objects th[aria-sort='{direction}']", has_text="Objects found").wait_for()
    tab.locator(".objects tr[data-id='a']").first.focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    tab.get_by_text("No objects in this image").first.wait_for()
    open_page(runs, tab, "/segment?model=" + str(runs.folder / "job" / "results" / "job_2"))
    tab.wait_for_function(
        "[...document.querySelectorAll('input')].some(e => e.value.startsWith('Your model: job_2'))"
    )
    watcher.check()
    context.close()
