"""Show the report in a real browser, if one is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_run import ExampleRun, cells, without
from selection import fast_first

from singula.report.build import build_report

pytestmark = pytest.mark.xdist_group("report page")


@pytest.fixture(scope="module", params=fast_first([2, 3]))
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = cells(request.param)
    long = "a_very_long_name_without_any_place_to_break_" * 3
    pred = {f"image_{i:02d}": without(labels, *range(1, i)) for i in range(1, 26)}
    pred |= {long: labels, "empty": np.zeros_like(labels)}
    run = ExampleRun(tmp_path_factory.mktemp("run"), pred, post=pred).write()
    return build_report(run)


@pytest.mark.parametrize("scheme", fast_first(["light", "dark"]))
@pytest.mark.parametrize("width", fast_first([390, 1280]))
def test_the_whole_page_is_displayed(whole_page, report: Path, scheme: str, width: int) -> None:
    whole_page(report, scheme, width)


def test_a_click_enlarges_a_picture(browser, report: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 844})
    tab.goto(report.as_uri())
    picture = tab.locator("#case-0-0 img")
    before = picture.bounding_box()["width"]
    width = "document.querySelector('#case-0-0 img').getBoundingClientRect().width"
    picture.click()
    tab.wait_for_function(f"before => {width} > 1.5 * before", arg=before)
    tab.click("#case-0-0 .close")
    tab.wait_for_function(f"before => {width} == before", arg=before)
    tab.close()


def test_a_click_selects_the_methods(browser, report: Path) -> None:
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto(report.as_uri())
    paragraph = tab.locator(".copy").first
    paragraph.click(position={"x": 30, "y": 20})
    selected = tab.evaluate("getSelection().toString()")
    assert " ".join(selected.split()) == " ".join(paragraph.inner_text().split())
    tab.close()
