"""Access to object stores (S3) and web servers: options, files, lists and retries."""

from __future__ import annotations

import functools
import math
import os
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, ClassVar

from singula.errors import UserError
from singula.util.format import install_command
from singula.util.s3_options import s3_options
from singula.util.store_errors import (
    TIMEOUT_VARIABLE,
    can_list,
    denied_url,
    errors_of,
    missing_url,
    reason_of,
)

_TIMEOUT = 120.0
_MAX_RETRIES = 1000  # the time ends the attempts
_MAX_LISTS = 20  # requests for lists of 1000 files
METADATA_NAMES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Metadata files of Zarr, at least one of which exists in each array or group."""
_MAX_AGE = 10.0  # seconds for which an answer about metadata is valid
_MAX_ANSWERS = 10_000
_REQUEST_TIMEOUT = 30.0  # seconds of one request


_processes: set[int] = set()


def is_used() -> bool:
    """Return True if this process, or the process from which it was forked, opened a store.

    The threads of obstore do not exist in a forked process.
    """
    return bool(_processes)


def open_store(url: str) -> Any:
    """Open the store of a URL, in which the URL is the root.

    Parameters
    ----------
    url : str
        URL of the scheme s3, https or http.

    Raises
    ------
    UserError
        ``stores.library_missing``: obstore is not installed; ``stores.option``: an option in the
        environment is not valid; ``stores.forked``: a forked process, in which requests would wait
        forever.
    """
    if is_used() and os.getpid() not in _processes:
        raise UserError(
            f"{url}: cannot be read in a forked process",
            "set SYSTEM.NUM_WORKERS to 0, or start the process with spawn",
            "stores.forked",
        )
    _processes.add(os.getpid())
    return _store(os.getpid(), url.rstrip("/"), tuple(sorted(s3_options().items())), _timeout())


@functools.lru_cache(maxsize=256)
def _store(process: int, url: str, options: tuple[tuple[str, Any], ...], timeout: float) -> Any:
    try:
        from obstore.store import HTTPStore, S3Store
    except ImportError as error:
        raise UserError(
            f"{url}: for URLs, the library obstore is needed, which is not installed",
            install_command("stores"),
            "stores.library_missing",
        ) from error
    common: dict[str, Any] = {
        "retry_config": {
            "max_retries": _MAX_RETRIES,
            "retry_timeout": timedelta(seconds=timeout),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=min(15.0, timeout)),
                "base": 2,
            },
        },
        "client_options": {
            "allow_http": True,
            "timeout": timedelta(seconds=min(_REQUEST_TIMEOUT, timeout / 3)),
            "connect_timeout": timedelta(seconds=min(5.0, timeout / 3)),
        },
    }
    try:
        if url.startswith("s3:"):
            return S3Store.from_url(url, **dict(options), **common)
        return HTTPStore.from_url(url, **common)
    except Exception as error:
        raise UserError(
            f"{url}: cannot be opened ({reason_of(error)})",
            "correct the URL, and the options in the environment",
            "stores.option",
        ) from error


def _timeout() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text) if text else _TIMEOUT
        if not 0 < seconds <= 3600:
            raise ValueError
    except ValueError:
        raise UserError(
            f"{TIMEOUT_VARIABLE}: got {text!r}, expected seconds from above 0 to 3600",
            "correct the variable, or remove it",
            "stores.option",
        ) from None
    return seconds


class RecentAnswers:
    """Answers of stores about metadata of the last seconds.

    An image is opened many times in a command, and each request costs the latency of the network.
    """

    _all: ClassVar[list[RecentAnswers]] = []

    def __init__(self) -> None:
        self._answers: dict[tuple[Any, ...], tuple[float, Any]] = {}
        self._all.append(self)

    @classmethod
    def forget(cls) -> None:
        """Remove all answers, after this process wrote to a store."""
        for answers in cls._all:
            answers._answers.clear()

    def get(self, url: str) -> Any:
        """Return the stored answer; `NotImplemented` if it is missing or too old."""
        time_stored, answer = self._answers.get(self._key(url), (-math.inf, None))
        return answer if time.monotonic() - time_stored < _MAX_AGE else NotImplemented

    def put(self, url: str, answer: Any) -> None:
        """Store an answer."""
        if len(self._answers) >= _MAX_ANSWERS:
            self._answers.clear()
        self._answers[self._key(url)] = time.monotonic(), answer

    @staticmethod
    def _key(url: str) -> tuple[Any, ...]:
        return url, os.getpid(), *sorted(s3_options().items())


_folders, _stamps = RecentAnswers(), RecentAnswers()


def file_stamp(url: str) -> tuple[int, int] | None:
    """Return the size and the time of change of a file in ns; None if it does not exist.

    Raises
    ------
    UserError
        The codes of `errors_of`, except ``stores.missing``.
    """
    stamp: tuple[int, int] | None = _stamps.get(url)
    if stamp is NotImplemented:
        try:
            entry = _head(url)
            stamp = int(entry["size"]), _nanoseconds(entry)
        except UserError as error:
            if not is_missing(url, error):
                raise
            stamp = None
        _stamps.put(url, stamp)
    return stamp


def _head(url: str) -> Any:
    if url.count("/") < 3:  # a bucket or server, which is not a file
        raise missing_url(url)
    parent, _, name = url.rpartition("/")
    store = open_store(parent)
    import obstore

    with errors_of(url):
        return obstore.head(store, name)


def is_missing(url: str, error: UserError) -> bool:
    """Return True if an error of `errors_of` means that a file does not exist.

    A server that lists no files refuses access to missing files, too. If the store lists the file,
    it exists, and the permission to read it is missing.
    """
    if error.code == "stores.denied":
        return not _is_listed(url)
    return error.code == "stores.missing"


def _is_listed(url: str) -> bool:
    if not can_list(url):
        return False
    parent, _, name = url.rpartition("/")
    store = open_store(parent)
    import obstore

    try:
        with errors_of(url):
            for batch in obstore.list(store, offset=name[:-1], chunk_size=1):
                return any(entry["path"] == name for entry in batch)
    except UserError:
        pass
    return False


def read_file(url: str) -> bytes:
    """Read a file; raise `UserError` as `errors_of`."""
    parent, _, name = url.rpartition("/")
    store = open_store(parent)
    import obstore

    for wait in waits():
        with errors_of(url):
            try:
                return bytes(obstore.get(store, name).bytes())
            except Exception as error:
                if wait is None or not is_interrupted(error):
                    raise
        time.sleep(wait)
    raise RuntimeError("the last attempt returns or raises")


def waits() -> Iterator[float | None]:
    """Yield the seconds to wait after each interrupted attempt to read a file; at last None.

    obstore repeats requests that fail, but not those whose connection was cut during the answer.
    """
    end, wait = time.monotonic() + _timeout(), 0.1
    while time.monotonic() + wait < end:
        yield wait * random.uniform(0.5, 1.0)
        wait = min(2 * wait, 15.0)
    yield None


def is_interrupted(error: BaseException) -> bool:
    """Return True if the connection was cut during an answer, so that another attempt may help."""
    return type(error).__module__.startswith("obstore") and "response body" in str(error)


def folder_stamp(url: str) -> tuple[int, int]:
    """Return the size and the latest time of change in ns of the files below a URL.

    Of a web server, and of the files of a store beyond the first thousands, only the metadata of
    Zarr are considered.
    """
    found = (file_stamp(f"{url}/{name}") for name in METADATA_NAMES)
    stamps = [stamp for stamp in found if stamp is not None]
    if can_list(url):
        store = open_store(url)
        import obstore

        with errors_of(url):
            for batch in islice(obstore.list(store, chunk_size=1000), _MAX_LISTS):
                stamps += [(entry["size"], _nanoseconds(entry)) for entry in batch]
    return sum(size for size, _ in stamps), max((time for _, time in stamps), default=0)


def _nanoseconds(entry: Any) -> int:
    return int(entry["last_modified"].timestamp()) * 10**9


def is_folder(url: str) -> bool:
    """Return True if files lie below a URL; on a server without lists, a Zarr array or group.

    Raises
    ------
    UserError
        The codes of `errors_of`, except ``stores.missing``.
    """
    answer = _folders.get(url)
    if answer is NotImplemented:
        answer = _is_folder(url)
        _folders.put(url, answer)
    return bool(answer)


def _is_folder(url: str) -> bool:
    is_denied = False
    try:
        if can_list(url):
            return _has_files(url)
    except UserError as error:
        if error.code == "stores.missing":
            return False
        if error.code != "stores.denied":  # public stores often refuse to list their files
            raise
        is_denied = True
    for name in METADATA_NAMES:
        try:
            _head(f"{url}/{name}")
            return True
        except UserError as error:
            if error.code not in ("stores.denied", "stores.missing"):
                raise
            is_denied |= error.code == "stores.denied"
    if is_denied:
        raise denied_url(url)
    return False


def _has_files(url: str) -> bool:
    store = open_store(url)
    import obstore

    with errors_of(url):
        return any(len(batch) for batch in obstore.list(store, chunk_size=1))


def list_names(url: str) -> list[str]:
    """Return the names of the files and folders below a URL, in sorted order.

    Raises
    ------
    UserError
        ``stores.no_listing``: the server lists no files; the codes of `errors_of`.
    """
    if not can_list(url):
        raise UserError(
            f"{url}: got a folder of a web server, which lists no files, expected an image",
            "give the URL of an OME-Zarr image, which ends in .zarr; copy data sets to S3 or to "
            "this computer",
            "stores.no_listing",
        )
    store = open_store(url)
    import obstore

    with errors_of(url):
        listed = obstore.list_with_delimiter(store)
    files = [str(entry["path"]) for entry in listed["objects"]]
    return sorted(path.rpartition("/")[2] for path in [*listed["common_prefixes"], *files])
