"""Access control: requests need the token or the cookie of the session."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from singula.gui.session import Session

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The browser loads nothing from other addresses, and no page of another address can embed this one.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
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
    "printed when it started. Open the complete address from the terminal, "
    "<code>http://127.0.0.1:…/?token=…</code>.</p>"
)


class AccessMiddleware:
    """Middleware that passes requests and websockets with the token or cookie, and refuses others.

    The first address contains the token. The response sets a cookie and reloads the page without
    the token, which therefore does not appear in links and screenshots. Requests with another host
    name and requests from pages of other origins are refused.

    Parameters
    ----------
    app : ASGI application
        The protected application.
    session : Session
        Port and secrets of the application.
    on_entry : callable, optional
        Called after a request with the token.
    """

    def __init__(
        self, app: App, *, session: Session, on_entry: Callable[[], None] | None = None
    ) -> None:
        self.app = app
        self.token, self.session = session.token, session.cookie
        self.on_entry = on_entry
        self.cookie = f"singula_{session.port}"
        self.hosts = {f"127.0.0.1:{session.port}", f"localhost:{session.port}"}
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass or refuse one request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers: dict[str, list[str]] = {}
        for key, value in scope["headers"]:
            headers.setdefault(key.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        if not self._is_same_origin(headers):
            await self._refuse(scope, receive, send)
        elif self._has_cookie(";".join(headers.get("cookie", []))):
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "http" and self._has_token(scope):
            await self._send_cookie(scope, send)
        else:
            await self._refuse(scope, receive, send)

    def _is_same_origin(self, headers: dict[str, list[str]]) -> bool:
        """Return True if the request has this host, and no page of another origin sent it.

        Other ports of this machine belong to other programs, but share the cookies. Browsers send
        the origin of the page in `Origin` or `Sec-Fetch-Site`. Links from other pages pass, because
        the other page cannot read the response to a navigation.
        """
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return False
        if len(origins) > 1 or not self.origins.issuperset(origins):
            return False
        sites = set(headers.get("sec-fetch-site", []))
        return sites <= {"same-origin", "none"} or headers.get("sec-fetch-mode") == ["navigate"]

    def _has_cookie(self, text: str) -> bool:
        # Cookies of other programs on this host may be malformed, which stops a strict parser.
        pairs = (part.strip().partition("=") for part in text.split(";"))
        return any(
            name == self.cookie and _is_secret(value, self.session) for name, _, value in pairs
        )

    def _has_token(self, scope: Scope) -> bool:
        token = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token", "")
        return _is_secret(token, self.token)

    async def _send_cookie(self, scope: Scope, send: Send) -> None:
        """Send a page that sets the cookie and opens the address without the token.

        After a link from another page, the browser would not send a strict cookie with a redirect.
        It sends the cookie if this page navigates.
        """
        query = parse_qsl(scope["query_string"].decode("latin-1"))
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # `//host` and `/\host` lead to another host, so the path has one slash and is quoted.
        path = "/" + quote(scope["path"].lstrip("/"), safe="/", errors="replace")
        target = path + (f"?{rest.replace('&', '&amp;')}" if rest else "")
        cookie = f"{self.cookie}={self.session}; Path=/; HttpOnly; SameSite=Strict"
        head = f'<meta http-equiv="refresh" content="0; url={target}">'
        await _respond(
            send, 200, _PAGE.format(head=head, body=""), [(b"set-cookie", cookie.encode())]
        )
        if self.on_entry is not None:
            self.on_entry()

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await _respond(send, 403, _PAGE.format(head="", body=_DENIED), [])


def _is_secret(value: str, secret: str) -> bool:
    """Compare in a time that does not depend on the number of correct characters."""
    return hmac.compare_digest(value.encode("utf-8", "replace"), secret.encode())


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            # The socket server allows every origin to read its responses.
            headers = [
                (name, value)
                for name, value in message.get("headers", [])
                if not name.lower().startswith(b"access-control-")
            ]
            message["headers"] = [*headers, *_HEADERS]
        await send(message)

    return send_with_headers


async def _respond(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]]) -> None:
    body = text.encode()
    content = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*content, *_HEADERS, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
