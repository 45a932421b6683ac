"""Status lines of long tasks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from singula.errors import UserError

INTERVAL, LATEST = 20.0, 27.0
"""Seconds without a line after which the task, or otherwise a timer, reports the status."""


class StatusLines:
    """Pass lines on, and report the status of a task after a period without lines.

    An instance replaces `notify`. The task calls `poll` between its steps. While the
    context is open, a thread covers steps that take longer than the interval.

    Parameters
    ----------
    notify : callable
        Called with each line.
    status : str
        First status; empty for none.
    describe : callable, optional
        Returns the current status, instead of the text that `update` sets.
    enabled : bool
        False passes lines on and reports no status.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        notify: Callable[[str], None],
        status: str = "",
        *,
        describe: Callable[[], str] | None = None,
        enabled: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notify = notify
        self.notices: set[str] = getattr(notify, "notices", set())
        self._status = status
        self._describe = describe
        self._enabled = enabled
        self._clock = clock
        self._reported = clock()
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, line: str) -> None:
        """Pass a line on, and start a new period without lines."""
        with self._lock:
            self._notify(line)
            self._reported = self._clock()

    def update(self, status: str) -> None:
        """Set the status, and report it if a line is due."""
        self._status = status
        self.poll()

    @property
    def due(self) -> bool:
        """True if no line was reported for `INTERVAL` seconds."""
        return self._enabled and self._clock() - self._reported >= INTERVAL

    def poll(self, interval: float = INTERVAL) -> None:
        """Report the status if nothing was reported for `interval` seconds."""
        with self._lock:
            if not self._enabled or self._clock() - self._reported < interval:
                return
            text = self._status if self._describe is None else self._describe()
            if text:
                self(text)

    def __enter__(self) -> StatusLines:
        if self._enabled:
            self._thread = threading.Thread(target=self._watch, name="status lines", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self) -> None:
        while not self._stopped.wait(1.0):
            # The task meets the same error, such as a full disk, with its own next line.
            with suppress(UserError):
                self.poll(LATEST)
