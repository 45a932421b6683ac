"""Simulation of the rules of Windows for open files, on Linux.

A file that this process has open, or mapped, can be neither deleted nor replaced. Files that are
open for reading cannot be flushed, folders cannot be opened, links need a privilege, and modules
are missing. Files that other processes have open are not detected.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODULES = {"fcntl", "grp", "pwd", "resource", "termios"}  # missing in Windows
_LOCK = ".singula.lock"  # deleted after it is closed, if `os.name` is "nt"


class WindowsSystem:
    """The module `sys`, on Windows."""

    platform = "win32"

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def refusal(number: int, path: object) -> PermissionError:
    """Return the error of Windows with a number."""
    error = PermissionError(errno.EACCES, "Access is denied", str(path))
    error.winerror = number  # type: ignore[attr-defined]
    return error


def open_files() -> set[str]:
    """Return the regular files that this process has open or mapped."""
    paths = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{entry}")
            if stat.S_ISREG(os.stat(f"/proc/self/fd/{entry}").st_mode):
                paths.add(path)
        except OSError:
            continue
    with open("/proc/self/maps") as file:
        paths |= {line.split(maxsplit=5)[5].strip() for line in file if "/" in line}
    return paths


def check_closed(path: Any) -> None:
    """Raise the error of Windows if a file, or a file in a folder, is open."""
    name = os.path.realpath(path)
    for other in open_files():
        if (other == name or other.startswith(f"{name}/")) and not other.endswith(_LOCK):
            raise refusal(32, path)


def simulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply the rules until the end of a test."""
    replace, unlink, open_, fsync = os.replace, os.unlink, os.open, os.fsync
    import_ = builtins.__import__

    def refusing(change: Callable[..., Any], count: int) -> Callable[..., Any]:
        def checked(*paths: Any, **options: Any) -> Any:
            for path in paths[:count]:
                check_closed(path)
            return change(*paths, **options)

        return checked

    def open_file(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if os.path.isdir(path):
            raise refusal(5, path)
        return open_(path, flags, *rest, **options)

    def flush(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(descriptor)

    def link(*paths: Any, **options: Any) -> None:
        raise refusal(1314, paths[0])

    monkeypatch.setattr(shutil, "_use_fd_functions", False)
    monkeypatch.setattr(tempfile, "TemporaryFile", tempfile.NamedTemporaryFile)
    monkeypatch.setattr(os, "replace", refusing(replace, 2))
    monkeypatch.setattr(os, "rename", refusing(os.rename, 2))
    monkeypatch.setattr(os, "unlink", refusing(unlink, 1))
    monkeypatch.setattr(os, "remove", refusing(unlink, 1))
    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "fsync", flush)

    def import_module(name: str, caller: Any = None, *rest: Any, **options: Any) -> Any:
        if name in MODULES and str((caller or {}).get("__name__")).startswith("singula"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return import_(name, caller, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", import_module)
    monkeypatch.setattr(os, "symlink", link)
    for name, module in list(sys.modules.items()):  # libraries see the real system
        if name.startswith("singula.") and getattr(module, "sys", None) is sys:
            monkeypatch.setattr(module, "sys", WindowsSystem())


def closed_later(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[float]:
    """Open a file, and close it during the second wait of a retry; return the waits."""
    file = path.open("rb")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            file.close()

    monkeypatch.setattr("time.sleep", sleep)
    return waits
