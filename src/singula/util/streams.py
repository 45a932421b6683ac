"""Standard streams that never fail, and text that every stream can print."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_CONTROL = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
}
# Replacements for encodings that lack a character of the messages, such as cp1252 of Windows
_PLAIN = {"→": "->", "↔": "<->", "≥": ">=", "≤": "<=", "−": "-", "\u202f": " ", "✕": "x", "μ": "u"}
_ERRORS = "singula.plain"


def _replace_by_plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace a character that an encoding lacks by similar ones, else by an escape."""
    if isinstance(error, UnicodeEncodeError):
        plain = _PLAIN.get(error.object[error.start])
        if plain is not None:
            return plain, error.start + 1
        error.end = error.start + 1
    return codecs.backslashreplace_errors(error)


codecs.register_error(_ERRORS, _replace_by_plain)


def escape_surrogates(value: Any) -> Any:
    """Replace lone surrogates in all texts of a nested value of plain types by escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {escape_surrogates(key): escape_surrogates(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [escape_surrogates(inner) for inner in value]
    return value


def printable(text: str) -> str:
    r"""Return a text with control characters and undecodable bytes as escapes.

    File names may contain both. Line ends and tabs are kept.

    Examples
    --------
    >>> print(printable("cell\udcff.tif"))
    cell\udcff.tif
    """
    return text.translate(_CONTROL).encode("utf-8", "backslashreplace").decode("utf-8")


def print_line(line: str) -> None:
    """Print a line immediately, without control characters."""
    print(printable(line), flush=True)


class TolerantStream(io.TextIOWrapper):
    """Text stream to a standard file that never fails.

    Characters that the encoding lacks are replaced by similar ones, such as "->". Other
    characters, and undecodable bytes of file names, are written as escapes.
    After the first failed write (a full disk, a closed pipe), all further text is dropped.

    Parameters
    ----------
    number : int
        Standard output (1) or standard error (2).
    stream : TextIOWrapper, optional
        Stream to replace; None if the file was closed before the process started.
    """

    def __init__(self, number: int, stream: io.TextIOWrapper | None) -> None:
        self.error: OSError | None = None
        self._number = number
        self._closed = stream is None
        unbuffered = stream is not None and stream.write_through
        super().__init__(
            open(number, "wb", buffering=0 if unbuffered else -1, closefd=False),  # noqa: SIM115
            encoding=stream.encoding if stream else "utf-8",
            errors=_ERRORS,
            line_buffering=stream is not None and stream.line_buffering,
            write_through=unbuffered,
        )

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        if self._closed and self.error is None:
            self.error = OSError(errno.EBADF, os.strerror(errno.EBADF))
        try:
            return super().write(text)
        except OSError as error:
            self._drop_text(error)
            return len(text)

    def flush(self) -> None:
        """Write buffered text, or drop it."""
        try:
            super().flush()
        except OSError as error:
            self._drop_text(error)

    def _drop_text(self, error: OSError) -> None:
        """Write to the null device from now on, including text that is still buffered."""
        self.error = self.error or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._number)
        os.close(null)


@contextmanager
def tolerant_output() -> Iterator[TolerantStream | None]:
    """Replace standard output and standard error by streams that never fail.

    Closed standard files are opened on the null device. Otherwise a file that is opened later would
    take their numbers, and libraries might print to it. Streams of other programs, such as a
    notebook, are not replaced.

    Yields
    ------
    TolerantStream, optional
        Standard output; None if it was not replaced.
    """
    _occupy_closed_files()
    previous = sys.stdout, sys.stderr
    output = _tolerant(sys.stdout, 1)
    sys.stdout, sys.stderr = output or sys.stdout, _tolerant(sys.stderr, 2) or sys.stderr
    try:
        yield output
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = previous


def _tolerant(stream: Any, number: int) -> TolerantStream | None:
    if stream is not None:
        if not isinstance(stream, io.TextIOWrapper) or not _is_file(stream, number):
            return None
        with suppress(OSError):
            stream.flush()
    if hasattr(os, "set_blocking"):  # else a full pipe would be an error
        os.set_blocking(number, True)
    return TolerantStream(number, stream)


def _is_file(stream: io.TextIOWrapper, number: int) -> bool:
    try:
        return stream.fileno() == number
    except OSError:
        return False


def _occupy_closed_files() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
