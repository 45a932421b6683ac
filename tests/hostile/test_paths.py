"""Files that are no regular files, too large, links or not text."""

import os
import socket
from pathlib import Path

import pytest

from singula.config import load_config
from singula.errors import UserError
from singula.paths import open_regular, read_text_file


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path)


SPECIAL = [_fifo, _socket, _device, _loop, Path.mkdir, lambda path: None]
NAMES = ["pipe", "socket", "device", "loop", "folder", "missing"]


@pytest.mark.parametrize("make", SPECIAL, ids=NAMES)
def test_only_regular_files_are_opened(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.yaml"
    make(path)
    for read in (open_regular, lambda p: read_text_file(p, 100), load_config):
        with pytest.raises(UserError) as error:
            read(path)
        assert error.value.code in ("paths.not_a_file", "paths.unreadable")


def test_sizes_links_and_texts(tmp_path: Path) -> None:
    path, link = tmp_path / "text", tmp_path / "link"
    path.write_bytes("aé\r\n".encode())
    link.symlink_to(path)
    assert read_text_file(path, 5) == read_text_file(link, 5) == "aé\r\n"
    with open_regular(path) as file:
        assert file.read() == "aé\r\n".encode()
    for given, limit, follow, code in (
        (path, 4, True, "paths.too_large"),
        (link, 5, False, "paths.symbolic_link"),
        ("a\0b", 5, True, "paths.unreadable"),
        (tmp_path / ("x" * 300), 5, True, "paths.unreadable"),
    ):
        with pytest.raises(UserError) as error:
            read_text_file(given, limit, follow_links=follow)
        assert error.value.code == code
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError) as error:
        read_text_file(path, 5)
    assert error.value.code == "paths.not_text"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_a_file_without_a_size_is_limited_too() -> None:
    with pytest.raises(UserError) as error:
        read_text_file("/proc/self/status", 10)
    assert error.value.code == "paths.too_large"
