"""Writing of files under a temporary name, so that a killed run leaves no incomplete file."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import platform
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from singula.errors import StorageError, UserError
from singula.io import written
from singula.io.replace import is_in_use, remove_file, remove_folder, replace_path
from singula.util.process import process_exists

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MARK = re.compile(r"\.(?P<machine>[0-9a-f]{6})-(?P<process>\d+)-[0-9a-f]{8}\.part")
_TEMPORARY = ".*.part*"
_MAX_WINDOWS, _LONGER = 259, 40  # characters of a path
_DAY = 24 * 3600.0
_PROTECTED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FORBIDDEN = (*_PROTECTED, errno.ENOTDIR, errno.EEXIST)


def write_error(path: Path, error: OSError) -> StorageError:
    """Return the error for a file that the operating system refused to write."""
    # NumPy reports a short write without a number: "1000 requested and 512 written".
    is_short = error.errno is None and "requested and" in str(error)
    if error.errno in _FULL or is_short:
        return StorageError(
            f"{path}: the disk is full ({_free_space(path)} free)",
            "free some space, or choose a folder on another disk; files that were written are "
            "complete (continue `singula run` and `predict` with --resume)",
            "storage.full",
        )
    length = len(os.path.abspath(path))
    # A temporary file has a longer name. Windows reports that it does not exist.
    if sys.platform == "win32" and error.errno == errno.ENOENT and length > _MAX_WINDOWS - _LONGER:
        return StorageError(
            f"{path}: the path has {length} characters, and Windows allows {_MAX_WINDOWS} with the "
            f"{_LONGER} of temporary names",
            "choose a folder with a shorter path, or enable long paths in Windows",
            "storage.path_too_long",
        )
    if is_in_use(error, path):
        return StorageError(
            f"{path}: is open in another program, so it cannot be replaced",
            "close it there, and repeat the command; files that were written are complete",
            "storage.in_use",
        )
    if error.errno in _FORBIDDEN:
        return StorageError(
            f"{path}: cannot be written ({error.strerror})",
            "choose a folder for which you have write permission",
            "storage.forbidden",
        )
    return StorageError(
        f"{path}: could not be written ({error.strerror or error})",
        "choose another folder",
        "storage.failed",
    )


def is_protected(error: UserError) -> bool:
    """Return True if permissions or a read-only file system caused an error of `write_error`."""
    cause = error.__cause__
    is_refused = isinstance(cause, OSError) and cause.errno in _PROTECTED
    return is_refused and error.code != "storage.in_use"


def _free_space(path: Path) -> str:
    for parent in path.parents:
        if parent.is_dir():
            return f"{shutil.disk_usage(parent).free / 2**20:.1f} MiB"
    return "unknown space"


def make_folder(path: Path) -> Path:
    """Create a folder with its parents; raise `StorageError` if it cannot be created."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    return path


def delete_file(path: Path) -> None:
    """Delete a file if it exists; raise `StorageError` if it cannot be deleted."""
    try:
        remove_file(path)
    except OSError as error:  # for example, a folder
        raise write_error(path, error) from error


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` if the block succeeds.

    The temporary name has the same suffix, on which writers may depend. In protected folders
    (`singula.io.written`) a file of the user is moved before it is replaced.

    Parameters
    ----------
    path : Path or str
        File to write; missing parents are created.

    Yields
    ------
    Path
        Temporary file.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    target = Path(path)
    _prepare_folder(target.parent)
    temporary = target.with_name(f".{target.stem[:40]}.{_mark()}.part{target.suffix}")
    try:
        yield temporary
        _flush(temporary)
        written.make_way(target, temporary)
        written.record(target, temporary)
        replace_path(temporary, target)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        with suppress(OSError):  # a read-only file system refuses missing files too
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder next to `path`, and replace `path` by it if the block succeeds.

    Parameters
    ----------
    path : Path or str
        Folder to write; an existing one is replaced.

    Yields
    ------
    Path
        Empty temporary folder.

    Raises
    ------
    StorageError
        The disk is full, or the folder cannot be written.
    """
    target = Path(path)
    _prepare_folder(target.parent)
    temporary = target.with_name(f".{target.name[:40]}.{_mark()}.part")
    try:
        temporary.mkdir()
        yield temporary
        written.make_way(target)
        written.record(target, temporary)
        if target.is_dir():
            remove_folder(target)
        replace_path(temporary, target)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _mark() -> str:
    """Return a mark for a temporary file: machine, process and a random name."""
    return f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@functools.cache
def _machine() -> str:
    return hashlib.blake2b(platform.node().encode(), digest_size=3).hexdigest()


def _prepare_folder(folder: Path) -> None:
    make_folder(folder)
    _clean_folder(folder.absolute())


@functools.lru_cache(maxsize=1024)
def _clean_folder(folder: Path) -> None:
    """Remove leftovers from a folder, once in a process."""
    remove_leftovers(folder, below=False)


def remove_leftovers(folder: Path, *, below: bool = True) -> list[Path]:
    """Delete temporary files and folders of killed processes.

    Files of a running process are not deleted, nor files of other machines that are less than a
    day old.

    Parameters
    ----------
    folder : Path
        Folder, which need not exist.
    below : bool
        Search its subfolders too.

    Returns
    -------
    list of Path
        Deleted files and folders.
    """
    removed = []
    for path in folder.rglob(_TEMPORARY) if below else folder.glob(_TEMPORARY):
        mark = _MARK.search(path.name)
        if mark is not None and _is_abandoned(path, mark["machine"], int(mark["process"])):
            with suppress(OSError):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                removed.append(path)
    return removed


def _is_abandoned(path: Path, machine: str, process: int) -> bool:
    if machine == _machine():
        return not process_exists(process)
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except OSError:
        return False


def _flush(path: Path) -> None:
    """Flush a file or folder to the disk before it is renamed."""
    flags = os.O_RDONLY
    if sys.platform == "win32":
        if path.is_dir():  # folders cannot be opened
            return
        flags = os.O_RDWR  # files that are open for reading cannot be flushed
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
