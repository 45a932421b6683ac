"""Locations of images: paths on this computer, and URLs of object stores and web servers.

`location` is the only place that separates paths from URLs. `singula.util.paths.user_path` calls
it, so every path of a user passes through it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Self, cast

from singula.errors import UserError
from singula.util import object_stores
from singula.util.store_errors import can_list

# `Path` joins the two slashes of a URL. A drive letter of Windows is a single letter.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?=[^/])")
_SCHEMES = ("s3", "https", "http")
_NO_HOST = re.compile(r"(s3|https?)://(/|$)", re.IGNORECASE)


class RemotePath(PurePosixPath):
    """URL with the interface of a `Path`.

    Methods that need a local file raise an error that names the URL. The path itself never
    changes: it is absolute, and no link leads from it to another one.

    Examples
    --------
    >>> path = location("s3://bucket/plate/cells.zarr")
    >>> print(path / "0")
    s3://bucket/plate/cells.zarr/0
    >>> print(path.parent, path.name)
    s3://bucket/plate cells.zarr
    """

    def __str__(self) -> str:
        """Return the URL."""
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        """Raise an error, because the operating system cannot open a URL."""
        raise needs_local_file(self)

    def exists(self) -> bool:
        """Return True if the URL is a file, a Zarr array or group, or a folder of a store."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Return True if the URL is a file that can be read."""
        return object_stores.file_stamp(str(self)) is not None

    def is_dir(self) -> bool:
        """Return True if files lie below the URL.

        A web server lists no files; there, a folder is an array or group of Zarr.
        """
        return object_stores.is_folder(str(self))

    def is_symlink(self) -> bool:
        """Return False."""
        return False

    def iterdir(self) -> Iterator[Self]:
        """Iterate over the files and folders in a folder of a store."""
        for name in object_stores.list_names(str(self)):
            yield self / name

    def read_bytes(self) -> bytes:
        """Read a file."""
        return object_stores.read_file(str(self))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read a text file."""
        return self.read_bytes().decode(encoding)

    def absolute(self) -> Self:
        """Return the path."""
        return self

    def expanduser(self) -> Self:
        """Return the path."""
        return self

    def resolve(self, strict: bool = False) -> Self:
        """Return the path."""
        return self

    def __getattr__(self, name: str) -> Any:
        """Raise an error for the methods of `Path` that need a local file."""
        if name[:1] != "_" and hasattr(Path, name):
            raise needs_local_file(self)
        raise AttributeError(name)


def location(value: str | os.PathLike[str]) -> Path:
    """Convert a text or path to a `Path`, or to a `RemotePath` if it is a URL.

    Parameters
    ----------
    value : str or os.PathLike
        Path, or URL of the schemes s3, https and http.

    Raises
    ------
    UserError
        ``paths.scheme``: a URL of another scheme, or without a bucket or server; ``paths.secret``:
        a URL with a password, or with parameters such as a signature.

    Examples
    --------
    >>> type(location("C:/images/cells.zarr")).__name__ == "RemotePath"
    False
    """
    if isinstance(value, RemotePath):
        return cast("Path", value)
    # `WindowsPath` changes the slashes of a URL.
    text = value.as_posix() if isinstance(value, PurePath) else str(value)
    if _NO_HOST.match(text):
        raise UserError(
            f"{text}: got a URL without a bucket or server, expected s3://BUCKET/FOLDER or "
            "https://SERVER/FOLDER",
            "correct the URL",
            "paths.scheme",
        )
    match = _URL.match(text)
    if match is None or (isinstance(value, PurePath) and value.is_absolute()):
        return Path(value)
    scheme = match["scheme"].lower()
    if scheme not in _SCHEMES:
        raise UserError(
            f"{text}: got a URL of the scheme {scheme}, expected {', '.join(_SCHEMES)}",
            "give one of these, or a path on this computer",
            "paths.scheme",
        )
    rest, host = text[match.end() :], text[match.end() :].partition("/")[0]
    if "@" in host or "?" in rest:
        # Messages and results contain the URLs of images.
        shown, kind = rest.partition("?")[0], "parameters after ?"
        if "@" in host:
            shown, kind = f"…@{shown.partition('@')[2]}", "a user name or password"
        raise UserError(
            f"{scheme}://{shown}: got a URL with {kind}, expected one without, because it would be "
            "written to messages and results",
            "give credentials in the environment (docs/stores.md), or download the image",
            "paths.secret",
        )
    return cast("Path", RemotePath(f"{scheme}:/{rest}"))


def location_text(value: object) -> str | None:
    """Return the text of a path or URL; None for other values."""
    if isinstance(value, str | RemotePath):
        return str(value)
    text = os.fspath(value) if isinstance(value, os.PathLike) else None
    return text if isinstance(text, str) else None


def is_remote(path: object) -> bool:
    """Return True if a path is a URL."""
    return isinstance(path, RemotePath)


def check_url(url: Path, name: str, kind: str) -> None:
    """Raise an error for a URL where a path of this kind is expected.

    Parameters
    ----------
    url : Path
        The URL.
    name : str
        Argument, option or key of the path.
    kind : str
        As for `singula.util.paths.user_path`.

    Raises
    ------
    UserError
        ``paths.remote``: only a path on this computer is possible, or, for ``output``, also
        a URL of an object store.
    """
    if kind == "file":
        raise needs_local_file(url, name)
    if kind in ("output file", "output folder"):
        raise UserError(
            f"{name}: got the URL {url}, expected a path on this computer",
            "choose a path on this computer; only `singula predict` writes to s3://BUCKET/FOLDER",
            "paths.remote",
        )
    if kind == "output" and not can_list(str(url)):
        raise UserError(
            f"{name}: got the URL {url}, expected a folder on this computer or a URL of an object "
            "store, s3://BUCKET/FOLDER",
            "choose another folder",
            "paths.remote",
        )


def needs_local_file(url: object, name: str = "") -> UserError:
    """Return the error for a URL where only a path on this computer is possible.

    Parameters
    ----------
    url : object
        The URL.
    name : str
        Argument, option or key of the path.
    """
    got = f"{name}: got the URL {url}" if name else f"{url}: got a URL"
    return UserError(
        f"{got}, expected a path on this computer",
        "download it, and give the path of the copy; URLs can be OME-Zarr images (docs/stores.md)",
        "paths.remote",
    )
