"""Log of a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from singula.io.atomic import make_folder, write_error
from singula.util.streams import printable


class RunLog:
    """Print lines, and write them with their time to the log file of the run."""

    def __init__(self, notify: Callable[[str], None], *, quiet: bool = False) -> None:
        self.notify = notify
        self.quiet = quiet
        self.file: IO[str] | None = None
        self.waiting: list[str] = []
        self.notices: set[str] = set()

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

    def __call__(self, line: str) -> None:
        """Print a line and write it to the log file."""
        if self.quiet:
            return
        self.notify(line)
        stamped = _stamped(line)
        if self.file is None:
            self.waiting.append(stamped)
        else:
            self._write(stamped)

    def keep(self, line: str) -> None:
        """Write a line to the log file without printing it."""
        if not self.quiet:
            self._write(_stamped(line))

    def _write(self, line: str) -> None:
        if self.file is not None:
            try:
                self.file.write(line + "\n")
            except OSError as error:
                raise write_error(Path(self.file.name), error) from error


def notify_once(notify: Callable[[str], None], rule: str, name: str, examples: str) -> None:
    """Print a rule with examples; a run prints the rule once, and the examples of each name once.

    Parameters
    ----------
    notify : callable
        Called with each line. If it has no set ``notices``, as `RunLog` has, it receives all lines.
    rule, examples : str
        Rule that is printed once, and examples.
    name : str
        Folder or key of the examples.
    """
    notices: set[str] = getattr(notify, "notices", set())
    notice = f"{rule}: {name}"
    if notice not in notices:
        notify(f"  also {name}: {examples}" if rule in notices else f"{rule}: {examples}")
        notices |= {rule, notice}


def _stamped(line: str) -> str:
    return f"{datetime.now(UTC).isoformat(timespec='seconds')} {printable(line)}"
