"""SIGINT (Ctrl-C), SIGTERM and SIGUSR1: end a command with one line, at any moment.

On Windows, SIGBREAK (Ctrl-Break) is handled like SIGINT. The interface stops a run with it, because
a new process group ignores Ctrl-C.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from singula.errors import ExitCode

# Batch systems send SIGUSR1 before the time limit of a job; Windows does not have it.
WARNING_SIGNAL: int | None = getattr(signal, "SIGUSR1", None)
_TERMINATION = (signal.SIGTERM, *filter(None, [WARNING_SIGNAL]))
_SIGNALS: tuple[int, ...] = (signal.SIGINT, *_TERMINATION)
if sys.platform == "win32":
    _SIGNALS += (signal.SIGBREAK,)
TASKS_VARIABLE = "SLURM_STEP_NUM_TASKS"
"""Variable with the number of processes that ``srun`` started; batch scripts do not have it."""
_REPEAT_SECONDS = 1.0  # a signal within this time belongs to the same request
_DELAY_SECONDS = 0.01


class Interrupted(KeyboardInterrupt):
    """Interruption by a signal.

    This is a separate class because the interpreter ends by the signal, without an exit code, after
    a plain `KeyboardInterrupt` within `exec`, even if the error was handled.
    """


class Interruption:
    """Handler of SIGINT, SIGTERM and SIGUSR1.

    While a command is in progress, the first signal raises `KeyboardInterrupt` in the main thread,
    so that temporary files are removed. Another Ctrl-C more than a second later ends the process
    immediately. Before and after the command, the first signal ends the process: there are no
    temporary files.

    Parameters
    ----------
    received : int, optional
        Number of the first signal.
    next_step : str
        Advice for the user after an interruption; may be empty.
    announced : bool
        True if this process, or a process that it started, has printed the line.
    deferred_signal : int, optional
        Signal that was received within `deferred`.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.next_step = ""
        self.announced = False
        self.deferred_signal: int | None = None
        self._in_progress = False
        self._deferred: frozenset[int] = frozenset()
        self._process = os.getpid()
        self._time = 0.0

    @property
    def exit_code(self) -> ExitCode:
        """Exit code for the received signal.

        It is 0 in the other processes of a step of SLURM: where SLURM ends a step at the first
        exit code above 0, they would end the first process while it requeues the job.
        """
        if _is_secondary() and os.environ.get(TASKS_VARIABLE):
            return ExitCode.DONE
        return ExitCode.TERMINATED if self.received in _TERMINATION else ExitCode.INTERRUPTED

    @property
    def line(self) -> str:
        """Message about the interruption."""
        word = "terminated" if self.received in _TERMINATION else "interrupted"
        end = f"; files written so far are complete: {self.next_step}" if self.next_step else ""
        return word + end

    def announce(self) -> None:
        """Print the message in the first process, unless it was printed before."""
        if not self.announced and not _is_secondary():
            self.announced = True
            print(f"\n{self.line}", file=sys.stderr, flush=True)

    def install(self) -> dict[int, Any]:
        """Install the handler and return the previous ones; ignored signals remain ignored."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {
            number: signal.signal(number, self)
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        """Raise `KeyboardInterrupt` for a signal within this context."""
        self.received, self.next_step, self.announced = None, "", False
        hook = sys.unraisablehook
        sys.unraisablehook = self._repeat_if_lost
        previous = self.install()
        try:
            try:
                self._in_progress = True
                yield
            finally:
                self._in_progress = False
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            sys.unraisablehook = hook

    @property
    def defers(self) -> bool:
        """True within `deferred`, if it defers any signal."""
        return bool(self._deferred)

    @contextmanager
    def deferred(self, numbers: Iterable[int]) -> Iterator[None]:
        """Defer signals within this context, which ends soon after `deferred_signal` is set.

        Parameters
        ----------
        numbers : iterable of int
            Signals to defer.

        Raises
        ------
        KeyboardInterrupt
            At the end of the context, if one of the signals was received.
        """
        self._deferred, self.deferred_signal = frozenset(numbers), None
        try:
            yield
        finally:
            self._deferred = frozenset()
        if self.deferred_signal is not None:
            raise Interrupted

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if os.getpid() != self._process:  # a forked worker: its parent ends it
            if number == signal.SIGTERM:
                os._exit(ExitCode.TERMINATED)
            return
        now = time.monotonic()
        first, repeated = self.received is None, now - self._time < _REPEAT_SECONDS
        if first:
            self.received, self._time = number, now
            if self._in_progress and number in self._deferred:
                self.deferred_signal = number
                return
            if self._in_progress:
                raise Interrupted
        elif repeated or (self._in_progress and number in _TERMINATION):
            return
        if not self.announced and not _is_secondary():
            with suppress(OSError):
                os.write(2, f"\n{self.line}\n".encode())
        os._exit(self.exit_code)

    def _repeat_if_lost(self, lost: Any) -> None:
        """Repeat an interruption that the interpreter drops, such as in a finalizer."""
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(lost)
        elif self.received is not None and self._in_progress:
            number, self.received = self.received, None
            # Raised here, it would be dropped as well.
            timer = threading.Timer(_DELAY_SECONDS, _send_to_main_thread, [number])
            timer.daemon = True
            timer.start()


@contextmanager
def blocked_signals(numbers: Iterable[int]) -> Iterator[None]:
    """Block signals within this context.

    Threads and processes that are started in the context keep them blocked. A signal received in
    the context is handled at its end. There is no effect on Windows.

    Parameters
    ----------
    numbers : iterable of int
        Signals to block.
    """
    if sys.platform == "win32":
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _send_to_main_thread(number: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(signal.Signals(number))
    else:  # also interrupts a system call
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _is_secondary() -> bool:
    """Return True if this process is not the first of a run; only the first prints messages."""
    return os.environ.get("RANK", "0") != "0"


INTERRUPTION = Interruption()
