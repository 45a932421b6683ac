"""Requests to the browser interface that other pages, programs and users send."""

import asyncio
import os
import re
import stat
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singula.gui import browser
from singula.gui.access import AccessMiddleware
from singula.gui.browser import BrowserStart
from singula.gui.session import Session

HOST = (b"host", b"127.0.0.1:8000")
POLLING = "/_nicegui_ws/socket.io/"
CORS = [
    (b"access-control-allow-origin", b"https://evil.example"),
    (b"Access-Control-Allow-Credentials", b"true"),
    (b"content-type", b"text/plain"),
]


SESSION = Session(8000, "right-token", "right-cookie")


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": CORS})
    await send({"type": "http.response.body", "body": b"inside"})


def request(
    gate: AccessMiddleware, path: str, *headers: tuple[bytes, bytes], **scope: Any
) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    full = {"type": "http", "method": "GET", "path": path, "query_string": b"",
            "headers": list(headers), **scope}  # fmt: skip
    asyncio.run(gate(full, receive, send))
    return sent


def is_inside(sent: list[Any]) -> bool:
    return any(m.get("body") == b"inside" or m["type"] == "websocket.accept" for m in sent)


@pytest.fixture(scope="module")
def gate() -> AccessMiddleware:
    return AccessMiddleware(application, session=SESSION)


@pytest.fixture(scope="module")
def cookie(gate: AccessMiddleware) -> tuple[bytes, bytes]:
    return b"cookie", f"{gate.cookie}={gate.session}".encode()


FOREIGN = ["https://evil.example", "http://127.0.0.1:9999", "http://localhost", "null", "",
           "https://127.0.0.1:8000", "http://127.0.0.1:8000.evil.example", "ftp://127.0.0.1:8000",
           "http://evil@127.0.0.1:8000", "http://[", "http://[::1", "http://]:8000", "\x00",
           "http://127.0.0.1:8000/", "http://127.0.0.1:8000 https://evil.example"]  # fmt: skip


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize(
    "scope",
    [{}, {"method": "HEAD"}, {"method": "POST"}, {"method": "OPTIONS"}, {"type": "websocket"}],
    ids=str,
)
def test_foreign_and_malformed_origins_are_refused(
    gate: AccessMiddleware, cookie: tuple[bytes, bytes], origin: str, scope: dict[str, Any]
) -> None:
    header = (b"origin", origin.encode())
    assert not is_inside(request(gate, POLLING, HOST, cookie, header, **scope))
    own = (b"origin", b"http://127.0.0.1:8000")
    assert is_inside(request(gate, POLLING, HOST, cookie, own, **scope))
    assert not is_inside(request(gate, POLLING, HOST, cookie, own, header, **scope))


@given(st.binary(max_size=40), st.sampled_from([b"host", b"origin", b"cookie", b"sec-fetch-site"]))
def test_no_header_ends_in_an_error(name_value: bytes, name: bytes) -> None:
    gate = AccessMiddleware(application, session=SESSION)
    for kind in ("http", "websocket"):
        assert not is_inside(request(gate, "/", HOST, (name, name_value), type=kind))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_parts_of_foreign_pages_get_nothing(
    gate: AccessMiddleware, cookie: tuple[bytes, bytes], site: str
) -> None:
    where = (b"sec-fetch-site", site.encode())
    script, link = (b"sec-fetch-mode", b"no-cors"), (b"sec-fetch-mode", b"navigate")
    assert not is_inside(request(gate, "/tile/a", HOST, cookie, where, script))
    assert not is_inside(request(gate, "/tile/a", HOST, cookie, where))
    assert is_inside(request(gate, "/run", HOST, cookie, where, link))
    own = (b"sec-fetch-site", b"same-origin")
    assert is_inside(request(gate, "/tile/a", HOST, cookie, own, script))


@pytest.mark.parametrize(
    "hosts",
    [[], [HOST, HOST], [HOST, (b"host", b"evil.example")], [(b"Host", b"evil.example"), HOST]],
    ids=["none", "twice", "other second", "other first"],
)
def test_exactly_one_host_is_accepted(
    gate: AccessMiddleware, cookie: tuple[bytes, bytes], hosts: list[tuple[bytes, bytes]]
) -> None:
    assert not is_inside(request(gate, "/", *hosts, cookie))
    assert not is_inside(request(gate, "/", *hosts, cookie, type="websocket"))


def test_no_response_allows_other_origins(
    gate: AccessMiddleware, cookie: tuple[bytes, bytes]
) -> None:
    (start, _) = request(gate, POLLING, HOST, cookie)
    names = [name.lower() for name, _ in start["headers"]]
    assert b"content-type" in names
    assert not [name for name in names if name.startswith(b"access-control")]


def target_of(gate: AccessMiddleware, path: str, query: bytes = b"token=right-token") -> str:
    start, page = request(gate, path, HOST, query_string=query)
    assert start["status"] == 200
    return str(re.search(r'content="0; url=([^"]*)"', page["body"].decode())[1])  # type: ignore[index]


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
     "/\n/evil.example", "/\r\n\\evil.example", "/\x00/evil.example", "/ /evil.example",
     "/javascript:alert(1)", "https://evil.example", "/\u2028/evil", "/é", "", "/\udcff"],
)  # fmt: skip
def test_the_first_page_leads_to_this_server_only(gate: AccessMiddleware, path: str) -> None:
    target = target_of(gate, path)
    assert re.fullmatch(r"/(?:[\w.~/%-]*)", target, re.ASCII)
    assert not target.startswith("//")
    assert urlsplit(target).netloc == ""
    if path.isprintable() and "\udcff" not in path:
        assert unquote(target) == "/" + path.lstrip("/")


@given(st.text(max_size=30))
def test_no_path_leads_elsewhere(path: str) -> None:
    gate = AccessMiddleware(application, session=SESSION)
    assert re.fullmatch(r"/(?:[\w.~%-][\w.~/%-]*)?", target_of(gate, "/" + path), re.ASCII)


def test_the_browser_gets_a_private_file_not_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address, opened = "http://127.0.0.1:8000/?token=right-token", threading.Event()
    arguments: list[str] = []
    modes: list[int] = []
    pages: list[Path] = []

    def start_browser(argument: str) -> bool:
        path = Path(unquote(urlsplit(argument).path))
        arguments.append(argument)
        pages.append(path)
        modes.extend(stat.S_IMODE(os.lstat(p).st_mode) for p in (path, path.parent))
        assert address in path.read_text()
        opened.set()
        return True

    monkeypatch.setattr(browser.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(browser.webbrowser, "open", start_browser)
    monkeypatch.setattr(BrowserStart, "_wait_for_server", lambda self: True)
    old = os.umask(0)
    try:
        start = BrowserStart(address, 8000)
        start.start()
        assert opened.wait(60)
    finally:
        os.umask(old)
    gate = AccessMiddleware(application, session=SESSION, on_entry=start.close)
    request(gate, "/", HOST, query_string=b"token=wrong")
    assert pages[0].exists()
    request(gate, "/", HOST, query_string=b"token=right-token")
    start._thread.join(60)
    assert list(tmp_path.iterdir()) == []
    assert "right-token" not in arguments[0]
    assert modes == [0o600, 0o700]


def test_the_server_never_gives_its_token_to_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nicegui", reason="`pip install 'singula[gui]'` is missing")
    from singula.gui import server

    passed: dict[str, Any] = {}
    monkeypatch.setattr(server.ui, "run", lambda **keys: passed.update(keys))
    monkeypatch.setattr(server, "build", lambda station: None)
    monkeypatch.setattr(server, "app", _NoApp())
    server.serve([], None, browser=True)
    assert passed["show"] is False


class _NoApp:
    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **keys: None
