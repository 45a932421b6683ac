"""Progress of a phase, as lines of text or as a bar on a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from singula.blocks.runner import ProgressCallback

_log = logging.getLogger(__name__)
_INTERVAL = 30.0  # seconds between two lines


@contextmanager
def log_progress(name: str) -> Iterator[ProgressCallback]:
    """Yield a progress callback that logs the number of finished blocks every 30 seconds."""
    last = [time.monotonic()]

    def report_progress(done: int, total: int) -> None:
        if done in (0, total) or time.monotonic() - last[0] < _INTERVAL:
            return
        last[0] = time.monotonic()
        _log.info(f"  {name}, block {done} of {total}")

    yield report_progress


@contextmanager
def progress_bar(name: str) -> Iterator[ProgressCallback]:
    """Yield a progress callback that draws a bar of the blocks with the remaining time."""
    from rich import progress

    columns = (
        progress.TextColumn("  {task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
