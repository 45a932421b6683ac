"""Viewer, table, export and comparison of results in Chromium."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_run import ExampleRun, cells, without
from gui_browser import Interface, Watcher, check_width, click, drawn, enter, open_page, until
from PIL import Image

from singula import encode
from singula.io.run_folder import ResultsTree
from singula.io.write import write_tiff

pytest.importorskip("nicegui", reason="no browser test: `pip install 'singula[gui]'` is missing")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("gui browser")]
RUN = "/results?run=2d/job/results/job_1"
OFFSETS = "A[-1,0;0,-1;-3,0]"
VIEWER = "getElement(+document.querySelector('.viewer-host').id.slice(1))"
# True if the picture is complete after changes of the viewer are painted
_PAINTED = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
  () => done(document.querySelector('canvas').dataset.complete === 'true'))))"""


def write_run(folder: Path, ndim: int, **options: Any) -> None:
    lattice = cells(ndim)
    keys = {"PROBLEM.INSTANCE_SEG.DATA_CHANNELS": ["F", OFFSETS] if ndim == 2 else "BC"}
    keys["DATA.PATCH_SIZE"] = [16, 16, 2] if ndim == 2 else [4, 16, 16, 1]
    missing = options.pop("missing", (3, 4, 5))
    run = ExampleRun(folder, {"bad": without(lattice, *missing)}, keys=keys, **options).write()
    tree = ResultsTree.of_run(run)
    axes, channels = ("YX", f"F+{OFFSETS}") if ndim == 2 else ("ZYX", "BC")
    maps = [array.astype(np.float32) for array in encode(lattice, channels).values()]
    write_tiff(tree.predictions("per_image") / "bad.tif", np.stack(maps, -1), axes + "C")
    labels = without(lattice, *missing).astype(np.uint16)
    size = (2.0, 0.5, 0.5)[-ndim:]
    write_tiff(tree.per_image_instances / "bad.tif", labels, axes, spacing=size, unit="µm")
    if ndim == 2:  # two channels with different objects
        image = np.stack([np.where(lattice % 2 == k, lattice * 0 + 200, 10) for k in (0, 1)], -1)
        image[lattice == 0] = 10
        write_tiff(folder / "data" / "x" / "bad.tif", image.astype(np.uint8), "YXC")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    folder = tmp_path_factory.mktemp("viewer") / "runs"
    write_run(folder / "2d", 2)
    write_run(folder / "other", 2, job="job_2", missing=(7,))
    write_run(folder / "3d", 3)
    interface = Interface(folder)
    yield interface
    interface.stop()


class Opened:
    """Tab with the results of a run."""

    def __init__(self, browser: Any, served: Interface, path: str, **options: Any) -> None:
        options = {"viewport": {"width": 1400, "height": 1000}, **options}
        self.context = browser.new_context(**options)
        self.watcher = Watcher(self.context)
        self.tab = enter(served, self.watcher)
        open_page(served, self.tab, path)
        drawn(self.tab)

    def close(self) -> None:
        self.watcher.check()
        self.context.close()

    def pixel(self, y: float, x: float, side: int = 48) -> list[int]:
        """Return the color of the main canvas at a pixel of the image that is shown whole."""
        until(self.tab, lambda: self.tab.evaluate(_PAINTED))
        return list(
            self.tab.evaluate(
                """([y, x, side]) => {
                  const canvas = document.querySelector('canvas');
                  const scale = 0.98 * Math.min(canvas.width, canvas.height) / side;
                  const left = (canvas.width - side * scale) / 2 + x * scale;
                  const top = (canvas.height - side * scale) / 2 + y * scale;
                  const copy = document.createElement('canvas').getContext('2d');
                  copy.drawImage(canvas, Math.floor(left), Math.floor(top), 1, 1, 0, 0, 1, 1);
                  return [...copy.getImageData(0, 0, 1, 1).data];
                }""",
                [y, x, side],
            )
        )[:3]

    def wait_for_pixel(self, y: float, x: float, color: list[int]) -> None:
        """Wait until a pixel of the image has a color."""
        until(self.tab, lambda: self.pixel(y, x) == color)

    def check(self, name: str, value: bool) -> None:
        """Check or uncheck a box, and wait until it has an effect."""
        box = self.tab.get_by_role("checkbox", name=name, exact=True)
        if box.get_attribute("aria-checked") != str(value).lower():
            box.click()
        self.wait_for_check(name, value)

    def wait_for_check(self, name: str, value: bool) -> None:
        """Wait until a box is checked or unchecked, and the viewer shows or hides its layer."""
        from singula.gui.pages.display import LABELS

        self.tab.get_by_role("checkbox", name=name, exact=True, checked=value).wait_for()
        for layer in (layer for layer, label in LABELS.items() if label == name):
            shown = f"{VIEWER}.layers.find(layer => layer.name == '{layer}').shown"
            self.until(f"{shown} === {str(value).lower()}")

    def choose(self, label: str) -> None:
        """Open a list of options."""
        self.tab.get_by_role("combobox", name=label, exact=True).click()

    def until(self, script: str) -> None:
        self.tab.wait_for_function(script)


@pytest.fixture
def opened(browser: Any, served: Interface) -> Iterator[Opened]:
    page = Opened(browser, served, RUN)
    yield page
    page.close()


def test_layers_show_channels_maps_and_matches(opened: Opened) -> None:
    for name in ("Objects", "Outlines"):
        opened.check(name, False)
    # Object 1 is in the second channel, and object 2 in the first.
    assert opened.pixel(6.5, 6.5) == [0, 255, 0]
    assert opened.pixel(6.5, 18.5) == [255, 0, 255]
    assert opened.pixel(0.5, 0.5) == [0, 0, 0]
    opened.check("Network's map", True)
    opened.tab.locator(".map-legend").wait_for()
    assert opened.pixel(0.5, 0.5) != [0, 0, 0]
    opened.tab.get_by_text("Contrast, colors, opacity").click()
    opened.choose("Network's map")
    options = opened.tab.get_by_role("option").all_inner_texts()
    assert options[1].startswith("A: mean")
    assert "A (0, -1)" in options
    opened.tab.get_by_role("option", name="A (-1, 0)", exact=True).click()
    opened.tab.locator(".map-legend", has_text="A (-1, 0)").wait_for()
    opened.check("Network's map", False)
    # The other layer of objects is hidden under Compare, and its box shows it.
    opened.check("Objects", True)
    opened.check("Compare", True)
    opened.wait_for_check("Objects", False)
    until(opened.tab, lambda: opened.tab.locator(".legend > span").count() == 5)
    matched, missed = opened.pixel(6.5, 6.5), opened.pixel(9.5, 30.5)
    assert matched[2] > matched[0]  # blue
    assert missed[0] > missed[2]  # orange
    opened.check("Compare", False)
    opened.wait_for_check("Objects", True)


def test_contrast_is_changed_by_keyboard(opened: Opened) -> None:
    for name in ("Objects", "Outlines"):
        opened.check(name, False)
    before = opened.pixel(6.5, 6.5)
    opened.tab.get_by_text("Contrast, colors, opacity").click()
    slider = opened.tab.get_by_role("slider", name="Gamma of Channel 2")
    slider.locator("[tabindex='0']").focus()
    text = opened.tab.locator(".key-name", has_text="gamma 1.").first
    for _ in range(8):
        opened.tab.keyboard.press("ArrowRight")
    text.wait_for()
    assert before == opened.pixel(6.5, 6.5) == [0, 255, 0]  # the brightest value stays
    opened.choose("Color 2")
    opened.tab.get_by_role("option", name="cyan").click()
    opened.wait_for_pixel(6.5, 6.5, [0, 255, 255])
    opened.choose("Channels")
    opened.tab.get_by_role("option", name="Channel 1", exact=True).click()
    opened.wait_for_pixel(6.5, 6.5, [0, 0, 0])


def test_the_value_and_the_scale_are_shown(opened: Opened) -> None:
    box = opened.tab.locator("canvas").bounding_box()
    step = 0.98 * min(box["width"], box["height"]) / 48
    # Object 6 has its center at 18, and the center of the image is at 24.
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.tab.mouse.move(middle[0] - 6 * step, middle[1] - 6 * step)
    place = opened.tab.locator(".viewer-place")
    opened.until("document.querySelector('.viewer-place').textContent.includes('value')")
    words = place.inner_text().split()
    y, x = int(words[1]), int(words[3])
    assert (abs(y - 18), abs(x - 18)) < (2, 2)
    assert words[4:] == ["value", "200,", "10", "object", "6", "your", "label", "6"]
    length, pixels = opened.tab.evaluate("document.querySelector('canvas').dataset.bar").split()
    width = opened.tab.evaluate(
        "(c => 0.98 * Math.min(c.width, c.height))(document.querySelector('canvas'))"
    )
    assert float(pixels) / float(length) == pytest.approx(width / (48 * 0.5), rel=1e-3)
    with opened.tab.expect_download() as download:
        click(opened.tab, "Download the picture as shown")
    with Image.open(download.value.path()) as picture:
        assert np.asarray(picture.convert("RGB")).max() == 255
    assert download.value.suggested_filename == "bad.png"


def test_the_table_is_sorted_and_read_by_keyboard(opened: Opened) -> None:
    tab = opened.tab
    assert tab.locator(".objects [tabindex='0']").count() == 1  # one stop for all rows
    header = tab.locator(".objects th", has_text="mean intensity, channel 1")
    header.get_by_role("button").focus()
    for order in ("ascending", "descending"):
        tab.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == order
        column = tab.evaluate("e => [...e.parentNode.children].indexOf(e)", header.element_handle())
        values = tab.evaluate(
            "i => [...document.querySelectorAll('.objects tbody tr')]"
            ".map(r => Number(r.children[i].textContent))",
            column,
        )
        assert values == sorted(values, reverse=order == "descending")
    tab.locator(".objects tr[tabindex='0']").focus()
    tab.keyboard.press("ArrowDown")
    second = tab.evaluate("document.querySelectorAll('.objects tbody tr')[1].dataset.id")
    opened.until(f"document.querySelector('.objects tr.selected')?.dataset.id == '{second}'")
    assert tab.evaluate("document.activeElement.dataset.id") == second
    assert tab.evaluate(
        "(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.objects-scroll'))"
    )


def test_filters_and_plots_are_linked_to_the_objects(opened: Opened) -> None:
    tab = opened.tab
    tab.get_by_text("Plots", exact=True).click()
    tab.locator(".object-plot rect.bar-pass").first.wait_for()
    opened.choose("Measurement")
    tab.get_by_role("option", name="mean intensity, channel 1", exact=True).click()
    plot = tab.locator(".object-plot svg")
    plot.locator("text", has_text="mean intensity, channel 1").wait_for()
    plot.scroll_into_view_if_needed()  # after the part has opened
    box = plot.bounding_box()
    # A drag over the right half keeps the objects that are bright in the first channel.
    tab.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.999, box["y"] + 90, steps=4)
    tab.mouse.up()
    tab.get_by_text("7 of 13 objects pass the filters.").wait_for()
    ids = tab.evaluate(
        "[...document.querySelectorAll('.objects tbody tr')].map(r => Number(r.dataset.id))"
    )
    assert sorted(ids) == [2, 6, 8, 10, 12, 14, 16]
    opened.check("Image", False)
    opened.wait_for_pixel(6.5, 6.5, [0, 0, 0])  # object 1 is hidden
    assert opened.pixel(6.5, 18.5) != [0, 0, 0]
    opened.choose("Against")
    tab.get_by_role("option", name="total intensity, channel 2", exact=True).click()
    points = tab.locator(".object-plot circle.point")
    points.first.wait_for()
    assert points.count() == 13
    assert tab.locator(".object-plot circle.off").count() == 6


def test_a_volume_is_seen_from_the_side(browser: Any, served: Interface) -> None:
    page = Opened(browser, served, "/results?run=3d/job/results/job_1")
    page.check("Side views", True)
    page.until("document.querySelectorAll('canvas[data-drawn]').length == 3")
    box = page.tab.locator("canvas").first.bounding_box()
    page.tab.mouse.click(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2 + 3)
    page.until("document.querySelectorAll('canvas')[1].dataset.drawn?.endsWith('/24')")
    side = page.tab.locator("canvas").nth(1).bounding_box()
    page.tab.mouse.click(side["x"] + side["width"] / 2, side["y"] + side["height"] / 2 + 2)
    page.tab.get_by_text("slice 3 of 4").wait_for()
    page.close()


def test_two_fingers_zoom_and_one_scrolls(browser: Any, served: Interface) -> None:
    page = Opened(
        browser, served, RUN,
        viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True,
    )  # fmt: skip
    tab = page.tab
    check_width(tab, 390)
    tab.locator("canvas").scroll_into_view_if_needed()
    box = tab.locator("canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(tab)

    def send(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": a, "y": b, "id": i} for i, (a, b) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
        tab.wait_for_timeout(60)

    def bar() -> float:
        length, pixels = tab.evaluate("document.querySelector('canvas').dataset.bar").split()
        return float(pixels) / float(length)

    def wait_for_rest() -> None:
        """Wait until the page does not scroll any more."""
        positions = [0.0, 1.0]
        while len(set(positions[-5:])) > 1:
            tab.wait_for_timeout(100)
            positions.append(tab.evaluate("scrollY"))

    wait_for_rest()
    before, top = bar(), tab.evaluate("scrollY")
    send("touchStart", (x, y))
    for step in range(1, 9):
        send("touchMove", (x, y - 12 * step))
    send("touchEnd")
    tab.wait_for_function("top => scrollY > top", arg=top)
    wait_for_rest()
    assert bar() == before  # the page has scrolled, the image has not moved
    box = tab.locator("canvas").bounding_box()
    y = box["y"] + box["height"] / 2
    top = tab.evaluate("scrollY")
    send("touchStart", (x - 30, y), (x + 30, y))
    for step in range(1, 7):
        send("touchMove", (x - 30 - 10 * step, y), (x + 30 + 10 * step, y))
    send("touchEnd")
    until(tab, lambda: bar() == pytest.approx(3 * before, rel=0.15))
    assert tab.evaluate("scrollY") == top
    assert tab.evaluate("visualViewport.scale") == 1
    page.close()


def test_objects_are_exported_and_read_back(opened: Opened, served: Interface) -> None:
    tab = opened.tab
    tab.get_by_text("Export all images").click()
    click(tab, "Export to this folder")
    tab.get_by_text("1 file written to 2d/job/results/job_1/exports").wait_for()
    folder = served.folder / "2d/job/results/job_1/exports"
    with zipfile.ZipFile(folder / "bad_rois.zip") as archive:
        assert len(archive.namelist()) == 13
    click(tab, "Export to this folder")
    alert = tab.get_by_role("alert").filter(has_text="already exists")
    alert.wait_for()
    assert "--" not in alert.inner_text()
    opened.choose("Format")
    tab.get_by_role("option", name="QuPath").click()
    with tab.expect_download() as download:
        click(tab, "Download")
    features = json.loads(Path(download.value.path()).read_text())["features"]
    assert len(features) == 13


def test_two_runs_are_compared(browser: Any, served: Interface) -> None:
    first, second = "2d/job/results/job_1", "other/job/results/job_2"
    page = Opened(browser, served, f"/compare?run={first}&other={second}")
    page.until("document.querySelectorAll('canvas[data-drawn]').length == 2")
    row = page.tab.locator("table").last.locator("tr", has_text="objects found")
    assert row.locator("td").all_inner_texts() == ["13", "15"]
    row = page.tab.locator("table").last.locator("tr", has_text="objects that match")
    assert row.locator("td").all_inner_texts() == ["12", "12"]
    bars = "[...document.querySelectorAll('canvas')].map(c => c.dataset.bar)"
    before = page.tab.evaluate(bars)
    page.tab.locator("canvas").first.focus()
    for _ in range(4):
        page.tab.keyboard.press("+")

    def is_linked() -> bool:
        first, second = page.tab.evaluate(bars)
        return bool(first == second != before[0])

    until(page.tab, is_linked)
    page.close()
