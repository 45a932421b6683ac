"""Port and secrets of the server after a restart."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="no test of pages: `pip install 'singula[gui]'` is missing")

from singula.errors import UserError
from singula.gui.server import open_session
from singula.gui.session import new_session, read_session, session_file, write_session


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return [tmp_path / "a", tmp_path / "b"]


def test_a_restart_has_the_same_port_and_secrets(roots: list[Path]) -> None:
    first = open_session(roots, None)
    assert open_session(roots[::-1], None) == first
    assert open_session(roots, first.port) == first
    other = open_session(roots[:1], None)
    assert {other.token, other.cookie}.isdisjoint({first.token, first.cookie})


def test_another_server_for_the_same_folders_has_other_secrets(roots: list[Path]) -> None:
    first = open_session(roots, None)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", first.port))
        server.listen()
        second = open_session(roots, None)
        assert second.port != first.port
        assert second.token != first.token
        with pytest.raises(UserError) as error:
            open_session(roots, first.port)
        assert error.value.code == "gui.port"
    assert open_session(roots, None) == first


def test_another_port_has_other_secrets(roots: list[Path]) -> None:
    first = open_session(roots, None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert open_session(roots, free).token != first.token


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_only_the_user_can_read_the_file(roots: list[Path]) -> None:
    session = open_session(roots, None)
    file = session_file(roots)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_session(file) == session
    file.chmod(0o644)
    assert read_session(file) is None
    assert open_session(roots, None).token != session.token


@pytest.mark.parametrize(
    "change",
    [{"port": 0}, {"port": "80"}, {"port": True}, {"token": "x"}, {"token": None}, {"cookie": 5}],
)
def test_a_damaged_file_is_not_used(roots: list[Path], change: dict[str, object]) -> None:
    session, file = new_session(8000), session_file(roots)
    write_session(file, session)
    assert read_session(file) == session
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert read_session(file) is None


def test_without_a_writable_folder_the_server_starts(
    roots: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert open_session(roots, None).token
    assert new_session(1).cookie != new_session(1).cookie
