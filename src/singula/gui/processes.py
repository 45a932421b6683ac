"""Commands of `singula` as processes of their own, which outlive the interface."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.io.records import Started

# A program that a shell started in the background inherits that Ctrl-C is ignored; the command must
# hear it, for that is how it is asked to stop.
_PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from singula.__main__ import main; main()"
)


_MARK = "# singula gui\n"  # by which a process is recognized


def alive(started: Started | None, output: Path) -> psutil.Process | None:
    """Return the process that a record names, if it runs and is the one that was started.

    Records are files that others may have written or copied. A process counts only if it began at
    the recorded time, the interface started it, and it works in the folder of the record.

    Parameters
    ----------
    started : Started, optional
        The record; None where there is none.
    output : Path
        File with the output of the process, in the folder of the record.
    """
    if started is None:
        return None
    try:
        process = psutil.Process(started.pid)
        same = abs(process.create_time() - started.created) < 2
        if not same or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if _works_on(process, output) else None
    except (psutil.Error, OSError, ValueError, OverflowError):
        return None


def _works_on(process: psutil.Process, output: Path) -> bool:
    """Return True if a process is a command of Singula that writes to `output`."""
    interpreter, words = process.cmdline()[1:3], process.cmdline()[3:]
    if len(interpreter) < 2 or interpreter[0] != "-c" or "singula" not in interpreter[1]:
        return False
    output = output.absolute()
    if output.parent == _folder_of(words):
        return True
    try:  # PATHS.RESULT_DIR.PATH may have moved the folder, or a user while the process runs
        return any(Path(file.path) == output for file in process.open_files())
    except psutil.AccessDenied:
        return False


def _folder_of(words: Sequence[str]) -> Path | None:
    """Return the folder that a command line of `run` or `tune` writes to by default."""
    if words[:1] == ["tune"] and len(words) > 1:
        return Path(words[1]) / "tuning"
    values = dict(zip(words[1::2], words[2::2], strict=False))
    keys = ("--result_dir", "--name", "--run_id")
    if words[:1] != ["run"] or not set(keys) <= set(values):
        return None
    place, name, number = (values[key] for key in keys)
    return Path(place) / name / "results" / f"{name}_{number}"


def interrupt(process: psutil.Process, *, kill: bool = False) -> None:
    """Send a process and its children what Ctrl-C does; or end them at once."""
    with suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:  # the group is its own
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGINT)


def open_output(path: Path, *, append: bool = False) -> IO[bytes]:
    """Open the log of a process for writing, never through a link.

    Parameters
    ----------
    path : Path
        Its folder exists.
    append : bool
        Continue an existing file. By default the file is replaced by a new one, so that another
        name of the old one (a hard link) keeps its content.

    Raises
    ------
    UserError
        ``gui.log_is_special``: the path is a symbolic link, named pipe, folder or device; the file
        cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise _special(path)
        if not append:
            path.unlink(missing_ok=True)
        descriptor = os.open(path, flags | (os.O_APPEND if append else os.O_EXCL), 0o666)
    except OSError as error:
        raise write_error(path, error) from error
    file = os.fdopen(descriptor, "ab" if append else "wb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise _special(path)
    return file


def _special(path: Path) -> UserError:
    return UserError(
        f"{path}: got a link or special file, expected a log file",
        "delete it, or take another name or number for the run",
        "gui.log_is_special",
    )


@dataclass
class Processes:
    """Starts commands, and takes notice of those that ended.

    Parameters
    ----------
    home : Path
        Where they are started.
    starting : threading.Lock
        Held from the check that a run is idle until its record is written: pages work in threads.
    """

    home: Path
    starting: threading.Lock = field(default_factory=threading.Lock)
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
            with open_output(output, append=append) as file:
                child = subprocess.Popen(
                    [sys.executable, "-c", _MARK + _PROGRAM, *arguments],
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
