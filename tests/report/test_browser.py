"""The report in a real browser; skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_run import MadeRun, cells, without

from singula.report.build import build_report

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no browser test: `pip install playwright` is missing"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser test: `apt-get install chromium` is missing"
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as tools:
        found = tools.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module", params=[2, 3])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = cells(request.param)
    long = "a_very_long_name_without_any_place_to_break_" * 3
    pred = {f"image_{i:02d}": without(labels, *range(1, i)) for i in range(1, 26)}
    pred |= {long: labels, "empty": np.zeros_like(labels)}
    run = MadeRun(tmp_path_factory.mktemp("run"), pred, post=pred).write()
    return build_report(run)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_shows_itself_whole(browser, report: Path, scheme: str, width: int) -> None:
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 844}, offline=True
    )
    tab = context.new_page()
    messages: list[str] = []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("requestfailed", lambda request: messages.append(request.url[:80]))
    tab.goto(report.as_uri())
    for folded in tab.query_selector_all("summary"):
        folded.click()
    sizes = tab.evaluate("[...document.images].map(i => i.complete ? i.naturalWidth : 0)")
    assert len(sizes) > 10
    assert min(sizes) > 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    assert messages == []
    context.close()


def test_a_picture_grows_and_shrinks_again(browser, report: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 844})
    tab.goto(report.as_uri())
    picture = tab.locator("#case-0-0 img")
    before = picture.bounding_box()["width"]
    picture.click()
    assert picture.bounding_box()["width"] > 1.5 * before
    tab.click("#case-0-0 .close")
    assert picture.bounding_box()["width"] == before
    tab.close()
