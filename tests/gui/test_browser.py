"""Browser interface in Chromium, from an empty folder to tuned results."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
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
from gui_drivers import place

from singula.config import load_config
from singula.gui.browser import write_redirect
from singula.io.read import read_labels
from singula.io.write import write_tiff
from singula.metrics import match
from singula.synthetic.fluorescence import make_dataset
from singula.training.checkpoint import load_checkpoint

pytest.importorskip("nicegui", reason="no browser test: `pip install 'singula[gui]'` is missing")
pytestmark = pytest.mark.xdist_group("gui browser")  # one server for all
# Small images and two epochs: the workflow is tested, not the quality.
TINY = {
    "TRAIN.EPOCHS": "2", "TRAIN.BATCH_SIZE": "4", "DATA.PATCH_SIZE": "[64, 64, 1]",
    "MODEL.FEATURE_MAPS": "[8, 16]", "DATA.TRAIN.REPLICATE": "1", "TEST.AUGMENTATION": True,
    "DATA.TEST.PADDING": "[8, 8]", "MODEL.DROPOUT_VALUES": "[0, 0]",
}  # fmt: skip


# True if the browser asks before it leaves the page
_ASKS = "String(onbeforeunload).includes('preventDefault')"
# True if the focus is visible: a ring, an outline, or the thick border of a field.
_RINGED = """(e => e === document.body || e.closest('.q-field')
 || getComputedStyle(e).boxShadow.includes('4px') || getComputedStyle(e).outlineStyle == 'solid')
(document.activeElement)"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    folder = tmp_path_factory.mktemp("gui") / "mine"
    folder.mkdir()
    interface = Interface(folder)
    yield interface
    interface.stop()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    """Serve finished runs of 2D and 3D images."""
    folder = tmp_path_factory.mktemp("made") / "runs"
    for ndim in (2, 3):
        labels = cells(ndim)
        pred = {"good": labels, "bad": without(labels, 3, 4, 5)}
        ExampleRun(folder / f"{ndim}d", pred).write()
    interface = Interface(folder)
    yield interface
    interface.stop()


@pytest.mark.slow
def test_from_an_empty_folder_to_a_tuned_result(browser: Any, empty: Interface) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(empty, watcher)
    click(tab, "Create 2D example data")
    _answer_the_wizard(tab)
    _fill_the_form(tab, empty, watcher)
    _run_stop_resume(tab, empty, watcher)
    _look_at_results(tab)
    _tune(tab, empty)
    watcher.check()
    context.close()


def _answer_the_wizard(tab: Any) -> None:
    _step(tab, "1. Images", "Next")
    _step(tab, "2. Objects", "Next")
    _step(tab, "3. Data", "Check my images")
    tab.get_by_text("No problems: the data are fine").wait_for()
    assert tab.locator(".thumb img").count() >= 6
    _step(tab, "3. Data", "Next")
    kinds = tab.get_by_role("spinbutton", name="Kinds of objects")
    kinds.fill("2")
    _step(tab, "4. Kinds of objects", "Next")
    tab.get_by_role("alert").get_by_text("do not distinguish kinds").wait_for()
    kinds.fill("1")
    _step(tab, "4. Kinds of objects", "Next")
    tab.wait_for_url("**step=training**")
    # The address restores the answers, and each heading opens its step.
    tab.reload()
    tab.get_by_role("button", name="Suggest settings").wait_for()
    _heading(tab, "2. Objects")
    tab.wait_for_url("**step=objects**")
    _heading(tab, "5. Training")
    click(tab, "Suggest settings")
    tab.get_by_text("choices and their reasons").wait_for()


def _heading(tab: Any, title: str) -> None:
    tab.locator(".q-stepper__tab", has_text=title).click()


def _step(tab: Any, title: str, name: str) -> None:
    """Click a button of one step, while others may still be visible."""
    step = tab.locator(".q-stepper__step", has_text=title)
    step.get_by_role("button", name=name, exact=True).click()


def _set(tab: Any, key: str, value: str | bool) -> None:
    click(tab, "Advanced")
    tab.get_by_label("Search all settings").fill(key)
    if isinstance(value, bool):
        switch = tab.get_by_role("switch", name=key, exact=True)
        switch.wait_for()
        if (switch.get_attribute("aria-checked") == "true") != value:
            switch.click()
        return
    field = tab.get_by_role("textbox", name=key, exact=True)
    field.wait_for()
    field.fill(value)
    field.blur()


def _fill_the_form(tab: Any, empty: Interface, watcher: Watcher) -> None:
    # Basic settings are in plain words; folders are validated while typing.
    images = tab.get_by_role("textbox", name="Training images", exact=True)
    folder = images.input_value()
    images.fill("nothing")
    tab.locator(".fault", has_text="does not exist").wait_for()
    images.fill(folder)
    tab.locator(".error").wait_for(state="hidden")
    _set(tab, "TRAIN.EPOCHS", "none")
    tab.locator(".fault", has_text="expected an integer in [1, ").wait_for()
    click(tab, "Save")
    tab.get_by_text("1 problem in the configuration").wait_for()
    path = empty.folder / "example_2d.yaml"
    assert not path.exists()
    for key, value in TINY.items():
        _set(tab, key, value)
    tab.locator(".error").wait_for(state="hidden")
    tab.get_by_text("Content of the file", exact=True).click()

    def shown() -> Any:
        return yaml.safe_load(tab.locator(".yaml pre").inner_text())

    # The fields are sent in their order.
    until(tab, lambda: shown().get("MODEL", {}).get("DROPOUT_VALUES") == [0, 0])
    content = shown()
    click(tab, "Save")
    tab.get_by_text("saved: example_2d.yaml").wait_for()
    assert yaml.safe_load(path.read_text()) == content
    config = load_config(path)
    assert config.TRAIN.EPOCHS == 2
    assert config.MODEL.FEATURE_MAPS == (8, 16)
    assert config.TEST.AUGMENTATION
    tab.on("dialog", lambda dialog: (watcher.troubles.append(dialog.type), dialog.accept()))
    click(tab, "Save and run")
    tab.wait_for_url("**/run?run=**")


def _run_stop_resume(tab: Any, empty: Interface, watcher: Watcher) -> None:
    address = tab.url.removeprefix(empty.base)
    tab.locator(".log", has_text="epoch 1/2").wait_for(timeout=10 * MINUTE)
    # The interface stops, the run continues, and the next interface finds it again.
    tab.goto("about:blank")
    empty.stop()
    empty.start()
    enter(empty, watcher)
    open_page(empty, tab, address)
    # The run may end first, and a network that trained for two epochs may find no objects.
    ended = ".state.finished, .state.empty"
    stop = tab.get_by_role("button", name="Stop", exact=True)
    stop.or_(tab.locator(ended)).first.wait_for()
    if not tab.locator(ended).count():
        tab.evaluate("[...document.querySelectorAll('button')]"
                     ".find(button => button.innerText.trim() == 'Stop')?.click()")  # fmt: skip
    tab.locator(f".state.stopped, {ended}").wait_for(timeout=10 * MINUTE)
    if tab.locator(".state.stopped").count():
        click(tab, "Resume")
    tab.locator(ended).wait_for(timeout=10 * MINUTE)
    assert tab.locator(".chart").count() >= 3
    click(tab, "Show results", "link")


def _look_at_results(tab: Any) -> None:
    tab.wait_for_url("**/results?**")
    assert drawn(tab) == "0/0"
    with tab.context.expect_page() as opened:
        click(tab, "Report", "link")
    report = opened.value
    # A new tab can report the load state of its initial blank page. The report runs no scripts, so
    # Playwright cannot wait inside it.
    until(report, lambda: "Singula report" in report.title())
    until(report, lambda: report.evaluate("document.readyState") == "complete")
    assert report.evaluate("Math.min(...[...document.images].map(i => i.naturalWidth))") > 0
    report.close()
    # A run without objects has a second link, in the advice.
    tab.get_by_role("link", name="Tune thresholds", exact=True).last.click()


def _tune(tab: Any, empty: Interface) -> None:
    tab.wait_for_url("**/tune?**")
    assert drawn(tab) == "0/0"
    before = int(tab.locator(".score-table td").nth(1).inner_text())
    # After two epochs, only extreme thresholds give any objects: 0 removes no objects.
    moves = {
        "TH_FOREGROUND": ("Growth: inside (B) or mask (M) above", 20),
        "TH_FLOW_ERROR": ("Objects: error of the flows below", 40),
    }
    for label, count in moves.values():
        tab.get_by_role("slider", name=label).locator("[tabindex='0']").focus()
        for _ in range(count):
            tab.keyboard.press("ArrowLeft")
    tab.wait_for_function(
        "before => document.querySelectorAll('.score-table td')[1].textContent != before",
        arg=str(before),
    )
    tab.wait_for_function("document.querySelector('canvas').dataset.drawn != '0/0'")
    first = load_config(empty.folder / "example_2d.yaml").PROBLEM.INSTANCE_SEG
    # The server receives the last move a moment later.
    moved = {}
    for name, (label, count) in moves.items():
        moved[name] = round(getattr(first, f"DATA_MW_{name}") - 0.01 * count, 4)
        text = re.compile(rf"{re.escape(f'{label}{moved[name]:g}')}$")
        tab.locator(".threshold-line", has_text=text).wait_for()
    click(tab, "Save these settings")
    tab.get_by_text("saved: ").wait_for()
    (tuned,) = empty.folder.rglob("*_tuned.yaml")
    second = load_config(tuned).PROBLEM.INSTANCE_SEG
    assert {name: getattr(second, f"DATA_MW_{name}") for name in moves} == pytest.approx(moved)
    assert second.DATA_CHANNELS == first.DATA_CHANNELS
    click(tab, "Use from now on with this model")
    tab.get_by_text("saved in ").wait_for()
    _search(tab, empty)


def _search(tab: Any, empty: Interface) -> None:
    click(tab, "Find best settings")
    click(tab, "Cancel")
    tab.get_by_text("Canceled.").wait_for(timeout=10 * MINUTE)
    click(tab, "Find best settings")
    tab.get_by_text(re.compile("settings tried, best|Set the sliders|No setting")).first.wait_for(
        timeout=10 * MINUTE
    )
    tab.reload()  # the search continues without the page
    header = tab.get_by_role("columnheader", name="Mean of the validation images")
    header.wait_for(timeout=10 * MINUTE)
    (tried,) = empty.folder.rglob("tuning/trials.csv")
    trials = list(csv.DictReader(tried.open()))
    (best,) = (row for row in trials if row["chosen"] == "1")
    table = tab.locator(".score-table", has=header)
    cells = table.locator("td").all_inner_texts()
    assert cells[:2] == [f"{float(row['pq']):.3f}" for row in (trials[0], best)]
    # The search saves nothing: the checkpoint has the thresholds chosen by eye.
    (weights,) = empty.folder.rglob("*-checkpoint-best.pth")
    assert load_checkpoint(weights).description["tuned"]["metric"] == "by eye"
    if best is trials[0]:
        tab.get_by_text("No setting is better").wait_for()
        return
    use = tab.get_by_role("button", name="Set the sliders to the best settings")
    if use.is_visible():
        use.click()
    label = "error of the flows below"
    shown = f"{label}{float(best['TH_FLOW_ERROR']):g}"
    line = tab.locator(".threshold-line", has_text=label)
    line.filter(has_text=re.compile(f"{re.escape(shown)}$")).wait_for()
    click(tab, "Use from now on with this model")
    tab.get_by_text("saved in ").wait_for()
    tuned = load_checkpoint(weights).description["tuned"]
    assert tuned["after"] == pytest.approx(float(best["pq"]))
    assert tuned["thresholds"]["TH_FLOW_ERROR"] == pytest.approx(float(best["TH_FLOW_ERROR"]))


@pytest.mark.slow
def test_images_are_segmented_without_training(browser: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    rng = np.random.default_rng(7)
    make_dataset(folder, 2, rng, n_train=0, n_val=0, n_test=2, shape=(96, 96))
    interface = Interface(folder)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(interface, watcher)
    click(tab, "Segment")
    tab.get_by_role("alert").get_by_text("no images are chosen").wait_for()
    field = tab.get_by_role("textbox", name="Image, or folder of images")
    field.fill("test/x")
    field.blur()
    output = tab.get_by_role("textbox", name="New folder for the results")
    tab.wait_for_function("document.querySelector('[value=x_instances]')")
    assert output.input_value() == "x_instances"
    click(tab, "Segment")
    tab.wait_for_url("**/segment?run=**")
    tab.wait_for_function("document.querySelector('canvas')?.dataset.drawn", timeout=10 * MINUTE)
    truth = read_labels(folder / "test" / "y" / "image_000.tif", 2).array[..., 0]
    labels = read_labels(folder / "x_instances" / "image_000.tif", 2).array[..., 0]
    assert match(truth, labels, 0.5).f1 > 0.8
    assert tab.locator(".fact b").first.inner_text() == str(len(np.unique(labels)) - 1)
    with tab.expect_download() as download:
        click(tab, "Download the table")
    written = folder / "x_instances" / "image_000_stats.csv"
    assert Path(download.value.path()).read_bytes() == written.read_bytes()
    tab.set_viewport_size({"width": 420, "height": 900})
    check_width(tab, 420)
    click(tab, "Segment other images", "link")
    click(tab, "x_instances", "link")
    tab.wait_for_url("**/segment?run=**")
    tab.wait_for_function("document.querySelector('canvas')?.dataset.drawn")
    watcher.check()
    context.close()
    interface.stop()


def test_without_the_token_nothing_is_served(browser: Any, made: Interface) -> None:
    context = browser.new_context()
    tab = context.new_page()
    for path in ("/", "/new", "/tile/x/0/image/0/0/0/0/-1", "/report?run=2d", "/_nicegui/x"):
        assert tab.goto(made.base + path).status == 403
    tab.goto(f"{made.base}/?token=wrong")
    assert "needs the token" in tab.content()
    tab.goto(made.address)
    tab.wait_for_url(lambda url: "token" not in url)
    tab.locator("main h1").wait_for()
    assert "token" not in tab.evaluate("document.cookie")  # scripts do not see it
    context.close()


@pytest.mark.slow
def test_the_private_file_leads_to_the_interface(
    browser: Any, made: Interface, tmp_path: Path
) -> None:
    watcher = Watcher(browser.new_context())
    watcher.tab.goto(write_redirect(tmp_path, made.address).as_uri(), wait_until="commit")
    watcher.tab.wait_for_url(lambda url: url.startswith(made.base) and "token" not in url)
    open_page(made, watcher.tab, "/run")
    (cookie,) = watcher.tab.context.cookies()
    assert (cookie["sameSite"], cookie["httpOnly"]) == ("Strict", True)
    assert watcher.troubles == []


@pytest.mark.slow
def test_a_file_is_chosen_in_a_dialog(browser: Any, made: Interface) -> None:
    (made.folder / "deep" / "er").mkdir(parents=True)
    (made.folder / "deep" / "er" / "cells.yaml").write_text("TRAIN: {EPOCHS: many}\n")
    context = browser.new_context()
    watcher = Watcher(context)
    tab = enter(made, watcher)
    open_page(made, tab, "/run")
    click(tab, "Browse: Configuration (YAML file)")
    for entry in ("▸ deep", "▸ er", "cells.yaml"):
        click(tab, entry)
    field = tab.get_by_role("textbox", name="Configuration (YAML file)")
    tab.get_by_role("dialog").wait_for(state="hidden")
    assert field.input_value() == "deep/er/cells.yaml"
    click(tab, "Start")
    alert = tab.get_by_role("alert").filter(has_text="TRAIN.EPOCHS: ")
    alert.wait_for()
    assert not (made.folder / "results").exists()
    watcher.check()
    context.close()


@pytest.mark.slow
def test_fix_writes_a_copy_that_is_used_instead(browser: Any, made: Interface) -> None:
    folder = made.folder / "spoiled" / "train"
    for number in range(3):
        labels = np.zeros((40, 40), np.uint16)
        labels[4:14, 4 + number : 16], labels[20:32, 20 : 34 + number] = 1, 2
        raw = np.where(labels > 0, 200, 20) + np.random.default_rng(number).integers(0, 9, (40, 40))
        labels[38, 2] = int(number == 1)  # a stray pixel
        write_tiff(folder / "x" / f"{number}.tif", raw.astype(np.uint8), "YX")
        write_tiff(folder / "y" / f"{number}.tif", labels, "YX")
    file = folder / "y" / "1.tif"
    labels = read_labels(file, 2).array[..., 0]
    before = file.read_bytes()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(made, watcher)
    open_page(made, tab, "/new?start=1&data=spoiled")
    _heading(tab, "3. Data")
    _step(tab, "3. Data", "Check my images")
    tab.get_by_role("textbox", name="New folder for the corrected copy").wait_for()
    click(tab, "Fix")
    data = tab.locator(".q-stepper__step", has_text="3. Data")
    tab.wait_for_function(
        "[...document.querySelectorAll('input')].some(e => e.value == 'spoiled_corrected')"
    )
    data.get_by_role("button", name="Next", exact=True).wait_for()
    assert file.read_bytes() == before
    copy = made.folder / "spoiled_corrected" / "train" / "y" / "1.tif"
    fixed = read_labels(copy, 2).array[..., 0]
    labels[38, 2] = 0
    np.testing.assert_array_equal(fixed, labels)
    watcher.check()
    context.close()


@pytest.mark.slow
def test_check_results_belong_to_the_entered_folder(browser: Any, made: Interface) -> None:
    for name in ("one", "two"):
        parts = {"n_train": 2, "n_val": 0, "n_test": 0}
        make_dataset(made.folder / name, 2, np.random.default_rng(1), shape=(64, 64), **parts)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(made, watcher)
    open_page(made, tab, "/new?start=1&data=one")
    _heading(tab, "3. Data")
    _step(tab, "3. Data", "Check my images")
    data = tab.locator(".q-stepper__step", has_text="3. Data")
    forward = data.get_by_role("button", name="Next", exact=True)
    forward.wait_for()
    tab.get_by_role("textbox", name="Folder of the data set").fill("two")
    forward.wait_for(state="detached")
    assert data.locator(".thumb").count() == 0
    _step(tab, "3. Data", "Check my images")
    forward.click()
    _step(tab, "4. Kinds of objects", "Next")
    tab.get_by_role("textbox", name="Folder for the results").fill("mine")
    click(tab, "Suggest settings")
    tab.get_by_text("choices and their reasons").wait_for()
    tab.wait_for_function(_ASKS)  # nothing is saved yet
    tab.on("dialog", lambda dialog: (watcher.troubles.append(dialog.type), dialog.accept()))
    click(tab, "Save and run")
    tab.wait_for_url("**/run?run=**mine**two_1")
    click(tab, "Stop")
    tab.locator(".state.stopped").wait_for(timeout=10 * MINUTE)
    config = load_config(made.folder / "two.yaml")
    assert str(made.folder / "two") in str(config.DATA.TRAIN.PATH)
    # The page of a saved file shows it again when it is loaded anew, changes until they are saved.
    open_page(made, tab, "/new?start=1&data=one")
    open_page(made, tab, "/new?config=two.yaml")
    _set(tab, "TRAIN.EPOCHS", "7")
    tab.wait_for_function(_ASKS)
    tab.get_by_role("textbox", name="File of the settings").fill("three.yaml")
    click(tab, "Save")
    tab.wait_for_url("**/new?config=three.yaml")
    tab.wait_for_function("onbeforeunload === null")
    tab.reload()
    _set(tab, "TRAIN.EPOCHS", "7")
    watcher.check()
    context.close()


@pytest.mark.slow
def test_a_picture_is_hidden_if_the_next_one_fails(browser: Any, made: Interface) -> None:
    run = "gone/job/results/job_1"
    shutil.copytree(made.folder / "2d" / "job", made.folder / "gone" / "job")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(made, watcher)
    open_page(made, tab, f"/results?run={run}")
    drawn(tab)
    tab.locator(".objects tr[data-id='16']").click()
    tab.locator(".objects tr.selected").wait_for()
    # The address keeps the image, and the other page is of the same one.
    tab.get_by_label("Image (worst first)").click()
    tab.get_by_role("option", name="good", exact=True).click()
    tab.wait_for_url(re.compile("image=good"))
    tab.reload()
    drawn(tab)
    assert tab.get_by_label("Image (worst first)").input_value() == "good"
    assert "image=good" in (tab.get_by_role("link", name="Tune").last.get_attribute("href") or "")
    tab.get_by_label("Image (worst first)").click()
    tab.get_by_role("option", name="bad", exact=True).click()
    tab.wait_for_url(re.compile("image=bad"))
    drawn(tab)
    (made.folder / run / "per_image_instances" / "good.tif").unlink()
    for name, shown in (("good", False), ("bad", True)):
        tab.get_by_label("Image (worst first)").click()
        tab.get_by_role("option", name=name, exact=True).click()
        tab.get_by_role("alert").first.wait_for(state="detached" if shown else "visible")
        tab.locator("canvas").wait_for(state="visible" if shown else "hidden")
    watcher.check()
    context.close()


def test_selecting_a_row_marks_its_object_and_the_reverse(browser: Any, made: Interface) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(made, watcher)
    open_page(made, tab, "/results?run=2d/job/results/job_1")
    drawn(tab)
    assert tab.get_by_label("Image (worst first)").input_value() == "bad"
    before = place(tab, 0, 0)
    tab.locator(".objects tr[data-id='16']").click()
    tab.locator(".objects tr.selected").wait_for()
    until(tab, lambda: place(tab, 0, 0) != before)  # the object moves to the middle
    click(tab, "Show the whole image")
    # The lattice has 4 x 4 cells of 12 pixels; the first has its center at 6, 6.
    tab.locator("canvas").scroll_into_view_if_needed()
    tab.mouse.click(*place(tab, 6, 6))
    tab.wait_for_function(
        "document.querySelector('.objects tr.selected td')?.textContent.trim() == '1'"
    )
    tab.locator(".objects th button", has_text="area").click()
    tab.locator(".objects th[aria-sort='ascending']", has_text="area").wait_for()
    watcher.check()
    context.close()


@pytest.mark.slow
def test_a_volume_is_paged_by_keys(browser: Any, made: Interface) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(made, watcher)
    open_page(made, tab, "/results?run=3d/job/results/job_1")
    first = drawn(tab)
    canvas = tab.locator("canvas")
    canvas.focus()
    tab.keyboard.press("PageUp")
    tab.wait_for_function(
        "first => document.querySelector('canvas').dataset.drawn != first", arg=first
    )
    for key in ("+", "ArrowLeft", "-", "0", "Enter"):
        tab.keyboard.press(key)
    tab.get_by_role("slider", name="Slice").wait_for()
    watcher.check()
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/results?run=2d/data", "is not the folder of a finished run"),
        ("/results?run=/etc", "is outside of the folders"),
        pytest.param(f"/results?run={'x' * 5000}", "is not a valid path", id="long"),
        ("/tune?run=2d/job/results/job_1", "predicted channels are missing"),
        ("/run?run=nowhere", "does not exist"),
        ("/new?config=nothing.yaml", "cannot be opened"),
    ],
)
def test_each_page_shows_errors(browser: Any, made: Interface, path: str, words: str) -> None:
    context = browser.new_context()
    watcher = Watcher(context)
    tab = enter(made, watcher)
    open_page(made, tab, path)
    alert = tab.get_by_role("alert").first
    alert.wait_for()
    assert words in alert.inner_text()
    watcher.check()
    context.close()


def test_an_unknown_address_leads_back(browser: Any, made: Interface) -> None:
    context = browser.new_context()
    tab = enter(made, Watcher(context))
    assert tab.goto(made.base + "/nowhere").status == 404
    tab.get_by_role("heading", name="This page does not exist").wait_for()
    click(tab, "Start page", "link")
    tab.wait_for_url("**/new")
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1280])
def test_pages_are_readable_in_any_light_and_width(
    browser: Any, made: Interface, scheme: str, width: int
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    watcher = Watcher(context)
    tab = enter(made, watcher)
    for path in ("/new", "/run", "/results", "/tune"):
        open_page(made, tab, path)
        if path in ("/results", "/tune"):
            tab.locator(".viewer-host, [role=alert]").first.wait_for()
        check_width(tab, width)
        ink, paper = tab.evaluate(
            "[getComputedStyle(document.querySelector('h1')).color,"
            " getComputedStyle(document.body).backgroundColor]"
        )
        assert _contrast(ink, paper) > 7
        assert (_luminance(paper) < 0.1) == (scheme == "dark")
    watcher.check()
    context.close()


@pytest.mark.slow
def test_all_controls_are_reachable_by_keyboard(browser: Any, made: Interface) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watcher = Watcher(context)
    tab = enter(made, watcher)
    open_page(made, tab, "/results")
    drawn(tab)
    reached = set()
    for _ in range(40):
        tab.keyboard.press("Tab")
        assert tab.evaluate(_RINGED), tab.evaluate("document.activeElement.outerHTML")
        reached.add(
            tab.evaluate(
                "(e => e.getAttribute('aria-label') || e.innerText || e.tagName)"
                "(document.activeElement)"
            ).strip()
        )
    assert {"Skip to the content", "New", "Run", "Results", "Tune", "Report"} <= reached
    assert {"Image", "Objects", "My labels", "Zoom in"} <= reached
    assert any("with its objects" in words for words in reached)
    context.close()


def _luminance(color: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, two: str) -> float:
    """Return the contrast ratio as defined by WCAG 2."""
    high, low = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)
