"""Port and secrets of the server, which a restart for the same folders uses again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from singula.errors import UserError
from singula.util.paths import open_regular
from singula.util.state import state_folder

_SECRET = re.compile(r"[A-Za-z0-9_-]{32,64}")
_MAX_BYTES = 4096


@dataclass(frozen=True)
class Session:
    """Port and secrets of a server.

    Parameters
    ----------
    port : int
        Port of the server.
    token : str
        Secret of the first address.
    cookie : str
        Secret of the cookie, which a browser gets with the first address.
    """

    port: int
    token: str
    cookie: str


def new_session(port: int) -> Session:
    """Return a session with random secrets of 192 and 256 bits."""
    return Session(port, secrets.token_urlsafe(24), secrets.token_urlsafe(32))


def session_file(roots: Iterable[Path]) -> Path:
    """Return the file of the session for these folders, in the user's folder for states.

    Parameters
    ----------
    roots : iterable of Path
        Resolved folders that the interface may open; their order does not matter.

    Raises
    ------
    RuntimeError
        The user has no home folder.
    """
    text = "\0".join(sorted(map(str, roots)))
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return state_folder() / f"gui_{digest}.json"


def read_session(path: Path) -> Session | None:
    """Return the session of an earlier server; None if there is none, or others could read it.

    Parameters
    ----------
    path : Path
        File from `session_file`.
    """
    with suppress(OSError, UserError, ValueError, TypeError, KeyError):
        with open_regular(path, follow_links=False) as file:
            status = os.fstat(file.fileno())
            if sys.platform != "win32" and (
                status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077
            ):
                return None
            content = json.loads(file.read(_MAX_BYTES))
        session = Session(content["port"], content["token"], content["cookie"])
        is_port = type(session.port) is int and 0 < session.port < 2**16
        if is_port and all(map(_SECRET.fullmatch, (session.token, session.cookie))):
            return session
    return None


def write_session(path: Path, session: Session) -> None:
    """Write a session so that only the user can read it; do nothing if this is impossible.

    Parameters
    ----------
    path : Path
        File from `session_file`.
    session : Session
        Session of this server.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(session), file)
        temporary.replace(path)
