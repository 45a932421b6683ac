"""Progress of long tasks: messages at intervals, or a bar on the terminal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from singula.errors import UserError
from singula.util.messages import pass_messages

_log = logging.getLogger(__name__)
INTERVAL, LATEST = 20.0, 27.0
"""Seconds without a message after which the task itself, or else a timer, logs the status."""
_BLOCKS_INTERVAL = 30.0  # seconds between two messages
ProgressCallback = Callable[[int, int], None]
"""Function called with the number of blocks that are done, and the number of all blocks."""


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


@contextmanager
def log_progress(title: str) -> Iterator[ProgressCallback]:
    """Yield a progress callback that logs the number of finished blocks every 30 seconds."""
    last = time.monotonic()

    def report_progress(done: int, total: int) -> None:
        nonlocal last
        if done in (0, total) or time.monotonic() - last < _BLOCKS_INTERVAL:
            return
        last = time.monotonic()
        _log.info(f"  {title}, block {done} of {total}")

    yield report_progress


@contextmanager
def progress_bar(title: str) -> Iterator[ProgressCallback]:
    """Yield a progress callback that draws a bar of the blocks with the remaining time."""
    bar = ProgressBar(f"  {title}", with_time=True)
    try:
        yield bar.update
    finally:
        bar.close()


class ProgressBar:
    """Bar on the terminal, which disappears when it is closed.

    Parameters
    ----------
    title : str
        Text in front of the bar.
    total : int, optional
        Number of steps; None if it is not known yet.
    with_time : bool
        Show an estimate of the remaining time.
    """

    def __init__(self, title: str, total: int | None = None, *, with_time: bool = False) -> None:
        # The import would slow `--help` down.
        from rich import progress

        columns = [
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn()
            if with_time
            else progress.TextColumn("{task.fields[note]}"),
        ]
        self._bar = progress.Progress(*columns, transient=True)
        self._task = self._bar.add_task(title, total=total, note="")
        self._bar.start()

    def update(
        self, done: int, total: int, *, description: str | None = None, note: str = ""
    ) -> None:
        """Redraw the bar.

        Parameters
        ----------
        done, total : int
            Number of finished steps, and of all steps.
        description : str, optional
            New text in front of the bar.
        note : str
            Text behind the bar.
        """
        self._bar.update(
            self._task, completed=done, total=total, description=description, note=note
        )

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()


def can_draw() -> bool:
    """Return True if the terminal can redraw a line."""
    from rich.console import Console

    return not Console().is_dumb_terminal
