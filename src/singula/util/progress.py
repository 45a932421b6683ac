"""Status lines for tasks that would otherwise print nothing for a long time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from singula.errors import UserError
from singula.util.messages import pass_messages

_log = logging.getLogger(__name__)
INTERVAL, LATEST = 20.0, 27.0
"""Seconds without a message after which the task itself, or else a timer, logs the status."""


class StatusLines:
    """Log the status of a task after a period without messages.

    The task calls `poll` between its steps. While the context is open, messages start a new period,
    and a thread covers steps that take longer than the interval.

    Parameters
    ----------
    status : str
        First status; empty for none.
    describe : callable, optional
        Returns the current status in place of the text that `update` sets.
    enabled : bool
        False logs no status.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        status: str = "",
        *,
        describe: Callable[[], str] | None = None,
        enabled: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status = status
        self._describe = describe
        self._enabled = enabled
        self._clock = clock
        self._reported = clock()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open = ExitStack()

    def update(self, status: str) -> None:
        """Set the status, and log it if it is due."""
        self._status = status
        self.poll()

    @property
    def due(self) -> bool:
        """Return True if there was no message for `INTERVAL` seconds."""
        return self._enabled and self._clock() - self._reported >= INTERVAL

    def poll(self, interval: float = INTERVAL) -> None:
        """Log the status if there was no message for `interval` seconds."""
        with self._lock:
            if not self._enabled or self._clock() - self._reported < interval:
                return
            text = self._status if self._describe is None else self._describe()
            if text:
                self._reported = self._clock()
                _log.info(text)

    def __enter__(self) -> StatusLines:
        if self._enabled:
            self._open.enter_context(pass_messages(self._restart))
            thread = threading.Thread(target=self._watch, name="status lines", daemon=True)
            thread.start()
            self._open.callback(thread.join)
            self._open.callback(self._stopped.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _restart(self, _: str) -> None:
        self._reported = self._clock()

    def _watch(self) -> None:
        while not self._stopped.wait(1.0):
            # The task meets the same error, such as a full disk, with its own next message.
            with suppress(UserError):
                self.poll(LATEST)
