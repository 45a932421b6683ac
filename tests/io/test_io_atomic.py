"""Files are written completely or not at all; an existing file is kept."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from singula.errors import UserError
from singula.io.atomic import atomic_folder, atomic_path, remove_leftovers
from singula.io.write import write_csv, write_json, write_npy, write_text, write_tiff

BIG = np.random.default_rng(0).integers(0, 2**16, (512, 512), dtype=np.uint16)
WRITERS: dict[str, Callable[[Path], object]] = {
    "a.tif": lambda path: write_tiff(path, BIG, "YX", compress=False),
    "b.tif": lambda path: write_tiff(path, BIG.astype(np.uint32), "YX"),
    "c.tif": lambda path: write_tiff(path, BIG.astype(np.float32), "YX"),
    "a.npy": lambda path: write_npy(path, BIG),
    "a.csv": lambda path: write_csv(path, [{"id": n, "area": n * 0.5} for n in range(20000)]),
    "a.json": lambda path: write_json(path, BIG),
    "a.txt": lambda path: write_text(path, "x" * 500_000),
}


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 128 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_keeps_the_old_file_and_no_temporary_file(tiny_disk: Path, name: str) -> None:
    target = tiny_disk / name
    target.write_bytes(b"old")
    with pytest.raises(UserError, match="the disk is full") as caught:
        WRITERS[name](target)
    assert name in caught.value.message
    assert caught.value.hint
    assert [path.name for path in tiny_disk.iterdir()] == [name]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_noticed_when_flushing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    target = tmp_path / name
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match="the disk is full"):
        WRITERS[name](target)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_in_place_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="cannot be written"):
        WRITERS[name](tmp_path / "file" / "sub" / name)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", WRITERS)
def test_replaces_and_creates_folders(tmp_path: Path, name: str) -> None:
    target = tmp_path / "new" / "folder" / name
    WRITERS[name](target)
    first = target.stat().st_size
    WRITERS[name](target)
    assert target.stat().st_size == first > 3
    assert [path.name for path in target.parent.iterdir()] == [name]


def test_an_error_of_the_writer_passes_and_cleans_up(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def interrupted() -> None:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_long_names_of_wide_characters(tmp_path: Path) -> None:
    name = "細" * 80 + ".txt"
    write_text(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"


def test_only_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    with atomic_path(tmp_path / "below" / "mine.tif") as mine:
        mine.write_text("half")
        left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
        left.write_text("half")
        others = [tmp_path / ".hidden.part", tmp_path / "an image.part.tif"]
        for other in others:
            other.write_text("the user's")
        assert remove_leftovers(tmp_path) == [left]
        assert mine.exists()
        assert all(other.exists() for other in others)


def test_old_files_of_another_machine_are_removed(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "mine.tif") as mine:
        mine.write_text("half")
        machine = mine.name.split(".")[2].split("-")[0]
        foreign = mine.with_name(mine.name.replace(machine, f"{int(machine, 16) ^ 1:06x}"))
    foreign.write_text("half")
    assert remove_leftovers(tmp_path) == []
    two_days_ago = time.time() - 2 * 86400
    os.utime(foreign, (two_days_ago, two_days_ago))
    assert remove_leftovers(tmp_path) == [foreign]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"

    def half() -> None:
        with atomic_folder(target) as temporary:
            (temporary / "half").write_text("")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / text).write_text("")
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]
