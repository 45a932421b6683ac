"""Page Tune, runs without objects, and a restart of the server, in Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_run import ExampleRun, cells, without
from gui_browser import (
    MINUTE,
    Interface,
    Watcher,
    check_width,
    click,
    drawn,
    enter,
    open_page,
    until,
)
from locks import held_elsewhere

from singula import encode
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import lock_file
from singula.io.write import write_tiff

pytest.importorskip("nicegui", reason="no browser test: `pip install 'singula[gui]'` is missing")
pytestmark = pytest.mark.xdist_group("gui browser")
KEYS = {"TEST.ENABLE": True, "TRAIN.ENABLE": False}


def _write(folder: Path, pred: dict[str, np.ndarray], strength: float = 1.0) -> None:
    run = ExampleRun(folder, pred, keys=KEYS).write()
    for name in pred:
        maps = encode(cells(2), "BC")
        values = np.stack([strength * maps["B"], maps["C"]], -1).astype(np.float32)
        file = ResultsTree.of_run(run).predictions("per_image") / f"{name}.tif"
        write_tiff(file, values, "YXC")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    folder = tmp_path_factory.mktemp("tune") / "runs"
    labels = cells(2)
    _write(folder / "good", {"one": labels, "two": without(labels, 3)})
    _write(folder / "none", {"one": labels * 0, "two": labels * 0}, strength=0.2)
    interface = Interface(folder)
    yield interface
    interface.stop()


def test_positions_of_sliders_and_means_of_all_images(browser: Any, served: Interface) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    watcher = Watcher(context)
    tab = enter(served, watcher)
    # Controls below the means stay in place while the means are computed, so that clicks hit them.
    tab.add_init_script(
        "window.tops = new Set(); setInterval(() => document.querySelector('.threshold') &&"
        " window.tops.add([...document.querySelectorAll('button')]"
        ".find(b => b.innerText.includes('Find best')).offsetTop), 10)"
    )
    open_page(served, tab, "/tune?run=good/job/results/job_1")
    drawn(tab)
    means = tab.locator(".score-table", has_text="Mean of all 2 images")
    means.wait_for()
    assert means.locator("td").all_inner_texts()[:2] == ["32", "32"]
    slider = tab.get_by_role("slider", name="Minimum size of an object, pixels")
    slider.locator("[tabindex='0']").focus()
    for _ in range(12):  # by ten steps each
        tab.keyboard.press("PageUp")
    objects = means.locator("tr", has_text="Objects found").locator("td")
    tab.wait_for_function(
        "[...document.querySelectorAll('.score-table')].some(t =>"
        " t.textContent.includes('Mean of all 2') && / *0$/.test("
        "t.querySelector('tbody tr').lastChild.textContent))",
        timeout=10 * MINUTE,
    )
    assert objects.last.inner_text() == "0"
    assert len(tab.evaluate("[...window.tops]")) == 1
    # The server receives the last move a moment later.
    position = slider.get_attribute("aria-valuenow")
    line = tab.locator(".threshold-line", has_text=re.compile(f"Minimum size.*\\D{position}$"))
    line.wait_for()
    open_page(served, tab, "/results?run=good/job/results/job_1")
    drawn(tab)
    open_page(served, tab, "/tune?run=good/job/results/job_1")
    drawn(tab)
    line.wait_for()
    tab.get_by_text("Settings in use", exact=True).click()
    tab.locator(".in-use", has_text="These results").wait_for()
    # A restart of the server loads the page again, with the positions in its address.
    tab.locator("canvas").wait_for()
    tab.wait_for_url("**&values=*")
    watcher.check()
    context.close()


def test_a_run_without_objects_explains_what_to_try(browser: Any, served: Interface) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 900})
    watcher = Watcher(context)
    tab = enter(served, watcher)
    for page in ("run", "results"):
        open_page(served, tab, f"/{page}?run=none/job/results/job_1")
        alert = tab.locator(".empty-run")
        alert.wait_for()
        assert "B is at most 0.20" in alert.inner_text()
        assert alert.locator("img").count() == 3
        check_width(tab, 390)
    open_page(served, tab, "/run?run=none/job/results/job_1")
    assert tab.locator(".state.empty").inner_text() == "finished, no objects"
    watcher.check()
    context.close()


@pytest.mark.slow
def test_all_long_jobs_wait_in_one_queue(browser: Any, served: Interface) -> None:
    busy, out = served.folder / "good" / "job" / "results" / "job_7", served.folder / "queued"
    write_tiff(served.folder / "more" / "c.tif", cells(2).astype(np.uint8), "YX")
    (busy / "train_logs").mkdir(parents=True)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(served, watcher)
    second = Watcher(context)
    other = second.tab
    with held_elsewhere(lock_file(busy)):
        for _ in range(2):
            open_page(served, tab, "/segment")
            images = tab.get_by_role("textbox", name="Image, or folder of images")
            images.fill("more")
            images.blur()
            tab.locator("[value^=more_instances]").wait_for()  # the proposed folder
            tab.get_by_role("textbox", name="New folder for the results").fill("queued")
            click(tab, "Segment")
            tab.wait_for_url(re.compile("/segment[?]run="))
            tab.get_by_text("Waiting for job_7 (run)").wait_for()
            if other.url == "about:blank":
                open_page(served, other, "/run")
                row = other.locator(".queue li", has_text="queued (segmentation)")
                row.locator(".state.waiting").wait_for()
                click(other, "Remove queued (segmentation) from the queue")
                row.wait_for(state="detached")
                until(other, lambda: not out.exists())
        # The same jobs wait on the page Tune.
        open_page(
            served, other, f"/tune?run={served.folder / 'good' / 'job' / 'results' / 'job_1'}"
        )
        click(other, "Find best settings")
        other.get_by_text("Waiting for job_7 (run) and 1 other job").wait_for()
        click(other, "Remove from the queue")
        other.get_by_text("Waiting for").wait_for(state="detached")
    # The job before it has ended.
    tab.get_by_role("button", name="Remove from the queue").wait_for(state="detached")
    tab.get_by_text("All images").or_(tab.get_by_text("Objects found")).first.wait_for(
        timeout=10 * MINUTE
    )
    assert (out / "c.tif").is_file()
    shutil.rmtree(busy)
    watcher.check()
    second.check()
    context.close()


@pytest.mark.slow
def test_an_open_page_continues_after_a_restart(browser: Any, served: Interface) -> None:
    context = browser.new_context()
    tab = enter(served, Watcher(context))
    open_page(served, tab, "/run?run=good/job/results/job_1")
    tab.evaluate("window.before = true")
    first = served.address
    served.stop()
    tab.locator("#popup[aria-hidden=false]").wait_for()
    served.start()
    assert served.address == first
    # The page is loaded again by itself, with the cookie of the first server.
    tab.wait_for_function("!window.before", timeout=10 * MINUTE)
    tab.get_by_role("heading", name="job_1").wait_for()
    context.close()


@pytest.mark.slow
def test_a_failed_run_leads_to_its_page(browser: Any, served: Interface) -> None:
    run = served.folder / "failed" / "job"
    shutil.copytree(served.folder / "good" / "job", run)
    (run / "results" / "job_1" / "run.json").unlink()
    (run / "results" / "job_1" / "job.log").write_text("error: no memory\n")
    context = browser.new_context()
    tab = enter(served, Watcher(context))
    open_page(served, tab, "/results?run=failed/job/results/job_1")
    click(tab, "Open the page of this run", "link")
    tab.wait_for_url(re.compile("/run[?]run="))
    tab.get_by_role("heading", name="job_1").wait_for()
    context.close()
