"""Server and browser tab for tests of the interface in Chromium."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MINUTE = 60_000
TIMEOUT = 5 * MINUTE  # of each step, on a busy machine


class Interface:
    """Server `singula gui` in a separate process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "singula.cli", "gui", "--no-browser"]
        command += ["--root", str(self.folder)]
        self.log = self.folder.parent / f"{self.folder.name}.log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                # NiceGUI serves its own tests elsewhere.
                env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
                | {"OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(self.folder.parent / "state")},
            )
        for _ in range(3000):
            found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", self.log.read_text())
            if found:
                break
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        self.address = found[0]
        self.base = self.address.partition("/?")[0]
        port = int(self.base.rpartition(":")[2])
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Watcher:
    """Tab that records all requests, errors and warnings."""

    def __init__(self, context: Any) -> None:
        context.set_default_timeout(TIMEOUT)  # also of pages that the tab opens
        self.tab = context.new_page()
        self.urls: list[str] = []
        self.troubles: list[str] = []
        self.tab.on("request", lambda request: self.urls.append(request.url))
        self.tab.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.tab.on("console", self._said)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)

    def check(self) -> None:
        outside = ("http://127.0.0.1:", "data:", "blob:")
        assert [url for url in self.urls if not url.startswith(outside)] == []
        assert self.troubles == []


def enter(interface: Interface, watcher: Watcher) -> Any:
    watcher.tab.goto(interface.address)
    watcher.tab.wait_for_url(lambda url: "token" not in url)
    connected(watcher.tab)
    return watcher.tab


def connected(tab: Any) -> None:
    """Wait until the page is connected: NiceGUI sends earlier events in any order."""
    tab.wait_for_function("window.did_handshake")


def click(tab: Any, name: str, role: str = "button") -> None:
    tab.get_by_role(role, name=name, exact=True).click()


def open_page(interface: Interface, tab: Any, path: str) -> None:
    tab.goto(interface.base + path)
    tab.locator("main h1").first.wait_for()
    connected(tab)


def until(tab: Any, is_reached: Callable[[], bool]) -> None:
    """Wait until a condition outside of the page is true."""
    for _ in range(TIMEOUT // 100):
        if is_reached():
            return
        tab.wait_for_timeout(100)
    raise AssertionError("the condition is not reached")


def check_width(tab: Any, width: int) -> None:
    """Wait until the page is not wider than the window."""
    script = "width => document.documentElement.scrollWidth <= width"
    tab.wait_for_function(script, arg=width)


def drawn(tab: Any) -> str:
    """Return version and slice after the picture is complete."""
    tab.wait_for_function("document.querySelector('canvas')?.dataset.drawn")
    return str(tab.evaluate("document.querySelector('canvas').dataset.drawn"))
