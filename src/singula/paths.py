"""Open files for reading: regular files only, without waiting, up to a size limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from singula.errors import UserError

_KINDS = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe without a writer would wait for one
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_regular(
    path: Path | str, *, max_bytes: int | None = None, follow_links: bool = True
) -> BinaryIO:
    """Open a regular file for reading, in binary mode.

    Parameters
    ----------
    path : Path or str
    max_bytes : int, optional
        Largest file that is opened; any size by default.
    follow_links : bool
        False: refuse the file if its last path component is a symbolic link. Windows has no such
        protection.

    Returns
    -------
    BinaryIO
        The open file.

    Raises
    ------
    UserError
        ``paths.unreadable``: the system refuses to open the path; the cause is its `OSError`.
        ``paths.symbolic_link``, ``paths.not_a_file`` (a folder, named pipe, socket or device) and
        ``paths.too_large``.
    """
    flags = _FLAGS if follow_links else _FLAGS | getattr(os, "O_NOFOLLOW", 0)
    try:
        if not follow_links and os.path.islink(path):
            raise UserError(
                f"{path}: got a symbolic link, expected a file",
                "replace the link by a file",
                "paths.symbolic_link",
            )
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path!s}: cannot be read ({reason})", "check the path", "paths.unreadable"
        ) from error
    try:
        about = os.fstat(descriptor)
        _check_kind(path, about.st_mode)
        if max_bytes is not None and about.st_size > max_bytes:
            raise _too_large(path, max_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_text_file(path: Path | str, max_bytes: int, *, follow_links: bool = True) -> str:
    """Read a UTF-8 text file.

    Parameters
    ----------
    path : Path or str
    max_bytes : int
        Largest file that is read.
    follow_links : bool
        As for `open_regular`.

    Returns
    -------
    str
        The text; line ends stay as they are.

    Raises
    ------
    UserError
        As for `open_regular`; ``paths.not_text``: the file is not UTF-8.
    """
    with open_regular(path, max_bytes=max_bytes, follow_links=follow_links) as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror})", "check the disk", "paths.unreadable"
            ) from error
    if len(data) > max_bytes:  # the file has grown, or the system gives no size for it
        raise _too_large(path, max_bytes)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is not UTF-8 text", "save the file as UTF-8", "paths.not_text"
        ) from error


def _check_kind(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")
        raise UserError(
            f"{path}: got a {kind}, expected a file", "give a regular file", "paths.not_a_file"
        )


def _too_large(path: Path | str, max_bytes: int) -> UserError:
    limit = f"{max_bytes / 2**20:g} MiB" if max_bytes >= 2**20 else f"{max_bytes} bytes"
    return UserError(
        f"{path}: is larger than {limit}", "check that this is the right file", "paths.too_large"
    )
