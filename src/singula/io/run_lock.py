"""Exclusive locks on the folders that a command writes to.

The operating system locks a small file in the folder, and releases it when the process ends for any
reason. A lock file of an earlier process is therefore not an obstacle.
"""

from __future__ import annotations

import errno
import logging
import os
import platform
import shlex
import stat
import sys
import time
from collections.abc import Iterable, Iterator
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
from singula.util.messages import is_new
from singula.util.paths import open_regular

_log = logging.getLogger(__name__)
Task = Literal[
    "run",
    "tune",
    "export",
    "report",
    "predict",
    "check",
    "demo",
    "reproduce",
    "sweep",
    "delete",
    "correct",
]
NAME = ".singula.lock"
# Errors of file systems without locks, such as some network file systems
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_TIMEOUT = 0.3  # seconds; `find_holder` holds a lock for an instant
_WAIT_NOTICE = 3.0  # seconds after which a waiting process prints a line
_MAX_BYTES, _MAX_COMMAND, _MAX_TEXT = 1 << 16, 4000, 300
_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_held: ContextVar[frozenset[Path]] = ContextVar("held lock files", default=frozenset())
_descriptors: set[int] = set()


def lock_file(folder: Path | str, name: str = "") -> Path:
    """Return the lock file of a folder, or of its files with a common prefix.

    Parameters
    ----------
    folder : Path or str
        Folder that is locked.
    name : str
        Prefix of the locked files; all files of the folder by default.

    Examples
    --------
    >>> lock_file("out").name, lock_file("checkpoints", "cells_1").name
    ('.singula.lock', '.cells_1.singula.lock')
    """
    return Path(folder) / (f".{name}{NAME}" if name else NAME)


def output_locks(folder: Path | str) -> list[Path]:
    """Return the lock files of a folder and of the run that contains it.

    Parameters
    ----------
    folder : Path or str
        Output folder, which need not exist.
    """
    parents = Path(os.path.realpath(folder)).parents
    run = next((path for path in parents if _is_run(path)), None)
    return [lock_file(folder), *([] if run is None else [lock_file(run)])]


@contextmanager
def hold(files: Iterable[Path], task: Task, *, wait: bool = False) -> Iterator[None]:
    """Hold locks, which excludes other processes and threads.

    Locks that the caller already holds are not acquired again, so that contexts can be nested.
    Missing folders are created, and removed at the end if they are empty.

    Parameters
    ----------
    files : iterable of Path
        Files from `lock_file`, `output_locks` or `ResultsTree.lock_files`.
    task : str
        Command of the caller, for messages of other processes.
    wait : bool
        Wait for other processes, with a message, instead of raising an error.

    Raises
    ------
    UserError
        ``run.locked``: another process holds one of the locks; ``run.lock_file``: a link, a folder
        or a special file has the name of the lock file.
    StorageError
        A folder cannot be written.
    """
    new = _not_held(files)
    with ExitStack() as stack:
        for path in new:
            stack.enter_context(_lock(path, task, wait=wait))
        token = _held.set(_held.get().union(new))
        try:
            yield
        finally:
            _held.reset(token)


def check_free(files: Iterable[Path]) -> None:
    """Raise an error if another process holds one of the locks.

    Raises
    ------
    UserError
        ``run.locked``.
    """
    for path in _not_held(files):
        holder = find_holder(path)
        if holder is not None:
            raise _locked(path, holder)


def find_holder(path: Path) -> LockRecord | None:
    """Return the process that holds a lock, or None if it is free.

    If the record of the process cannot be read, its number is 0. No file is created or written.

    Parameters
    ----------
    path : Path
        Lock file.
    """
    try:
        descriptor, _ = _open(path, 0)
        try:
            return None if lock_descriptor(descriptor, blocking=False) else _read(path)
        finally:
            _close(descriptor)
    except (UserError, OSError):
        return None


def _not_held(files: Iterable[Path]) -> list[Path]:
    """Return the files that the caller does not hold.

    All processes lock in the same order, whole folders first: of two that start together, one gets
    all locks.
    """
    paths = {Path(os.path.realpath(file.parent), file.name) for file in files}
    return sorted(paths - _held.get(), key=lambda path: (path.name != NAME, path))


@contextmanager
def _lock(path: Path, task: Task, *, wait: bool) -> Iterator[None]:
    created: list[Path] = []
    descriptor: int | None = None
    try:
        descriptor = _acquire(path, created, wait=wait)
        if descriptor is None:
            message = (
                f"{path.parent}: the file system has no locks; make sure that no other process "
                "writes to this folder"
            )
            if is_new(message):
                _log.warning(message)
        else:
            _write(descriptor, task)
        yield
    finally:
        if descriptor is not None:
            _release(path, descriptor)
        for folder in created:
            with suppress(OSError):  # not empty
                folder.rmdir()


def _acquire(path: Path, created: list[Path], *, wait: bool) -> int | None:
    """Open and lock a file; return its descriptor, or None if the file system has no locks.

    Raise an error if another process holds the lock, or `wait` for it.
    """
    deadline = time.monotonic() + (_WAIT_NOTICE if wait else _TIMEOUT)
    while True:
        missing = [folder for folder in path.parents if not os.path.exists(folder)]
        created += [folder for folder in missing if folder not in created]
        make_folder(path.parent)
        try:
            descriptor, is_valid = _open(path, os.O_CREAT)
        except FileNotFoundError as error:  # another process has removed the folder
            if time.monotonic() > deadline:
                raise write_error(path, error) from error
            continue
        try:
            is_locked = lock_descriptor(descriptor, blocking=False)
            if is_locked and is_valid and _is_at(path, descriptor):
                return descriptor
            if is_locked and not is_valid and _is_at(path, descriptor):
                path.unlink()
        except OSError as error:
            _close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise write_error(path, error) from error
            with suppress(OSError):
                path.unlink()
            return None
        _close(descriptor)
        # If the lock is free, its last holder has deleted the file: open a new one.
        if not is_locked:
            if time.monotonic() > deadline and not wait:
                raise _locked(path, _read(path))
            if time.monotonic() > deadline:
                message = f"waiting until {path.parent} is released by {_name(_read(path))}"
                if is_new(message):
                    _log.info(message)
                deadline = float("inf")
            time.sleep(_TIMEOUT / 10)


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
    is_valid : bool
        False for a file that must be replaced: a hard link, or a file that is read-only for this
        user, such as that of a killed process of another user.

    Raises
    ------
    FileNotFoundError
    UserError
        ``run.lock_file``: the path is not a regular file.
    StorageError
        The file cannot be opened.
    """
    try:
        if os.path.islink(path):
            raise _special(path, "symbolic link")
        try:
            descriptor, is_valid = os.open(path, os.O_RDWR | _FLAGS | create, 0o666), True
        except PermissionError:
            if not os.path.isfile(path):
                raise
            descriptor, is_valid = os.open(path, os.O_RDONLY | _FLAGS), False
    except FileNotFoundError:
        raise
    except OSError as error:
        if os.path.lexists(path) and not os.path.isfile(path):
            raise _special(path, "folder" if os.path.isdir(path) else "special file") from error
        raise write_error(path, error) from error
    _descriptors.add(descriptor)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        _close(descriptor)
        raise _special(path, "special file")
    return descriptor, is_valid and info.st_nlink < 2


def _is_at(path: Path, descriptor: int) -> bool:
    """Return True if an open file is still at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _write(descriptor: int, task: Task) -> None:
    """Write the record of this process to its lock file.

    The first byte is a space, as other processes cannot read it on Windows.
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
    with suppress(OSError):  # on a full disk, the lock has no record
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
    """Delete the lock file while it is locked; on Windows, after it is closed."""
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
    """Close the locks in a forked process, which may end later than their holder."""
    for descriptor in _descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


def _is_run(folder: Path) -> bool:
    """Return True for the folder of a finished or running run."""
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
        "delete it; Singula creates the lock file",
        "run.lock_file",
    )


def _name(holder: LockRecord) -> str:
    if not holder.pid:
        return "another process"
    command, host, started = map(_printable, (holder.command, holder.host, holder.started))
    return f"`{command}` (process {holder.pid} on {host}, since {started})"


def _printable(text: str) -> str:
    """Return text from a file in one line and without control characters."""
    safe = "".join(char if char.isprintable() else "?" for char in text[:_MAX_TEXT])
    return safe + "…" * (len(text) > _MAX_TEXT)
