"""Pictures of the page Tune for the documentation: `python docs/make/interface.py FOLDER`.

FOLDER is what `singula demo -o FOLDER` has left; Chromium shows its run in both colours, after a
search of the thresholds. The pictures of the other pages were taken by hand.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).parents[1]
RUN = "2d/demo/results/demo_1"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
DRAWN = "document.querySelector('canvas')?.dataset.drawn"


def main(folder: Path, target: Path = HERE) -> list[Path]:
    """Serve the folder, search, take the pictures, and end the server."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "singula.cli", "gui", "--no-browser", "--root", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    written = [target / f"gui_tune_{scheme}.png" for scheme in ("light", "dark")]
    try:
        address = re.search(r"http\S+", server.stdout.readline() if server.stdout else "")
        with sync_playwright() as tools:
            found = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = tools.chromium.launch(executable_path=found, args=ARGUMENTS)
            for path in written:
                scheme = path.stem.rpartition("_")[2]
                tab = browser.new_page(
                    color_scheme=scheme, viewport={"width": 1280, "height": 1320}
                )
                tab.set_default_timeout(600_000)
                _enter(tab, address[0] if address else "")
                tab.goto(f"{tab.url.rpartition('/')[0]}/tune?run={RUN}")
                _search(tab)
                tab.screenshot(path=path)
                Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
            browser.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
    return written


def _enter(tab: Any, address: str) -> None:
    from playwright.sync_api import Error

    for _ in range(100):  # the server says its address a moment before it listens
        try:
            tab.goto(address)
            break
        except Error:
            tab.wait_for_timeout(100)
    tab.wait_for_url(lambda url: "token" not in url)


def _search(tab: Any) -> None:
    """Search, unless an earlier search is there, and set the sliders to what it found."""
    tab.wait_for_function(DRAWN)
    found = tab.get_by_role("button", name="Set the sliders to these")
    if not found.count():
        tab.get_by_role("button", name="Search", exact=True).click()
        found.wait_for()
    found.click()
    tab.wait_for_function(f"{DRAWN} != '0/0'")
    tab.mouse.move(0, 0)
    tab.locator(".q-notification").wait_for(state="hidden")
    tab.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    tab.wait_for_timeout(500)


if __name__ == "__main__":
    print(*main(Path(sys.argv[1])), sep="\n")
