"""Progress of a phase, as lines of text or as a bar on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from singula.blocks.runner import ProgressCallback

_INTERVAL = 30.0  # seconds between two lines


def log_progress(
    notify: Callable[[str], None],
) -> Callable[[str], AbstractContextManager[ProgressCallback]]:
    """Return a factory of progress callbacks that report finished blocks every 30 seconds.

    Parameters
    ----------
    notify : callable
        Receives the lines.

    Returns
    -------
    callable
        Return a context manager of the callback, from the name of a phase.
    """

    @contextmanager
    def phase(name: str) -> Iterator[ProgressCallback]:
        last = [time.monotonic()]

        def report_progress(done: int, total: int) -> None:
            if done in (0, total) or time.monotonic() - last[0] < _INTERVAL:
                return
            last[0] = time.monotonic()
            notify(f"  {name}, block {done} of {total}")

        yield report_progress

    return phase


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
