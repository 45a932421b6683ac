"""The log of a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from singula.io.atomic import make_folder, write_error
from singula.util.streams import printable


class RunLog:
    """Says a line, and keeps it with its time in the run's log file."""

    def __init__(self, notify: Callable[[str], None], *, quiet: bool = False) -> None:
        self.notify = notify
        self.quiet = quiet
        self.file: IO[str] | None = None
        self.waiting: list[str] = []
        self.notices: set[str] = set()

    def open(self, path: Path) -> None:
        """Write to this file from now on, beginning with the earlier lines."""
        make_folder(path.parent)
        try:
            self.file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise write_error(path, error) from error
        for line in self.waiting:
            self._write(line)

    def close(self) -> None:
        """Write no more; a full disk was told of when a line was written."""
        if self.file is not None:
            with suppress(OSError):
                self.file.close()
            self.file = None

    def __call__(self, line: str) -> None:
        """Say a line."""
        if self.quiet:
            return
        self.notify(line)
        stamped = _stamped(line)
        if self.file is None:
            self.waiting.append(stamped)
        else:
            self._write(stamped)

    def keep(self, line: str) -> None:
        """Write a line only, which somebody else says."""
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
        Takes each line. Without a set ``notices``, as a run's `RunLog` has, it gets every line.
    rule, examples : str
    name : str
        Folder or key that the examples belong to.
    """
    notices: set[str] = getattr(notify, "notices", set())
    own = f"{rule}: {name}"
    if own not in notices:
        notify(f"  also {name}: {examples}" if rule in notices else f"{rule}: {examples}")
        notices |= {rule, own}


def _stamped(line: str) -> str:
    return f"{datetime.now(UTC).isoformat(timespec='seconds')} {printable(line)}"
