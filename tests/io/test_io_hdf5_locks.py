"""HDF5 files that other programs have open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from singula.errors import StorageError, UserError
from singula.io.formats import hdf5_open
from singula.io.lazy import open_image
from singula.io.read import read_image

h5py = pytest.importorskip("h5py")
PIXELS = np.arange(1200, dtype=np.uint16).reshape(30, 40)


def stored(path: Path, libver: str = "earliest") -> Path:
    with h5py.File(path, "w", libver=libver) as file:
        file["raw"] = PIXELS
    return path


@contextmanager
def writer(path: Path, swmr: bool = False) -> Iterator[None]:
    """Start another program that opens the file for writing."""
    code = (
        f"import h5py, sys\nfile = h5py.File({str(path)!r}, 'r+', libver='latest')\n"
        f"if {swmr}: file.swmr_mode = True\nprint('open', flush=True)\nsys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    yield
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize(("libver", "swmr"), [("earliest", False), ("latest", True)])
def test_a_file_that_is_being_written_is_read(tmp_path: Path, libver: str, swmr: bool) -> None:
    path = stored(tmp_path / "a.h5", libver)
    with writer(path, swmr):
        np.testing.assert_array_equal(read_image(path, 2).array[..., 0], PIXELS)


def test_a_file_that_is_read_can_be_written(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.h5")
    lazy = open_image(path, 2)
    box = (slice(0, 5), slice(0, 5))
    np.testing.assert_array_equal(lazy.read(box)[..., 0], PIXELS[:5, :5])
    code = f"import h5py; h5py.File({str(path)!r}, 'r+')['new'] = 1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(lazy.read(box)[..., 0], PIXELS[:5, :5])


def test_a_lock_that_the_environment_demands_is_reported(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.h5")
    code = (
        "import sys\nfrom singula.errors import UserError\nfrom singula.io.read import read_image\n"
        f"try:\n    read_image({str(path)!r}, 2)\nexcept UserError as error:\n"
        "    print(error.code, error.message, error.hint, sep='|')"
    )
    with writer(path):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "HDF5_USE_FILE_LOCKING": "TRUE"},
        )
    code, message, hint = done.stdout.strip().split("|")
    assert code == "io.file_locked"
    assert message.startswith(f"{path}: is locked")
    assert "HDF5_USE_FILE_LOCKING=FALSE" in hint


def test_a_file_that_this_process_has_open(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.h5")
    with h5py.File(path, "r"):
        np.testing.assert_array_equal(read_image(path, 2).array[..., 0], PIXELS)
    with h5py.File(path, "r+"):
        np.testing.assert_array_equal(read_image(path, 2).array[..., 0], PIXELS)


def test_a_file_marked_as_being_written_is_reported(tmp_path: Path) -> None:
    """The library marks a new file while it is open; a crash leaves the mark there."""
    with h5py.File(tmp_path / "b.h5", "w", libver="latest") as file:
        file["raw"] = PIXELS
        file.flush()
        crashed = (tmp_path / "b.h5").read_bytes()
    (tmp_path / "c.h5").write_bytes(crashed)
    path = stored(tmp_path / "a.h5", "latest")
    with writer(path):
        for marked in (path, tmp_path / "c.h5"):
            with pytest.raises(UserError) as caught:
                read_image(marked, 2)
            assert caught.value.code == "io.file_locked"
            assert "already open for write" in caught.value.message
            assert "h5clear" in str(caught.value.hint)


class OldLibrary:
    """A library without the argument, or a disk without locks."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def File(self, path: Path, mode: str, **options: object) -> str:
        if options or mode == "w":
            raise self.error or TypeError("locking")
        return f"{path} {mode}"


def test_libraries_without_the_argument_and_disks_without_locks() -> None:
    for error in (TypeError("locking"), ValueError("HDF5 version >= 1.12.1 required")):
        assert hdf5_open.open_for_reading(OldLibrary(error), Path("a.h5")) == "a.h5 r"
    refused = OSError("Unable to synchronously create file (unable to lock file, errno = 37)")
    with pytest.raises(StorageError) as caught:
        hdf5_open.open_for_writing(OldLibrary(refused), Path("a.h5"))
    assert "HDF5_USE_FILE_LOCKING" in str(caught.value.hint)
    with pytest.raises(OSError, match="disk full"):
        hdf5_open.open_for_writing(OldLibrary(OSError("disk full")), Path("a.h5"))
