"""Exclusive locks on the folders that a command writes to.

A lock is a lock of the operating system on a small file in the folder. The system releases it when
the process ends, however it ends, so a lock file that is left over is not an obstacle.
"""

from __future__ import annotations

import errno
import os
import platform
import shlex
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import lock_descriptor
from pydantic import ValidationError

from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.io.records.locks import LockRecord
from singula.util.paths import open_regular

Notify = Callable[[str], None]
Task = Literal["run", "tune", "export", "report", "predict", "check", "demo"]
NAME = ".singula.lock"
# Errors of file systems without locks, such as some network file systems
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_SECONDS = 0.3  # `find_holder` takes a lock for an instant
_PATIENCE = 3.0  # seconds after which a process that waits says so
_MAX_BYTES, _MAX_COMMAND, _MAX_SHOWN = 1 << 16, 4000, 300
_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_held: ContextVar[frozenset[Path]] = ContextVar("held lock files", default=frozenset())
_descriptors: set[int] = set()


def lock_file(folder: Path | str, name: str = "") -> Path:
    """Return the lock file of a folder, or of the files of one name in it.

    Parameters
    ----------
    folder : Path or str
    name : str
        What the files begin with; all files of the folder by default.

    Examples
    --------
    >>> lock_file("out").name, lock_file("checkpoints", "cells_1").name
    ('.singula.lock', '.cells_1.singula.lock')
    """
    return Path(folder) / (f".{name}{NAME}" if name else NAME)


def output_locks(folder: Path | str) -> list[Path]:
    """Return the lock files for writing to any folder: its own, and that of the run around it.

    Parameters
    ----------
    folder : Path or str
        Need not exist.
    """
    around = Path(os.path.realpath(folder)).parents
    run = next((path for path in around if _is_run(path)), None)
    return [lock_file(folder), *([] if run is None else [lock_file(run)])]


@contextmanager
def hold(
    files: Iterable[Path], task: Task, notify: Notify | None = None, *, wait: bool = False
) -> Iterator[None]:
    """Hold locks; no other process, and no other thread, gets them meanwhile.

    Locks that the caller holds already are not taken again, so a function that locks may call
    another one. Folders that are missing are created, and removed at the end if they are empty.

    Parameters
    ----------
    files : iterable of Path
        From `lock_file`, `output_locks` or `ResultsTree.lock_files`.
    task : str
        What the caller does, for the message of others.
    notify : callable, optional
        Takes a line if the file system has no locks; a Python warning by default.
    wait : bool
        Wait for other processes, with a line to `notify`, instead of raising an error.

    Raises
    ------
    UserError
        ``run.locked``: another process holds one of the locks. ``run.lock_file``: a link, a folder
        or a special file is in the place of the lock file.
    StorageError
        A folder cannot be written.
    """
    wanted = _missing(files)
    with ExitStack() as stack:
        for path in wanted:
            stack.enter_context(_lock(path, task, notify or warnings.warn, wait=wait))
        token = _held.set(_held.get().union(wanted))
        try:
            yield
        finally:
            _held.reset(token)


def check_free(files: Iterable[Path]) -> None:
    """Refuse to start something that needs locks which another process holds.

    Raises
    ------
    UserError
        ``run.locked``.
    """
    for path in _missing(files):
        holder = find_holder(path)
        if holder is not None:
            raise _locked(path, holder)


def find_holder(path: Path) -> LockRecord | None:
    """Return the process that holds a lock, or None if it is free.

    A process whose record cannot be read has the number 0. Nothing is created or written.

    Parameters
    ----------
    path : Path
        The lock file.
    """
    try:
        descriptor, _ = _open(path, 0)
        try:
            return None if lock_descriptor(descriptor, blocking=False) else _read(path)
        finally:
            _close(descriptor)
    except (UserError, OSError):
        return None


def _missing(files: Iterable[Path]) -> list[Path]:
    """Return the files that the caller does not hold.

    They are in one order, whole folders first, so that of two processes that start together one
    gets all locks.
    """
    found = {Path(os.path.realpath(file.parent), file.name) for file in files}
    return sorted(found - _held.get(), key=lambda path: (path.name != NAME, path))


@contextmanager
def _lock(path: Path, task: Task, notify: Notify, *, wait: bool) -> Iterator[None]:
    created: list[Path] = []
    descriptor: int | None = None
    try:
        descriptor = _acquire(path, created, notify if wait else None)
        if descriptor is None:
            notify(
                f"{path.parent}: the file system has no locks; make sure that no other process "
                "writes to this folder"
            )
        else:
            _write(descriptor, task)
        yield
    finally:
        if descriptor is not None:
            _release(path, descriptor)
        for folder in created:
            with suppress(OSError):  # not empty
                folder.rmdir()


def _acquire(path: Path, created: list[Path], notify: Notify | None) -> int | None:
    """Open and lock a file; return its descriptor, or None where there are no locks.

    With `notify`, wait for the process that holds the lock.
    """
    deadline = time.monotonic() + (_SECONDS if notify is None else _PATIENCE)
    while True:
        missing = [folder for folder in path.parents if not os.path.exists(folder)]
        created += [folder for folder in missing if folder not in created]
        make_folder(path.parent)
        try:
            descriptor, is_own = _open(path, os.O_CREAT)
        except FileNotFoundError as error:  # another process has removed the folder
            if time.monotonic() > deadline:
                raise write_error(path, error) from error
            continue
        try:
            is_locked = lock_descriptor(descriptor, blocking=False)
            if is_locked and is_own and _is_at(path, descriptor):
                return descriptor
            if is_locked and not is_own and _is_at(path, descriptor):
                path.unlink()
        except OSError as error:
            _close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise write_error(path, error) from error
            with suppress(OSError):
                path.unlink()
            return None
        _close(descriptor)
        # Otherwise the process that held the lock has deleted the file: open a new one.
        if not is_locked:
            if time.monotonic() > deadline and notify is None:
                raise _locked(path, _read(path))
            if time.monotonic() > deadline and notify is not None:
                notify(f"waiting until {path.parent} is released by {_name(_read(path))}")
                deadline = float("inf")
            time.sleep(_SECONDS / 10)


def _open(path: Path, create: int) -> tuple[int, bool]:
    """Open a lock file without following links.

    Parameters
    ----------
    path : Path
    create : int
        ``os.O_CREAT``, or 0 for existing files only.

    Returns
    -------
    descriptor : int
    is_own : bool
        False for a file that must be replaced: it has another name (a hard link), or can only be
        read, such as that of a killed process of another user.

    Raises
    ------
    FileNotFoundError
    UserError
        The file is not a regular file, or cannot be opened.
    """
    try:
        if os.path.islink(path):
            raise _special(path, "symbolic link")
        try:
            descriptor, is_own = os.open(path, os.O_RDWR | _FLAGS | create, 0o666), True
        except PermissionError:
            if not os.path.isfile(path):
                raise
            descriptor, is_own = os.open(path, os.O_RDONLY | _FLAGS), False
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.lexists(path) and not os.path.isfile(path):
            raise _special(path, "folder" if os.path.isdir(path) else "special file") from error
        raise write_error(path, error) from error
    _descriptors.add(descriptor)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        _close(descriptor)
        raise _special(path, "special file")
    return descriptor, is_own and about.st_nlink < 2


def _is_at(path: Path, descriptor: int) -> bool:
    """Return True if an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _write(descriptor: int, task: Task) -> None:
    """Record who holds the lock.

    On Windows other processes cannot read the first byte of a locked file: it is a space.
    """
    program = Path(sys.argv[0] if sys.argv else "").name
    program = "singula" if program in ("", "-c", "-m", "__main__.py") else program
    command = shlex.join([program, *sys.argv[1:]])[:_MAX_COMMAND]
    holder = LockRecord(
        task=task,
        pid=os.getpid(),
        host=platform.node(),
        command=command.encode(errors="backslashreplace").decode(),
        started=datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
    )
    with suppress(OSError):  # a full disk: the lock holds without the record
        os.truncate(descriptor, 0)
        os.write(descriptor, f" {holder.model_dump_json()}\n".encode())


def _read(path: Path) -> LockRecord:
    try:
        with open_regular(path, max_bytes=_MAX_BYTES, follow_links=False) as file:
            file.seek(1)
            record = LockRecord.model_validate_json(file.read(_MAX_BYTES))
            return record if record.format <= record.newest else LockRecord()
    except (UserError, OSError, ValidationError):
        return LockRecord()


def _release(path: Path, descriptor: int) -> None:
    """Delete the lock file while it is locked, or on Windows, once it is closed."""
    if descriptor not in _descriptors:  # in a forked process
        return
    is_open_deletable = os.name != "nt"
    with suppress(OSError):
        if is_open_deletable and _is_at(path, descriptor):
            path.unlink()
    _close(descriptor)
    with suppress(OSError):
        if not is_open_deletable:
            path.unlink()


def _close(descriptor: int) -> None:
    _descriptors.discard(descriptor)
    os.close(descriptor)


def _close_inherited() -> None:
    """Close the locks in a forked process, which could outlive the one that holds them."""
    for descriptor in _descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


def _is_run(folder: Path) -> bool:
    """Return True for the folder of a finished run, or of one that is on."""
    if os.path.isfile(folder / "run.json"):
        return True
    holder = find_holder(lock_file(folder))
    return holder is not None and holder.task == "run"


def _locked(path: Path, holder: LockRecord) -> UserError:
    name = path.name.removesuffix(NAME).lstrip(".")
    place = path.parent / f"{name}*" if name else path.parent
    return UserError(
        f"{place}: is in use by {_name(holder)}",
        "wait until it ends, or stop it; or choose another name, number or folder",
        "run.locked",
    )


def _special(path: Path, kind: str) -> UserError:
    return UserError(
        f"{path}: got a {kind}, expected a lock file or nothing",
        "delete it; Singula creates the file when it needs it",
        "run.lock_file",
    )


def _name(holder: LockRecord) -> str:
    if not holder.pid:
        return "another process"
    command, host, started = map(_shown, (holder.command, holder.host, holder.started))
    return f"`{command}` (process {holder.pid} on {host}, since {started})"


def _shown(text: str) -> str:
    """Return text from a file as it can be printed: one line, without control characters."""
    safe = "".join(char if char.isprintable() else "?" for char in text[:_MAX_SHOWN])
    return safe + "…" * (len(text) > _MAX_SHOWN)
