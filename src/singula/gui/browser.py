"""Open the browser without exposing the access token to other users of the machine."""

from __future__ import annotations

import html
import os
import shutil
import socket
import tempfile
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="referrer" content="no-referrer">'
    '<meta http-equiv="refresh" content="0; url={address}"><title>Singula</title>'
    '<body><a href="{address}">Open Singula</a></body></html>'
)
_START_SECONDS, _FILE_SECONDS = 60.0, 120.0


class BrowserStart:
    """Browser start through a private file that redirects to the address.

    Every user of a machine can read the arguments of all processes. The arguments of the browser
    therefore contain only the name of a file that only its owner can read. The file contains the
    address with the token. It is deleted after a request with the token, after two minutes, or when
    the server ends.

    Parameters
    ----------
    address : str
        Complete address with the token.
    port : int
        Port of the server; the browser starts after the server accepts connections.
    """

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="singula-browser")

    def start(self) -> None:
        """Start the browser in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Delete the file, or do not start the browser."""
        self._done.set()

    def _run(self) -> None:
        if not self._wait_for_server():
            return
        folder = Path(tempfile.mkdtemp(prefix="singula-"))  # mode 0700
        try:
            page = write_redirect(folder, self.address)
            with suppress(webbrowser.Error):
                webbrowser.open(page.as_uri())
            self._done.wait(_FILE_SECONDS)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _wait_for_server(self) -> bool:
        for _ in range(int(_START_SECONDS / 0.1)):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return True
            if self._done.wait(0.1):
                return False
        return False


def write_redirect(folder: Path, address: str) -> Path:
    """Write a page that redirects to an address, readable only for its owner.

    Parameters
    ----------
    folder : Path
        An existing folder.
    address : str
        Address with the token.

    Returns
    -------
    Path
        Path of the page.
    """
    path = folder / "open.html"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(_PAGE.format(address=html.escape(address)))
    return path
