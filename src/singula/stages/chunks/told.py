"""How far a phase is: a line now and then, or a bar on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from singula.scaleout.runner import ProgressCallback

_EVERY = 30.0  # seconds between two lines


def in_lines(
    notify: Callable[[str], None],
) -> Callable[[str], AbstractContextManager[ProgressCallback]]:
    """Say how many blocks are done, every half a minute."""

    @contextmanager
    def phase(name: str) -> Iterator[ProgressCallback]:
        last = [time.monotonic()]

        def told(done: int, total: int) -> None:
            if done in (0, total) or time.monotonic() - last[0] < _EVERY:
                return
            last[0] = time.monotonic()
            notify(f"  {name}, block {done} of {total}")

        yield told

    return phase


@contextmanager
def as_bar(name: str) -> Iterator[ProgressCallback]:
    """Draw a bar over the blocks, with the time that is left."""
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
