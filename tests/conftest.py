"""Folders that test processes share, and a browser for tests of pages."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from singula.util.messages import print_messages
from singula.util.signals import INTERRUPTION

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def pytest_configure() -> None:
    """Start worker processes as on macOS and Windows if the variable is ``spawn``."""
    method = os.environ.get("SINGULA_TEST_START_METHOD")
    if method:
        multiprocessing.set_start_method(method, force=True)


def pytest_collection_finish() -> None:
    """Exclude the many collected tests from garbage collection: the code under test starts it."""
    gc.collect()
    gc.freeze()


MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(autouse=True)
def _no_interruption() -> Iterator[None]:
    """Forget an interruption of a command that the test called in this process."""
    yield
    INTERRUPTION.received = INTERRUPTION.deferred_signal = None
    INTERRUPTION.announced = False


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """Messages that are logged during the test, in order."""
    lines: list[str] = []
    with print_messages(lines.append):
        yield lines


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Return a function that fills a folder once per session, for all processes of xdist."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def folder_of(name: str, fill: Callable[[Path], object]) -> Path:
        folder, complete = base / name, base / f"{name}.complete"
        with FileLock(base / f"{name}.lock"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                complete.touch()
        return folder

    return folder_of


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no browser test: `pip install playwright` is missing"
    )
    if CHROMIUM is None:
        pytest.skip("no browser test: `apt-get install chromium` is missing")
    with playwright.sync_playwright() as tools:
        found = tools.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def whole_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page that is one file, without a network, and see that all of it is there.

    Its pictures are, it is not wider than the window, its colours follow the system, and nothing
    is said in the console.
    """
    contexts = []

    def look(page: Path, scheme: str, width: int) -> Any:
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 844}, offline=True
        )
        contexts.append(context)
        tab = context.new_page()
        messages: list[str] = []
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.on("requestfailed", lambda request: messages.append(request.url[:80]))
        tab.goto(page.as_uri())
        for folded in tab.query_selector_all("summary"):
            folded.click()
        assert tab.evaluate("document.images.length") > 10
        tab.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth)")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper != "rgb(255, 255, 255)") == (scheme == "dark")
        assert messages == []
        return tab

    yield look
    for context in contexts:
        context.close()
