"""Validation of paths and names that users give, and opening of regular files.

Every path from a command-line argument, a configuration key or an argument of a public function
goes through `user_path`; every part of a file name goes through `user_name`. `open_regular` opens a
file: only regular files, without blocking, up to a size limit.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal

from singula.errors import UserError
from singula.util.format import show
from singula.util.locations import check_url, is_remote, location, location_text

Problem = tuple[str, str, str]
"""Reason, remedy and code of an error."""
PathKind = Literal["any", "input", "file", "folder", "output file", "output folder", "output"]

_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # opening a named pipe without a writer would block
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NAME_BYTES = 255  # longest file name on common file systems
_SUFFIX_BYTES = 55  # reserved for suffixes that Singula appends: "_full_stats.csv", ".part" …
_LONG_NAME = "x" * (_NAME_BYTES - _SUFFIX_BYTES)


def user_path(value: object, name: str, kind: PathKind = "any") -> Path:
    """Convert a path or URL that a user gave to a `Path`, and validate it without opening it.

    Parameters
    ----------
    value : object
        A string, `os.PathLike` or URL. ``~`` and ``~user`` at its beginning are expanded.
    name : str
        Argument, option or configuration key of the path, for messages.
    kind : {"any", "input", "file", "folder", "output file", "output folder", "output"}
        Requirement on the path. ``input``: an existing file or folder; ``file``: an existing file;
        ``folder``: an existing folder; ``output file`` and ``output folder``: a path that can be
        created, replaced or filled; ``output``: that, or a URL of S3; ``any``: it need not exist.

    Returns
    -------
    Path
        Validated path. Relative paths stay relative. The result can be validated again.

    Raises
    ------
    UserError
        ``paths.type``, ``paths.empty``, ``paths.character`` (NUL, or not encodable as a file name),
        ``paths.unknown_user``, ``paths.stream`` (``-``), ``paths.too_long``, ``paths.unreadable``,
        ``paths.missing``, ``paths.not_a_file``, ``paths.not_a_folder``, ``paths.no_permission``,
        ``paths.scheme`` and ``paths.remote`` (a URL where only a local file is possible).

    Examples
    --------
    >>> user_path("images/cells.tif", "--output").name
    'cells.tif'
    """
    text = location_text(value)
    if text is None:
        raise UserError(
            f"{name}: got {type(value).__name__}, expected a path as str or pathlib.Path",
            "give the path of a file or folder",
            "paths.type",
        )
    _refuse(name, text, "a path", path_problem(text))
    path = location(os.path.expanduser(text))
    if is_remote(path):
        check_url(path, name, kind)
        return path
    if path.name == "-" or str(path)[0] == "~":  # Path drops "./", and "~" would be expanded
        path = path.absolute()
    kind = "output folder" if kind == "output" else kind
    mode = _mode(path, name, inside=kind == "output folder")
    _REQUIREMENTS[kind](path, name, mode)
    if kind == "output file" and text.endswith(("/", os.sep)):
        raise _wrong_kind(path, name, "a folder", "a file")
    return path


def path_problem(text: str) -> Problem | None:
    """Return the reason why a text cannot be a path; None if it can.

    Parameters
    ----------
    text : str
        Path before ``~`` is expanded. The disk is not read, except to look for a file with the
        name of an unknown ``~user``.

    Returns
    -------
    tuple of str or None
        The reason, the remedy and the code of the error.
    """
    if not text.strip():
        return "it is empty", "give the path of a file or folder", "paths.empty"
    problem = text_problem(text, encode=os.fsencode)
    if problem is not None:
        return problem
    if text == "-":
        return (
            "- means standard input or output",
            "name a file or folder; write ./- for one of this name",
            "paths.stream",
        )
    if text[0] == "~" and os.path.expanduser(text) == text and not os.path.lexists(text):
        return (
            f"the home folder of {text.partition('/')[0]} is unknown",
            "give the full path, or ./~ for a name that begins with ~",
            "paths.unknown_user",
        )
    max_bytes = max(len(os.fsencode(part)) for part in text.split("/"))
    if max_bytes > _NAME_BYTES:
        return (
            f"a name in it has {max_bytes} bytes; file systems allow {_NAME_BYTES}",
            "give a shorter path",
            "paths.too_long",
        )
    return None


def name_problem(text: str) -> Problem | None:
    """Return the reason why a text cannot begin file names, as `path_problem` does for paths."""
    hint = "give a short name without / and \\, such as my_experiment"
    max_bytes = _NAME_BYTES - _SUFFIX_BYTES
    if not text.strip() or text in (".", ".."):
        return "it does not name a file", hint, "paths.name"
    problem = text_problem(text)
    if problem is not None:
        return problem
    if "/" in text or "\\" in text:
        return "it contains a path separator", hint, "paths.name"
    if len(os.fsencode(text)) > max_bytes:
        return f"it has more than {max_bytes} bytes", hint, "paths.name"
    return None


def text_problem(text: str, *, encode: Callable[[str], bytes] = str.encode) -> Problem | None:
    """Return the reason why a text cannot be written to files, as `path_problem` does for paths.

    By default `encode` encodes as UTF-8; file names can have another encoding.
    """
    hint = "remove the character"
    if "\0" in text:
        return "it contains the character NUL", hint, "paths.character"
    try:
        encode(text)
    except UnicodeEncodeError as error:
        reason = f"it contains {text[error.start]!a}, an incomplete character"
        return reason, hint, "paths.character"
    return None


def user_name(value: object, name: str) -> str:
    """Validate a text that becomes the beginning of file names.

    Parameters
    ----------
    value : object
        Text to validate.
    name : str
        Option or key of the text, for messages.

    Returns
    -------
    str
        The text.

    Raises
    ------
    UserError
        ``paths.type``: not a text; ``paths.name``: empty, with a path separator, ``.`` or ``..``,
        or too long; ``paths.character`` as for `user_path`.
    """
    if not isinstance(value, str):
        raise UserError(
            f"{name}: got {show(value)}, expected a file name",
            "give a short name, such as my_experiment",
            "paths.type",
        )
    _refuse(name, value, "a file name", name_problem(value))
    return value


def as_name(text: str) -> str:
    r"""Convert a text from the metadata of a file to a part of file names.

    Examples
    --------
    >>> as_name("A/1\0")
    'A_1_'
    """
    return re.sub("[/\\\\\0-\x1f\x7f\ud800-\udfff]", "_", text)


def _refuse(name: str, text: str, expected: str, problem: Problem | None) -> None:
    if problem is not None:
        reason, hint, code = problem
        raise UserError(f"{name}: got {show(text)}, expected {expected} ({reason})", hint, code)


def _mode(path: Path, name: str, *, inside: bool) -> int | None:
    """Return the mode of the file at a path, following links; None if it does not exist.

    If `inside` is True, paths of files in the folder must not be too long for the system.
    """
    try:
        if inside:
            (path / _LONG_NAME).exists()
        return path.stat().st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        parent = next(part for part in path.parents if part.exists())
        raise _wrong_kind(parent, name, _kind(parent.stat().st_mode), "a folder") from None
    except PermissionError as error:
        raise _no_permission(path, name) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(
                f"{name}: got a path of {len(os.fsencode(path))} bytes, expected a path that this "
                "system allows",
                "give a shorter path",
                "paths.too_long",
            ) from error
        raise UserError(
            f"{name}: {path} cannot be read ({error.strerror})",
            "check the path and the links in it",
            "paths.unreadable",
        ) from error


def _check_input(path: Path, name: str, mode: int | None, *, file: bool, folder: bool) -> None:
    if mode is None:
        raise _missing(path, name)
    if not (stat.S_ISDIR(mode) and folder) and not (stat.S_ISREG(mode) and file):
        expected = "a file or a folder" if file and folder else "a file" if file else "a folder"
        raise _wrong_kind(path, name, _kind(mode), expected)
    if not os.access(path, os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK):
        raise _no_permission(path, name)


def _check_output(path: Path, name: str, mode: int | None, *, folder: bool) -> None:
    allowed = stat.S_ISDIR if folder else stat.S_ISREG
    if mode is not None and not allowed(mode):
        raise _wrong_kind(path, name, _kind(mode), "a folder" if folder else "a file")
    if mode is None and os.path.islink(path):
        raise _missing(path, name)
    parent = path if folder and mode is not None else _existing_parent(path)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(
            f"{name}: {path} cannot be written (no permission for {parent})",
            "choose a folder that you may write to",
            "paths.no_permission",
        )


def _existing_parent(path: Path) -> Path:
    return next(part for part in path.absolute().parents if part.exists())


_REQUIREMENTS: dict[PathKind, Callable[[Path, str, int | None], None]] = {
    "any": lambda path, name, mode: None,
    "input": lambda path, name, mode: _check_input(path, name, mode, file=True, folder=True),
    "file": lambda path, name, mode: _check_input(path, name, mode, file=True, folder=False),
    "folder": lambda path, name, mode: _check_input(path, name, mode, file=False, folder=True),
    "output file": lambda path, name, mode: _check_output(path, name, mode, folder=False),
    "output folder": lambda path, name, mode: _check_output(path, name, mode, folder=True),
}


def _wrong_kind(path: Path, name: str, kind: str, expected: str) -> UserError:
    code = "paths.not_a_folder" if expected == "a folder" else "paths.not_a_file"
    return UserError(f"{name}: {path} is {kind}, expected {expected}", "choose another path", code)


def _missing(path: Path, name: str) -> UserError:
    if os.path.islink(path):
        return UserError(
            f"{name}: {path} is a link whose target is missing",
            "restore the target (is its disk connected?), or remove the link",
            "paths.missing",
        )
    return UserError(f"{name}: {path} does not exist", "correct the path", "paths.missing")


def _no_permission(path: Path, name: str) -> UserError:
    return UserError(
        f"{name}: {path} cannot be read (permission denied)",
        "ask its owner for read permission",
        "paths.no_permission",
    )


def open_regular(
    path: Path | str, *, max_bytes: int | None = None, follow_links: bool = True
) -> BinaryIO:
    """Open a regular file for reading, in binary mode.

    Parameters
    ----------
    path : Path or str
        File to open.
    max_bytes : int, optional
        Size of the largest file that is opened; unlimited by default.
    follow_links : bool
        If False, refuse a file whose last path component is a symbolic link (not on Windows).

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
    if not follow_links and os.path.islink(path):
        raise UserError(
            f"{path}: got a symbolic link, expected a file",
            "replace the link with the file",
            "paths.symbolic_link",
        )
    path = os.fspath(path)  # raises the error for a URL
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path!s}: cannot be read ({reason})", "check the path", "paths.unreadable"
        ) from error
    try:
        status = os.fstat(descriptor)
        _check_kind(path, status.st_mode)
        if max_bytes is not None and status.st_size > max_bytes:
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
        File to read.
    max_bytes : int
        Size of the largest file that is read.
    follow_links : bool
        As for `open_regular`.

    Returns
    -------
    str
        Text of the file, with its original line ends.

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
    if len(data) > max_bytes:  # the file has grown, or its size is not available
        raise _too_large(path, max_bytes)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is not UTF-8 text", "save the file as UTF-8", "paths.not_text"
        ) from error


def _check_kind(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise UserError(
            f"{path}: got {_kind(mode)}, expected a file", "give a regular file", "paths.not_a_file"
        )


def _kind(mode: int) -> str:
    return next((f"a {name}" for is_kind, name in _KINDS if is_kind(mode)), "a special file")


def _too_large(path: Path | str, max_bytes: int) -> UserError:
    limit = f"{max_bytes / 2**20:g} MiB" if max_bytes >= 2**20 else f"{max_bytes} bytes"
    return UserError(
        f"{path}: is larger than {limit}", "check that this is the right file", "paths.too_large"
    )
