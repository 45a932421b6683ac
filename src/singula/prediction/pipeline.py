"""Read, compute and write items, one after the other or overlapping in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Input = TypeVar("Input")
Result = TypeVar("Result")


def run_pipeline(
    items: Iterable[Item],
    read: Callable[[Item], Input],
    compute: Callable[[Input], Result],
    write: Callable[[Item, Result], None],
    *,
    overlap: bool,
) -> None:
    """Read, compute and write each item, in order.

    Parameters
    ----------
    items : iterable
    read : callable
        Return the input of `compute` for an item.
    compute : callable
        Compute the result; always called in the thread of the caller.
    write : callable
        Write the result of an item.
    overlap : bool
        While an item is computed, read the next item and write the previous one in two threads. An
        error in a thread is raised here after both threads have ended.
    """
    if not overlap:
        for item in items:
            write(item, compute(read(item)))
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        reading: tuple[Item, Future[Input]] | None = None

        def compute_next(item: Item, data: Input) -> Future[None]:
            result = compute(data)
            if writing is not None:
                writing.result()
            return writer.submit(write, item, result)

        for item in items:
            ready = None if reading is None else (reading[0], reading[1].result())
            reading = item, reader.submit(read, item)
            if ready is not None:
                writing = compute_next(*ready)
        if reading is not None:
            writing = compute_next(reading[0], reading[1].result())
        if writing is not None:
            writing.result()
