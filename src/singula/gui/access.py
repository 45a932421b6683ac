"""Who may talk to the interface: whoever knows the token of its address."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Whatever a page may try, the browser loads nothing from elsewhere and shows it in no other page.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="color-scheme" content="light dark">{head}<title>Singula</title>'
    '<body style="font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; '
    'padding: 0 1rem">{body}</body></html>'
)
_DENIED = (
    "<h1>Singula: no access</h1><p>This address needs the token that <code>singula gui</code> "
    "printed when it started. Open the whole address from the terminal, "
    "<code>http://127.0.0.1:…/?token=…</code>.</p>"
)


class Gate:
    """Lets a request or a websocket through when it brings the token or the cookie for it.

    The token stands in the first address; the answer sets a cookie, and a page goes on without the
    token, so that it stays out of links and screenshots. Requests under another name of this
    machine, and writing ones that a page of another address sent, are refused.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    token : str
    port : int
        Where the application listens.
    """

    def __init__(self, app: App, *, token: str, port: int) -> None:
        self.app = app
        self.token = token
        self.cookie = f"singula_{port}"
        self.session = secrets.token_urlsafe(32)
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        if not self._is_ours(scope, headers):
            await self._refuse(scope, receive, send)
        elif self._has_cookie(headers.get("cookie", "")):
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "http" and self._has_token(scope):
            await self._welcome(scope, send)
        else:
            await self._refuse(scope, receive, send)

    def _is_ours(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Sent to this address and, where the browser says from where, by a page of it."""
        if headers.get("host", "") not in self.hosts:
            return False
        origin = headers.get("origin")
        harmless = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        return origin is None or harmless or urlsplit(origin).netloc in self.hosts

    def _has_cookie(self, text: str) -> bool:
        # Every program on this address may have set cookies; a parser stops at what it cannot read.
        pairs = (part.strip().partition("=") for part in text.split(";"))
        return any(name == self.cookie and _same(value, self.session) for name, _, value in pairs)

    def _has_token(self, scope: Scope) -> bool:
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token", "")
        return _same(given, self.token)

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """Set the cookie, then open the page without the token.

        A redirect would still belong to the navigation from elsewhere, for which the browser keeps
        a strict cookie back; a page that goes on by itself does not.
        """
        query = parse_qsl(scope["query_string"].decode("latin-1"))
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        place = "/" + scope["path"].lstrip("/").replace('"', "%22").replace("<", "%3C")
        target = place + (f"?{rest.replace('&', '&amp;')}" if rest else "")
        cookie = f"{self.cookie}={self.session}; Path=/; HttpOnly; SameSite=Strict"
        head = f'<meta http-equiv="refresh" content="0; url={target}">'
        await _answer(
            send, 200, _PAGE.format(head=head, body=""), [(b"set-cookie", cookie.encode())]
        )

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await _answer(send, 403, _PAGE.format(head="", body=_DENIED), [])


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def _same(given: str, wanted: str) -> bool:
    # Takes as long for a nearly right token as for a wrong one.
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _with_headers(send: Send) -> Send:
    async def more(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return more


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]]) -> None:
    body = text.encode()
    about = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send(
        {"type": "http.response.start", "status": status, "headers": [*about, *_HEADERS, *headers]}
    )
    await send({"type": "http.response.body", "body": body})
