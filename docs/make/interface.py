"""Take screenshots of the browser interface: `python docs/make/interface.py FOLDER [PAGE ...]`.

FOLDER contains the results of `singula demo -o FOLDER` and `singula demo --3d -o FOLDER`. Chromium
shows these runs in both color schemes, the page Tune after a search. PAGE is a name of `PAGES`; by
default, all are shown. The pages of a new training, `wizard`, `form` and `run`, and of segmented
images, `segment` and `correct`, use example images that the interface writes to FOLDER. The page
`welcome` is shown for a folder without earlier results; the training of the page `run` continues
afterwards.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from PIL import Image

HERE = Path(__file__).parents[1]
TRAINING = "results/example_2d/results/example_2d_1"
RUN = "{}/demo/results/demo_1"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
DRAWN = "document.querySelector('canvas')?.dataset.drawn"


def main(folder: Path, pages: Sequence[str] = (), target: Path = HERE) -> list[Path]:
    """Serve the folder, take a screenshot of each page, stop the server, and return the paths."""
    written = []
    with _browser(folder) as (browser, address):
        for scheme in ("light", "dark"):
            for name in pages or PAGES:
                height, show = PAGES[name]
                tab = browser.new_page(
                    color_scheme=scheme, viewport={"width": 1280, "height": height}
                )
                tab.set_default_timeout(600_000)
                _enter(tab, address)
                show(tab)
                tab.mouse.move(0, 0)
                tab.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
                tab.wait_for_timeout(500)
                path = target / f"gui_{name}_{scheme}.png"
                tab.screenshot(path=path)
                Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
                written.append(path)
    return written


@contextmanager
def _browser(folder: Path) -> Iterator[tuple[Any, str]]:
    """Yield a browser, and the address of the interface with its token."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "singula.cli", "gui", "--no-browser", "--root", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http\S+", server.stdout.readline() if server.stdout else "")
        with sync_playwright() as tools:
            executable = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = tools.chromium.launch(executable_path=executable, args=ARGUMENTS)
            yield browser, address[0] if address else ""
            browser.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def _enter(tab: Any, address: str) -> None:
    from playwright.sync_api import Error

    for _ in range(100):  # the server prints its address before it listens
        try:
            tab.goto(address)
            break
        except Error:
            tab.wait_for_timeout(100)
    tab.wait_for_url(lambda url: "token" not in url)


def _open(tab: Any, page: str, kind: str) -> None:
    tab.goto(urljoin(tab.url, f"/{page}?run={RUN.format(kind)}"))
    tab.wait_for_function(DRAWN)


def _image(tab: Any) -> None:
    """Show the outlines of the ground truth, and an object selected in the table."""
    _open(tab, "results", "2d")
    tab.get_by_role("checkbox", name="My labels").click()
    tab.locator(".objects tbody tr").nth(18).click()
    tab.locator(".objects tr.selected").wait_for()
    tab.get_by_role("button", name="Show the whole image").click()
    tab.wait_for_timeout(500)


def _volume(tab: Any) -> None:
    """Show the matches in a slice away from the middle."""
    _open(tab, "results", "3d")
    tab.get_by_role("checkbox", name="Compare", exact=True).click()
    before = tab.evaluate(DRAWN)
    tab.locator("canvas").focus()
    for _ in range(3):
        tab.keyboard.press("PageUp")
    tab.wait_for_function(f"before => {DRAWN} != before", arg=before)
    tab.wait_for_timeout(1000)


def _search(tab: Any) -> None:
    """Set the sliders to the thresholds of a search; start the search if there is none."""
    _open(tab, "tune", "2d")
    button = tab.get_by_role("button", name="Set the sliders to the best settings")
    if not button.count():
        tab.get_by_role("button", name="Find best settings", exact=True).click()
        button.wait_for()
    button.click()
    tab.wait_for_function(f"{DRAWN} != '0/0'")
    tab.locator(".q-notification").wait_for()
    tab.locator(".q-notification").wait_for(state="detached")
    tab.get_by_text("Mean of all").wait_for()


def _welcome(tab: Any) -> None:
    """Show the first page."""
    tab.goto(urljoin(tab.url, "/new"))
    tab.get_by_role("button", name="Segment", exact=True).wait_for()


def _wizard(tab: Any) -> None:
    """Show the checked example images."""
    tab.goto(urljoin(tab.url, "/new"))
    tab.get_by_role("button", name="Create 2D example data").click()
    tab.wait_for_url("**/new?start=1**")
    tab.locator(".q-stepper__tab", has_text="3. Data").click()
    tab.get_by_role("button", name="Check my images").click()
    tab.get_by_text("No problems: the data are fine").wait_for()
    tab.locator(".thumb img").last.wait_for()


def _form(tab: Any) -> None:
    """Show the suggested settings."""
    _wizard(tab)
    tab.locator(".q-stepper__tab", has_text="5. Training").click()
    tab.get_by_role("button", name="Suggest settings").click()
    tab.get_by_text("choices and their reasons").wait_for()


def _training(tab: Any) -> None:
    """Show a training after some epochs; it is started if it does not exist."""
    tab.goto(urljoin(tab.url, f"/run?run={TRAINING}"))
    tab.locator("h1").first.wait_for()
    if tab.get_by_role("alert").count():
        _form(tab)
        tab.get_by_role("button", name="Save and run", exact=True).click()
        tab.wait_for_url("**/run?run=**")
    tab.locator(".log", has_text="epoch 8/").wait_for()
    tab.locator(".chart").first.wait_for()


def _segment(tab: Any) -> None:
    """Show segmented images; they are segmented first."""
    tab.goto(urljoin(tab.url, "/segment?run=example_instances"))
    tab.locator("h1").first.wait_for()
    if tab.get_by_role("alert").count():
        _wizard(tab)
        tab.goto(urljoin(tab.url, "/segment"))
        field = tab.get_by_role("textbox", name="Image, or folder of images")
        field.fill("example_2d/test/x")
        field.blur()
        folder = tab.get_by_role("textbox", name="New folder for the results")
        folder.fill("example_instances")
        tab.get_by_role("button", name="Segment", exact=True).click()
        tab.wait_for_url("**/segment?run=**")
    tab.wait_for_function(DRAWN)


def _correct(tab: Any) -> None:
    """Show the least certain object of an image."""
    _segment(tab)
    tab.get_by_role("link", name="Correct objects", exact=True).click()
    tab.wait_for_url("**/correct?**")
    tab.wait_for_function(DRAWN)


PAGES = {
    "welcome": (760, _welcome),
    "wizard": (860, _wizard),
    "form": (860, _form),
    "run": (686, _training),
    "segment": (860, _segment),
    "correct": (860, _correct),
    "results": (860, _image),
    "results_3d": (860, _volume),
    "tune": (1722, _search),
}


if __name__ == "__main__":
    print(*main(Path(sys.argv[1]), sys.argv[2:]), sep="\n")
