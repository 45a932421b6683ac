"""Run `singula` commands in separate processes that outlive the interface."""

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
from typing import IO, Any

import psutil

from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.io.records.results import Started
from singula.util.process import PREVIEW_VARIABLE, uses_safe_path

# Programs that a shell starts in the background inherit that SIGINT is ignored. The command needs
# SIGINT, because the interface stops it by this signal.
_PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from singula.__main__ import main; main()"
)


_MARK = "# singula gui\n"  # first line of the program, by which a process is recognized

_OUTPUT = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}  # Windows would use its code page
# Options of `Popen` with which `interrupt` reaches the command and its children, but no others
_NEW_GROUP: dict[str, Any] = {"start_new_session": True}
if sys.platform == "win32":
    _NEW_GROUP = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

_MAX_WAIT = 5.0  # seconds
_UNEXPECTED = "It stopped unexpectedly (the computer may have run out of memory)."


def alive(record: Started | None, output: Path) -> psutil.Process | None:
    """Return the process of a record if it is running, else None.

    Other users may have written or copied the record. A process is returned only if it started at
    the recorded time, is a command of the interface, and writes to the folder of the record.

    Parameters
    ----------
    record : Started, optional
        The record, if the folder has one.
    output : Path
        File with the output of the process, in the folder of the record.
    """
    if record is None:
        return None
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.created) < 2
        if not same or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if _works_on(process, output) else None
    except (psutil.Error, OSError, ValueError, OverflowError):
        return None


def _works_on(process: psutil.Process, output: Path) -> bool:
    """Return True if a process is a command of Singula that writes to `output`."""
    interpreter, arguments = process.cmdline()[1:3], process.cmdline()[3:]
    if len(interpreter) < 2 or interpreter[0] != "-c" or "singula" not in interpreter[1]:
        return False
    output = output.absolute()
    if output.parent == _output_folder(arguments):
        return True
    try:  # PATHS.RESULT_DIR.PATH, or a user, may have moved the folder
        return any(Path(file.path) == output for file in process.open_files())
    except psutil.AccessDenied:
        return False


def _wait_for_command_line(process: psutil.Process) -> None:
    """Wait until the command line of a new process can be read, by which `alive` recognizes it.

    On Linux, it is empty for some milliseconds after the start.
    """
    end = time.monotonic() + _MAX_WAIT
    while not process.cmdline() and time.monotonic() < end:
        time.sleep(0.001)


def _output_folder(arguments: Sequence[str]) -> Path | None:
    """Return the folder to which the command `run`, `tune` or `predict` writes by default."""
    if arguments[:1] == ["tune"] and len(arguments) > 1:
        return Path(arguments[1]) / "tuning"
    if arguments[:2] == ["predict", "--output"] and len(arguments) > 2:
        return Path(arguments[2])
    values = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    options = ("--result_dir", "--name", "--run_id")
    if arguments[:1] != ["run"] or not set(options) <= set(values):
        return None
    result_dir, name, number = (values[option] for option in options)
    return Path(result_dir) / name / "results" / f"{name}_{number}"


def interrupt(process: psutil.Process, *, kill: bool = False) -> None:
    """Interrupt a process and its children like Ctrl-C, or kill them.

    Parameters
    ----------
    process : psutil.Process
        Leader of its process group.
    kill : bool
        End the processes without cleaning up.
    """
    if sys.platform == "win32":
        with suppress(psutil.Error):
            if not kill:
                process.send_signal(signal.CTRL_BREAK_EVENT)  # to its group; Ctrl-C is blocked
                return
            for child in [*process.children(recursive=True), process]:
                with suppress(psutil.Error):
                    child.kill()
    else:
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == process.pid:  # it still leads its own group
                os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGINT)


def open_output(path: Path, *, append: bool = False) -> IO[bytes]:
    """Open the log of a process for writing, without following links.

    Parameters
    ----------
    path : Path
        Path of the log, in an existing folder.
    append : bool
        Append to an existing file. By default a new file replaces it, so that hard links to the old
        file keep their content.

    Raises
    ------
    UserError
        ``gui.log_is_special``: the path is a symbolic link, named pipe, folder or device.
        The file cannot be written.
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


def write_output(path: Path, text: str) -> None:
    """Write the log of a process that could not start.

    Parameters
    ----------
    path : Path
        Path of the log, in an existing folder.
    text : str
        Content of the log.

    Raises
    ------
    UserError
        The codes of `open_output`.
    """
    with open_output(path) as file:
        file.write(text.encode("utf-8"))


def _special(path: Path) -> UserError:
    return UserError(
        f"{path}: got a link or special file, expected a log file",
        "delete it, or choose another name or number for the run",
        "gui.log_is_special",
    )


def error_message(output: str) -> str:
    """Return the error message for the user from the output of a failed command.

    Parameters
    ----------
    output : str
        End of its standard output and standard error.
    """
    trace = output.rfind("Traceback (most recent call last)")
    start = max(output.rfind("\nerror: "), 0 if output.startswith("error: ") else -1)
    if start >= 0 and start > trace:
        return output[start:].strip().removeprefix("error: ")
    lines = [line for line in output[max(trace, 0) :].splitlines() if line.strip()]
    if trace >= 0:
        return (
            f"{lines[-1]}\nThis is an internal error of Singula; the complete message is at the "
            "end of the log below."
        )
    if lines:
        return f"{_UNEXPECTED} Its last message: {lines[-1]}"
    return _UNEXPECTED


@dataclass
class Processes:
    """Processes that the interface started.

    Parameters
    ----------
    home : Path
        Working directory of the processes.
    starting : threading.Lock
        Held from the check that a run is idle until its record is written, because pages use
        several threads.
    """

    home: Path
    starting: threading.Lock = field(default_factory=threading.Lock)
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, arguments: Sequence[str], output: Path, *, append: bool = False) -> Started:
        """Start ``singula ARGUMENTS`` and return the record of the process.

        Parameters
        ----------
        arguments : sequence of str
            Arguments as on the command line, without the program's name.
        output : Path
            File for standard output and standard error.
        append : bool
            Append to the file.

        Raises
        ------
        UserError
            Any error of `open_output`.
        """
        make_folder(output.parent)
        # Do not import Python files from the working directory, which is a folder of the user.
        safe = {"PYTHONSAFEPATH": "1"} if uses_safe_path() else {}
        began = time.time()
        try:
            with open_output(output, append=append) as file:
                child = subprocess.Popen(
                    [sys.executable, "-c", _MARK + _PROGRAM, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=self.home,
                    env={**os.environ, **_OUTPUT, **safe, PREVIEW_VARIABLE: "1"},
                    **_NEW_GROUP,
                )
        except OSError as error:
            raise write_error(output, error) from error
        self._children.append(child)
        created = began
        with suppress(psutil.Error):  # it may already have ended
            process = psutil.Process(child.pid)
            created = process.create_time()
            _wait_for_command_line(process)
        return Started(pid=child.pid, created=created, began=began)

    def reap(self) -> None:
        """Remove processes that have ended, so that they do not remain zombies."""
        self._children = [child for child in self._children if child.poll() is None]
