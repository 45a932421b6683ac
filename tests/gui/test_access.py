"""Access control by the token, tested without a web framework."""

import asyncio
from typing import Any

import pytest

from singula.gui.access import AccessMiddleware
from singula.gui.session import Session

SESSION = Session(8000, "right-token", "right-cookie")
HOST = (b"host", b"127.0.0.1:8000")


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


class Visitor:
    def __init__(self) -> None:
        self.gate = AccessMiddleware(application, session=SESSION)

    def __call__(self, path: str = "/", query: str = "", *headers: Any, kind: str = "http",
                 method: str = "GET") -> list[dict[str, Any]]:  # fmt: skip
        told: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            told.append(message)

        scope = {"type": kind, "method": method, "path": path, "query_string": query.encode(),
                 "headers": list(headers) or [HOST]}  # fmt: skip
        asyncio.run(self.gate(scope, receive, send))
        return told

    def cookie(self) -> tuple[bytes, bytes]:
        told = self("/", "token=right-token")
        header = dict(told[0]["headers"])[b"set-cookie"].decode()
        assert "HttpOnly" in header
        assert "SameSite=Strict" in header
        return b"cookie", header.partition(";")[0].encode()


@pytest.fixture
def visit() -> Visitor:
    return Visitor()


def test_the_token_is_exchanged_for_a_cookie(visit: Visitor) -> None:
    told = visit("/run", "token=right-token&run=a%26b")
    assert told[0]["status"] == 200
    body = told[1]["body"].decode()
    assert "right-token" not in body
    assert 'url=/run?run=a%26b"' in body
    assert visit("/", "", HOST, visit.cookie())[1]["body"] == b"inside"


def test_the_address_is_escaped(visit: Visitor) -> None:
    body = visit('//evil.example/"><script>', "token=right-token&a=%22%3E%3Cb")[1]["body"].decode()
    assert "<script" not in body
    assert "<b" not in body.replace("<body", "")
    assert "url=/evil.example" in body


@pytest.mark.parametrize("query", ["", "token=", "token=wrong", "token=right-token2", "token=é"])
def test_requests_without_the_token_are_refused(visit: Visitor, query: str) -> None:
    told = visit("/tile/x", query)
    assert told[0]["status"] == 403
    assert b"inside" not in told[1]["body"]


def test_an_invented_cookie_is_refused(visit: Visitor) -> None:
    for value in (b"singula_8000=x", b"singula_8000=", b"singula_8000=right-token", b"=;;=\xff"):
        assert visit("/", "", HOST, (b"cookie", value))[0]["status"] == 403


@pytest.mark.parametrize(
    "other",
    ['prefs={"theme":"dark"}', "other=a b", "other=é", "=", "a,b=c", '"', "singula_8000=old",
     "singula_80000=x", "$Version=1"],
)  # fmt: skip
def test_cookies_of_other_programs_are_ignored(visit: Visitor, other: str) -> None:
    name, ours = visit.cookie()
    for sent in (other.encode(), other.encode("latin-1")):
        for text in (sent + b"; " + ours, ours + b"; " + sent, sent + b";" + ours + b";" + sent):
            assert visit("/", "", HOST, (name, text))[1]["body"] == b"inside"
        assert visit("/", "", HOST, (name, sent))[0]["status"] == 403
        inside = sent + b"=" + ours.replace(b"singula_8000=", b"")  # right value, other name
        if b"singula_8000" not in inside:
            assert visit("/", "", HOST, (name, inside))[0]["status"] == 403


def test_websockets_need_the_cookie_too(visit: Visitor) -> None:
    refused = visit("/_nicegui_ws/socket.io", "token=right-token", kind="websocket")
    assert refused == [{"type": "websocket.close", "code": 1008}]
    cookie = visit.cookie()
    assert visit("/", "", HOST, cookie, kind="websocket")[0]["type"] == "websocket.accept"
    elsewhere = (b"origin", b"http://127.0.0.1:9999")
    told = visit("/", "", HOST, cookie, elsewhere, kind="websocket")
    assert told[0]["type"] == "websocket.close"


def test_requests_of_other_origins_are_refused(visit: Visitor) -> None:
    cookie, origin = visit.cookie(), (b"origin", b"https://evil.example")
    assert visit("/", "", HOST, cookie, origin, method="POST")[0]["status"] == 403
    own = (b"origin", b"http://127.0.0.1:8000")
    assert visit("/", "", HOST, cookie, own, method="POST")[0]["status"] == 200


def test_another_host_name_is_refused(visit: Visitor) -> None:
    rebound = (b"host", b"evil.example:8000")
    assert visit("/", "", rebound, visit.cookie())[0]["status"] == 403
    assert visit("/", "token=right-token", rebound)[0]["status"] == 403


def test_responses_forbid_external_assets(visit: Visitor) -> None:
    headers = dict(visit("/", "", HOST, visit.cookie())[0]["headers"])
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert headers[b"referrer-policy"] == b"no-referrer"
