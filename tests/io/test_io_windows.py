"""Files that another program has open, under simulated rules of Windows."""

import sys
from pathlib import Path

import numpy as np
import pytest

from singula.errors import StorageError
from singula.io.atomic import atomic_folder, delete_file, is_protected
from singula.io.write import write_text, write_tiff
from singula.io.written import protect, rename

if sys.platform != "linux":
    pytest.skip("the simulation reads /proc", allow_module_level=True)

from windows_files import closed_later, simulate


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    simulate(monkeypatch)
    return monkeypatch


def test_files_and_folders_are_written_and_replaced(
    windows: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for text in ("first", "second"):
        assert write_text(tmp_path / "a.txt", text).read_text() == text
        write_tiff(tmp_path / "a.tif", np.zeros((4, 4), np.uint8), "YX")
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / text).write_text(text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "a.txt", "folder"]
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["second"]


def test_a_file_that_is_closed_soon_is_replaced(
    windows: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = write_text(tmp_path / "a.txt", "old")
    waits = closed_later(windows, path)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert len(waits) == 2


@pytest.mark.parametrize("kind", ["file", "folder", "deletion"])
def test_a_file_that_remains_open_is_named(
    windows: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "a"
    windows.setattr("time.sleep", lambda seconds: None)
    if kind == "folder":
        path.mkdir()
        (path / "b").write_text("old")
    else:
        path.write_text("old")

    def write() -> None:
        if kind == "folder":
            with atomic_folder(path) as folder:
                (folder / "c").write_text("new")
        elif kind == "file":
            write_text(path, "new")
        else:
            delete_file(path)

    inner = path / "b" if kind == "folder" else path
    with inner.open("rb"), pytest.raises(StorageError) as error:
        write()
    assert error.value.code == "storage.in_use"
    assert not is_protected(error.value)
    assert inner.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_files_of_the_user_are_moved(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("of the user")
    with protect([tmp_path]):
        write_text(tmp_path / "a.txt", "new")
        rename(tmp_path / "a.txt", tmp_path / "b.txt")
    assert (tmp_path / "previous" / "a.txt").read_text() == "of the user"
    assert (tmp_path / "b.txt").read_text() == "new"


def test_a_path_that_is_too_long_is_named(windows: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / ("a" * 180) / ("b" * 180 + ".txt")

    def refuse(*_: object) -> None:
        raise FileNotFoundError(2, "The system cannot find the path specified")

    windows.setattr(Path, "write_text", lambda *_, **__: refuse())
    with pytest.raises(StorageError) as error:
        write_text(path, "text")
    assert error.value.code == "storage.path_too_long"
