"""Corrections in Chromium."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gui_browser import Interface, Watcher, check_width, click, drawn, enter, open_page, until
from gui_drivers import place
from prediction_folder import LABELS, SQUARE, write_prediction
from skimage.draw import polygon2mask

from singula.io.read import read_labels

pytest.importorskip("nicegui", reason="no browser test: `pip install 'singula[gui]'` is missing")
pytestmark = pytest.mark.xdist_group("gui browser")


def wait_for_labels(tab: Any, file: Path, ids: set[int]) -> np.ndarray:
    def read() -> np.ndarray:
        return read_labels(file, 2).array[..., 0]

    until(tab, lambda: file.is_file() and set(np.unique(read())) == ids | {0})
    return read()


def test_objects_are_split_merged_and_drawn(browser: Any, tmp_path: Path) -> None:
    folder = write_prediction(tmp_path / "mine")
    interface = Interface(tmp_path / "mine")
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    watcher = Watcher(context)
    tab = enter(interface, watcher)
    open_page(interface, tab, "/segment?run=out")
    click(tab, "Correct objects", "link")
    tab.get_by_text("0 of 3 objects reviewed").wait_for()
    drawn(tab)
    assert tab.locator(".fact b").all_inner_texts() == ["2", "0.40", "not reviewed"]
    click(tab, "Zoom out")
    tab.locator(".viewer-host canvas").first.press("0")  # the whole image
    file = folder / "corrected" / "labels" / "a.tif"

    click(tab, "Split")
    tab.mouse.click(*place(tab, 18, 6))
    tab.get_by_text("Now click the second part.").wait_for()
    tab.mouse.click(*place(tab, 18, 32))
    wait_for_labels(tab, file, {1, 2, 3, 4})
    tab.keyboard.press("m")
    tab.get_by_text("Click an object, then the one that belongs to it.").wait_for()
    tab.mouse.click(*place(tab, 5, 5))
    tab.get_by_text("Now click the second object.").wait_for()
    tab.mouse.click(*place(tab, 5, 15))
    wait_for_labels(tab, file, {1, 3, 4})
    tab.keyboard.press("d")
    tab.get_by_text("Draw the outline of a new object.").wait_for()
    tab.wait_for_function("document.querySelector('.drawing').style.pointerEvents == 'auto'")
    tab.mouse.move(*place(tab, *SQUARE[0]))
    tab.mouse.down()
    for corner in SQUARE[1:]:
        tab.mouse.move(*place(tab, *corner), steps=4)
    tab.mouse.up()
    labels = wait_for_labels(tab, file, {1, 3, 4, 5})
    assert abs(int((labels == 5).sum()) - 7 * 6) <= 13  # within half a pixel of the border
    tab.keyboard.press("Control+z")
    wait_for_labels(tab, file, {1, 3, 4})
    tab.keyboard.press("Control+y")
    wait_for_labels(tab, file, {1, 3, 4, 5})

    tab.keyboard.press("?")
    tab.get_by_text("Keyboard shortcuts").wait_for()
    click(tab, "Close")
    np.testing.assert_array_equal(read_labels(folder / "a.tif", 2).array[..., 0], LABELS)
    record = folder / "corrected" / "review" / "a.json"  # is written after the labels
    until(tab, lambda: json.loads(record.read_text())["corrected"] == [1, 3, 4, 5])
    tab.reload()
    tab.get_by_text("4 of 4 objects reviewed").wait_for()
    tab.set_viewport_size({"width": 390, "height": 900})
    check_width(tab, 390)
    watcher.check()
    context.close()
    interface.stop()


def test_an_outline_is_drawn_with_the_keyboard(browser: Any, tmp_path: Path) -> None:
    folder = write_prediction(tmp_path / "mine")
    interface = Interface(tmp_path / "mine")
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    watcher = Watcher(context)
    tab = enter(interface, watcher)
    open_page(interface, tab, "/correct?run=out")
    tab.get_by_text("0 of 3 objects reviewed").wait_for()
    drawn(tab)
    tab.locator(".viewer-host canvas").first.press("0")  # the whole image
    tab.keyboard.press("d")
    tab.wait_for_function("document.activeElement.classList.contains('drawing')")
    tab.keyboard.press("ArrowUp")
    canvas = tab.locator("canvas.drawing")
    here = [int(value) for value in canvas.get_attribute("data-cursor").split(",")]
    assert here == [11, 20]  # above the center of the image
    for count, corner in enumerate([(0, 0), *[(int(y), int(x)) for y, x in SQUARE]]):
        for axis, keys in enumerate((("ArrowUp", "ArrowDown"), ("ArrowLeft", "ArrowRight"))):
            key = keys[corner[axis] > here[axis]]
            far, near = divmod(abs(corner[axis] - here[axis]), 10)
            for _ in range(far):
                tab.keyboard.press(f"Shift+{key}")
            for _ in range(near):
                tab.keyboard.press(key)
        here = list(corner)
        assert canvas.get_attribute("data-cursor") == f"{corner[0]},{corner[1]}"
        tab.keyboard.press("Space")
        if not count:
            tab.keyboard.press("Backspace")  # the first corner was wrong
        assert canvas.get_attribute("data-corners") == str(count)
    tab.keyboard.press("Enter")
    labels = wait_for_labels(tab, folder / "corrected" / "labels" / "a.tif", {1, 2, 3, 4})
    expected = polygon2mask(LABELS.shape, SQUARE) & (LABELS == 0)
    np.testing.assert_array_equal(labels == 4, expected)
    # At the border of the image, the cursor stops.
    for _ in range(5):
        tab.keyboard.press("Shift+ArrowUp")
    assert canvas.get_attribute("data-cursor") == "0,25"
    tab.keyboard.press("Escape")
    assert canvas.get_attribute("data-cursor") == ""
    tab.keyboard.press("v")
    tab.wait_for_function("document.querySelector('canvas.drawing').tabIndex == -1")
    watcher.check()
    context.close()
    interface.stop()


def test_of_two_tabs_the_second_is_asked_which_corrections_to_keep(
    browser: Any, tmp_path: Path
) -> None:
    folder = write_prediction(tmp_path / "mine")
    interface = Interface(tmp_path / "mine")
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    watchers = [Watcher(context), Watcher(context)]
    first, second = enter(interface, watchers[0]), watchers[1].tab
    for tab in (first, second):
        open_page(interface, tab, "/correct?run=out")
        tab.get_by_text("0 of 3 objects reviewed").wait_for()
    file = folder / "corrected" / "labels" / "a.tif"
    first.keyboard.press("Delete")  # the least certain object
    wait_for_labels(first, file, {1, 3})
    second.keyboard.press("a")
    second.get_by_text("a was also corrected elsewhere").wait_for()
    second.keyboard.press("Escape")  # is not an answer
    click(second, "Load theirs")
    second.get_by_text("0 of 2 objects reviewed").wait_for()
    second.keyboard.press("a")  # object 3
    second.get_by_text("1 of 2 objects reviewed").wait_for()
    second.get_by_text("Saved:").wait_for()
    first.keyboard.press("n")
    first.locator(".fact b", has_text="0.60").wait_for()
    first.keyboard.press("Delete")
    first.get_by_text("a was also corrected elsewhere").wait_for()
    assert set(np.unique(read_labels(file, 2).array)) == {0, 1, 3}
    click(first, "Keep mine")
    wait_for_labels(first, file, {1})
    first.get_by_text("Saved:").wait_for()
    for watcher in watchers:
        watcher.check()
    context.close()
    interface.stop()
