"""Log file of a run."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from singula.io.atomic import make_folder, write_error
from singula.util.streams import printable


class RunLog:
    """Log file of a run, to which each message is written with its time.

    Messages that are written before the file is opened are kept for it.
    """

    def __init__(self) -> None:
        self.file: IO[str] | None = None
        self.waiting: list[str] = []

    def open(self, path: Path) -> None:
        """Open the log file and write the earlier lines to it."""
        make_folder(path.parent)
        try:
            self.file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise write_error(path, error) from error
        for line in self.waiting:
            self._write(line)

    def close(self) -> None:
        """Close the log file; a full disk was reported when the line was written."""
        if self.file is not None:
            with suppress(OSError):
                self.file.close()
            self.file = None

    def write(self, message: str) -> None:
        """Write a message."""
        stamped = _stamped(message)
        if self.file is None:
            self.waiting.append(stamped)
        else:
            self._write(stamped)

    def _write(self, line: str) -> None:
        if self.file is not None:
            try:
                self.file.write(line + "\n")
            except OSError as error:
                raise write_error(Path(self.file.name), error) from error


def _stamped(line: str) -> str:
    return f"{datetime.now(UTC).isoformat(timespec='seconds')} {printable(line)}"
