"""The log of a run, marked while the run is on; the system takes the mark away with the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.paths import open_regular

try:
    import fcntl
except ImportError:  # not on Windows; there nobody can tell
    fcntl = None  # type: ignore[assignment]


class RunLog:
    """Says a line, and keeps it with its time in the run's log file."""

    def __init__(self, notify: Callable[[str], None], *, quiet: bool = False) -> None:
        self.notify = notify
        self.quiet = quiet
        self.file: IO[str] | None = None
        self.waiting: list[str] = []
        self.notices: set[str] = set()

    def open(self, path: Path) -> None:
        """From now on write to this file, beginning with what was said before.

        While it is open it is marked, so that others see that the run is on.
        """
        make_folder(path.parent)
        try:
            self.file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise write_error(path, error) from error
        _mark(self.file)
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
    return f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}"


def _mark(file: IO[str]) -> None:
    """Mark an open file as long as it is open; without a word where that cannot be done."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_marked(path: Path) -> bool:
    """Whether a process that runs has marked a file."""
    if fcntl is None:
        return False
    with _opened(path) as file:
        if file is None:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | None]:
    try:
        file = open_regular(path)
    except UserError:
        yield None
        return
    with file:
        yield file
