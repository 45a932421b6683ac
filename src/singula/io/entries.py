"""Detection of broken links, pipes and files without permission before they are opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from singula.errors import UserError
from singula.util.locations import is_remote
from singula.util.paths import user_path

_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def reader_path(value: object, name: str = "path") -> Path:
    """Return the path of a file that a reader or a writer will open.

    As `singula.util.paths.user_path`, but without an error for a path that cannot be followed (a
    loop of links, a file among its folders, no permission): the error of the reader or writer is
    more precise.

    Raises
    ------
    UserError
        As `user_path`, except for errors about files on the disk.
    """
    try:
        return user_path(value, name)
    except UserError as error:
        reported = {"paths.unreadable", "paths.no_permission", "paths.not_a_folder"}
        if error.code not in reported or not isinstance(value, str | os.PathLike):
            raise
        return Path(value)


def check_openable(path: Path) -> None:
    """Raise an error for a path that exists but cannot be opened, without opening it.

    Parameters
    ----------
    path : Path
        A path that does not exist is accepted; its reader raises an error.

    Raises
    ------
    UserError
        ``io.broken_link``: the target of a link is missing; ``io.not_a_file``: the path is a pipe,
        a socket or a device, which would block its reader; ``io.no_permission``.
    """
    if is_remote(path):
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if isinstance(error, PermissionError):
            raise _no_permission(path) from error
        if os.path.islink(path):
            raise broken_link(path) from error
        return
    for is_kind, name in _SPECIAL:
        if is_kind(mode):
            raise UserError(
                f"{path}: got {name}, expected a file",
                "replace it by the image file, or remove it",
                "io.not_a_file",
            )
    needed = os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK
    if not os.access(path, needed):
        raise _no_permission(path)


def is_empty_file(path: Path) -> bool:
    """Return True for a file on this computer without content."""
    return not is_remote(path) and path.stat().st_size == 0 and not path.is_dir()


def broken_link(path: Path) -> UserError:
    """Return the error for a link whose target is missing."""
    try:
        target = f", {os.readlink(path)},"
    except OSError:
        target = ""
    return UserError(
        f"{path}: got a link whose target{target} is missing",
        "restore the target (is its disk connected?), or remove the link",
        "io.broken_link",
    )


def is_broken_link(path: Path) -> bool:
    """Return True if the path is a link whose target is missing."""
    try:
        return os.path.islink(path) and not path.exists()
    except OSError:  # its target is in a folder without permission
        return False


def is_folder(path: Path) -> bool:
    """Return True if the path is a folder; False if this cannot be determined."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_plain_file(path: Path) -> bool:
    """Return True if the path is a file; False if this cannot be determined."""
    try:
        return path.is_file()
    except OSError:
        return False


def _no_permission(path: Path) -> UserError:
    return UserError(
        f"{path}: cannot be read (permission denied)",
        "ask its owner for read permission",
        "io.no_permission",
    )
