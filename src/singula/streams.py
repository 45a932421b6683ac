"""Standard output and error that never fail, and text that every stream can print."""

from __future__ import annotations

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


def printable(text: str) -> str:
    r"""Return a text with control characters and undecodable bytes as escapes.

    File names may contain both. Line ends and tabs are kept.

    Examples
    --------
    >>> print(printable("cell\udcff.tif"))
    cell\udcff.tif
    """
    return text.translate(_CONTROL).encode("utf-8", "backslashreplace").decode("utf-8")


class TolerantStream(io.TextIOWrapper):
    """Text stream to a standard file that never fails.

    Characters that the encoding lacks, and bytes of file names that are not text, are written as
    escapes. Once the file refuses text (a full disk, a closed pipe), the text from then on is
    dropped.

    Parameters
    ----------
    number : int
        Standard output (1) or standard error (2).
    stream : TextIOWrapper, optional
        The stream that it replaces; None if the file was closed before the process began.
    """

    def __init__(self, number: int, stream: io.TextIOWrapper | None) -> None:
        self.error: OSError | None = None
        self._number = number
        self._closed = stream is None
        unbuffered = stream is not None and stream.write_through
        super().__init__(
            open(number, "wb", buffering=0 if unbuffered else -1, closefd=False),  # noqa: SIM115
            encoding=stream.encoding if stream else "utf-8",
            errors="backslashreplace",
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
        """Pass buffered text on, or drop it."""
        try:
            super().flush()
        except OSError as error:
            self._drop_text(error)

    def _drop_text(self, error: OSError) -> None:
        """Continue on the null device, also with text that is still buffered."""
        self.error = self.error or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._number)
        os.close(null)


@contextmanager
def tolerant_output() -> Iterator[TolerantStream | None]:
    """Let standard output and standard error tolerate any text, and files that refuse it.

    Standard files that are closed are opened on the null device, so that no file that is opened
    later takes their numbers, to which libraries may print. Streams of other programs, such as
    those of a notebook, remain as they are.

    Yields
    ------
    TolerantStream, optional
        Standard output.
    """
    _occupy_closed_files()
    before = sys.stdout, sys.stderr
    output = _tolerant(sys.stdout, 1)
    sys.stdout, sys.stderr = output or sys.stdout, _tolerant(sys.stderr, 2) or sys.stderr
    try:
        yield output
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _tolerant(stream: Any, number: int) -> TolerantStream | None:
    if stream is not None:
        if not isinstance(stream, io.TextIOWrapper) or not _is_file(stream, number):
            return None
        with suppress(OSError):
            stream.flush()
    if hasattr(os, "set_blocking"):  # a full pipe that does not block is no error
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
