"""Web server for tests of URLs, which is slow or fails on purpose."""

from __future__ import annotations

import http.client
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Fault = Callable[[str, int], str]
"""Function of the path and the number of its request, from 0, that returns one of these texts:
"", "503", "403", "cut" (the connection, in the answer), "drop" (in the request), "hang"."""


@dataclass
class StoreServer:
    """Server of a folder, or in front of another server.

    Parameters
    ----------
    folder : Path, optional
        Folder whose files are served.
    port_behind : int, optional
        Port of a server to which requests are forwarded.
    latency : float
        Seconds before each answer.
    fault : callable
        Fault of a request.
    """

    folder: Path | None = None
    port_behind: int = 0
    latency: float = 0.0
    fault: Fault = lambda path, number: ""
    requests: Counter[str] = field(default_factory=Counter)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """URL of the folder."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: _Handler) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers and the content of an answer."""
        if self.folder is None:
            return self._forward(request)
        path = self.folder / request.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            return 404, {}, b""
        content, headers = path.read_bytes(), {"Accept-Ranges": "bytes"}
        headers["Last-Modified"] = request.date_time_string(path.stat().st_mtime)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
        if asked is None:
            return 200, headers, content
        first, last, size = asked[1], asked[2], len(content)
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return 206, headers, content[start:stop]

    def _forward(self, request: _Handler) -> tuple[int, dict[str, str], bytes]:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.port_behind, timeout=60)
        try:
            connection.request(request.command, request.path, body, dict(request.headers))
            answer = connection.getresponse()
            content = answer.read()
            headers = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding", "date", "server")
            }
            return answer.status, headers, content
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and content in one packet
    disable_nagle_algorithm = True
    store: StoreServer

    def do_GET(self) -> None:
        store = self.store
        with store.lock:
            number = store.requests[self.path]
            store.requests[self.path] += 1
        if store.latency:
            time.sleep(store.latency)
        fault = store.fault(self.path, number)
        if fault == "hang":
            time.sleep(3)
        if fault == "drop":
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self.close_connection = True
            return
        status, headers, content = store.answer(self)
        if fault.isdecimal():
            status, headers, content = int(fault), {}, b""
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        if fault == "cut":
            self.close_connection = True

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *words: object) -> None:
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # connections at the same time
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing about connections that the client closed."""


@contextmanager
def serving(store: StoreServer) -> Iterator[StoreServer]:
    """Run a server in threads, and stop it at the end."""
    handler = type("Handler", (_Handler,), {"store": store})
    server = _Server(("127.0.0.1", 0), handler)
    store.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def every(period: int, kind: str) -> Fault:
    """Return a fault of every request whose number in the order of all requests is a multiple."""
    counter = itertools.count(1)
    return lambda path, number: kind if next(counter) % period == 0 else ""
