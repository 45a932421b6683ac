"""SIGINT (Ctrl-C) and SIGTERM: end a command with one line, at any moment."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from singula.errors import ExitCode

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPEATED = 1.0  # seconds within which a signal is the same request
_DELAY = 0.01


class Interrupted(KeyboardInterrupt):
    """Interruption by a signal.

    After a `KeyboardInterrupt` itself within `exec`, the interpreter ends by the signal, without an
    exit code, even if the error was handled.
    """


class Interruption:
    """Handler of SIGINT and SIGTERM.

    While a command is in progress, the first signal raises `KeyboardInterrupt` in the main thread,
    so that temporary files are removed. Another Ctrl-C, later than a second, ends the process at
    once. Before and after the command the first one does: there is nothing to remove.

    Parameters
    ----------
    received : int, optional
        The first signal.
    next_step : str
        What the user can do after an interruption; empty for nothing.
    announced : bool
        The line was printed, by this process or by one that it started.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.next_step = ""
        self.announced = _is_secondary()
        self._in_progress = False
        self._process = os.getpid()
        self._time = 0.0

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the signal that was received."""
        return ExitCode.TERMINATED if self.received == signal.SIGTERM else ExitCode.INTERRUPTED

    @property
    def line(self) -> str:
        """What to print."""
        word = "terminated" if self.received == signal.SIGTERM else "interrupted"
        end = f"; what was written is complete: {self.next_step}" if self.next_step else ""
        return word + end

    def announce(self) -> None:
        """Print the line, once."""
        if not self.announced:
            self.announced = True
            print(f"\n{self.line}", file=sys.stderr, flush=True)

    def install(self) -> dict[int, Any]:
        """Handle the signals; return the handlers before. Ignored signals remain ignored."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {
            number: signal.signal(number, self)
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        """Raise `KeyboardInterrupt` for a signal in the meantime."""
        self.received, self.next_step, self.announced = None, "", _is_secondary()
        hook = sys.unraisablehook
        sys.unraisablehook = self._repeat_if_lost
        before = self.install()
        try:
            try:
                self._in_progress = True
                yield
            finally:
                self._in_progress = False
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            sys.unraisablehook = hook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if os.getpid() != self._process:  # a forked worker, which its parent ends
            if number == signal.SIGTERM:
                os._exit(ExitCode.TERMINATED)
            return
        now = time.monotonic()
        first, repeated = self.received is None, now - self._time < _REPEATED
        if first:
            self.received, self._time = number, now
            if self._in_progress:
                raise Interrupted
        elif repeated or (self._in_progress and number != signal.SIGINT):
            return
        if not self.announced:
            with suppress(OSError):
                os.write(2, f"\n{self.line}\n".encode())
        os._exit(self.exit_code)

    def _repeat_if_lost(self, lost: Any) -> None:
        """Raise again what the interpreter drops, as in the finalizer of an object."""
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(lost)
        elif self.received is not None and self._in_progress:
            number, self.received = self.received, None
            # Later, from another thread: raised here, it would be dropped as well.
            again = threading.Timer(_DELAY, _send_to_main_thread, [number])
            again.daemon = True
            again.start()


@contextmanager
def blocked_sigint() -> Iterator[None]:
    """Block SIGINT here for a while, and forever in threads and processes that are started.

    A signal in the meantime is handled at the end. Without effect on Windows.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send_to_main_thread(number: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:  # also ends a system call
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _is_secondary() -> bool:
    """Return True for all processes of a run but the first, which alone prints lines."""
    return os.environ.get("RANK", "0") != "0"


INTERRUPTION = Interruption()
