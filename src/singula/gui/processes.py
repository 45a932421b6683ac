"""Commands of `singula` as processes of their own, which outlive the interface."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from singula.io.atomic import make_folder, write_error

# A program that a shell started in the background inherits that Ctrl-C is ignored; the command must
# hear it, for that is how it is asked to stop.
_PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from singula.cli import main; main()"
)


@dataclass(frozen=True, kw_only=True)
class Started:
    """A process that was started.

    Parameters
    ----------
    pid : int
        It leads its own group.
    created : float
        When it began, by which it is told from a later one of the same number.
    began : float
        Time of the start, seconds since 1970.
    stopped : bool
        The user asked it to stop.
    """

    pid: int
    created: float
    began: float
    stopped: bool = False


def alive(started: Started | None) -> psutil.Process | None:
    """The process while it runs, also one that an earlier interface started."""
    if started is None:
        return None
    try:
        process = psutil.Process(started.pid)
        same = abs(process.create_time() - started.created) < 2
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def interrupt(process: psutil.Process, *, kill: bool = False) -> None:
    """Send a process and its children what Ctrl-C does; or end them at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGINT)


@dataclass
class Processes:
    """Starts commands, and takes notice of those that ended.

    Parameters
    ----------
    home : Path
        Where they are started.
    """

    home: Path
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, arguments: Sequence[str], output: Path, *, append: bool = False) -> Started:
        """Start ``singula ARGUMENTS``; what it prints goes to a file.

        Raises
        ------
        UserError
            The file cannot be written.
        """
        make_folder(output.parent)
        began = time.time()
        try:
            with output.open("ab" if append else "wb") as file:
                child = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=self.home,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,
                )
        except OSError as error:
            raise write_error(output, error) from error
        self._children.append(child)
        created = began
        with suppress(psutil.Error):  # it may have ended already
            created = psutil.Process(child.pid).create_time()
        return Started(pid=child.pid, created=created, began=began)

    def reap(self) -> None:
        """Take notice of processes that ended, so that they do not remain as zombies."""
        self._children = [child for child in self._children if child.poll() is None]
