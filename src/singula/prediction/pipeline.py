"""Reading, computing and writing, one portion after the other or overlapping in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Given = TypeVar("Given")
Found = TypeVar("Found")


def in_turn(
    items: Iterable[Item],
    read: Callable[[Item], Given],
    compute: Callable[[Given], Found],
    write: Callable[[Item, Found], None],
    *,
    overlap: bool,
) -> None:
    """Read, compute and write each item; in their order in either case.

    Parameters
    ----------
    items : iterable
    read : callable
        From an item to what is computed with.
    compute : callable
        Always called in the caller's thread.
    write : callable
        Takes an item and what was computed.
    overlap : bool
        While an item is computed, read the next one and write the last one in threads of their
        own. An error in any of them is raised here, once, after the threads have come to rest.
    """
    if not overlap:
        for item in items:
            write(item, compute(read(item)))
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        behind: Future[None] | None = None
        ahead: tuple[Item, Future[Given]] | None = None

        def computed(one: tuple[Item, Future[Given]], given: Given) -> Future[None]:
            found = compute(given)
            if behind is not None:
                behind.result()
            return writer.submit(write, one[0], found)

        for item in items:
            given = None if ahead is None else (ahead, ahead[1].result())
            ahead = item, reader.submit(read, item)
            if given is not None:
                behind = computed(*given)
        if ahead is not None:
            behind = computed(ahead, ahead[1].result())
        if behind is not None:
            behind.result()
